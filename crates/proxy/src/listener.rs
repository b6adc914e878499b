//! Listening sockets: bound at the start, accepted from by one task, handed to the workers.
//!
//! One socket per listener, not a reuse-port group: members of a group reset what waits in their queue when they
//! close. With one worker the acceptor runs on it; with several it has a thread of its own and gives each connection
//! to the worker that has the fewest.
//! Invariants: when draining, the queue of the kernel is emptied before the socket closes; running out of descriptors
//! pauses accepting and harms nothing that is open.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use isobar_config::{AddressText, Settings};
use isobar_core::Address;
use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::sync::watch;

use crate::worker::{Message, WorkerHandle};

/// Connections that the kernel keeps for us between two accepts; it caps the number at `net.core.somaxconn` itself.
const BACKLOG: i32 = 4096;

/// Accepts in a row before the connections that run get their turn.
const ACCEPTS_PER_WAKE: usize = 64;

/// Pause after running out of descriptors or memory: long enough not to spin, short enough not to be noticed.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// A listener as its connections and its acceptor share it.
pub(crate) struct ListenerShared {
    /// Position in the plan.
    pub(crate) index: usize,
    pub(crate) is_unix: bool,
    n_open: AtomicUsize,
    max_open: usize,
    /// Told when a connection closes while the listener is at its maximum.
    room: Notify,
    /// Accepts that failed for want of descriptors or memory.
    pub(crate) n_exhausted: AtomicUsize,
}

impl ListenerShared {
    pub(crate) fn release(&self) {
        if self.n_open.fetch_sub(1, Ordering::Relaxed) >= self.max_open {
            self.room.notify_one();
        }
    }

    fn is_full(&self) -> bool {
        self.n_open.load(Ordering::Relaxed) >= self.max_open
    }
}

/// A connection on its way to a worker.
pub(crate) struct Accepted {
    pub(crate) listener: Arc<ListenerShared>,
    pub(crate) socket: OwnedFd,
    /// The caller; `None` on a unix socket.
    pub(crate) peer: Option<SocketAddr>,
}

/// A listener that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener \"{name}\" cannot listen on {address}: {source}{hint}")]
pub struct BindError {
    name: String,
    address: String,
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
    /// Removed when the listener closes.
    pub(crate) unix_path: Option<PathBuf>,
}

impl Bound {
    /// Names and real addresses; where the settings said port 0, the port that the system chose.
    pub fn addresses(&self) -> Vec<(String, Address)> {
        self.sockets.iter().map(|bound| (bound.name.clone(), bound.address.clone())).collect()
    }
}

/// Binds every listener of `settings`.
pub fn bind(settings: &Settings) -> Result<Bound, BindErrors> {
    let (mut sockets, mut errors) = (Vec::new(), Vec::new());
    for listener in &settings.listeners {
        match bind_one(&listener.listen) {
            Ok((socket, address)) => sockets.push(BoundSocket {
                name: listener.name.clone(),
                socket,
                address,
                unix_path: match &listener.listen {
                    AddressText::Unix(path) => Some(path.clone()),
                    AddressText::Tcp { .. } => None,
                },
            }),
            Err(source) => errors.push(BindError {
                name: listener.name.clone(),
                address: shown(&listener.listen),
                hint: hint(&source),
                source,
            }),
        }
    }
    if errors.is_empty() { Ok(Bound { sockets }) } else { Err(BindErrors(errors)) }
}

fn shown(address: &AddressText) -> String {
    match address {
        AddressText::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        AddressText::Tcp { host, port } => format!("{host}:{port}"),
        AddressText::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
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

/// One listener's accept loop.
pub(crate) struct Acceptor {
    pub(crate) shared: Arc<ListenerShared>,
    pub(crate) workers: Arc<[WorkerHandle]>,
    /// Turns true when the listener must close.
    pub(crate) closing: watch::Receiver<bool>,
}

enum Accepts {
    /// The turn is over, the queue may hold more.
    More,
    Empty,
    Exhausted,
}

impl ListenerShared {
    pub(crate) fn new(index: usize, is_unix: bool, max_open: usize) -> Arc<Self> {
        Arc::new(Self {
            index,
            is_unix,
            n_open: AtomicUsize::new(0),
            max_open,
            room: Notify::new(),
            n_exhausted: AtomicUsize::new(0),
        })
    }
}

impl Acceptor {
    /// Accepts until told to close; then takes what the kernel has queued and closes the socket.
    ///
    /// `accepted` is dropped when the socket is closed.
    pub(crate) async fn run(mut self, bound: BoundSocket, accepted: std::sync::mpsc::Sender<()>) {
        let name = bound.name.clone();
        if let Err(error) = self.accept(bound).await {
            tracing::error!(listener = name, %error, "the listener cannot accept any more");
        }
        drop(accepted);
    }

    async fn accept(&mut self, bound: BoundSocket) -> io::Result<()> {
        #[expect(
            deprecated,
            reason = "the unsoundness is for types that can close their descriptor early; a Socket owns it until the \
                      AsyncFd is gone, and the replacement is an unsafe function"
        )]
        let socket = AsyncFd::new(bound.socket)?;
        let mut closing = self.closing.clone();
        while !*closing.borrow_and_update() {
            let full = self.shared.is_full();
            tokio::select! {
                biased;
                changed = closing.changed() => if changed.is_err() { break },
                () = self.shared.room.notified(), if full => {}
                ready = socket.readable(), if !full => {
                    let mut ready = ready?;
                    match self.accept_some(socket.get_ref(), &bound.name) {
                        Accepts::More => tokio::task::yield_now().await,
                        Accepts::Empty => ready.clear_ready(),
                        Accepts::Exhausted => tokio::time::sleep(EXHAUSTED_PAUSE).await,
                    }
                }
            }
        }
        while let Accepts::More = self.accept_some(socket.get_ref(), &bound.name) {}
        if let Some(path) = bound.unix_path
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(%error, path = %path.display(), "the socket file could not be removed");
        }
        Ok(())
    }

    fn accept_some(&mut self, socket: &Socket, name: &str) -> Accepts {
        for _ in 0..ACCEPTS_PER_WAKE {
            if self.shared.is_full() {
                return Accepts::Empty;
            }
            match rustix::net::acceptfrom_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok((accepted, peer)) => self.hand_over(accepted, peer),
                Err(Errno::WOULDBLOCK) => return Accepts::Empty,
                Err(error) if is_exhaustion(error) => {
                    if self.shared.n_exhausted.fetch_add(1, Ordering::Relaxed) == 0 {
                        tracing::warn!(listener = name, %error, "no more connections can be accepted until some close");
                    }
                    return Accepts::Exhausted;
                }
                // The caller went away while it waited in the queue (ECONNABORTED and the like).
                Err(error) => {
                    tracing::debug!(listener = name, %error, "a connection was lost before it was accepted");
                }
            }
        }
        Accepts::More
    }

    fn hand_over(&self, socket: OwnedFd, peer: Option<SocketAddrAny>) {
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        let accepted = Accepted { listener: Arc::clone(&self.shared), socket, peer };
        let fewest = self.workers.iter().min_by_key(|worker| worker.n_connections.load(Ordering::Relaxed));
        let Some(worker) = fewest else { return };
        self.shared.n_open.fetch_add(1, Ordering::Relaxed);
        worker.n_connections.fetch_add(1, Ordering::Relaxed);
        if worker.messages.send(Message::Connection(accepted)).is_err() {
            tracing::debug!("a worker ended before it took its last connection");
        }
    }
}

fn is_exhaustion(error: Errno) -> bool {
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&error)
}
