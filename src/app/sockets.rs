//! The addresses that the settings name, bound before anything else starts.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
#[cfg(unix)]
use std::path::Path;

use listenfd::ListenFd;
use socket2::{Domain, Protocol, Type};

use crate::config::{ListenAddress, ListenAddresses, Server};
use crate::server::{Address, Socket};

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 1024;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {address}: cannot bind ({why}): {advice}")]
pub struct BindError {
    setting: &'static str,
    address: ListenAddress,
    why: String,
    advice: String,
}

/// Where the server answers: bound addresses by the setting that names them.
#[derive(Debug)]
pub struct Sockets {
    /// `server.listen_address`.
    pub main: Vec<Socket>,
    /// `server.probes.listen_address`.
    pub probes: Vec<Socket>,
    /// `server.webhook.listen_address`, where webhooks are received.
    pub webhook: Vec<Socket>,
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
        // It takes its variables out of the environment: only where it is needed.
        let of_systemd = |address: &ListenAddress| matches!(address, ListenAddress::Systemd(_));
        let all = [Some(&settings.listen_address), probes, webhook];
        let mut all = all.into_iter().flatten().flat_map(ListenAddresses::iter);
        let mut passed = match all.any(of_systemd) {
            true => ListenFd::from_env(),
            false => ListenFd::empty(),
        };
        let mut bind = |setting, addresses| bind(setting, addresses, &mut passed);
        Ok(Self {
            main: bind("server.listen_address", Some(&settings.listen_address))?,
            probes: bind("server.probes.listen_address", probes)?,
            webhook: bind("server.webhook.listen_address", webhook)?,
        })
    }

    /// Where all of them answer, those of `server.listen_address` first.
    pub(super) fn addresses(&self) -> io::Result<Vec<Address>> {
        let further = self.probes.iter().chain(&self.webhook);
        let all = self.main.iter().chain(further);
        all.map(Socket::address).collect()
    }
}

impl From<TcpListener> for Sockets {
    fn from(main: TcpListener) -> Self {
        Self {
            main: vec![main.into()],
            probes: Vec::new(),
            webhook: Vec::new(),
        }
    }
}

/// Binds all addresses that a setting names; `passed` are the sockets of systemd.
fn bind(
    setting: &'static str,
    addresses: Option<&ListenAddresses>,
    passed: &mut ListenFd,
) -> Result<Vec<Socket>, BindError> {
    let addresses = addresses.into_iter().flat_map(ListenAddresses::iter);
    let bound = addresses.map(|address| {
        let socket = match address {
            ListenAddress::Tcp { .. } => bind_one(address).map(Socket::Tcp),
            #[cfg(unix)]
            ListenAddress::Unix(path) => bind_path(path).map(Socket::Unix),
            #[cfg(not(unix))]
            ListenAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            ListenAddress::Systemd(number) => take(passed, *number),
        };
        socket.map_err(|why| BindError {
            setting,
            address: address.clone(),
            advice: advice(setting, address, passed),
            why: why.to_string(),
        })
    });
    bound.collect()
}

/// What to do where an address cannot be bound.
fn advice(setting: &str, address: &ListenAddress, passed: &ListenFd) -> String {
    let flag = match setting {
        "server.listen_address" => "--server-listen-address".to_owned(),
        setting => format!("--set {setting}=…"),
    };
    match address {
        ListenAddress::Tcp { .. } => {
            format!("is the address already in use? Choose another with {flag}")
        }
        ListenAddress::Unix(_) => {
            format!(
                "check that its directory exists and can be written, or choose another with {flag}"
            )
        }
        ListenAddress::Systemd(_) => format!(
            "systemd passes {} sockets; start the exporter by its socket unit, or choose another address with {flag}",
            passed.len()
        ),
    }
}

/// A socket that systemd passes: TCP or Unix.
fn take(passed: &mut ListenFd, number: usize) -> io::Result<Socket> {
    let none = || io::Error::new(io::ErrorKind::NotFound, "no such socket was passed");
    #[cfg(unix)]
    if let Ok(Some(listener)) = passed.take_unix_listener(number) {
        return Ok(Socket::Unix(listener));
    }
    let listener = passed.take_tcp_listener(number)?;
    listener.map(Socket::Tcp).ok_or_else(none)
}

/// Listens on a Unix socket. What an exporter left that was killed is replaced; one that is still answered
/// is not. Its user and group may connect.
#[cfg(unix)]
fn bind_path(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let is_socket = std::fs::metadata(path)?.file_type().is_socket();
            if !is_socket || UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
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
    let socket = socket2::Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
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
            TcpStream::connect(address.tcp().unwrap()).unwrap();
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

    #[cfg(unix)]
    #[test]
    fn a_socket_that_was_left_is_replaced_and_one_in_use_is_not() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("age.sock");
        let first = bind_path(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let taken = bind_path(&path).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let _second = bind_path(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        let file = folder.path().join("a file");
        std::fs::write(&file, "kept").unwrap();
        assert!(bind_path(&file).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    }

    #[test]
    fn a_socket_that_systemd_does_not_pass_is_named() {
        let yaml =
            "gitlab: {token: glpat-1}\nprojects: [{name: g/p}]\nserver: {listen_address: systemd}";
        let error = Sockets::bind(&Config::from_yaml(yaml).unwrap().server).unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with("server.listen_address: systemd: cannot bind (no such socket was passed): systemd passes 0 sockets"), "{said}");
    }
}
