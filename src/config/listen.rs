//! Addresses on which the HTTP server listens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

/// An address of the HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `host:port`, or `:port` for all interfaces.
    Tcp {
        /// The host name or IP address; `None` means all interfaces.
        host: Option<String>,
        /// The port; 0 lets the system choose one.
        port: u16,
    },
    /// A Unix socket, by its path.
    Unix(PathBuf),
    /// A socket that systemd passes, by its number.
    Systemd(usize),
}

impl ListenAddress {
    /// `port` on all interfaces.
    pub fn all_interfaces(port: u16) -> Self {
        Self::Tcp { host: None, port }
    }

    /// The port; none where there is none.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } => Some(*port),
            Self::Unix(_) | Self::Systemd(_) => None,
        }
    }

    /// The texts to bind for TCP, in the order to try them.
    ///
    /// All interfaces means IPv6 and IPv4 together where the system can do that, else IPv4.
    pub fn bind_candidates(&self) -> Vec<String> {
        match self {
            Self::Tcp {
                host: Some(host),
                port,
            } => vec![with_port(host, *port)],
            Self::Tcp { host: None, port } => {
                vec![format!("[::]:{port}"), format!("0.0.0.0:{port}")]
            }
            Self::Unix(_) | Self::Systemd(_) => Vec::new(),
        }
    }

    /// The texts to reach it by TCP from the same machine, in the order to try them.
    pub fn local_candidates(&self) -> Vec<String> {
        match self {
            Self::Tcp { host, port } if is_everywhere(host.as_deref()) => {
                let hosts = ["127.0.0.1", "[::1]"];
                hosts.map(|host| format!("{host}:{port}")).to_vec()
            }
            _ => self.bind_candidates(),
        }
    }
}

fn is_everywhere(host: Option<&str>) -> bool {
    matches!(host, None | Some("0.0.0.0" | "::"))
}

fn with_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// The first socket that systemd passes; further ones have a number behind it.
const SYSTEMD: &str = "systemd";
/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return match path.starts_with('/') && !path.contains('\0') {
                true if cfg!(unix) => Ok(Self::Unix(path.into())),
                true => Err("is a Unix socket, which this system has not".to_owned()),
                false => Err("needs an absolute path, like unix:/run/exporter.sock".to_owned()),
            };
        }
        if text == SYSTEMD {
            return Ok(Self::Systemd(0));
        }
        let number = text
            .strip_prefix(SYSTEMD)
            .and_then(|rest| rest.strip_prefix(':'));
        // A host may have this name: systemd passes no hundreds of sockets, and no service has so low a port.
        if let Some(number) = number.and_then(|number| number.parse().ok())
            && number < MOST_PASSED
        {
            return Ok(Self::Systemd(number));
        }
        let shape =
            || "is not an address like \":8080\", \"127.0.0.1:8080\" or \"[::1]:8080\"".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(shape)?;
        let port = port.parse().map_err(|_| shape())?;
        let bracketed = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let (host, is_ip) = match bracketed.map(str::parse::<std::net::Ipv6Addr>) {
            Some(address) => (address.map_err(|_| shape())?.to_string(), true),
            None => (host.to_owned(), false),
        };
        let is_name = host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
        if !is_ip && !is_name {
            return Err(shape());
        }
        Ok(Self::Tcp {
            host: (!host.is_empty()).then_some(host),
            port,
        })
    }
}

/// More sockets than systemd passes to one service.
const MOST_PASSED: usize = 100;

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => match host {
                Some(host) => f.write_str(&with_port(host, *port)),
                None => write!(f, ":{port}"),
            },
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
            Self::Systemd(0) => f.write_str(SYSTEMD),
            Self::Systemd(number) => write!(f, "{SYSTEMD}:{number}"),
        }
    }
}

/// Where the HTTP server listens: one address, or several separated by commas.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ListenAddresses(Vec<ListenAddress>);

impl ListenAddresses {
    /// The addresses, as they were written; at least one.
    pub fn iter(&self) -> impl Iterator<Item = &ListenAddress> {
        self.0.iter()
    }

    /// The port of the first that has one, else 0.
    pub fn port(&self) -> u16 {
        self.iter().find_map(ListenAddress::port).unwrap_or(0)
    }
}

impl From<ListenAddress> for ListenAddresses {
    fn from(address: ListenAddress) -> Self {
        Self(vec![address])
    }
}

impl FromStr for ListenAddresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut addresses: Vec<ListenAddress> = Vec::new();
        for part in text.split(',') {
            let address: ListenAddress = part.trim().parse()?;
            if address.port() != Some(0) && addresses.contains(&address) {
                return Err(format!("names {address} twice"));
            }
            addresses.push(address);
        }
        Ok(Self(addresses))
    }
}

impl TryFrom<String> for ListenAddresses {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for ListenAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}

impl Serialize for ListenAddresses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for ListenAddresses {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ListenAddresses".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "listen-addresses" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_read_and_bound() {
        let cases: [(&str, &[&str]); 5] = [
            (":8080", &["[::]:8080", "0.0.0.0:8080"]),
            ("127.0.0.1:0", &["127.0.0.1:0"]),
            ("localhost:9090", &["localhost:9090"]),
            ("[::1]:80", &["[::1]:80"]),
            ("0.0.0.0:1", &["0.0.0.0:1"]),
        ];
        for (text, candidates) in cases {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.bind_candidates(), candidates, "{text}");
        }
        for text in [":80", "0.0.0.0:80", "[::]:80"] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.local_candidates(), ["127.0.0.1:80", "[::1]:80"]);
        }
        let address: ListenAddress = "[::1]:80".parse().unwrap();
        assert_eq!(address.local_candidates(), ["[::1]:80"]);
        for text in [
            "",
            "8080",
            ":",
            ":x",
            ":65536",
            "::1:80",
            "http://x:80",
            "a b:80",
            "[::1:80",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn unix_sockets_and_those_of_systemd_are_read() {
        for (text, address) in [
            (
                "unix:/run/age.sock",
                ListenAddress::Unix("/run/age.sock".into()),
            ),
            ("systemd", ListenAddress::Systemd(0)),
            ("systemd:1", ListenAddress::Systemd(1)),
        ] {
            assert_eq!(text.parse(), Ok(address.clone()));
            assert_eq!(address.to_string(), text);
            assert!(address.bind_candidates().is_empty());
        }
        let host = "systemd:8080".parse::<ListenAddress>().unwrap();
        assert_eq!(host.port(), Some(8080));
        let error = "unix:age.sock".parse::<ListenAddress>().unwrap_err();
        assert!(error.starts_with("needs an absolute path"), "{error}");
        let mixed: ListenAddresses = "unix:/a, :8080".parse().unwrap();
        assert_eq!(mixed.port(), 8080);
        let twice = "unix:/a, unix:/a".parse::<ListenAddresses>().unwrap_err();
        assert_eq!(twice, "names unix:/a twice");
    }

    #[test]
    fn several_addresses_are_separated_by_commas() {
        let addresses: ListenAddresses = "127.0.0.1:8080,[::1]:8081 , :0,:0".parse().unwrap();
        assert_eq!(addresses.to_string(), "127.0.0.1:8080, [::1]:8081, :0, :0");
        assert_eq!(addresses.port(), 8080);
        for (text, clause) in [
            ("", "is not an address like"),
            (":80,", "is not an address like"),
            (":80,x", "is not an address like"),
            (":80, :80", "names :80 twice"),
        ] {
            let error = text.parse::<ListenAddresses>().unwrap_err();
            assert!(error.starts_with(clause), "{text}: {error}");
        }
    }
}
