//! `redis.url`: one server, Sentinels that know one, or a Cluster.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

/// Port of a server without one in the address.
const SERVER_PORT: u16 = 6379;
/// Port of a Sentinel without one in the address.
const SENTINEL_PORT: u16 = 26_379;

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Where Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One server.
    Server(HostPort),
    /// One server on a Unix socket.
    Socket(PathBuf),
    /// The master of this name, as Sentinels know it.
    Sentinel {
        /// Sentinels, asked in this order.
        sentinels: Vec<HostPort>,
        /// Name of the master.
        master: String,
    },
    /// Nodes of a Cluster, by which the others are found.
    Cluster(Vec<HostPort>),
}

/// A parsed `redis.url`.
#[derive(Clone, Debug)]
pub struct RedisUrl {
    /// Where Redis is.
    pub place: Place,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// Number of the database.
    pub database: u32,
    /// The user name, if the address has one.
    pub username: Option<String>,
    /// The password, if the address has one.
    pub password: Option<SecretString>,
}

impl RedisUrl {
    /// Parses an address.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with the setting; without any part of
    /// the address that may be a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let scheme =
            "must begin with redis://, rediss://, unix://, redis-sentinel:// or redis-cluster://";
        let (name, rest) = text.split_once("://").ok_or(scheme)?;
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        if rest.contains('#') || query.is_some_and(|query| query.contains('#')) {
            return Err("must not contain #; write %23 for it in a password".to_owned());
        }
        let name = name.to_ascii_lowercase();
        let tls = name.starts_with("rediss");
        // `rediss`, `rediss-sentinel` and `rediss-cluster` are the encrypted ones.
        let kind = name.replacen("rediss", "redis", 1);
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        let (username, password) = user.map_or(Ok((None, None)), credentials)?;
        let (hosts, path) = match rest.split_once('/') {
            Some((hosts, path)) => (hosts, path),
            None => (rest, ""),
        };
        let (place, database) = match kind.as_str() {
            "redis" => (Place::Server(one_server(hosts)?), path),
            "unix" | "redis+unix" if !tls => (socket(rest)?, ""),
            "redis-sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(
                        "needs the name of the master, as redis-sentinel://host:26379,host:26379/name"
                            .to_owned(),
                    );
                }
                let sentinels = servers(hosts, SENTINEL_PORT)?;
                let master = decoded(master)?;
                (Place::Sentinel { sentinels, master }, database)
            }
            "redis-cluster" => (Place::Cluster(servers(hosts, SERVER_PORT)?), path),
            _ => return Err(scheme.to_owned()),
        };
        let database = number(database, query)?;
        if database != 0 && matches!(place, Place::Cluster(_)) {
            return Err("must not name a database: a Cluster has only database 0".to_owned());
        }
        Ok(Self {
            place,
            tls,
            database,
            username,
            password,
        })
    }
}

/// Where Redis is, without user name and password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Server(server) => server.fmt(f),
            Place::Socket(path) => path.display().fmt(f),
            Place::Sentinel { sentinels, master } => {
                write!(f, "{} (Sentinel, master {master})", joined(sentinels))
            }
            Place::Cluster(nodes) => write!(f, "{} (Cluster)", joined(nodes)),
        }
    }
}

impl PartialEq for RedisUrl {
    fn eq(&self, other: &Self) -> bool {
        let password = |url: &Self| {
            let password = url.password.as_ref();
            password.map(|password| password.expose_secret().to_owned())
        };
        (&self.place, self.tls, self.database, &self.username)
            == (&other.place, other.tls, other.database, &other.username)
            && password(self) == password(other)
    }
}

fn joined(servers: &[HostPort]) -> String {
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    servers.join(",")
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| "has percent-encoded bytes that are not UTF-8")?;
    Ok(decoded.into_owned())
}

/// User name and password of `user:password`, `:password` and `user`.
fn credentials(user: &str) -> Result<(Option<String>, Option<SecretString>), String> {
    let (name, password) = match user.split_once(':') {
        Some((name, password)) => (name, Some(password)),
        None => (user, None),
    };
    let name = decoded(name)?;
    let password = password.map(decoded).transpose()?;
    let password = password.filter(|password| !password.is_empty());
    Ok((
        Some(name).filter(|name| !name.is_empty()),
        password.map(SecretString::from),
    ))
}

fn one_server(hosts: &str) -> Result<HostPort, String> {
    let mut servers = servers(hosts, SERVER_PORT)?;
    match (servers.pop(), servers.is_empty()) {
        (Some(server), true) => Ok(server),
        _ => Err(
            "names several hosts; use redis-sentinel:// or redis-cluster:// for several".to_owned(),
        ),
    }
}

fn servers(hosts: &str, port: u16) -> Result<Vec<HostPort>, String> {
    hosts.split(',').map(|host| server(host, port)).collect()
}

fn server(text: &str, default: u16) -> Result<HostPort, String> {
    let no_host = "needs a host, as redis://host:6379/0";
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest
                .split_once(']')
                .ok_or("has an IPv6 address without a closing bracket")?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None | Some("") => default,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or("has a port that is not a number from 1 to 65535")?,
    };
    let is_name = |c: char| c.is_alphanumeric() || "-_.:%".contains(c);
    if host.is_empty() || !host.chars().all(is_name) {
        return Err(no_host.to_owned());
    }
    Ok(HostPort {
        host: host.to_owned(),
        port,
    })
}

fn socket(path: &str) -> Result<Place, String> {
    if !path.starts_with('/') {
        return Err("needs an absolute path, as unix:///run/redis/redis.sock".to_owned());
    }
    Ok(Place::Socket(decoded(path)?.into()))
}

/// The number of the database, which stands at the end of the path or as `db=`.
fn number(path: &str, query: Option<&str>) -> Result<u32, String> {
    let mut text = path.trim_end_matches('/');
    for parameter in query.into_iter().flat_map(|query| query.split('&')) {
        match parameter.split_once('=') {
            Some(("db", value)) if text.is_empty() || text == value => text = value,
            Some(("db", _)) => return Err("names two databases".to_owned()),
            _ if parameter.is_empty() => {}
            _ => return Err("has a parameter after ? that is not db".to_owned()),
        }
    }
    match text {
        "" => Ok(0),
        text => text
            .parse()
            .map_err(|_| "has a database that is not a number, as redis://host:6379/0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> HostPort {
        HostPort {
            host: host.to_owned(),
            port,
        }
    }

    fn url(place: Place) -> RedisUrl {
        RedisUrl {
            place,
            tls: false,
            database: 0,
            username: None,
            password: None,
        }
    }

    #[test]
    fn every_kind_of_address_is_read() {
        let parse = |text| RedisUrl::parse(text).unwrap();
        let server = |host, port| url(Place::Server(at(host, port)));
        assert_eq!(parse("redis://r"), server("r", 6379));
        assert_eq!(parse("redis://r:1/"), server("r", 1));
        assert_eq!(parse("redis://[::1]:7"), server("::1", 7));
        assert_eq!(parse("redis://r?db=3").database, 3);
        let with = parse("rediss://us%40er:p%3Aw%40%2F@r:1/15");
        assert_eq!(
            (with.tls, with.database, with.username.as_deref()),
            (true, 15, Some("us@er"))
        );
        assert_eq!(with.password.unwrap().expose_secret(), "p:w@/");
        let only = parse("redis://:pw@r");
        assert_eq!(only.username, None);
        assert_eq!(only.password.unwrap().expose_secret(), "pw");
        for socket in ["unix:///run/r.sock?db=2", "redis+unix:///run/r.sock?db=2"] {
            let found = parse(socket);
            assert_eq!(
                found,
                RedisUrl {
                    database: 2,
                    ..url(Place::Socket("/run/r.sock".into()))
                }
            );
        }
        let sentinel = parse("redis-sentinel://u:p@a:1,b,[::1]:3/my%20master/4");
        let sentinels = vec![at("a", 1), at("b", 26_379), at("::1", 3)];
        let master = "my master".to_owned();
        assert_eq!(sentinel.place, Place::Sentinel { sentinels, master });
        assert_eq!(
            (sentinel.database, sentinel.username.as_deref()),
            (4, Some("u"))
        );
        let cluster = parse("rediss-cluster://a:1,b");
        assert_eq!(
            cluster.place,
            Place::Cluster(vec![at("a", 1), at("b", 6379)])
        );
        assert!(cluster.tls);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (text, said) in [
            ("", "must begin with"),
            ("r:6379", "must begin with"),
            ("http://:hunter2@r", "must begin with"),
            ("rediss+unix:///s", "must begin with"),
            ("redis://:hunter2@", "needs a host"),
            ("redis://:hunter2/x@y z", "needs a host"),
            ("redis://r:0", "a port that is not a number"),
            ("redis://r:hunter2", "a port that is not a number"),
            ("redis://[::1", "without a closing bracket"),
            ("redis://a,b", "names several hosts"),
            ("redis://r/hunter2", "a database that is not a number"),
            ("redis://r/1?db=2", "names two databases"),
            ("redis://r?hunter2=1", "a parameter after ?"),
            ("redis://:hunt#er2@r", "must not contain #"),
            ("redis://:%ff@r", "not UTF-8"),
            ("redis-sentinel://r", "the name of the master"),
            ("redis-cluster://r/1", "only database 0"),
            ("unix://run/r.sock", "an absolute path"),
        ] {
            let problem = RedisUrl::parse(text).expect_err(text);
            assert!(problem.contains(said), "{text}: {problem}");
            assert!(!problem.contains("hunter2"), "{text}: {problem}");
        }
    }

    #[test]
    fn it_is_shown_without_credentials() {
        for (text, shown) in [
            ("redis://u:hunter2@r/1", "r:6379"),
            ("redis://u:hunter2@[::1]", "[::1]:6379"),
            ("unix://u:hunter2@/run/r.sock", "/run/r.sock"),
            (
                "redis-sentinel://u:hunter2@a,b/m",
                "a:26379,b:26379 (Sentinel, master m)",
            ),
            ("redis-cluster://u:hunter2@a,b", "a:6379,b:6379 (Cluster)"),
        ] {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("hunter2"));
        }
    }
}
