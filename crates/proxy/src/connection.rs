//! A downstream connection: waits for bytes almost for free, then runs exchanges until it is idle again.
//!
//! Invariants: the task of an idle connection holds neither buffer nor exchange (its future stays below
//! [`FUTURE_BYTES_MAX`]); everything large is boxed while bytes are being worked on.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use isobar_core::Instant;
use isobar_http1::{HeadProgress, Reject};
use isobar_tls::Terminator;
use tokio::net::{TcpStream, UnixStream};

use crate::caller::Caller;
use crate::deadlines::Deadline;
use crate::exchange::{self, After};
use crate::generation::Terms;
use crate::h2::{self, CallerStream, Preface};
use crate::handshake;
use crate::listener::Accepted;
use crate::plan::ListenerPlan;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::scratch::Scratch;
use crate::socket::Socket;
use crate::stream::Stream;
use crate::succession::{CLOSING_QUIET, ListenerView};
use crate::tls_stream::TlsStream;
use crate::worker::Presence;

/// Bound on the future of a connection's task, asserted by a test: it is what an idle connection costs.
#[cfg(test)]
const FUTURE_BYTES_MAX: usize = 512;

/// After an answer that leaves request bytes unread, the caller has this long in all to finish sending; closing at
/// once would reset the connection and could destroy the answer on its way (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(30);

/// Silence that ends the lingering.
const LINGER_SILENCE: Duration = Duration::from_secs(2);

/// One connection from a caller.
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) listener: Rc<ListenerView>,
    pub(crate) deadline: Deadline,
    /// The caller's address; `None` on a unix socket.
    pub(crate) peer: Option<(IpAddr, u16)>,
    /// Who the caller proved to be by its certificate.
    pub(crate) caller: Option<Rc<Caller>>,
    /// What the listener spoke when the connection came; `None`: in the clear.
    tls: Option<Terminator>,
    served: bool,
}

/// A connection without its bytes: whose it is, for a protocol that carries several requests at once.
pub(crate) struct Trunk {
    pub(crate) listener: Rc<ListenerView>,
    pub(crate) deadline: Deadline,
    pub(crate) peer: Option<(IpAddr, u16)>,
    caller: Option<Rc<Caller>>,
    tls: Option<Terminator>,
}

/// How reading a head ended.
enum Head {
    /// Complete, this many bytes long.
    Request(usize),
    /// Nothing had come after all.
    Nothing,
    /// The caller closed, or sent nothing in time.
    Closed,
    Refused(Refusal),
    /// What begins is HTTP/2.
    Http2,
}

enum Next {
    Idle,
    /// Nothing had come: the wait goes on, with what is left of its time.
    Wait,
    Close,
    /// HTTP/2 begins with these bytes.
    Http2(Vec<u8>),
}

impl Connection {
    /// Takes over an accepted socket; `None` where the runtime cannot register it.
    pub(crate) fn new(listener: Rc<ListenerView>, accepted: Accepted) -> Option<Self> {
        let tls = listener.terms().listener().tls.clone();
        let socket = register(accepted.socket, accepted.listener.is_unix);
        let stream = match socket.and_then(|socket| over(tls.as_ref(), socket)) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be registered and is closed");
                return None;
            }
        };
        let deadline = listener.worker.deadlines.slot(accepted.listener.id);
        Some(Self {
            stream,
            listener,
            deadline,
            // A v6 socket that takes v4 shows mapped addresses; callers and logs know them as v4.
            peer: accepted.peer.map(|peer: SocketAddr| (peer.ip().to_canonical(), peer.port())),
            caller: None,
            tls,
            served: false,
        })
    }

    /// What the listener spoke when the connection came, where that is TLS.
    pub(crate) fn terminator(&self) -> Option<&Terminator> {
        self.tls.as_ref()
    }

    /// Whether it ends with the present answer: its listener closes, or would not let it in like this any more.
    pub(crate) fn is_closing(&self) -> bool {
        is_closing(&self.listener, self.tls.as_ref())
    }

    /// Gives the bytes to who speaks another protocol.
    fn into_trunk(self) -> (Stream, Trunk) {
        let Self { stream, listener, deadline, peer, caller, tls, served: _ } = self;
        (stream, Trunk { listener, deadline, peer, caller, tls })
    }

    fn now(&self) -> Instant {
        self.listener.worker.now()
    }

    /// How long the next request may be waited for, by what holds now.
    fn patience(&self) -> Duration {
        patience(&self.listener, self.served)
    }

    /// Begins a wait for the next request.
    fn begin_wait(&self) {
        self.deadline.set_idle(self.now().after(self.patience()));
    }

    /// Waits until bytes are there; false when the time is over.
    async fn wait_for_bytes(&mut self) -> bool {
        let ready = poll_fn(|cx| {
            if self.stream.poll_read_ready(cx).is_ready() {
                return Poll::Ready(true);
            }
            if self.deadline.fired() { Poll::Ready(false) } else { Poll::Pending }
        })
        .await;
        if !ready {
            self.stream.say_close();
        }
        ready
    }

    /// What the first bytes of a new connection in the clear say about HTTP/2.
    fn http2(&self, scratch: &Scratch) -> Preface {
        if self.served || !matches!(self.stream, Stream::Plain(_)) {
            return Preface::Absent;
        }
        h2::preface(scratch.down.filled())
    }

    /// Reads until a request head is complete.
    async fn read_head(&mut self, scratch: &mut Scratch, listener: &ListenerPlan) -> Head {
        scratch.progress = HeadProgress::default();
        let limits = listener.head_limits;
        let mut timed = false;
        loop {
            if !scratch.down.is_empty() {
                match self.http2(scratch) {
                    Preface::Complete => return Head::Http2,
                    Preface::Begun => {}
                    Preface::Absent => {
                        match scratch.request.parse(scratch.down.filled(), &mut scratch.progress, &limits) {
                            Ok(Some(n)) => return Head::Request(n),
                            Ok(None) => {}
                            Err(reject) => return Head::Refused(Refusal::Rejected(reject)),
                        }
                    }
                }
                if !timed {
                    timed = true;
                    self.deadline.set(self.now().after(listener.head_timeout));
                }
            }
            // One byte more than the limit lets the codec see that the limit is passed.
            if !scratch.down.make_room(limits.head_bytes + 1) {
                return Head::Refused(Refusal::Rejected(Reject::HeadTooLarge));
            }
            let first = scratch.down.is_empty();
            let read = poll_fn(|cx| match self.stream.poll_read(cx, scratch.down.room()) {
                Poll::Ready(read) => Poll::Ready(Some(read)),
                Poll::Pending if first || self.deadline.fired() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            match read.await {
                Some(Ok(0) | Err(_)) if first => return Head::Closed,
                // A head that the caller did not finish has no reader left, or one that half-closed by mistake.
                Some(Ok(0)) => return Head::Refused(Refusal::HeadTruncated),
                Some(Err(_)) => return Head::Closed,
                Some(Ok(n)) => scratch.down.filled_more(n),
                None if first => return Head::Nothing,
                None => return Head::Refused(Refusal::RequestTimeout),
            }
        }
    }

    /// Writes all of `bytes`; false when the caller is gone or has not taken them within `patience`.
    pub(crate) async fn write_all(&mut self, bytes: &[u8], patience: Duration) -> bool {
        let mut sent = 0;
        self.deadline.set(self.now().after(patience));
        poll_fn(|cx| {
            while sent < bytes.len() {
                match self.stream.poll_write(cx, &bytes[sent..], &[]) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(false),
                    Poll::Ready(Ok(n)) => sent += n,
                    Poll::Pending if self.deadline.fired() => return Poll::Ready(false),
                    Poll::Pending => return Poll::Pending,
                }
            }
            match self.stream.poll_flush(cx) {
                Poll::Ready(flushed) => Poll::Ready(flushed.is_ok()),
                Poll::Pending if self.deadline.fired() => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Lets the caller finish sending, so that the answer survives, and closes.
    pub(crate) async fn linger(&mut self, scratch: &mut Scratch) {
        self.stream.shutdown_write();
        let end = self.now().after(LINGER);
        loop {
            scratch.down.consume(scratch.down.len());
            let silence = self.now().after(LINGER_SILENCE);
            if silence > end {
                return;
            }
            self.deadline.set(silence);
            let read = poll_fn(|cx| match self.stream.poll_read(cx, scratch.down.room()) {
                Poll::Pending if self.deadline.fired() => Poll::Ready(Ok(0)),
                polled => polled,
            });
            match read.await {
                Ok(0) | Err(_) => return,
                Ok(_) => tokio::task::yield_now().await,
            }
        }
    }
}

impl Trunk {
    /// A connection of the same caller, for one request.
    pub(crate) fn branch(&self, stream: CallerStream) -> Connection {
        Connection {
            stream: Stream::Caller(Box::new(stream)),
            listener: Rc::clone(&self.listener),
            deadline: self.listener.worker.deadlines.slot(self.deadline.listener()),
            peer: self.peer,
            caller: self.caller.clone(),
            tls: self.tls.clone(),
            served: false,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.listener.worker.now()
    }

    /// As [`Connection::is_closing`].
    pub(crate) fn is_closing(&self) -> bool {
        is_closing(&self.listener, self.tls.as_ref())
    }

    /// How long the next request may be waited for; `served`: there was one before.
    pub(crate) fn patience(&self, served: bool) -> Duration {
        patience(&self.listener, served)
    }
}

fn is_closing(listener: &ListenerView, tls: Option<&Terminator>) -> bool {
    listener.is_closing()
        || match (tls, &listener.terms().listener().tls) {
            (Some(then), Some(now)) => !then.demands_as(now),
            (then, now) => then.is_some() != now.is_some(),
        }
}

fn patience(listener: &ListenerView, served: bool) -> Duration {
    let terms = listener.terms();
    let patience = if served { terms.listener().idle } else { terms.listener().head_timeout };
    if listener.is_closing() { patience.min(CLOSING_QUIET) } else { patience }
}

/// A stream over a new socket.
fn over(tls: Option<&Terminator>, socket: Socket) -> std::io::Result<Stream> {
    let Some(tls) = tls else { return Ok(Stream::Plain(socket)) };
    let session = tls.accept().map_err(std::io::Error::other)?;
    Ok(Stream::Tls(Box::new(TlsStream::of_caller(socket, session))))
}

fn register(socket: OwnedFd, is_unix: bool) -> std::io::Result<Socket> {
    Ok(if is_unix {
        Socket::Unix(UnixStream::from_std(socket.into())?)
    } else {
        Socket::Tcp(TcpStream::from_std(socket.into())?)
    })
}

/// The task of a connection.
pub(crate) async fn serve(mut connection: Connection, presence: Presence) {
    poll_fn(|cx| {
        connection.deadline.wake_with(cx.waker());
        Poll::Ready(())
    })
    .await;
    if connection.stream.is_tls() {
        // Boxed for the same reason as a spell.
        if !Box::pin(handshake::shake_hands(&mut connection, presence.listener())).await {
            return;
        }
        if connection.stream.tls().is_some_and(|tls| tls.speaks_http2()) {
            let (stream, trunk) = connection.into_trunk();
            return Box::pin(h2::serve(stream, trunk, Vec::new())).await;
        }
    }
    connection.begin_wait();
    while connection.wait_for_bytes().await {
        // Boxed: this is the allocation that exists only while there is work.
        match Box::pin(spell(&mut connection)).await {
            Next::Idle => connection.begin_wait(),
            // Bytes of TLS that carry no byte of a request, sent one by one, buy no time.
            Next::Wait => {}
            Next::Close => return,
            Next::Http2(first) => {
                let (stream, trunk) = connection.into_trunk();
                return Box::pin(h2::serve(stream, trunk, first)).await;
            }
        }
    }
}

/// Serves a connection that carries one request.
pub(crate) async fn serve_one(mut connection: Connection) {
    poll_fn(|cx| {
        connection.deadline.wake_with(cx.waker());
        Poll::Ready(())
    })
    .await;
    let mut scratch = connection.listener.worker.take_scratch();
    let terms = connection.listener.terms();
    // What becomes of the connection is decided where the stream is dropped.
    let _after = serve_request(&mut connection, &terms, &mut scratch).await;
    connection.listener.worker.return_scratch(scratch);
}

/// Works off what has come until nothing is left.
async fn spell(connection: &mut Connection) -> Next {
    let mut scratch = connection.listener.worker.take_scratch();
    let next = serve_requests(connection, &mut scratch).await;
    connection.listener.worker.return_scratch(scratch);
    next
}

async fn serve_requests(connection: &mut Connection, scratch: &mut Scratch) -> Next {
    loop {
        // A byte of the request is there: from here to its end it is served under what holds now.
        let terms = connection.listener.terms();
        let after = match serve_request(connection, &terms, scratch).await {
            Ok(after) => after,
            Err(next) => return next,
        };
        connection.served = true;
        match after {
            After::KeepAlive if scratch.down.is_empty() => return Next::Idle,
            After::KeepAlive => {}
            After::Close => return Next::Close,
            After::Linger => {
                connection.linger(scratch).await;
                return Next::Close;
            }
        }
    }
}

/// Reads a request and serves it; an error is what becomes of a connection on which there is none.
async fn serve_request(
    connection: &mut Connection,
    terms: &Terms,
    scratch: &mut Scratch,
) -> Result<After, Next> {
    match connection.read_head(scratch, terms.listener()).await {
        Head::Nothing => Err(Next::Wait),
        Head::Closed => Err(Next::Close),
        Head::Http2 => Err(Next::Http2(scratch.down.filled().to_vec())),
        Head::Request(head_len) => Ok(exchange::run(connection, terms, scratch, head_len).await),
        Head::Refused(refusal) => {
            let mut record = Record::new(connection.now());
            exchange::refuse_unparsed(connection, terms, scratch, &mut record, refusal).await;
            record.finish_unparsed(connection, terms);
            Ok(After::Linger)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_bytes<F: Future>(_: fn(Connection, Presence) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_future_of_a_connection_stays_small() {
        let bytes = future_bytes(serve);
        assert!(bytes <= FUTURE_BYTES_MAX, "{bytes} bytes");
    }
}
