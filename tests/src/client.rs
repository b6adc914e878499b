//! A client that sends exactly the bytes it is given and reads answers strictly.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::{PATIENCE, Session};

/// A raw connection.
pub struct Client {
    /// The socket.
    pub stream: TcpStream,
    /// What is spoken over it.
    pub session: Session,
    buffered: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// The head as it came, with its empty line.
    pub head: String,
    /// The body, decoded.
    pub body: Vec<u8>,
    /// Trailer lines, as they came.
    pub trailers: String,
}

impl Response {
    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The value of `x-isobar-error`, or nothing.
    pub fn error(&self) -> &str {
        self.header("x-isobar-error").unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// Connects; reads and writes give up after the harness's patience.
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// Takes a connection that was made already.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, session: Session::Plain, buffered: Vec::new() }
    }

    /// Connects and speaks TLS to a server of this name.
    ///
    /// # Errors
    /// The handshake failed.
    pub fn connect_tls(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> std::io::Result<Self> {
        let mut client = Self::over(TcpStream::connect(address)?);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        client.session = Session::to(config, name, &mut client.stream)?;
        Ok(client)
    }

    /// Sends these bytes; a peer that closed already is not an error here, the answer tells.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // An error shows in the answer, or in there being none.
        let _ = self.session.send(&mut self.stream, bytes.as_ref());
    }

    /// Ends the sending direction.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn fill(&mut self) -> Option<usize> {
        let mut piece = vec![0; 64 * 1024];
        let n = self.session.read(&mut self.stream, &mut piece).ok()?;
        self.buffered.extend_from_slice(&piece[..n]);
        Some(n)
    }

    /// Reads one final answer to a request of this method; panics where there is none.
    pub fn response(&mut self, method: &str) -> Response {
        loop {
            let response = self.any_response(method).expect("no answer came");
            if response.status >= 200 || response.status == 101 {
                return response;
            }
        }
    }

    /// Reads one answer, informational ones included; `None` when the connection ended or stalled before its end.
    pub fn any_response(&mut self, method: &str) -> Option<Response> {
        let head_len = loop {
            if let Some(at) = self.buffered.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if self.fill()? == 0 {
                return None;
            }
        };
        let head: Vec<u8> = self.buffered.drain(..head_len).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
        let mut response = Response { status, head, body: Vec::new(), trailers: String::new() };
        let bodiless = method == "HEAD" || status < 200 || status == 204 || status == 304;
        if bodiless {
            return Some(response);
        }
        if response.header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            self.read_chunks(&mut response)?;
        } else if let Some(length) = response.header("content-length") {
            let length: usize = length.parse().unwrap();
            response.body = self.exactly(length)?;
        } else {
            while self.fill()? > 0 {}
            response.body = std::mem::take(&mut self.buffered);
        }
        Some(response)
    }

    fn read_chunks(&mut self, response: &mut Response) -> Option<()> {
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(line.trim_end(), 16).expect("a chunk size");
            if size == 0 {
                break;
            }
            response.body.extend(self.exactly(size)?);
            assert_eq!(self.exactly(2)?, b"\r\n", "a chunk ends with CRLF");
        }
        loop {
            let line = self.line()?;
            if line == "\r\n" {
                return Some(());
            }
            response.trailers.push_str(&line);
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffered.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffered.drain(..=at).collect();
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            if self.fill()? == 0 {
                return None;
            }
        }
    }

    /// The next `n` bytes.
    pub fn exactly(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.buffered.len() < n {
            if self.fill()? == 0 {
                return None;
            }
        }
        Some(self.buffered.drain(..n).collect())
    }

    /// Reads to the end; true where the other side closed (orderly or by reset), false where it stayed open.
    pub fn is_closed_by_peer(&mut self) -> bool {
        let mut piece = [0; 4096];
        loop {
            match self.session.read(&mut self.stream, &mut piece) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}
