//! A TLS connection over a socket that does not block: rustls' state, driven by whoever polls.
//!
//! Invariants: no task and no lock; plaintext that was taken by `poll_write` is not yet sent, `poll_flush` tells when it
//! is, so whoever ends a message flushes; an end of the stream without `close_notify` is an error, never an end (RFC 9112,
//! section 9.8); a side that takes nothing more can still be read, so an answer is not lost to an upload that failed; an
//! idle connection holds neither plaintext nor more than one read's worth of memory.

use std::io::{self, IoSlice, Read, Write};
use std::mem::{self, MaybeUninit};
use std::task::{Context, Poll, ready};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, Connection, HandshakeKind, ServerConnection};
use tokio::io::ReadBuf;

use crate::socket::Socket;

/// Plaintext and ciphertext that wait to be sent: what one round of a body's relay hands over fits.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// What one read takes from the socket: as much as a full record carries, on the stack. The library by itself asks for
/// 4 KiB at a time, each a system call.
const READ_BYTES: usize = 16 * 1024;
/// Plaintext above which the library takes no ciphertext until some of it was read.
const UNREAD_BYTES_MAX: usize = 16 * 1024;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct TlsStream {
    socket: Socket,
    session: Connection,
    /// Ciphertext that was read before the session could take it: empty but between two reads of a fast sender's records.
    ahead: Vec<u8>,
    /// Plaintext that is decrypted and was not read.
    n_readable: usize,
    /// The other side ended its direction, orderly or not.
    ended: bool,
    /// The first byte that came.
    first: Option<u8>,
    /// What came was plain HTTP: from here on nothing is encrypted, so that this can be said.
    in_clear: bool,
}

/// Why a handshake did not come to its end.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The other side speaks plain HTTP.
    PlainHttp,
    /// The other side closed, or the socket failed.
    Lost(io::Error),
    Tls(rustls::Error),
}

impl TlsStream {
    pub(crate) fn of_caller(socket: Socket, session: ServerConnection) -> Self {
        Self::new(socket, session.into())
    }

    pub(crate) fn to_endpoint(socket: Socket, session: ClientConnection) -> Self {
        Self::new(socket, session.into())
    }

    fn new(socket: Socket, mut session: Connection) -> Self {
        session.set_buffer_limit(Some(BUFFER_BYTES_MAX));
        Self { socket, session, ahead: Vec::new(), n_readable: 0, ended: false, first: None, in_clear: false }
    }

    /// The certificates that the other side showed, its own first.
    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        self.session.peer_certificates().unwrap_or_default()
    }

    /// Whether the handshake resumed a session, so that the chain was not verified by it.
    pub(crate) fn is_resumed(&self) -> bool {
        self.session.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Whether both sides agreed upon HTTP/2.
    pub(crate) fn speaks_http2(&self) -> bool {
        self.session.alpn_protocol() == Some(isobar_tls::HTTP2)
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Moves the handshake; ready when application bytes may flow.
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        loop {
            ready!(self.poll_flush(cx)).map_err(HandshakeError::Lost)?;
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let mut source = Polled { socket: &mut self.socket, cx, first: None };
            let read = self.session.read_tls(&mut source);
            self.first = self.first.or(source.first);
            match read {
                Ok(0) => return Poll::Ready(Err(HandshakeError::Lost(io::ErrorKind::UnexpectedEof.into()))),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(HandshakeError::Lost(error))),
            }
            if let Err(error) = self.process() {
                // A record of TLS begins with its type, a number below 32; a method of HTTP with a capital letter.
                self.in_clear = matches!(error, rustls::Error::InvalidMessage(_))
                    && self.first.is_some_and(|byte| byte.is_ascii_uppercase());
                if self.in_clear {
                    return Poll::Ready(Err(HandshakeError::PlainHttp));
                }
                // The alert says more to the other side than a close; it is sent if the socket takes it at once.
                let _ = self.poll_flush(cx);
                return Poll::Ready(Err(HandshakeError::Tls(error)));
            }
        }
    }

    /// Decrypts what was read from the socket.
    fn process(&mut self) -> Result<(), rustls::Error> {
        let state = self.session.process_new_packets()?;
        self.n_readable = state.plaintext_bytes_to_read();
        self.ended |= state.peer_has_closed();
        Ok(())
    }

    /// As [`Stream::poll_read`](crate::stream::Stream::poll_read).
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.in_clear {
            return self.socket.poll_read(cx, into);
        }
        // What the library has to say by itself (an answer to a change of keys) goes out on the way. An error shows to
        // who writes: the other side may have said its last before it closed.
        let _ = self.poll_flush(cx);
        loop {
            match self.session.reader().read(into) {
                Ok(n) => {
                    self.n_readable = self.n_readable.saturating_sub(n);
                    return Poll::Ready(Ok(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if let Err(error) = ready!(self.poll_decrypt(cx)) {
                // It may have left an alert.
                let _ = self.poll_flush(cx);
                return Poll::Ready(Err(error));
            }
        }
    }

    /// Decrypts what was read ahead, or what the socket has.
    fn poll_decrypt(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let mut ahead = mem::take(&mut self.ahead);
            let n = self.decrypt(&ahead)?;
            if n < ahead.len() {
                ahead.drain(..n);
                self.ahead = ahead;
            }
            return Poll::Ready(Ok(()));
        }
        let mut memory = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut read = ReadBuf::uninit(&mut memory);
        ready!(self.socket.poll_read_buf(cx, &mut read))?;
        let n = self.decrypt(read.filled())?;
        self.ahead.extend_from_slice(&read.filled()[n..]);
        Poll::Ready(Ok(()))
    }

    /// Decrypts as much of `bytes` as the session takes and returns how much that was; no bytes are the socket's end.
    fn decrypt(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        loop {
            let n = self.session.read_tls(&mut rest)?;
            self.ended |= n == 0;
            self.process().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if n == 0 {
                // What follows a `close_notify` is ignored (RFC 8446, section 6.1).
                return Ok(bytes.len());
            }
            if rest.is_empty() || self.n_readable > UNREAD_BYTES_MAX {
                return Ok(bytes.len() - rest.len());
            }
        }
    }

    /// Whether there is something that no event of the socket will tell of.
    fn holds_news(&self) -> bool {
        self.n_readable > 0 || self.ended || !self.ahead.is_empty()
    }

    /// Ready when there is plaintext, an end or an error, or bytes on the socket that may become one.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.holds_news() {
            return Poll::Ready(Ok(()));
        }
        let _ = self.poll_flush(cx);
        self.socket.poll_read_ready(cx)
    }

    /// Takes plaintext, as much as there is room for; sends what the socket takes.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.in_clear {
            return self.socket.poll_write(cx, first, second);
        }
        loop {
            let n = self.session.writer().write_vectored(&[IoSlice::new(first), IoSlice::new(second)])?;
            let flushed = self.poll_flush(cx);
            if n > 0 || (first.is_empty() && second.is_empty()) {
                // An error of the socket shows at the next call; these bytes may be on their way already.
                return Poll::Ready(Ok(n));
            }
            ready!(flushed)?;
        }
    }

    /// Ready when everything that was taken is in the socket.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() && !self.in_clear {
            match self.session.write_tls(&mut Polled { socket: &mut self.socket, cx, first: None }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// As [`Stream::is_disturbed`](crate::stream::Stream::is_disturbed): session tickets and changes of keys are none.
    pub(crate) fn is_disturbed(&mut self) -> bool {
        if self.holds_news() {
            return true;
        }
        loop {
            match self.session.read_tls(&mut Tried(&self.socket)) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
            if self.process().is_err() || self.holds_news() {
                return true;
            }
        }
    }

    /// Tells the other side that nothing more comes, if the socket takes that at once.
    pub(crate) fn say_close(&mut self) {
        if self.in_clear {
            return;
        }
        self.session.send_close_notify();
        while self.session.wants_write() {
            match self.session.write_tls(&mut Tried(&self.socket)) {
                Ok(n) if n > 0 => {}
                _ => return,
            }
        }
    }
}

/// A socket as the library reads and writes it: what would wait is `WouldBlock`, and the task is woken.
struct Polled<'a, 'b, 'c> {
    socket: &'a mut Socket,
    cx: &'b mut Context<'c>,
    /// The first byte that was read.
    first: Option<u8>,
}

fn or_would_block<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Read for Polled<'_, '_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = or_would_block(self.socket.poll_read(self.cx, into))?;
        self.first = into.first().copied().filter(|_| n > 0);
        Ok(n)
    }
}

impl Write for Polled<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        or_would_block(self.socket.poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same for who does not wait at all.
struct Tried<'a>(&'a Socket);

impl Read for Tried<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Tried<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::future::poll_fn;
    use std::net;
    use std::sync::Arc;
    use std::thread::{self, JoinHandle};

    use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, ServerConfig, StreamOwned};

    use super::*;

    /// What is sent: less than the kernel keeps for a reader that is late.
    const SENT_BYTES: usize = 60 * 1024;

    fn sent() -> Vec<u8> {
        (0..=250).cycle().take(SENT_BYTES).collect()
    }

    fn configs(record_bytes: usize) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
        let params = CertificateParams::new(Vec::new()).unwrap();
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let own =
            CertificateParams::new(vec!["a.test".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let mut client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        // The library counts the five bytes in front of a record.
        client.max_fragment_size = Some(record_bytes + 5);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = ServerConfig::builder().with_no_client_auth();
        let server = server.with_single_cert(vec![own.der().clone()], key).unwrap();
        (Arc::new(client), Arc::new(server))
    }

    /// Sends everything and closes, without reading anything after the handshake.
    fn caller(address: net::SocketAddr, config: Arc<ClientConfig>) -> JoinHandle<net::TcpStream> {
        thread::spawn(move || {
            let session = ClientConnection::new(config, ServerName::try_from("a.test").unwrap()).unwrap();
            let mut stream = StreamOwned::new(session, net::TcpStream::connect(address).unwrap());
            stream.write_all(&sent()).unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
            stream.sock
        })
    }

    /// Reads to the end, when everything is there; says whether anything was read ahead of what the library takes.
    async fn read_all(record_bytes: usize) -> (Vec<u8>, bool) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, server) = configs(record_bytes);
        let caller = caller(listener.local_addr().unwrap(), client);
        let (socket, _) = listener.accept().await.unwrap();
        let session = ServerConnection::new(server).unwrap();
        let mut stream = TlsStream::of_caller(Socket::Tcp(socket), session);
        poll_fn(|cx| stream.poll_handshake(cx)).await.unwrap();
        let _open = caller.join().unwrap();
        let (mut received, mut piece, mut was_ahead) = (Vec::new(), vec![0; 5000], false);
        loop {
            poll_fn(|cx| stream.poll_read_ready(cx)).await.unwrap();
            let n = poll_fn(|cx| stream.poll_read(cx, &mut piece)).await.unwrap();
            was_ahead |= !stream.ahead.is_empty();
            if n == 0 {
                return (received, was_ahead);
            }
            received.extend_from_slice(&piece[..n]);
        }
    }

    #[tokio::test]
    async fn records_of_any_size_are_read_whole_and_in_order() {
        let mut was_ahead = false;
        for record_bytes in [100, 3000, 5000, 9000, 12_000, 16_384] {
            let (received, ahead) = read_all(record_bytes).await;
            assert_eq!(received.len(), SENT_BYTES, "records of {record_bytes}");
            assert!(received == sent(), "records of {record_bytes}");
            was_ahead |= ahead;
        }
        assert!(was_ahead, "no case of these reads ahead of the library: the test has lost its point");
    }
}
