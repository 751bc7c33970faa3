//! The endpoint as it is secured: a Prometheus that scrapes by TLS with user and password, certificates that
//! are exchanged meanwhile, Unix sockets, and sockets that systemd passes.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use gitlab_simulator::{Options, Simulator, World, WorldConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::exporter::{Binary, beginning_now, binary, configuration, write};
use crate::support::program::Program;
use crate::support::{eventually, prometheus, until};

const PASSWORD: &str = "scr4pe-pa55word";

fn simulator() -> Simulator {
    let world = World::generate(WorldConfig {
        projects: 2,
        pipelines_per_project: 2,
        ..beginning_now()
    });
    Simulator::start(world, &Options::default()).expect("a simulator")
}

/// Certificates of an authority of the test's own, in a folder.
struct Certificates {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder, "ca.pem", &authority.pem());
        let certificates = Self { authority, folder };
        certificates.sign("server", "127.0.0.1");
        certificates.sign("prometheus", "prometheus");
        certificates
    }

    fn sign(&self, file: &str, name: &str) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params
            .signed_by(&key, &self.authority)
            .expect("a certificate");
        write(&self.folder, format!("{file}.key"), &key.serialize_pem());
        write(&self.folder, format!("{file}.pem"), &certificate.pem());
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The web configuration with users of these passwords.
    fn web(&self, password: &str) -> String {
        // The least cost: without optimization the usual one takes longer than a scrape may.
        let hash = bcrypt::hash(password, 4).expect("a hash");
        let text = format!(
            "tls_server_config:
  cert_file: server.pem
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  min_version: TLS13
basic_auth_users:
  prometheus: {hash}
"
        );
        write(&self.folder, "web.yml", &text);
        self.path("web.yml")
    }
}

/// A real Prometheus shows a certificate, a user and a password; when they change, it is refused until the
/// file has them again, without a restart of either.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_by_tls_with_a_certificate_and_a_password() {
    let (simulator, certificates) = (simulator(), Certificates::new());
    let web = certificates.web(PASSWORD);
    let yaml = configuration(&simulator, &format!("server: {{web_config_file: '{web}'}}"));
    let mut exporter = Binary::run(&yaml, &[]).await;
    let scrape = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: age
  scheme: https
  basic_auth: {{username: prometheus, password: {PASSWORD}}}
  tls_config: {{ca_file: '{}', cert_file: '{}', key_file: '{}'}}
  static_configs: [{{targets: ['{}']}}]
",
        certificates.path("ca.pem"),
        certificates.path("prometheus.pem"),
        certificates.path("prometheus.key"),
        exporter.address()
    );
    let Some((_program, promql)) = prometheus::start(&scrape).await else {
        return;
    };
    let is = async |what: &str, query: &str| {
        until(what, async || {
            if !promql.query(query, None).await.is_empty() {
                return Ok(());
            }
            Err(promql.api("/api/v1/targets", &[]).await.to_string())
        })
        .await;
    };
    is("pipelines are scraped", "age_pipeline_status").await;
    certificates.web("another password");
    is("the old password is refused", "up{job='age'} == 0").await;
    // On a busy machine another scrape can fail before.
    until("the refusal is a 401", async || {
        let targets = promql.api("/api/v1/targets", &[]).await.to_string();
        match targets.contains("401") {
            true => Ok(()),
            false => Err(targets),
        }
    })
    .await;
    certificates.sign("server", "127.0.0.1");
    certificates.web(PASSWORD);
    is(
        "the new certificate and password are taken",
        "up{job='age'} == 1",
    )
    .await;
    exporter.program.signal("TERM");
    assert!(exporter.program.ended().await.success());
    let said = exporter.program.stderr() + &exporter.program.stdout();
    assert!(said.contains("metrics at https://127.0.0.1:"), "{said}");
    assert!(said.contains("web configuration reloaded"), "{said}");
    for secret in [PASSWORD, "another password", "$2b$", "PRIVATE KEY"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
}

/// `GET path` on a Unix socket.
fn get(socket: &Path, path: &str) -> std::io::Result<String> {
    let mut connection = std::os::unix::net::UnixStream::connect(socket)?;
    write!(
        connection,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

async fn healthcheck(arguments: &[&str]) -> (bool, String) {
    let mut program = Program::start(binary(&[&["healthcheck"], arguments].concat()));
    let status = program.ended().await;
    (status.success(), program.stdout() + &program.stderr())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_on_a_unix_socket_and_so_does_its_health_check() {
    let (simulator, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    let socket = folder.path().join("age.sock");
    let address = format!("unix:{}", socket.display());
    write(&folder, "config.yml", &configuration(&simulator, ""));
    let mut command = binary(&["run", "--server-listen-address", &address, "--config"]);
    command.arg(folder.path().join("config.yml"));
    let mut program = Program::start(command);
    eventually("it answers", || {
        get(&socket, "/health").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 OK"))
    })
    .await;
    let listen = ["--server-listen-address", &*address];
    let (is_well, said) = healthcheck(&listen).await;
    assert!(is_well && said.contains(&address), "{said}");
    // One that was killed leaves its socket, which the next one replaces.
    program.signal("KILL");
    program.ended().await;
    assert!(socket.exists());
    let mut command = binary(&["run", "--server-listen-address", &address, "--config"]);
    command.arg(folder.path().join("config.yml"));
    let mut program = Program::start(command);
    eventually("it answers again", || {
        get(&socket, "/health").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 OK"))
    })
    .await;
    program.signal("TERM");
    assert!(program.ended().await.success(), "{}", program.stderr());
    assert!(!socket.exists(), "it removes its socket");
    assert!(!healthcheck(&listen).await.0);
}

/// As `systemd` starts it: the first passed socket has the number 3.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_systemd_passes_is_answered() {
    use std::os::fd::AsRawFd;
    let (simulator, folder) = (simulator(), tempfile::tempdir().expect("a folder"));
    write(&folder, "config.yml", &configuration(&simulator, ""));
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("127.0.0.1 has ports");
    let address = listener.local_addr().expect("it is bound").to_string();
    // The shell moves it where systemd has it, and gives the exporter its own process number.
    let script = format!(
        "exec 3<&{}; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\"",
        listener.as_raw_fd()
    );
    socket2::SockRef::from(&listener)
        .set_cloexec(false)
        .expect("it can be passed");
    let exporter = binary(&[]);
    let mut command = std::process::Command::new("bash");
    command
        .env_clear()
        .args(["-c", &script])
        .arg(exporter.get_program());
    command.args([
        "run",
        "--server-listen-address",
        "systemd",
        "--config",
        "config.yml",
    ]);
    let mut exporter = Binary::started(Program::start_in(folder, command)).await;
    assert_eq!(exporter.address(), address);
    drop(listener);
    assert_eq!(exporter.get("/health").await.status, 200);
    exporter.program.signal("TERM");
    assert!(exporter.program.ended().await.success());
}
