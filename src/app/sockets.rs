//! The addresses that the settings name, bound before anything else starts.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{ListenAddress, ListenAddresses, Server};

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 1024;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "{setting}: {address}: cannot bind ({why}): is the address already in use? Choose another with {flag}"
)]
pub struct BindError {
    setting: &'static str,
    address: ListenAddress,
    why: String,
    flag: String,
}

/// Where the server answers: bound addresses by the setting that names them.
#[derive(Debug)]
pub struct Sockets {
    /// `server.listen_address`.
    pub main: Vec<TcpListener>,
    /// `server.probes.listen_address`.
    pub probes: Vec<TcpListener>,
    /// `server.webhook.listen_address`, where webhooks are received.
    pub webhook: Vec<TcpListener>,
}

impl Sockets {
    /// Binds all addresses that the settings name.
    ///
    /// # Errors
    /// When one of them cannot be bound.
    pub fn bind(settings: &Server) -> Result<Self, BindError> {
        let probes = settings.probes.listen_address.as_ref();
        let webhook = settings.webhook.listen_address.as_ref();
        let webhook = webhook.filter(|_| settings.webhook.enabled);
        Ok(Self {
            main: bind("server.listen_address", Some(&settings.listen_address))?,
            probes: bind("server.probes.listen_address", probes)?,
            webhook: bind("server.webhook.listen_address", webhook)?,
        })
    }

    /// Where all of them answer, those of `server.listen_address` first.
    pub(super) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let further = self.probes.iter().chain(&self.webhook);
        let all = self.main.iter().chain(further);
        all.map(TcpListener::local_addr).collect()
    }
}

impl From<TcpListener> for Sockets {
    fn from(main: TcpListener) -> Self {
        Self {
            main: vec![main],
            probes: Vec::new(),
            webhook: Vec::new(),
        }
    }
}

/// Binds all addresses that a setting names.
fn bind(
    setting: &'static str,
    addresses: Option<&ListenAddresses>,
) -> Result<Vec<TcpListener>, BindError> {
    let addresses = addresses.into_iter().flat_map(ListenAddresses::iter);
    addresses
        .map(|address| {
            bind_one(address).map_err(|why| BindError {
                setting,
                address: address.clone(),
                why: why.to_string(),
                flag: match setting {
                    "server.listen_address" => "--server-listen-address".to_owned(),
                    setting => format!("--set {setting}=…"),
                },
            })
        })
        .collect()
}

/// Binds the first candidate that can be bound: `:8080` means all interfaces, by IPv6 if there is.
fn bind_one(address: &ListenAddress) -> io::Result<TcpListener> {
    let mut last = None;
    for candidate in address.bind_candidates() {
        match listen(&candidate) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("no such address")))
}

fn listen(candidate: &str) -> io::Result<TcpListener> {
    let mut last = None;
    for address in candidate.to_socket_addrs()? {
        let listener = match address.ip() {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => listen_on_both(address),
            _ => TcpListener::bind(address),
        };
        match listener {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// All of IPv6 and with it all of IPv4. Windows, and Linux when configured so, would leave IPv4 out.
fn listen_on_both(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    // As the standard library does: else a port whose connections are just closing is refused. On
    // Windows, where it would let two programs have the same port, it is not needed for that.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::config::Config;

    #[test]
    fn all_interfaces_are_those_of_ipv4_too() {
        let listener = bind_one(&ListenAddress::all_interfaces(0)).unwrap();
        let address = listener.local_addr().unwrap();
        TcpStream::connect(("127.0.0.1", address.port())).unwrap();
        if address.is_ipv6() {
            TcpStream::connect(("::1", address.port())).unwrap();
        }
        let taken = bind_one(&ListenAddress::all_interfaces(address.port()));
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn all_addresses_are_bound_and_one_that_cannot_be_is_named_with_its_setting() {
        let bind = |server: &str| {
            let yaml =
                format!("gitlab: {{token: glpat-1}}\nprojects: [{{name: g/p}}]\nserver: {server}");
            Sockets::bind(&Config::from_yaml(&yaml).unwrap().server)
        };
        let sockets = bind(
            "{listen_address: '127.0.0.1:0, 127.0.0.1:0', probes: {listen_address: '127.0.0.1:0'}}",
        )
        .unwrap();
        assert_eq!((sockets.main.len(), sockets.probes.len()), (2, 1));
        let addresses = sockets.addresses().unwrap();
        for address in &addresses {
            TcpStream::connect(address).unwrap();
        }
        let taken = format!(
            "{{listen_address: '127.0.0.1:0', probes: {{listen_address: '{}'}}}}",
            addresses[0]
        );
        let said = bind(&taken).unwrap_err().to_string();
        let start = format!(
            "server.probes.listen_address: {}: cannot bind (",
            addresses[0]
        );
        let end = "is the address already in use? Choose another with --set server.probes.listen_address=…";
        assert!(said.starts_with(&start) && said.ends_with(end), "{said}");
    }
}
