//! Binding listening sockets: all that a configuration asks for, or none.
//!
//! One socket per listener, not a reuse-port group: members of a group reset what waits in their queue when they close.
//! Invariants: nothing is accepted here; a unix socket's file goes when its socket does, so that a bind that is given
//! up leaves nothing behind.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use isobar_config::{AddressText, ListenerSettings, Settings};
use isobar_core::Address;
use socket2::{Domain, SockAddr, Socket, Type};

/// Connections that the kernel keeps for us between two accepts; it caps the number at `net.core.somaxconn` itself.
const BACKLOG: i32 = 4096;

/// A listener that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener \"{name}\" cannot listen on {address}: {source}{hint}")]
pub struct BindError {
    name: String,
    address: AddressText,
    source: io::Error,
    hint: &'static str,
}

/// Every listener that could not be bound, one a line.
#[derive(Debug)]
pub struct BindErrors(Vec<BindError>);

impl std::fmt::Display for BindErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for BindErrors {}

/// Listeners that are bound and do not accept yet.
#[derive(Debug)]
pub struct Bound {
    pub(crate) sockets: Vec<BoundSocket>,
}

#[derive(Debug)]
pub(crate) struct BoundSocket {
    pub(crate) name: String,
    pub(crate) socket: Socket,
    pub(crate) address: Address,
    pub(crate) file: Option<SocketFile>,
}

/// The file of a unix socket; dropping this removes it.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the socket file could not be removed");
        }
    }
}

impl Bound {
    /// Names and real addresses; where the settings said port 0, the port that the system chose.
    pub fn addresses(&self) -> Vec<(String, Address)> {
        self.sockets.iter().map(|bound| (bound.name.clone(), bound.address.clone())).collect()
    }
}

/// Whether there are listeners already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    Start,
    Change,
}

/// Binds every listener of `settings`.
pub fn bind(settings: &Settings) -> Result<Bound, BindErrors> {
    bind_each(settings.listeners.iter(), Occasion::Start)
}

/// Binds these listeners, in order.
pub(crate) fn bind_each<'a>(
    listeners: impl Iterator<Item = &'a ListenerSettings>,
    occasion: Occasion,
) -> Result<Bound, BindErrors> {
    let (mut sockets, mut errors) = (Vec::new(), Vec::new());
    for listener in listeners {
        match bind_one(&listener.listen) {
            Ok((socket, address)) => sockets.push(BoundSocket {
                name: listener.name.clone(),
                socket,
                address,
                file: match &listener.listen {
                    AddressText::Unix(path) => Some(SocketFile(path.clone())),
                    AddressText::Tcp { .. } => None,
                },
            }),
            Err(source) => errors.push(BindError {
                name: listener.name.clone(),
                address: listener.listen.clone(),
                hint: hint(&source, occasion),
                source,
            }),
        }
    }
    if errors.is_empty() { Ok(Bound { sockets }) } else { Err(BindErrors(errors)) }
}

fn hint(error: &io::Error, occasion: Occasion) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse if occasion == Occasion::Change => {
            "; another process listens there, or a listener of the running configuration that writes this address \
             differently: keep its spelling, or remove it in a change of its own first"
        }
        io::ErrorKind::AddrInUse => "; another process listens there: stop it or choose another port",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE, paths need write access"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    }
}

fn bind_one(address: &AddressText) -> io::Result<(Socket, Address)> {
    match address {
        AddressText::Unix(path) => bind_unix(path),
        AddressText::Tcp { host, port } if host.is_empty() => {
            // Every interface: one v6 socket that takes v4 as well; v4 alone where the machine has no v6.
            bind_tcp(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), *port)).or_else(|error| {
                if error.kind() == io::ErrorKind::AddrInUse {
                    return Err(error);
                }
                bind_tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), *port))
            })
        }
        AddressText::Tcp { host, port } => {
            let mut addresses = std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), *port))?;
            let first = addresses.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
            bind_tcp(first)
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<(Socket, Address)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_reuse_address(true)?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    // Inherited by accepted sockets: one system call here instead of one per connection.
    socket.set_tcp_nodelay(true)?;
    let local = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok((socket, Address::Tcp(local)))
}

fn bind_unix(path: &PathBuf) -> io::Result<(Socket, Address)> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse || !is_left_behind(path) {
            return Err(error);
        }
        std::fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    socket.listen(BACKLOG)?;
    Ok((socket, Address::Unix(path.as_path().into())))
}

/// Whether this is the socket of a process that ended without cleaning up: it refuses connections. So does a file that
/// is no socket, which is somebody's and stays.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let connected = std::os::unix::net::UnixStream::connect(path);
    is_socket && connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
