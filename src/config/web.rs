//! The file that `server.web_config_file` names: TLS, users and headers of the HTTP server, in the
//! format of Prometheus's exporter-toolkit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check;
use super::keys::Key;
use super::problem::{ConfigError, Problem};
use super::schema;
use super::tree::{Data, Entry, Node, Origin};
use super::values::{Secret, optional_text};
use super::yaml;
use crate::files;
use crate::tls::server::{Clients, ServerTls, ServerTlsError, Versions};

/// Most bytes of the file, and of each file that it names.
const MAX_FILE: u64 = 1 << 20;
/// A password costs more than seconds beyond this.
const HIGHEST_COST: u32 = 15;
/// What exporter-toolkit has and this server has not, and what to do instead.
const MISSING: [(&str, &str); 2] = [
    (
        "rate_limit",
        "limit requests in a reverse proxy; server.max_connections_per_client limits connections",
    ),
    (
        "tls_server_config.curve_preferences",
        "leave it out; X25519, P-256 and P-384 are used",
    ),
];

/// The content of the file, checked; the files that it names are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebConfig {
    /// TLS; none is plain HTTP.
    pub tls: Option<ServerTls>,
    /// Users and the bcrypt hashes of their passwords; empty lets everybody in.
    pub users: BTreeMap<String, Secret>,
    /// Headers of all answers.
    pub headers: Vec<(&'static str, String)>,
}

/// The file as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct File {
    /// TLS of the server.
    tls_server_config: Tls,
    /// HTTP of the server.
    http_server_config: Http,
    /// Users and the bcrypt hashes of their passwords.
    basic_auth_users: BTreeMap<String, Secret>,
}

/// TLS of the server.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Tls {
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "path"))]
    cert_file: Option<PathBuf>,
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "path"))]
    key_file: Option<PathBuf>,
    #[serde(with = "optional_text")]
    #[schemars(with = "String")]
    cert: Option<String>,
    #[serde(with = "optional_text")]
    #[schemars(with = "Secret")]
    key: Option<Secret>,
    client_auth_type: ClientAuthType,
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "path"))]
    client_ca_file: Option<PathBuf>,
    #[serde(with = "optional_text")]
    #[schemars(with = "String")]
    client_ca: Option<String>,
    client_allowed_sans: Vec<String>,
    min_version: MinVersion,
    max_version: MaxVersion,
    cipher_suites: Vec<String>,
    prefer_server_cipher_suites: OnByDefault,
}

/// Whether clients show a certificate. The toolkit's other two values verify nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum ClientAuthType {
    #[default]
    NoClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum MinVersion {
    #[default]
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum MaxVersion {
    #[serde(rename = "TLS12")]
    Tls12,
    #[default]
    #[serde(rename = "TLS13")]
    Tls13,
}

/// A switch that is on by default.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
struct OnByDefault(bool);

impl Default for OnByDefault {
    fn default() -> Self {
        Self(true)
    }
}

/// HTTP of the server.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Http {
    /// Accepted and without effect: the server speaks HTTP/1.1, which every client of HTTP/2 does too.
    http2: OnByDefault,
    headers: Headers,
}

/// The headers that the toolkit allows.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Headers {
    #[serde(rename = "Content-Security-Policy")]
    content_security_policy: String,
    #[serde(rename = "X-Frame-Options")]
    frame_options: String,
    #[serde(rename = "X-Content-Type-Options")]
    content_type_options: String,
    #[serde(rename = "X-XSS-Protection")]
    xss_protection: String,
    #[serde(rename = "Strict-Transport-Security")]
    strict_transport_security: String,
}

impl Headers {
    fn all(&self) -> [(&'static str, &String); 5] {
        [
            ("Content-Security-Policy", &self.content_security_policy),
            ("X-Frame-Options", &self.frame_options),
            ("X-Content-Type-Options", &self.content_type_options),
            ("X-XSS-Protection", &self.xss_protection),
            ("Strict-Transport-Security", &self.strict_transport_security),
        ]
    }
}

fn root() -> &'static Key {
    static ROOT: OnceLock<Key> = OnceLock::new();
    ROOT.get_or_init(|| Key::from_schema(&schema::schema_of::<File>()))
}

impl WebConfig {
    /// Reads the file, and those that it names; their paths begin at its folder.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = files::read_text(path, MAX_FILE).map_err(|reason| {
            let sentence = format!("the file {name:?} cannot be read ({reason})");
            ConfigError::new(vec![Problem::new(None, "", sentence)])
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&name, &text, folder)
    }

    fn parse(name: &str, text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let place: Arc<str> = name.into();
        let origin = |line| Origin::File {
            path: place.clone(),
            line,
        };
        let mut problems = Vec::new();
        let mut tree = match yaml::parse(text, origin) {
            Ok(tree) if tree.data == Data::Null => Node::new(Data::Map(Vec::new()), &origin(1)),
            Ok(tree) => tree,
            Err(error) => {
                let sentence = format!("not valid YAML ({})", error.reason);
                let problem = Problem::new(Some(&origin(error.line)), "", sentence);
                return Err(ConfigError::new(vec![problem]));
            }
        };
        for (path, advice) in MISSING {
            if let Some(place) = remove(&mut tree, path) {
                let sentence = format!("{path} is not supported; {advice}");
                problems.push(Problem::new(Some(&place), path, sentence));
            }
        }
        let places = tree.clone();
        let checked = check::check_by(root(), tree, &mut problems);
        let file = checked.map(|tree| serde_json::from_value::<File>(tree.to_json()));
        let file = match file {
            Some(Ok(file)) => file,
            Some(Err(error)) => {
                let sentence = format!("the file cannot be read ({error})");
                problems.push(Problem::new(None, "", sentence));
                return Err(ConfigError::new(problems));
            }
            None => return Err(ConfigError::new(problems)),
        };
        let mut reader = Reader {
            places: &places,
            folder,
            problems,
        };
        let config = reader.config(&file);
        match reader.problems {
            none if none.is_empty() => Ok(config),
            problems => Err(ConfigError::new(problems)),
        }
    }
}

/// Takes a key out of a tree; its place.
fn remove(node: &mut Node, path: &str) -> Option<Origin> {
    let Data::Map(entries) = &mut node.data else {
        return None;
    };
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let index = entries.iter().position(|entry| entry.key == name)?;
    if rest.is_empty() {
        let Entry { origin, .. } = entries.remove(index);
        return Some(origin);
    }
    remove(&mut entries[index].node, rest)
}

/// Makes the configuration of the file.
struct Reader<'a> {
    places: &'a Node,
    folder: &'a Path,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn report(&mut self, key: &str, clause: &str) {
        let place = self.places.at(key).map(|node| &node.origin);
        let problem = Problem::new(place, key, format!("{key} {clause}"));
        if !self.problems.iter().any(|known| known.overlaps(&problem)) {
            self.problems.push(problem);
        }
    }

    fn config(&mut self, file: &File) -> WebConfig {
        for (name, hash) in &file.basic_auth_users {
            if let Err(clause) = password_hash(name, hash.expose()) {
                self.report(&format!("basic_auth_users.{name}"), clause);
            }
        }
        let mut headers = Vec::new();
        for (name, value) in file.http_server_config.headers.all() {
            let key = format!("http_server_config.headers.{name}");
            let allowed: &[&str] = match name {
                "X-Frame-Options" => &["deny", "sameorigin"],
                "X-Content-Type-Options" => &["nosniff"],
                _ => &[],
            };
            if value.is_empty() {
                continue;
            }
            if !allowed.is_empty() && !allowed.contains(&value.to_lowercase().as_str()) {
                let clause = format!("must be {}, not {value:?}", allowed.join(" or "));
                self.report(&key, &clause);
            } else if super::format::header(name, value).is_err() {
                self.report(&key, "has a value that an HTTP header cannot carry");
            } else {
                headers.push((name, value.clone()));
            }
        }
        WebConfig {
            tls: self.tls(&file.tls_server_config),
            users: file.basic_auth_users.clone(),
            headers,
        }
    }

    fn tls(&mut self, tls: &Tls) -> Option<ServerTls> {
        let has = |key: &str| {
            self.places
                .at(&format!("tls_server_config.{key}"))
                .is_some()
        };
        let section = self.places.at("tls_server_config");
        if section.is_none_or(|section| section.data == Data::Null) {
            return None;
        }
        let versions = match (tls.min_version, tls.max_version) {
            (MinVersion::Tls12, MaxVersion::Tls13) => Versions::Both,
            (MinVersion::Tls12, MaxVersion::Tls12) => Versions::Tls12,
            (MinVersion::Tls13, MaxVersion::Tls13) => Versions::Tls13,
            (MinVersion::Tls13, MaxVersion::Tls12) => {
                let key = if has("min_version") {
                    "min_version"
                } else {
                    "max_version"
                };
                let key = format!("tls_server_config.{key}");
                self.report(
                    &key,
                    "leaves no version of TLS: the lowest is above the highest",
                );
                return None;
            }
        };
        let inline_key = tls.key.as_ref().map(Secret::expose);
        let certificate = self.pem("cert", tls.cert.as_deref(), tls.cert_file.as_deref());
        let key = self.pem("key", inline_key, tls.key_file.as_deref());
        let clients = self.clients(tls);
        let made = ServerTls {
            certificate: certificate?,
            key: key?,
            clients: clients?,
            versions,
            cipher_suites: tls.cipher_suites.clone(),
            prefer_server_order: tls.prefer_server_cipher_suites.0,
        };
        if let Err(error) = made.build(true) {
            let key = match &error {
                ServerTlsError::Certificate(_) | ServerTlsError::Tls(_) if tls.cert.is_some() => {
                    "cert"
                }
                ServerTlsError::Certificate(_) | ServerTlsError::Tls(_) => "cert_file",
                ServerTlsError::Authorities(_) if tls.client_ca.is_some() => "client_ca",
                ServerTlsError::Authorities(_) => "client_ca_file",
                ServerTlsError::CipherSuite(_) => "cipher_suites",
            };
            let clause = format!("cannot be used ({error})");
            self.report(&format!("tls_server_config.{key}"), &clause);
        }
        Some(made)
    }

    /// How clients show who they are, or that they need not.
    fn clients(&mut self, tls: &Tls) -> Option<Option<Clients>> {
        let is_required = tls.client_auth_type == ClientAuthType::RequireAndVerifyClientCert;
        if !tls.client_allowed_sans.is_empty() && !is_required {
            let clause = "needs client_auth_type: RequireAndVerifyClientCert, without which a client \
                          need not show a certificate";
            self.report("tls_server_config.client_allowed_sans", clause);
            return None;
        }
        let has_authorities = tls.client_ca.is_some() || tls.client_ca_file.is_some();
        if tls.client_auth_type == ClientAuthType::NoClientCert {
            if has_authorities {
                let key = match tls.client_ca {
                    Some(_) => "tls_server_config.client_ca",
                    None => "tls_server_config.client_ca_file",
                };
                let clause = "has no effect without client_auth_type: RequireAndVerifyClientCert";
                self.report(key, clause);
                return None;
            }
            return Some(None);
        }
        if !has_authorities {
            let clause = "needs client_ca_file, the authority of the clients' certificates";
            self.report("tls_server_config.client_auth_type", clause);
            return None;
        }
        let inline = tls.client_ca.as_deref();
        let authorities = self.pem("client_ca", inline, tls.client_ca_file.as_deref())?;
        Some(Some(Clients {
            authorities,
            is_required,
            names: tls.client_allowed_sans.clone(),
        }))
    }

    /// A text of PEM, from the file or from the one that it names.
    fn pem(&mut self, name: &str, inline: Option<&str>, file: Option<&Path>) -> Option<String> {
        let key = format!("tls_server_config.{name}_file");
        match (inline, file) {
            (Some(_), Some(_)) => {
                self.report(&key, &format!("and {name} are both set; keep one of them"));
                None
            }
            (Some(text), None) => Some(text.to_owned()),
            (None, None) => {
                let clause = "is missing; TLS needs cert_file and key_file";
                self.report(&key, clause);
                None
            }
            (None, Some(path)) => {
                let path = self.folder.join(path);
                match files::read_text(&path, MAX_FILE) {
                    Ok(text) => Some(text),
                    Err(reason) => {
                        self.report(&key, &format!("{path:?} cannot be read ({reason})"));
                        None
                    }
                }
            }
        }
    }
}

/// Checks the hash of a user's password; the clause never repeats it.
fn password_hash(user: &str, hash: &str) -> Result<(), &'static str> {
    if user.is_empty() || user.contains(':') {
        return Err("is not a user name: it is empty, or has a colon in it");
    }
    let parts = hash.parse::<bcrypt::HashParts>();
    match parts.map(|parts| parts.get_cost()) {
        Ok(cost) if cost > HIGHEST_COST => {
            Err("has a cost above 15, with which every login takes many seconds; use 10 to 12")
        }
        Ok(_) => Ok(()),
        Err(_) => Err("is not a bcrypt hash, as `htpasswd -nBC 10 USER` makes"),
    }
}
