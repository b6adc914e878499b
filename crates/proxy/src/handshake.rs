//! The TLS handshake of a caller's connection, bounded in time and number.
//!
//! Invariants: at most `limits.handshakes` of a listener are in progress; each is counted once, as done or by the reason
//! of its failure; a caller that speaks plain HTTP is told so in the clear.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use isobar_tls::PeerIdentity;
use rustls::{Error, PeerIncompatible};

use crate::caller::Caller;
use crate::connection::Connection;
use crate::listener::ListenerShared;
use crate::plan::ListenerPlan;
use crate::refusal::{Form, Refusal};
use crate::tls_stream::HandshakeError;

/// Why a handshake failed, as a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum HandshakeFailure {
    /// It took longer than `timeouts.handshake`.
    Timeout,
    /// More than `limits.handshakes` were in progress.
    Overloaded,
    /// The caller went away.
    Closed,
    PlainHttp,
    /// What came is not TLS.
    NotTls,
    /// No version, cipher or signature that both know.
    Incompatible,
    /// The caller showed no certificate where one is required.
    NoCertificate,
    /// The caller's certificate was refused.
    BadCertificate,
    /// The caller broke it off, as one does that refuses our certificate.
    Alert,
    Other,
}

impl HandshakeFailure {
    pub(crate) const ALL: [(Self, &'static str); 10] = [
        (Self::Timeout, "timeout"),
        (Self::Overloaded, "overloaded"),
        (Self::Closed, "closed"),
        (Self::PlainHttp, "plain-http"),
        (Self::NotTls, "not-tls"),
        (Self::Incompatible, "incompatible"),
        (Self::NoCertificate, "no-certificate"),
        (Self::BadCertificate, "bad-certificate"),
        (Self::Alert, "alert"),
        (Self::Other, "other"),
    ];

    fn of(error: &HandshakeError) -> Self {
        match error {
            HandshakeError::PlainHttp => Self::PlainHttp,
            HandshakeError::Lost(_) => Self::Closed,
            HandshakeError::Tls(error) => match error {
                Error::InvalidMessage(_) => Self::NotTls,
                Error::PeerIncompatible(PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon) => {
                    Self::BadCertificate
                }
                Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::Incompatible,
                Error::NoCertificatesPresented => Self::NoCertificate,
                Error::InvalidCertificate(_) => Self::BadCertificate,
                Error::AlertReceived(_) => Self::Alert,
                _ => Self::Other,
            },
        }
    }
}

/// One of the handshakes that the listener's maximum counts.
struct InProgress(Arc<ListenerShared>);

impl InProgress {
    fn begin(listener: &Arc<ListenerShared>, max: usize) -> Option<Self> {
        listener.try_begin_handshake(max).then(|| Self(Arc::clone(listener)))
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.end_handshake();
    }
}

/// Carries the handshake of a new connection out; false where the connection is of no further use.
pub(crate) async fn shake_hands(connection: &mut Connection, shared: &Arc<ListenerShared>) -> bool {
    let terms = connection.listener.terms();
    let listener = terms.listener();
    let counters = &terms.listener_counters().handshakes;
    let Some(in_progress) = InProgress::begin(shared, listener.handshakes_max) else {
        counters.failed[HandshakeFailure::Overloaded as usize].add(1);
        return false;
    };
    let worker = terms.worker();
    connection.deadline.set(worker.now().after(listener.handshake_timeout));
    let shaken = poll_fn(|cx| {
        let Some(tls) = connection.stream.tls() else { return Poll::Ready(Some(Ok(()))) };
        match tls.poll_handshake(cx) {
            Poll::Pending if connection.deadline.fired() => Poll::Ready(None),
            polled => polled.map(Some),
        }
    });
    let shaken = shaken.await;
    drop(in_progress);
    let error = match shaken {
        Some(Ok(())) => match know_caller(connection) {
            Ok(()) => {
                counters.done.add(1);
                return true;
            }
            Err(error) => HandshakeError::Tls(error),
        },
        None => {
            counters.failed[HandshakeFailure::Timeout as usize].add(1);
            return false;
        }
        Some(Err(error)) => error,
    };
    let failure = HandshakeFailure::of(&error);
    counters.failed[failure as usize].add(1);
    tracing::debug!(listener = %listener.name, client = ?connection.peer, ?error, "a TLS handshake failed");
    if failure == HandshakeFailure::PlainHttp {
        refuse_plain_http(connection, listener).await;
    }
    false
}

/// Learns who the caller is from its certificate, which a resumed session did not verify.
fn know_caller(connection: &mut Connection) -> Result<(), Error> {
    let tls = connection.terminator().cloned();
    let (Some(tls), Some(stream)) = (tls, connection.stream.tls()) else { return Ok(()) };
    let Some(own) = stream.chain().first() else { return Ok(()) };
    if stream.is_resumed() {
        tls.still_vouches(stream.chain())?;
    }
    let caller = Caller::new(PeerIdentity::of(own));
    connection.caller = Some(Rc::new(caller));
    Ok(())
}

/// Answers in the clear: who speaks HTTP to the wrong port is a person at a keyboard, or a redirect that is missing.
async fn refuse_plain_http(connection: &mut Connection, listener: &ListenerPlan) {
    let mut out = Vec::new();
    Refusal::PlainHttp.write(Form::default(), &mut out);
    if connection.write_all(&out, listener.handshake_timeout).await {
        let mut scratch = connection.listener.worker.take_scratch();
        connection.linger(&mut scratch).await;
        connection.listener.worker.return_scratch(scratch);
    }
}
