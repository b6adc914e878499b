//! Steady traffic: callers that ask the proxy at a given rate, each on a kept connection, and count what they get.
//!
//! Invariants: requests are due at fixed times, spread evenly over the callers; a request that is late because the one
//! before it took long is sent at once, and what was due in between is left out, so that a stalled proxy is not
//! flooded when it comes back. Every request that was sent is counted, as an answer or as a failure.
//!
//! Limits: at most [`CALLERS_MAX`] requests are in flight, so the rate falls below the wanted one when answers take
//! longer than `callers / rate`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ledger::{Failure, Ledger, Sample};

/// Callers at most: with answers of 50 ms, the slowest here, they send 1,280 requests a second.
const CALLERS_MAX: u32 = 64;

/// Bound on one request; far above what any sample instance takes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read; the sample instances send a line.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The header in which the proxy tells which endpoint answered.
const ENDPOINT_HEADER: &str = "x-isobar-endpoint";

/// Running traffic.
pub(super) struct Traffic {
    ledger: Arc<Mutex<Ledger>>,
    stop: watch::Sender<bool>,
    callers: JoinSet<()>,
}

impl Traffic {
    /// Starts to send `rate` requests a second. Must run inside a runtime; `started` is the start of the demo.
    pub(super) fn start(proxy: SocketAddr, rate: u32, started: Instant) -> Self {
        let rate = rate.max(1);
        let n_callers = rate.min(CALLERS_MAX);
        let ledger = Arc::new(Mutex::new(Ledger::new()));
        let stop = watch::Sender::new(false);
        let mut callers = JoinSet::new();
        let first = Instant::now();
        for nth in 0..n_callers {
            let caller = Caller { proxy, started, ledger: Arc::clone(&ledger), connection: None };
            let due = first + Duration::from_secs(1) * nth / rate;
            let period = Duration::from_secs(1) * n_callers / rate;
            callers.spawn(caller.call(due, period, stop.subscribe()));
        }
        Self { ledger, stop, callers }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Sends nothing any more, and waits for the requests in flight.
    pub(super) async fn stop(&mut self) {
        self.stop.send_replace(true);
        while self.callers.join_next().await.is_some() {}
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer that came whole.
struct Answer {
    endpoint: Option<String>,
    status: StatusCode,
}

struct Caller {
    proxy: SocketAddr,
    started: Instant,
    ledger: Arc<Mutex<Ledger>>,
    connection: Option<SendRequest<Body>>,
}

impl Caller {
    async fn call(mut self, mut due: Instant, period: Duration, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                // An error means that the traffic was dropped without a stop, which is one.
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let sent = Instant::now();
            let answered = tokio::time::timeout(REQUEST_TIMEOUT, self.exchange()).await;
            self.count(sent, answered.unwrap_or(Err(Failure::Timeout)));
            due = (due + period).max(Instant::now());
        }
    }

    fn count(&self, sent: Instant, answered: Result<Answer, Failure>) {
        let latency = sent.elapsed();
        let (endpoint, failure) = match answered {
            Ok(Answer { endpoint, status: StatusCode::OK }) => (endpoint, None),
            Ok(Answer { endpoint, status }) => (endpoint, Some(Failure::Status(status.as_u16()))),
            Err(failure) => (None, Some(failure)),
        };
        let sample = Sample { endpoint: endpoint.as_deref(), latency, failure };
        lock(&self.ledger).record(self.started.elapsed(), &sample);
    }

    /// One request on the kept connection, or on a new one; it is kept when the answer came whole.
    async fn exchange(&mut self) -> Result<Answer, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => connect(self.proxy).await.ok_or(Failure::Connect)?,
        };
        connection.ready().await.map_err(|_| Failure::Broken)?;
        let request = Request::get("/")
            .header(header::HOST, self.proxy.to_string())
            .body(Body::empty())
            .map_err(|_| Failure::Broken)?;
        let response = connection.send_request(request).await.map_err(|_| Failure::Broken)?;
        let endpoint = response.headers().get(ENDPOINT_HEADER);
        let endpoint = endpoint.and_then(|id| id.to_str().ok()).map(ToOwned::to_owned);
        let status = response.status();
        to_bytes(Body::new(response.into_body()), ANSWER_BYTES_MAX).await.map_err(|_| Failure::Broken)?;
        self.connection = Some(connection);
        Ok(Answer { endpoint, status })
    }
}

async fn connect(proxy: SocketAddr) -> Option<SendRequest<Body>> {
    let stream = TcpStream::connect(proxy).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    // Ends with the sender; its errors are those of the requests on it.
    tokio::spawn(connection);
    Some(sender)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::Router;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;

    /// Longest wait for a condition; only a failing test waits so long.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Requests a second of the tests: enough to see something soon.
    const RATE: u32 = 500;

    async fn seen(traffic: &Traffic, what: &str, holds: impl Fn(&Ledger) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(&traffic.ledger()) {
                tokio::task::yield_now().await;
            }
        });
        assert!(waited.await.is_ok(), "{what} never came");
    }

    async fn serve(router: Router) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = hyper_util::service::TowerToHyperService::new(router.clone());
                let server = hyper::server::conn::http1::Builder::new();
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        address
    }

    #[tokio::test]
    async fn answers_are_counted_at_the_endpoint_that_they_name_and_a_stop_ends_them() {
        let proxy =
            serve(Router::new().route("/", get(async || ([(ENDPOINT_HEADER, "one")], "hello")))).await;
        let mut traffic = Traffic::start(proxy, RATE, Instant::now());
        seen(&traffic, "an answer", |ledger| ledger.whole_of("one", PATIENCE).requests >= 100).await;
        traffic.stop().await;
        let whole = traffic.ledger().whole(PATIENCE);
        assert_eq!(
            (whole.failures, whole.requests),
            (0, traffic.ledger().whole_of("one", PATIENCE).requests)
        );
    }

    #[tokio::test]
    async fn a_status_other_than_200_is_a_failure() {
        let proxy = serve(Router::new().route("/", get(async || StatusCode::BAD_GATEWAY))).await;
        let mut traffic = Traffic::start(proxy, RATE, Instant::now());
        seen(&traffic, "a failure", |ledger| ledger.whole(PATIENCE).failures >= 10).await;
        traffic.stop().await;
        assert!(traffic.ledger().failures().all(|(failure, _)| failure == Failure::Status(502)));
    }

    #[tokio::test]
    async fn a_refused_and_a_broken_connection_are_failures() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        let mut traffic = Traffic::start(proxy, RATE, Instant::now());
        let closing = tokio::spawn(async move {
            for _ in 0..20 {
                drop(listener.accept().await.unwrap());
            }
        });
        let has = |ledger: &Ledger, wanted| ledger.failures().any(|(failure, _)| failure == wanted);
        seen(&traffic, "a broken connection", |ledger| has(ledger, Failure::Broken)).await;
        closing.await.unwrap();
        seen(&traffic, "a refused connection", |ledger| has(ledger, Failure::Connect)).await;
        traffic.stop().await;
        let whole = traffic.ledger().whole(PATIENCE);
        assert_eq!(whole.requests, whole.failures);
    }
}
