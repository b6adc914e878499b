//! The admin interface's socket.
//!
//! Invariants: at most [`CONNECTIONS_MAX`] connections without an event stream are open, later ones wait in the kernel.
//! The file of a unix socket is removed when the listener goes.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use isobar_config::AddressText;
use isobar_core::Address;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::connection::{self, Stream};

/// Connections open at once: a fleet has a handful of scrapers and probes, each with a connection or two.
const CONNECTIONS_MAX: usize = 128;

/// Bytes that the kernel keeps for a TCP reader that does not read (it doubles this): a thousand event streams then hold
/// at most 128 MiB there, where its own choice may be megabytes for each.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Pause after an accept that failed for want of descriptors or memory: long enough not to spin.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// The admin interface cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("admin interface: cannot listen on {address}: {source}{}", hint(.source))]
pub(crate) struct AdminBindError {
    address: String,
    source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; stop the process that listens there or change `listen` of [admin]",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE, socket files a writable folder"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        io::ErrorKind::NotFound => "; make the folder of the socket file first",
        _ => "",
    }
}

/// A bound socket that does not accept yet.
#[derive(Debug)]
pub(crate) struct AdminListener {
    socket: Socket,
    address: Address,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
}

/// Removes the file of a socket that still listens, so that it cannot be a successor's.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            debug!(path = %self.0.display(), %error, "the admin interface's socket file could not be removed");
        }
    }
}

impl AdminListener {
    /// Binds the address of the settings; a host name listens on the first of its addresses that works.
    pub(crate) async fn bind(written: &AddressText) -> Result<Self, AdminBindError> {
        let bound = match written {
            AddressText::Unix(path) => bind_unix(path).await,
            AddressText::Tcp { host, port } if host.is_empty() => bind_every_interface(*port).await,
            AddressText::Tcp { host, port } => bind_tcp((host.as_str(), *port)).await,
        };
        bound.map_err(|source| AdminBindError { address: written.to_string(), source })
    }

    /// Where it listens; for port 0, the port that the system chose.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(self, router: Router) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            match self.accept().await {
                Ok(stream) => {
                    tokio::spawn(connection::serve(stream, router.clone(), permit));
                }
                Err(error) => {
                    warn!(%error, "the admin interface cannot accept a connection");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match &self.socket {
            Socket::Tcp(listener) => Box::new(listener.accept().await?.0),
            Socket::Unix { listener, .. } => Box::new(listener.accept().await?.0),
        })
    }
}

/// Every interface, v6 and v4 on one socket; v4 alone where the machine has no v6.
async fn bind_every_interface(port: u16) -> io::Result<AdminListener> {
    match bind_tcp(("::", port)).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => bind_tcp(("0.0.0.0", port)).await,
        bound => bound,
    }
}

async fn bind_tcp(address: (&str, u16)) -> io::Result<AdminListener> {
    let listener = TcpListener::bind(address).await?;
    // Accepted sockets inherit it.
    rustix::net::sockopt::set_socket_send_buffer_size(&listener, SEND_BUFFER_BYTES)?;
    let address = Address::Tcp(listener.local_addr()?);
    Ok(AdminListener { socket: Socket::Tcp(listener), address })
}

async fn bind_unix(path: &Path) -> io::Result<AdminListener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_behind(path).await => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    let socket = Socket::Unix { listener, _file: SocketFile(path.to_owned()) };
    Ok(AdminListener { socket, address: Address::Unix(path.into()) })
}

/// Whether this is the socket of a process that ended without cleaning up: it refuses connections. So does a file that
/// is no socket, which is somebody's and stays.
async fn is_left_behind(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let connected = UnixStream::connect(path).await;
    is_socket && connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
