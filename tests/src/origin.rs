//! Endpoints that do exactly what a test wants, right or wrong.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;

use crate::{PATIENCE, Session};

/// A listening endpoint; each connection runs the script on a thread of its own.
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    n_connections: Arc<AtomicUsize>,
}

/// One connection as the script sees it.
pub struct Visit {
    /// The socket.
    pub stream: TcpStream,
    /// Position of this connection among all, from 0.
    pub index: usize,
    /// What is spoken over it.
    pub session: Session,
    buffered: Vec<u8>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    /// Starts one that runs `script` for every connection.
    pub fn start(script: impl Fn(&mut Visit) + Send + Sync + 'static) -> Self {
        Self::launch(None, script)
    }

    /// As `start`, over TLS; a connection whose handshake fails is dropped.
    pub fn start_tls(tls: Arc<ServerConfig>, script: impl Fn(&mut Visit) + Send + Sync + 'static) -> Self {
        Self::launch(Some(tls), script)
    }

    fn launch(tls: Option<Arc<ServerConfig>>, script: impl Fn(&mut Visit) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (heads, n_connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (kept, counted, script) = (Arc::clone(&heads), Arc::clone(&n_connections), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let index = counted.fetch_add(1, Ordering::SeqCst);
                let (heads, script, tls) = (Arc::clone(&kept), Arc::clone(&script), tls.clone());
                let mut stream = stream;
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    stream.set_nodelay(true).unwrap();
                    let session = match tls {
                        None => Ok(Session::Plain),
                        Some(tls) => Session::of(&tls, &mut stream),
                    };
                    let Ok(session) = session else { return };
                    script(&mut Visit { stream, index, session, buffered: Vec::new(), heads });
                });
            }
        });
        Self { address, heads, n_connections }
    }

    /// Answers every request with 200 and this body, keeping connections.
    pub fn answering(body: &str) -> Self {
        let body = body.to_owned();
        Self::start(move |visit| {
            while visit.head().is_some() {
                visit.answer(&body);
            }
        })
    }

    /// As `answering`, over TLS.
    pub fn answering_tls(tls: Arc<ServerConfig>, body: &str) -> Self {
        let body = body.to_owned();
        Self::start_tls(tls, move |visit| {
            while visit.head().is_some() {
                visit.answer(&body);
            }
        })
    }

    /// Answers with the request it got: head and body, for any framing.
    pub fn echoing() -> Self {
        Self::start(|visit| {
            while let Some(head) = visit.head() {
                let body = visit.body(&head);
                let mut echoed = head.into_bytes();
                echoed.extend_from_slice(&body);
                visit.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", echoed.len()));
                visit.send(&echoed);
            }
        })
    }

    /// Every request head that arrived.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// Connections that were made to it.
    pub fn n_connections(&self) -> usize {
        self.n_connections.load(Ordering::SeqCst)
    }
}

impl Visit {
    fn fill(&mut self) -> Option<()> {
        let mut piece = vec![0; 64 * 1024];
        let n = self.session.read(&mut self.stream, &mut piece).ok().filter(|&n| n > 0)?;
        self.buffered.extend_from_slice(&piece[..n]);
        Some(())
    }

    /// The next request head with its empty line; `None` at the end of the connection.
    pub fn head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffered.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffered.drain(..at + 4).collect();
                let head = String::from_utf8_lossy(&head).into_owned();
                self.heads.lock().unwrap().push(head.clone());
                return Some(head);
            }
            self.fill()?;
        }
    }

    /// The body of a request with this head, a part of it where the connection ended.
    pub fn body(&mut self, head: &str) -> Vec<u8> {
        let lower = head.to_lowercase();
        if lower.contains("transfer-encoding: chunked") {
            return self.chunks();
        }
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.map_or(0, |length| length.trim().parse().unwrap());
        self.take(length)
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return body;
            }
            let size = usize::from_str_radix(line.trim(), 16).expect("a chunk size");
            if size == 0 {
                break;
            }
            body.extend(self.take(size));
            self.take(2);
        }
        while !["", "\r\n"].contains(&self.line().as_str()) {}
        body
    }

    /// The next line with its end; empty at the end of the connection.
    pub fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.buffered.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffered.drain(..=at).collect();
                return String::from_utf8_lossy(&line).into_owned();
            }
            if self.fill().is_none() {
                return String::new();
            }
        }
    }

    /// The next `n` bytes, fewer where the connection ended.
    pub fn take(&mut self, n: usize) -> Vec<u8> {
        while self.buffered.len() < n && self.fill().is_some() {}
        let n = n.min(self.buffered.len());
        self.buffered.drain(..n).collect()
    }

    /// Sends these bytes; a proxy that went away is not an error here.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.session.send(&mut self.stream, bytes.as_ref()).is_ok()
    }

    /// A whole answer with this body.
    pub fn answer(&mut self, body: &str) {
        self.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    }

    /// Makes the coming close a reset.
    pub fn reset(&self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Waits until the other side closed; false where it did not.
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
