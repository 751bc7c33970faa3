//! The deb package: made by cargo-deb of the metadata in Cargo.toml, and installed by dpkg into a folder of
//! its own. What the rpm package contains is held equal to it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::tools::{skip, tool};

const NAME: &str = "amazing-gitlab-exporter";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn succeed(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    said(&output)
}

/// A package of the program under test, and the folder that it is in; nothing where a tool is missing.
fn package() -> Option<(tempfile::TempDir, PathBuf)> {
    let cargo_deb = tool("packaging/bin/cargo-deb")?;
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        _ => {
            skip("packages are made for amd64 and arm64 alone");
            return None;
        }
    };
    let folder = tempfile::tempdir().expect("a folder");
    // Without the debug information, which takes long to pack.
    let program = folder.path().join("stripped");
    let built = env!("CARGO_BIN_EXE_amazing-gitlab-exporter");
    succeed(Command::new("strip").arg("-o").arg(&program).arg(built));
    succeed(
        Command::new(path(".ci/packages"))
            .args([&program, Path::new(arch), folder.path()])
            .env("CARGO_DEB", cargo_deb)
            .env("CARGO_GENERATE_RPM", "")
            // Quick rather than small.
            .env("DEB_OPTIONS", "--fast"),
    );
    let entries = std::fs::read_dir(folder.path()).expect("the folder is there");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    let deb = paths.find(|path| path.extension().is_some_and(|end| end == "deb"));
    Some((folder, deb.expect("a package")))
}

/// A folder with dpkg's own files.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        succeed(
            Command::new(path("tests/integration/programs/packages/root.sh")).arg(folder.path()),
        );
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name.trim_start_matches('/'))
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// dpkg in it; what the package depends on is not there.
    fn dpkg(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("dpkg");
        command.arg(format!("--root={}", self.0.path().display()));
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        succeed(command.arg("--force-depends").args(arguments))
    }

    /// Mode, user and group of a file.
    fn rights(&self, name: &str) -> (u32, u32, u32) {
        let file = std::fs::metadata(self.path(name)).expect("it is there");
        (file.mode() & 0o7777, file.uid(), file.gid())
    }
}

#[test]
fn it_is_installed_upgraded_and_purged() {
    if !is_root() {
        return skip("dpkg installs as root only");
    }
    if Command::new("dpkg").arg("--version").output().is_err() {
        return skip("this is no Debian: dpkg is missing");
    }
    let Some((_folder, deb)) = package() else {
        return;
    };
    let deb = deb.to_str().expect("UTF-8");
    let root = Root::new();
    root.dpkg(&["--install", deb]);

    // The user, and the configuration that it alone may read.
    let passwd = root.read("/etc/passwd");
    let line = passwd.lines().find(|line| line.starts_with(NAME));
    let fields: Vec<&str> = line.expect("the user").split(':').collect();
    assert_eq!(
        fields[5..],
        ["/var/lib/amazing-gitlab-exporter", "/usr/sbin/nologin"]
    );
    let group: u32 = fields[3].parse().expect("a number");
    assert!(group > 0);
    let config = "/etc/amazing-gitlab-exporter/config.yml";
    assert_eq!(root.rights(config), (0o640, 0, group));
    assert_eq!(
        root.rights("/etc/amazing-gitlab-exporter"),
        (0o750, 0, group)
    );
    assert_eq!(
        root.read(&format!("/var/lib/dpkg/info/{NAME}.conffiles"))
            .trim(),
        config
    );

    // The program runs, and takes the configuration.
    let program = root.path("/usr/bin/amazing-gitlab-exporter");
    let version = succeed(Command::new(&program).arg("--version"));
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    succeed(
        Command::new(&program)
            .args(["validate", "--config"])
            .arg(root.path(config))
            .env("AGE_GITLAB_TOKEN", "glpat-of-the-package"),
    );
    for file in [
        "/usr/lib/systemd/system/amazing-gitlab-exporter.service",
        "/usr/share/man/man1/amazing-gitlab-exporter.1.gz",
        "/usr/share/man/man1/amazing-gitlab-exporter-run.1.gz",
        "/usr/share/bash-completion/completions/amazing-gitlab-exporter",
        "/usr/share/zsh/vendor-completions/_amazing-gitlab-exporter",
        "/usr/share/fish/vendor_completions.d/amazing-gitlab-exporter.fish",
        "/usr/share/doc/amazing-gitlab-exporter/copyright",
        "/usr/share/doc/amazing-gitlab-exporter/example.yml",
    ] {
        assert!(root.path(file).exists(), "{file}");
    }

    // An upgrade keeps what was changed; a removal the configuration; a purge nothing.
    let changed = root
        .read(config)
        .replace("gitlab.com", "gitlab.example.com");
    std::fs::write(root.path(config), &changed).expect("it can be written");
    root.dpkg(&["--install", deb]);
    assert_eq!(root.read(config), changed);
    assert_eq!(root.rights(config), (0o640, 0, group));
    assert_eq!(root.read("/etc/passwd"), passwd);
    let state = root.path("/var/lib/amazing-gitlab-exporter");
    std::fs::create_dir_all(&state).expect("a folder");
    root.dpkg(&["--remove", NAME]);
    assert!(!program.exists() && root.path(config).exists() && state.exists());
    root.dpkg(&["--purge", NAME]);
    assert!(!root.path(config).exists() && !state.exists());
}

fn is_root() -> bool {
    let me = std::fs::metadata("/proc/self").expect("Linux");
    me.uid() == 0
}

/// What a text between two lines assigns: source, destination and mode of each file.
fn assets(section: &str) -> BTreeMap<String, BTreeSet<String>> {
    let manifest = std::fs::read_to_string(path("Cargo.toml")).expect("readable");
    let (_, rest) = manifest.split_once(section).expect("the section");
    let rest = rest.split("\n[").next().unwrap_or_default();
    let (_, list) = rest.split_once("assets = [\n").expect("assets");
    let (list, _) = list.split_once("\n]").expect("their end");
    let files = list.lines().map(|line| {
        let texts: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        let [source, to, mode, ..] = texts[..] else {
            panic!("{line}");
        };
        let to = to.trim_start_matches('/').to_owned();
        // The folder of zsh has another name.
        let to = to.replace("site-functions", "vendor-completions");
        (source.to_owned(), BTreeSet::from([to, mode.to_owned()]))
    });
    files.collect()
}

#[test]
fn both_packages_contain_the_same_files() {
    let deb = assets("[package.metadata.deb]");
    let mut rpm = assets("[package.metadata.generate-rpm]");
    // cargo-deb makes a file `copyright` of it.
    assert!(rpm.remove("LICENSE").is_some());
    assert!(deb.len() > 8, "{deb:?}");
    assert_eq!(deb, rpm);
}
