//! Addresses on which the HTTP server listens.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

/// An address of the HTTP server: `host:port`, or `:port` for all interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    host: Option<String>,
    port: u16,
}

impl ListenAddress {
    /// `port` on all interfaces.
    pub fn all_interfaces(port: u16) -> Self {
        Self { host: None, port }
    }

    /// The host name or IP address to listen on; `None` means all interfaces.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The port; 0 lets the system choose one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The texts to bind, in the order to try them.
    ///
    /// All interfaces means IPv6 and IPv4 together where the system can do that, else IPv4.
    pub fn bind_candidates(&self) -> Vec<String> {
        match &self.host {
            Some(host) if host.contains(':') => vec![format!("[{host}]:{}", self.port)],
            Some(host) => vec![format!("{host}:{}", self.port)],
            None => vec![
                format!("[::]:{}", self.port),
                format!("0.0.0.0:{}", self.port),
            ],
        }
    }

    /// The texts to reach it by from the same machine, in the order to try them.
    pub fn local_candidates(&self) -> Vec<String> {
        let loopback = match self.host.as_deref() {
            None | Some("0.0.0.0" | "::") => ["127.0.0.1", "[::1]"],
            Some(_) => return self.bind_candidates(),
        };
        loopback
            .map(|host| format!("{host}:{}", self.port))
            .to_vec()
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
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
        Ok(Self {
            host: (!host.is_empty()).then_some(host),
            port,
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
            None => write!(f, ":{}", self.port),
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

    /// The port of the first.
    pub fn port(&self) -> u16 {
        self.0.first().map_or(0, ListenAddress::port)
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
            if address.port() != 0 && addresses.contains(&address) {
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
