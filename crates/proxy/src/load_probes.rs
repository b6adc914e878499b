//! Load probes: what endpoints are asked, beside requests, about their load, for the policy `prequal`.
//!
//! A pick names endpoints; each gets one GET in a task of its own, over a connection of the worker's pool, and its report
//! goes into the worker's pool of reports. Invariants: a request waits for no probe; at most [`IN_FLIGHT_MAX`] are under way
//! and each ends within [`LIMIT`] (the pool bounds how many there are in a second); a probe counts neither as a request nor
//! as an attempt in flight, and what becomes of it is no verdict on the endpoint. An endpoint that answers without saying
//! anything of its load, with whatever status, is judged by what this process sees; one that does not answer, by nothing.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::rc::Rc;
use std::time::Duration;

use isobar_core::{Address, Endpoint, LoadPool, MemberIndex, ProbeReport};
use isobar_http1::{
    BodyDecoder, BodyStep, Field, Framing, HeadLimits, HeadProgress, HeaderId, Method, ResponseHead,
};

use crate::buffer::Buffer;
use crate::generation::Generation;
use crate::stream::Stream;
use crate::upstream::{self, Permit, Upstream};
use crate::view::View;

/// Load probes of one worker to one service that are under way: as many as a pool has reports, twice.
const IN_FLIGHT_MAX: u32 = 32;

/// Time for one load probe, its connection included: what comes later would be too old to be used.
const LIMIT: Duration = Duration::from_secs(1);

/// Bounds of the answer's head: it has two short fields that matter.
const HEAD_LIMITS: HeadLimits = HeadLimits { head_bytes: 8 * 1024, target_bytes: 8 * 1024, n_headers: 100 };

/// Bytes of an answer's body that are read so that its connection can be kept; a longer one is cut off with it.
const BODY_MAX: usize = 8 * 1024;

/// What a worker knows of the load of one service's endpoints.
#[derive(Default)]
pub(crate) struct Loads {
    pub(crate) pool: RefCell<LoadPool>,
    n_probes: Cell<u32>,
}

/// Counts a probe as under way.
struct Under(Rc<Generation>, usize);

impl Drop for Under {
    fn drop(&mut self) {
        let n = &self.0.clusters[self.1].loads.n_probes;
        n.set(n.get() - 1);
    }
}

/// Sends the load probes that the last pick of this service asked for.
pub(crate) fn send_due(generation: &Rc<Generation>, service: usize, view: &View) {
    let loads = &generation.clusters[service].loads;
    while let Some(index) = take_due(loads) {
        if loads.n_probes.get() >= IN_FLIGHT_MAX {
            continue;
        }
        loads.n_probes.set(loads.n_probes.get() + 1);
        let under = Under(Rc::clone(generation), service);
        let view = view.clone();
        tokio::task::spawn_local(async move {
            match tokio::time::timeout(LIMIT, probe(&under, &view, index)).await {
                Ok(Ok(report)) => learn(&under.0, under.1, &view, index, report),
                Ok(Err(error)) => tracing::trace!(%error, "no answer to a load probe"),
                Err(_) => tracing::trace!("a load probe took too long"),
            }
        });
    }
}

fn take_due(loads: &Loads) -> Option<MemberIndex> {
    loads.pool.borrow_mut().take_due()
}

/// Takes in what an endpoint told.
fn learn(generation: &Generation, service: usize, view: &View, index: MemberIndex, report: ProbeReport) {
    let (worker, loads) = (&generation.worker, &generation.clusters[service].loads);
    loads.pool.borrow_mut().learn(view, index, report, worker.now(), &mut worker.draw.borrow_mut());
}

/// Takes in what the head of an ordinary answer tells, if it tells anything.
pub(crate) fn hear(
    generation: &Generation,
    service: usize,
    view: &View,
    index: MemberIndex,
    response: &ResponseHead,
    head: &[u8],
) {
    let report = report(&response.fields, head);
    if !report.is_empty() {
        learn(generation, service, view, index, report);
    }
}

fn report(fields: &[Field], head: &[u8]) -> ProbeReport {
    let value = |name: &str| {
        let named = |field: &&Field| {
            field.id == HeaderId::Other && field.name.of(head).eq_ignore_ascii_case(name.as_bytes())
        };
        fields.iter().find(named).map(|field| field.value.of(head))
    };
    ProbeReport::read(value(ProbeReport::IN_FLIGHT), value(ProbeReport::LATENCY_MS))
}

/// Asks one endpoint.
async fn probe(under: &Under, view: &View, index: MemberIndex) -> io::Result<ProbeReport> {
    let Under(generation, service) = under;
    let cluster = &generation.clusters[*service];
    let mut upstream = connection(generation, *service, view, index).await?;
    let endpoint = &view.member(index).endpoint;
    let path = generation.plan.services[*service].load_probe.as_deref().unwrap_or("/");
    write(&mut upstream.stream, &request(path, endpoint)?).await?;
    let mut buffer = Buffer::default();
    generation.worker.stock.lend(&mut buffer);
    let answered = answer(&mut upstream.stream, &mut buffer).await;
    generation.worker.stock.give_back(&mut buffer);
    let (report, is_reusable) = answered?;
    if is_reusable {
        cluster.pool.check_in(upstream, generation.worker.now());
    }
    Ok(report)
}

/// A kept connection, a new one, or a stream of HTTP/2.
async fn connection(
    generation: &Generation,
    service: usize,
    view: &View,
    index: MemberIndex,
) -> io::Result<Upstream> {
    let (cluster, plan) = (&generation.clusters[service], &generation.plan.services[service]);
    let (member, now) = (view.member(index), generation.worker.now());
    if plan.http2 {
        // Requests make these; a probe uses what there is.
        let stream = cluster.links.stream(&member.live, false, now);
        let (stream, reused) = stream.ok_or_else(|| io::Error::other("no connection of HTTP/2 yet"))?;
        return Ok(Upstream::of_stream(stream, reused, now));
    }
    if let Some(kept) = cluster.pool.check_out(&member.live, now) {
        return Ok(kept);
    }
    let full = || io::Error::other("the endpoint is at its maximum of connections");
    let permit = Permit::take(&member.live, plan.pool.max_connections_per_endpoint).ok_or_else(full)?;
    let stream = upstream::connect(&member.endpoint, cluster.tls.as_ref(), false).await;
    Ok(Upstream::new(stream.map_err(io::Error::other)?, permit, generation.worker.now()))
}

fn request(path: &str, endpoint: &Endpoint) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(128);
    write!(head, "GET {path} HTTP/1.1\r\nhost: ")?;
    match (&endpoint.host, &endpoint.address) {
        (Some(host), _) => write!(head, "{host}")?,
        (None, Address::Tcp(address)) => write!(head, "{address}")?,
        (None, Address::Unix(_)) => write!(head, "localhost")?,
    }
    head.extend_from_slice(b"\r\n\r\n");
    Ok(head)
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        let n = poll_fn(|cx| stream.poll_write(cx, &bytes[written..], &[])).await?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        written += n;
    }
    poll_fn(|cx| stream.poll_flush(cx)).await
}

/// What the answer tells, and whether its connection can carry another request.
async fn answer(stream: &mut Stream, buffer: &mut Buffer) -> io::Result<(ProbeReport, bool)> {
    let (mut head, mut progress) = (ResponseHead::new(), HeadProgress::default());
    let head_len = loop {
        let parsed = head.parse(buffer.filled(), &mut progress, &HEAD_LIMITS, Method::Get);
        match parsed.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))? {
            Some(n) if head.is_informational() => {
                buffer.consume(n);
                progress = HeadProgress::default();
            }
            Some(n) => break n,
            None => read(stream, buffer).await?,
        }
    };
    let report = report(&head.fields, &buffer.filled()[..head_len]);
    buffer.consume(head_len);
    let is_whole = skip_body(stream, buffer, head.framing).await?;
    Ok((report, is_whole && head.keep_alive && buffer.is_empty()))
}

/// Reads on to the end of the body; false where that is too far.
async fn skip_body(stream: &mut Stream, buffer: &mut Buffer, framing: Framing) -> io::Result<bool> {
    let (mut body, mut n_left) = (BodyDecoder::new(framing), BODY_MAX);
    loop {
        let (n, needs_more) =
            match body.decode(buffer.filled()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))? {
                BodyStep::Done { consumed } => {
                    buffer.consume(consumed);
                    return Ok(true);
                }
                BodyStep::Data { end, .. } => (end, false),
                BodyStep::NeedMore { consumed } => (consumed, true),
            };
        buffer.consume(n);
        if n_left <= n || framing == Framing::UntilClose {
            return Ok(false);
        }
        n_left -= n;
        if needs_more {
            read(stream, buffer).await?;
        }
    }
}

async fn read(stream: &mut Stream, buffer: &mut Buffer) -> io::Result<()> {
    if !buffer.make_room(crate::buffer::BUFFER_BYTES) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    match poll_fn(|cx| stream.poll_read(cx, buffer.room())).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => {
            buffer.filled_more(n);
            Ok(())
        }
    }
}
