//! TLS under the harness's clients and endpoints, and openssl's client.
//!
//! Invariant: an end without `close_notify` is an error of the read, as RFC 9112 (section 9.8) wants it told.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use crate::real::command;

/// What is spoken over a socket.
pub enum Session {
    /// Bytes as they are.
    Plain,
    /// TLS.
    Tls(Box<Connection>),
}

impl Session {
    /// Shakes hands as the client.
    ///
    /// # Errors
    /// Why the handshake failed.
    pub fn to(
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
        socket: &mut TcpStream,
    ) -> io::Result<Self> {
        Self::shake_hands(ClientConnection::new(Arc::clone(config), name).unwrap().into(), socket)
    }

    /// Shakes hands as the server.
    ///
    /// # Errors
    /// Why the handshake failed.
    pub fn of(config: &Arc<ServerConfig>, socket: &mut TcpStream) -> io::Result<Self> {
        Self::shake_hands(ServerConnection::new(Arc::clone(config)).unwrap().into(), socket)
    }

    fn shake_hands(mut connection: Connection, socket: &mut TcpStream) -> io::Result<Self> {
        while connection.is_handshaking() {
            connection.complete_io(socket)?;
        }
        Ok(Self::Tls(Box::new(connection)))
    }

    /// Reads as from a socket.
    ///
    /// # Errors
    /// Those of the socket and of TLS.
    pub fn read(&mut self, socket: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain => socket.read(into),
            Self::Tls(connection) => read(connection, socket, into),
        }
    }

    /// Sends all of these bytes.
    ///
    /// # Errors
    /// Those of the socket and of TLS.
    pub fn send(&mut self, socket: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain => socket.write_all(bytes).and_then(|()| socket.flush()),
            Self::Tls(connection) => send(connection, socket, bytes),
        }
    }

    /// Says that nothing more comes.
    pub fn say_close(&mut self, socket: &mut TcpStream) {
        if let Self::Tls(connection) = self {
            connection.send_close_notify();
            // Who went away already needs no word.
            let _ = connection.complete_io(socket);
        }
    }

    /// The TLS of it; panics where there is none.
    pub fn tls(&self) -> &Connection {
        match self {
            Self::Plain => panic!("this connection speaks no TLS"),
            Self::Tls(connection) => connection,
        }
    }
}

fn read(connection: &mut Connection, socket: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match connection.reader().read(into) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
        connection.read_tls(socket)?;
        let processed = connection.process_new_packets();
        while connection.wants_write() {
            connection.write_tls(socket)?;
        }
        processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    }
}

fn send(connection: &mut Connection, socket: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = connection.writer().write(bytes)?;
        bytes = &bytes[n..];
        while connection.wants_write() {
            connection.write_tls(socket)?;
        }
    }
    Ok(())
}

/// What `openssl s_client` told of a request that it made to `address`, with these arguments.
pub fn told_to(address: SocketAddr, arguments: &[&str]) -> String {
    let mut client = command("openssl");
    client.args(["s_client", "-connect", &address.to_string(), "-ign_eof"]).args(arguments);
    let mut child =
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    // A handshake that failed leaves nobody to take it.
    let _ = child.stdin.take().unwrap().write_all(request);
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
