//! Listeners at work: accepted from by one task each, connections handed to the workers.
//!
//! With one worker the acceptors run on it; with several they have a thread of their own and give each connection to
//! the worker that has the fewest.
//! Invariants: when a listener closes, nobody new is let into the queue of the kernel, and it is emptied before the
//! socket closes; running out of descriptors pauses accepting and harms nothing that is open; every connection is
//! handed over before the news that its listener has closed.
//! Limit: a caller whose handshake takes longer than [`HANDSHAKES`] is reset, for only the kernel knows of it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags};
use socket2::{SockFilter, Socket};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::bind::BoundSocket;
use crate::worker::{Message, WorkerHandle};

/// Accepts in a row before the connections that run get their turn.
const ACCEPTS_PER_WAKE: usize = 64;

/// Pause after running out of descriptors or memory: long enough not to spin, short enough not to be noticed.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// After the kernel lets nobody new begin to connect, those whose handshake is under way have this long to finish it:
/// the round trip of a large region; a longer one would hold up every reload that removes a listener.
const HANDSHAKES: Duration = Duration::from_millis(20);

/// What a listener is called, and what is counted under that name; it goes to another listener if the name does.
#[derive(Debug)]
pub(crate) struct Label {
    pub(crate) name: String,
    /// Accepts that failed for want of descriptors or memory.
    pub(crate) n_exhausted: AtomicU64,
}

impl Label {
    pub(crate) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), n_exhausted: AtomicU64::new(0) })
    }
}

/// A listener as its connections, its acceptor and the control side share it; it lives as long as its socket, over
/// changes of the configuration.
pub(crate) struct ListenerShared {
    /// A number of its own, never used for another listener.
    pub(crate) id: u32,
    pub(crate) is_unix: bool,
    label: ArcSwap<Label>,
    n_open: AtomicUsize,
    max_open: AtomicUsize,
    /// TLS handshakes in progress.
    n_handshakes: AtomicUsize,
    closing: AtomicBool,
    /// Told when there is something new for the acceptor: room for a connection, another maximum, the end.
    changed: Notify,
}

impl ListenerShared {
    pub(crate) fn new(id: u32, is_unix: bool, label: Arc<Label>, max_open: usize) -> Arc<Self> {
        Arc::new(Self {
            id,
            is_unix,
            label: ArcSwap::new(label),
            n_open: AtomicUsize::new(0),
            max_open: AtomicUsize::new(max_open),
            n_handshakes: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            changed: Notify::new(),
        })
    }

    /// What it is called now.
    pub(crate) fn label(&self) -> Arc<Label> {
        self.label.load_full()
    }

    /// Connections that were accepted and have not ended.
    pub(crate) fn n_open(&self) -> usize {
        self.n_open.load(Ordering::Relaxed)
    }

    /// Takes over what a new configuration says.
    pub(crate) fn change(&self, label: Arc<Label>, max_open: usize) {
        self.label.store(label);
        self.max_open.store(max_open, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Lets the acceptor empty the kernel's queue and close the socket.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Counts a connection as ended.
    pub(crate) fn release(&self) {
        if self.n_open.fetch_sub(1, Ordering::Relaxed) >= self.max_open.load(Ordering::Relaxed) {
            self.changed.notify_one();
        }
    }

    /// TLS handshakes in progress.
    pub(crate) fn n_handshakes(&self) -> usize {
        self.n_handshakes.load(Ordering::Relaxed)
    }

    /// Counts a TLS handshake as begun, unless `max` are in progress.
    pub(crate) fn try_begin_handshake(&self, max: usize) -> bool {
        let one_more = |n| (n < max).then_some(n + 1);
        self.n_handshakes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Counts a TLS handshake as ended.
    pub(crate) fn end_handshake(&self) {
        self.n_handshakes.fetch_sub(1, Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        self.n_open() >= self.max_open.load(Ordering::Relaxed)
    }
}

/// A connection on its way to a worker.
pub(crate) struct Accepted {
    pub(crate) listener: Arc<ListenerShared>,
    pub(crate) socket: OwnedFd,
    /// The caller; `None` on a unix socket.
    pub(crate) peer: Option<SocketAddr>,
}

/// One listener's accept loop.
pub(crate) struct Acceptor {
    pub(crate) shared: Arc<ListenerShared>,
    pub(crate) workers: Arc<[WorkerHandle]>,
    pub(crate) bound: BoundSocket,
    /// Dropped when the socket is closed.
    pub(crate) closed: mpsc::Sender<()>,
}

enum Accepts {
    /// The turn is over, the queue may hold more.
    More,
    Empty,
    /// The listener is at its maximum, the queue may hold more.
    Full,
    Exhausted,
}

impl Acceptor {
    /// Accepts until told to close; then takes what the kernel has queued and closes the socket.
    pub(crate) async fn run(self) {
        let Self { shared, workers, bound, closed } = self;
        let desk = Desk { shared, workers };
        if let Err(error) = desk.accept(bound).await {
            tracing::error!(listener = desk.shared.label().name, %error, "the listener cannot accept any more");
        }
        for worker in &*desk.workers {
            if worker.messages.send(Message::Closed(desk.shared.id)).is_err() {
                tracing::debug!("a worker ended before a listener closed");
            }
        }
        drop(closed);
    }
}

/// Where accepted connections are handed over.
struct Desk {
    shared: Arc<ListenerShared>,
    workers: Arc<[WorkerHandle]>,
}

impl Desk {
    async fn accept(&self, bound: BoundSocket) -> io::Result<()> {
        let BoundSocket { socket, file, .. } = bound;
        #[expect(
            deprecated,
            reason = "the unsoundness is for types that can close their descriptor early; a Socket owns it until the \
                      AsyncFd is gone, and the replacement is an unsafe function"
        )]
        let socket = AsyncFd::new(socket)?;
        while !self.shared.is_closing() {
            let full = self.shared.is_full();
            tokio::select! {
                biased;
                () = self.shared.changed.notified() => {}
                ready = socket.readable(), if !full => {
                    let mut ready = ready?;
                    match self.accept_some(socket.get_ref()) {
                        Accepts::More => tokio::task::yield_now().await,
                        Accepts::Empty => ready.clear_ready(),
                        // Readiness stays, since nothing would tell again of what is queued already.
                        Accepts::Full => {}
                        Accepts::Exhausted => tokio::time::sleep(EXHAUSTED_PAUSE).await,
                    }
                }
            }
        }
        // The file first: who can no longer find the socket cannot queue behind the last accept. A successor may bind
        // the path from now on.
        drop(file);
        if !self.shared.is_unix
            && let Err(error) = turn_away(socket.get_ref())
        {
            // What comes between the last accept and the close is reset then, as without it.
            tracing::debug!(%error, "the kernel takes no filter for a closing listener");
        }
        while let Accepts::More = self.accept_some(socket.get_ref()) {}
        tokio::time::sleep(HANDSHAKES).await;
        while let Accepts::More = self.accept_some(socket.get_ref()) {}
        Ok(())
    }

    fn accept_some(&self, socket: &Socket) -> Accepts {
        for _ in 0..ACCEPTS_PER_WAKE {
            // A listener that closes takes all that wait: they were told that they are connected.
            if self.shared.is_full() && !self.shared.is_closing() {
                return Accepts::Full;
            }
            match rustix::net::acceptfrom_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok((accepted, peer)) => self.hand_over(accepted, peer),
                Err(Errno::WOULDBLOCK) => return Accepts::Empty,
                Err(error) if is_exhaustion(error) => {
                    let label = self.shared.label();
                    if label.n_exhausted.fetch_add(1, Ordering::Relaxed) == 0 {
                        tracing::warn!(listener = label.name, %error, "no more connections can be accepted until some close");
                    }
                    return Accepts::Exhausted;
                }
                // The caller went away while it waited in the queue (ECONNABORTED and the like).
                Err(error) => {
                    tracing::debug!(%error, "a connection was lost before it was accepted");
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

/// Lets the kernel ignore whoever begins to connect from now on. A connection that enters the queue after the last
/// accept would be reset by the close; a caller that is ignored tries again and is refused, or meets a successor.
fn turn_away(socket: &Socket) -> io::Result<()> {
    /// Instructions of the classic packet filter, as `linux/bpf_common.h` composes them.
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    /// Where the flags are in a TCP header (RFC 9293, section 3.1), with which the packet begins for the filter.
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    const NOTHING: u32 = 0;
    const ALL: u32 = u32::MAX;
    socket.attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, NOTHING),
        SockFilter::new(RETURN, 0, 0, ALL),
    ])
}

fn is_exhaustion(error: Errno) -> bool {
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&error)
}
