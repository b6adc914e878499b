//! Callers and endpoints that do what they like, many at a time, by a seed: every answer belongs to its request, every
//! failure has its own status, and afterwards nothing is left.
//!
//! A request names in its path what the endpoint shall do with it, so its answer is known beforehand. `ISOBAR_SEED`
//! repeats a run, as far as threads allow; `ISOBAR_SOAK=1` makes it fifty times as long.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use isobar_tests::real::Draw;
use isobar_tests::{Client, Isobar, Origin, PATIENCE, Response, Visit, wait_for};
use rustix::process::Signal;

const N_CALLERS: usize = 8;

/// Exchanges of one caller in the gate.
const N_EXCHANGES: usize = 250;

/// Largest body: a few times the buffers on the way.
const BODY_POWER_MAX: u32 = 18;

/// What an endpoint does with a request, by the first segment of its path.
const DEEDS: [&str; 12] = [
    "length", "chunked", "close", "empty", "informed", "split", "gone", "reset", "garbage", "cut", "early",
    "stale",
];

/// The body that answers the request for this path: its own name over and over.
fn body_for(path: &str, size: usize) -> Vec<u8> {
    path.bytes().cycle().take(size).collect()
}

/// Size asked for: the last segment.
fn size_in(path: &str) -> usize {
    path.rsplit('/').next().unwrap().parse().unwrap()
}

/// Plays the endpoint.
fn play(visit: &mut Visit) {
    while let Some(head) = visit.head() {
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let deed = path.split('/').nth(1).unwrap();
        let (size, is_head) = (size_in(&path), head.starts_with("HEAD"));
        if deed == "early" {
            visit
                .send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 4\r\nconnection: close\r\n\r\nstop");
            visit.is_closed_by_peer();
            return;
        }
        if head.contains("expect: 100-continue") {
            visit.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
        let received = visit.body(&head);
        let body = body_for(&path, size);
        let by_length =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\nx-received: {}\r\n\r\n", received.len());
        match deed {
            "length" | "stale" => {
                visit.send(by_length);
                send_body(visit, &body, is_head);
            }
            "informed" => {
                visit.send("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n");
                visit.send(by_length);
                send_body(visit, &body, is_head);
            }
            "split" => {
                for byte in by_length.as_bytes().chunks(7) {
                    visit.send(byte);
                }
                send_body(visit, &body, is_head);
            }
            "chunked" => {
                visit.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                if !is_head {
                    send_chunks(visit, &body);
                    visit.send("0\r\n\r\n");
                }
            }
            "close" => {
                visit.send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
                send_body(visit, &body, is_head);
                return;
            }
            "empty" => {
                visit.send("HTTP/1.1 204 No Content\r\n\r\n");
            }
            "garbage" => {
                visit.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx");
                return;
            }
            "cut" => {
                visit.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", size + 1));
                send_body(visit, &body, false);
                return;
            }
            "gone" => return,
            "reset" => return visit.reset(),
            _ => unreachable!("{path}"),
        }
        if deed == "stale" && size % 2 == 0 {
            return;
        }
    }
}

fn send_body(visit: &mut Visit, body: &[u8], is_head: bool) {
    if !is_head {
        visit.send(body);
    }
}

fn send_chunks(visit: &mut Visit, mut body: &[u8]) {
    let mut size = 1;
    while !body.is_empty() {
        let (piece, rest) = body.split_at(size.min(body.len()));
        visit.send(format!("{:x}\r\n", piece.len()).into_bytes());
        visit.send([piece, b"\r\n"].concat());
        (body, size) = (rest, size * 3);
    }
}

/// One exchange: what is asked and how.
struct Exchange {
    method: &'static str,
    path: String,
    upload: usize,
    request: Vec<u8>,
}

impl Exchange {
    fn draw(draw: &mut Draw, caller: usize, number: usize) -> Self {
        let deed = DEEDS[draw.below(DEEDS.len())];
        let size = draw.magnitude(BODY_POWER_MAX) - 1;
        let path = format!("/{deed}/{caller}-{number}/{size}");
        let method = match deed {
            // Only what may be repeated meets a connection that the endpoint is about to close.
            "stale" => ["GET", "PUT"][draw.below(2)],
            "early" => "POST",
            "cut" => "GET",
            _ => ["GET", "HEAD", "PUT", "POST", "DELETE"][draw.below(5)],
        };
        let upload = match (deed, method) {
            ("early", _) => 1 << 20,
            (_, "GET" | "HEAD") => 0,
            _ => draw.magnitude(if deed == "stale" { 10 } else { BODY_POWER_MAX }) - 1,
        };
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n").into_bytes();
        let body = vec![b'u'; upload];
        match draw.below(3) {
            0 if upload > 0 => {
                request.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
                for piece in body.chunks(1 + draw.below(upload)) {
                    request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    request.extend_from_slice(piece);
                    request.extend_from_slice(b"\r\n");
                }
                request.extend_from_slice(b"0\r\n\r\n");
            }
            _ if upload > 0 => {
                request.extend_from_slice(format!("content-length: {upload}\r\n\r\n").as_bytes());
                request.extend_from_slice(&body);
            }
            _ => request.extend_from_slice(b"\r\n"),
        }
        Self { method, path, upload, request }
    }

    fn deed(&self) -> &str {
        self.path.split('/').nth(1).unwrap()
    }

    fn size(&self) -> usize {
        size_in(&self.path)
    }

    /// Checks the answer, or its absence.
    fn check(&self, response: Option<&Response>) {
        let told =
            || format!("{} {} {response:?}", self.method, self.path).chars().take(400).collect::<String>();
        if self.deed() == "cut" {
            assert!(response.is_none(), "a cut answer looks whole: {}", told());
            return;
        }
        let Some(response) = response else { panic!("no answer: {}", told()) };
        let expected = match self.deed() {
            "empty" => (204, ""),
            "gone" | "reset" => (502, "upstream-reset"),
            "garbage" => (502, "bad-response"),
            "early" => (413, ""),
            _ => (200, ""),
        };
        assert_eq!((response.status, response.error()), expected, "{}", told());
        if expected.0 != 200 {
            return;
        }
        let size = if self.method == "HEAD" { 0 } else { self.size() };
        assert!(response.body == body_for(&self.path, size), "another body: {}", told());
        if let Some(received) = response.header("x-received") {
            assert_eq!(received, self.upload.to_string(), "{}", told());
        }
    }
}

/// How a caller behaves in one exchange.
fn run(client: &mut Option<Client>, isobar: &Isobar, exchange: &Exchange, draw: &mut Draw) {
    let mut current = client.take().unwrap_or_else(|| isobar.connect());
    let cut = draw.below(exchange.request.len());
    match draw.below(10) {
        0 => {
            current.send(&exchange.request[..cut]);
            return current.reset();
        }
        1 => {
            current.send(&exchange.request[..cut]);
            return drop(current);
        }
        2 => {
            current.send(&exchange.request);
            return current.reset();
        }
        3 => {
            current.send(&exchange.request[..cut]);
            current.send(&exchange.request[cut..]);
        }
        _ => current.send(&exchange.request),
    }
    let response = loop {
        match current.any_response(exchange.method) {
            Some(informational) if informational.status < 200 => {}
            other => break other,
        }
    };
    exchange.check(response.as_ref());
    let closes = response.is_none_or(|response| response.header("connection") == Some("close"));
    *client = (!closes).then_some(current);
}

fn number_in(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_answer_belongs_to_its_request_whatever_others_do_and_nothing_is_left() {
    let seed = number_in("ISOBAR_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let n_exchanges = if std::env::var_os("ISOBAR_SOAK").is_some() { 50 * N_EXCHANGES } else { N_EXCHANGES };
    let origins = [Origin::start(play), Origin::start(play)];
    let stale = Origin::start(play);
    let mut isobar = Isobar::start(&format!(
        "[runtime]\nworkers = 2\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n\
         timeouts = {{ body_idle = \"10s\" }}\n[[routes]]\npath = \"/stale\"\nservice = \"stale\"\n\
         [services.app]\nendpoints = [\"{}\", \"{}\"]\n[services.stale]\nendpoints = [\"{}\"]\n",
        origins[0].address, origins[1].address, stale.address
    ));
    assert!(Duration::from_secs(10) < PATIENCE, "the proxy gives up before the harness does");
    assert_eq!(isobar.get("/length/warm/0").status, 200);
    let n_descriptors = || std::fs::read_dir(format!("/proc/{}/fd", isobar.pid())).unwrap().count();
    std::thread::scope(|scope| {
        for caller in 0..N_CALLERS {
            let isobar = &isobar;
            scope.spawn(move || {
                let mut draw = Draw(seed.wrapping_add(caller as u64 * 0x1000_0001));
                let mut client = None;
                for number in 0..n_exchanges {
                    let exchange = Exchange::draw(&mut draw, caller, number);
                    run(&mut client, isobar, &exchange, &mut draw);
                }
            });
        }
    });
    isobar.assert_no_leak();
    let others = isobar.metric(&["isobar_upstream_connections_open{"]);
    assert!(
        others <= (2 * N_CALLERS * 3) as f64,
        "{others} connections to endpoints for {N_CALLERS} callers; seed {seed}"
    );
    wait_for("descriptors to be given back", || (n_descriptors() < 40 + 6 * N_CALLERS).then_some(()));
    isobar.signal(Signal::TERM);
    assert_eq!(isobar.wait().code(), Some(0), "seed {seed}");
}
