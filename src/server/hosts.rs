//! Names under which this server is asked. A page in a browser can be asked for by another name that
//! leads here (DNS rebinding), and read by scripts of that other name.

use actix_web::dev::RequestHead;
use actix_web::http::header::HOST;

/// Paths that everybody may ask for by any name: nothing in their answers is a secret.
const OPEN: [&str; 4] = ["/health", "/metrics", "/ready", "/webhook"];

/// The names that are allowed.
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    /// None allows any.
    pub(super) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Whether a request names a host that is allowed, or need not.
    pub(super) fn allow(&self, request: &RequestHead) -> bool {
        if self.0.is_empty() || OPEN.contains(&request.uri.path()) {
            return true;
        }
        let authority = request.uri.authority().map(|authority| authority.as_str());
        let mut named = request
            .headers
            .get_all(HOST)
            .map(|value| value.to_str().unwrap_or_default())
            .chain(authority)
            .peekable();
        named.peek().is_some() && named.all(|host| self.has(host))
    }

    /// Whether a name is allowed, with its port or without.
    fn has(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = without_port(&host);
        self.0
            .iter()
            .any(|allowed| *allowed == host || allowed == name)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // In an IPv6 address without brackets there is no port.
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') =>
        {
            if name.contains(':') && !name.ends_with(']') {
                host
            } else {
                name
            }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_allowed_with_any_port_or_with_its_own() {
        let hosts =
            Hosts::new(&["Exporter.example.com", "[::1]", "10.0.0.1:8080"].map(String::from));
        for (host, allowed) in [
            ("exporter.example.com", true),
            ("EXPORTER.example.com:8080", true),
            ("exporter.example.com.evil.com", false),
            ("evil.com", false),
            ("[::1]", true),
            ("[::1]:8080", true),
            ("[::2]:8080", false),
            ("10.0.0.1:8080", true),
            ("10.0.0.1", false),
            ("10.0.0.1:9090", false),
            ("", false),
            (":8080", false),
        ] {
            assert_eq!(hosts.has(host), allowed, "{host}");
        }
    }
}
