//! Just enough HTTP/1.1 to see whether a peer answers rightly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::error::BenchError;
use crate::secure::HOST;

/// How long one answer may take before the peer counts as failed.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// More than any head of these peers.
const HEAD_MAX: usize = 16 * 1024;

/// Opens a connection for [`ask`].
pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream, BenchError> {
    let open = || {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    open().map_err(|error: std::io::Error| BenchError::Answer(format!("{address}: {error}")))
}

/// As [`connect`], over TLS; the handshake is made with the first request.
pub(crate) fn connect_tls(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Result<StreamOwned<ClientConnection, TcpStream>, BenchError> {
    let wrong = |error: &dyn std::error::Error| BenchError::Answer(format!("{address}: {error}"));
    let name = ServerName::try_from(HOST).map_err(|error| wrong(&error))?;
    let session = ClientConnection::new(Arc::clone(config), name).map_err(|error| wrong(&error))?;
    Ok(StreamOwned::new(session, connect(address)?))
}

/// Whether a connection is to stay open after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Yes,
    No,
}

/// Sends one request for `path` and checks for status 200 and exactly `body`.
pub(crate) fn ask(
    stream: &mut (impl Read + Write + ?Sized),
    path: &str,
    body: &[u8],
    kept: Kept,
) -> Result<(), BenchError> {
    let close = if kept == Kept::No { "Connection: close\r\n" } else { "" };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{close}\r\n");
    let wrong = |what: String| BenchError::Answer(format!("GET {path}: {what}"));
    stream.write_all(request.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    let mut answer = Vec::with_capacity(body.len() + 512);
    let mut piece = [0; 8 * 1024];
    loop {
        if let Some(head) = head_length(&answer) {
            check_head(&answer[..head], body.len(), kept).map_err(wrong)?;
            if answer.len() - head >= body.len() {
                return if answer[head..] == *body {
                    Ok(())
                } else {
                    Err(wrong("the body differs".to_owned()))
                };
            }
        } else if answer.len() > HEAD_MAX {
            return Err(wrong("the head does not end".to_owned()));
        }
        match stream.read(&mut piece) {
            Ok(0) => return Err(wrong("closed before the whole answer came".to_owned())),
            Ok(n) => answer.extend_from_slice(&piece[..n]),
            Err(error) => return Err(wrong(error.to_string())),
        }
    }
}

fn head_length(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// A head that says 200, the right length, and that the connection stays open where it is to be.
fn check_head(head: &[u8], length: usize, kept: Kept) -> Result<(), String> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let first = head.lines().next().unwrap_or_default();
    if !first.starts_with("http/1.1 200") {
        return Err(format!("answered `{first}`"));
    }
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if value("content-length:") != Some(&length.to_string()) {
        return Err(format!("content-length is {:?}, not {length}", value("content-length:")));
    }
    if kept == Kept::Yes && value("connection:") == Some("close") {
        return Err("the connection is not kept".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Kept, check_head};

    #[test]
    fn only_a_200_of_the_right_length_passes() {
        let check_head = |head, length| check_head(head, length, Kept::Yes);
        assert_eq!(check_head(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 5), Ok(()));
        assert!(check_head(b"HTTP/1.1 502 Bad\r\nContent-Length: 5\r\n\r\n", 5).is_err());
        assert!(check_head(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", 5).is_err());
    }

    #[test]
    fn a_close_is_wrong_where_the_connection_is_kept() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
        assert!(check_head(head, 5, Kept::Yes).is_err());
        assert_eq!(check_head(head, 5, Kept::No), Ok(()));
    }
}
