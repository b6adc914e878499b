//! An endpoint with a name, which can be told to keep its callers waiting.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::world::{PATIENCE, wait_for};

/// Answers every request with its name. Requests for `/held` wait until [`Endpoint::release`]; `/tunnel` switches to
/// websocket and echoes.
pub struct Endpoint {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    n_connections: AtomicUsize,
    n_open: AtomicUsize,
    n_held: AtomicUsize,
    /// Held requests that may be answered.
    released: Mutex<usize>,
    told: Condvar,
}

impl Endpoint {
    pub fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            n_connections: AtomicUsize::new(0),
            n_open: AtomicUsize::new(0),
            n_held: AtomicUsize::new(0),
            released: Mutex::new(0),
            told: Condvar::new(),
        });
        let kept = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&kept);
                shared.n_connections.fetch_add(1, Ordering::SeqCst);
                shared.n_open.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    shared.serve(stream);
                    shared.n_open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, shared }
    }

    /// Connections that were made to it so far.
    pub fn n_connections(&self) -> usize {
        self.shared.n_connections.load(Ordering::SeqCst)
    }

    /// Connections to it that are open.
    pub fn n_open(&self) -> usize {
        self.shared.n_open.load(Ordering::SeqCst)
    }

    /// Waits until so many requests have been held since the start.
    pub fn await_held(&self, n: usize) {
        wait_for("a request to be held", || self.shared.n_held.load(Ordering::SeqCst) >= n);
    }

    /// Lets one held request be answered.
    pub fn release(&self) {
        *self.shared.released.lock().unwrap() += 1;
        self.shared.told.notify_all();
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut received = Vec::new();
        while let Some(head) = read_head(&mut stream, &mut received) {
            if head.starts_with("GET /tunnel ") {
                let switched = b"HTTP/1.1 101 \r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                stream.write_all(switched).unwrap();
                let mut piece = [0; 1024];
                while let Ok(n @ 1..) = stream.read(&mut piece) {
                    stream.write_all(&piece[..n]).unwrap();
                }
                return;
            }
            if head.starts_with("GET /held ") {
                self.hold();
            }
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", self.name.len(), self.name);
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn hold(&self) {
        self.n_held.fetch_add(1, Ordering::SeqCst);
        let released = self.released.lock().unwrap();
        let waited = self.told.wait_timeout_while(released, PATIENCE, |released| *released == 0);
        *waited.unwrap().0 -= 1;
    }
}

/// The next head with its empty line; `None` at the end of the connection.
pub fn read_head(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = received.drain(..at + 4).collect();
            return Some(String::from_utf8(head).unwrap());
        }
        let mut piece = [0; 4096];
        let n = stream.read(&mut piece).ok().filter(|&n| n > 0)?;
        received.extend_from_slice(&piece[..n]);
    }
}
