//! A TLS connection over a socket that does not block: rustls' state, driven by whoever polls.
//!
//! Invariants: no task and no lock; plaintext that was taken by `poll_write` is not yet sent, `poll_flush` tells when it
//! is, so whoever ends a message flushes; an end of the stream without `close_notify` is an error, never an end (RFC 9112,
//! section 9.8); a side that takes nothing more can still be read, so an answer is not lost to an upload that failed; an
//! idle connection holds neither plaintext nor more than one read's worth of memory.

use std::io::{self, IoSlice, Read, Write};
use std::task::{Context, Poll, ready};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, Connection, HandshakeKind, ServerConnection};

use crate::socket::Socket;

/// Plaintext and ciphertext that wait to be sent: what one round of a body's relay hands over fits.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct TlsStream {
    socket: Socket,
    session: Connection,
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
        Self { socket, session, n_readable: 0, ended: false, first: None, in_clear: false }
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
            match self.session.read_tls(&mut Polled { socket: &mut self.socket, cx, first: None }) {
                Ok(n) => self.ended |= n == 0,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
            if let Err(error) = self.process() {
                let _ = self.poll_flush(cx);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
    }

    /// Ready when there is plaintext, an end or an error, or bytes on the socket that may become one.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.n_readable > 0 || self.ended {
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
        if self.n_readable > 0 || self.ended {
            return true;
        }
        loop {
            match self.session.read_tls(&mut Tried(&self.socket)) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
            if self.process().is_err() || self.n_readable > 0 || self.ended {
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
