//! WebSocket over HTTP/2 (RFC 8441): to and from every protocol of either side, and everywhere that it must be refused.
//!
//! Limit: no client that speaks it is installed where these tests run but the `h2` crate; a real client and server of
//! HTTP/1.1 talk through two proxies with HTTP/2 between them.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;

use isobar_tests::http2::{END_HEADERS, Frame, Http2, block, kind};
use isobar_tests::pairs::{Body, Exchange, Pair, Part, Side, Stage, Version, play, until};
use isobar_tests::real::{peer, run};
use isobar_tests::{Isobar, Origin, PATIENCE, one_service, wait_for};

/// The example of RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const PROOF: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn is_websocket(exchange: &Exchange) -> bool {
    let protocol = exchange.head.field(":protocol").or(exchange.head.field("upgrade"));
    protocol == Some("websocket") && exchange.head.field("sec-websocket-version") == Some("13")
}

/// The status by which the caller of a pair is told that its tunnel stands.
fn switched(pair: Pair) -> u16 {
    if pair.caller.version == Version::Http2 { 200 } else { 101 }
}

async fn next(exchange: &mut Exchange, n: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < n {
        all.extend_from_slice(&exchange.receiving.data().await.unwrap().expect("more bytes"));
    }
    all
}

#[test]
fn a_tunnel_stands_between_every_pair_and_each_direction_ends_alone() {
    let stage = Stage::new(&Part::of(|mut exchange: Exchange| async move {
        if !is_websocket(&exchange) || !exchange.head.path.ends_with("/chat?a=b") {
            exchange.reply(400, "no websocket").await.ok()?;
            return None;
        }
        exchange.accept_websocket().await.ok()?;
        exchange.sending.data(b"first").await.ok()?;
        while let Some(piece) = exchange.receiving.data().await.ok()? {
            exchange.sending.data(&piece).await.ok()?;
        }
        // Its sending side is over, ours is not.
        exchange.sending.data(b" last").await.ok()?;
        exchange.sending.end_tunnel().await.ok()?;
        None
    }));
    for pair in Pair::all() {
        play(async {
            let mut caller = stage.connect(pair).await;
            if pair.caller.version == Version::Http2 {
                until("the proxy to offer it", || caller.may_extend_connect()).await;
            }
            let mut exchange = caller.websocket("/chat?a=b", KEY).await.unwrap();
            let head = exchange.receiving.head().await.unwrap();
            assert_eq!(head.status, switched(pair), "{pair}: {head:?}");
            let proof = (pair.caller.version == Version::Http1).then_some(PROOF);
            assert_eq!(head.field("sec-websocket-accept"), proof, "{pair}");
            assert_eq!(next(&mut exchange, 5).await, b"first", "{pair}");
            for text in [vec![b'a'; 3], vec![b'b'; 300_000]] {
                let (sent, came) = (exchange.sending.data(&text), async {
                    let mut n = 0;
                    while n < text.len() {
                        n += exchange.receiving.data().await.unwrap().expect("more bytes").len();
                    }
                    n
                });
                let (sent, n) = tokio::join!(sent, came);
                sent.unwrap();
                assert_eq!(n, text.len(), "{pair}");
            }
            exchange.sending.end_tunnel().await.unwrap();
            assert_eq!(exchange.receiving.rest().await.unwrap(), b" last", "{pair}");
            drop((exchange, caller));
            stage.settle().await;
        });
    }
}

#[test]
fn a_tunnel_that_one_side_breaks_off_is_over_for_the_other() {
    let gone = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&gone);
    let stage = Stage::new(&Part::of(move |mut exchange: Exchange| {
        let counted = std::sync::Arc::clone(&counted);
        async move {
            exchange.accept_websocket().await.ok()?;
            if exchange.receiving.data().await.ok()?? == "break" {
                exchange.reset();
                return None;
            }
            exchange.sending.data(b"staying").await.ok()?;
            exchange.gone().await;
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            None
        }
    }));
    for (place, pair) in Pair::all().enumerate() {
        play(async {
            let mut caller = stage.connect(pair).await;
            let mut exchange = caller.websocket("/", KEY).await.unwrap();
            assert_eq!(exchange.receiving.head().await.unwrap().status, switched(pair), "{pair}");
            exchange.sending.data(b"break").await.unwrap();
            let end = exchange.receiving.rest().await;
            // Over HTTP/1.1 the close is the end, whichever it was.
            assert!(end.is_err() || pair.caller.version == Version::Http1, "{pair}: {end:?}");
            let mut caller = stage.connect(pair).await;
            let mut exchange = caller.websocket("/", KEY).await.unwrap();
            assert_eq!(exchange.receiving.head().await.unwrap().status, switched(pair), "{pair}");
            exchange.sending.data(b"stay").await.unwrap();
            assert_eq!(next(&mut exchange, 7).await, b"staying", "{pair}");
            exchange.reset();
            drop(caller);
            until("the endpoint to hear of it", || {
                gone.load(std::sync::atomic::Ordering::SeqCst) == place + 1
            })
            .await;
            stage.settle().await;
        });
    }
}

#[test]
fn a_tunnel_that_one_side_ended_is_not_kept_by_the_silence_of_the_other() {
    let part = Part::of(|mut exchange: Exchange| async move {
        exchange.accept_websocket().await.ok()?;
        while exchange.receiving.data().await.ok()?.is_some() {}
        exchange.gone().await;
        None
    });
    let stage = Stage::with(&part, "timeouts = { body_idle = \"200ms\" }", "");
    for pair in Pair::all() {
        play(async {
            let mut caller = stage.connect(pair).await;
            let mut exchange = caller.websocket("/", KEY).await.unwrap();
            assert_eq!(exchange.receiving.head().await.unwrap().status, switched(pair), "{pair}");
            exchange.sending.end_tunnel().await.unwrap();
            let end = tokio::time::timeout(PATIENCE, exchange.receiving.rest()).await;
            assert!(end.is_ok(), "{pair}: it stands for ever");
            drop((exchange, caller));
            stage.settle().await;
        });
    }
}

#[test]
fn an_endpoint_that_does_not_switch_is_never_taken_for_one_that_did() {
    let stage = Stage::new(&Part::of(|mut exchange: Exchange| async move {
        let path = exchange.head.path.clone();
        if path.ends_with("/plain") {
            exchange.reply(200, "plain").await.ok()?;
        } else if path.ends_with("/forged") {
            let fields = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", "x")];
            exchange.sending.head(101, &fields, Body::None).await.ok()?;
        } else {
            exchange.reply(403, "no").await.ok()?;
        }
        None
    }));
    // What only an endpoint of HTTP/1.1 can do wrong to a caller of HTTP/2.
    for caller in Side::ALL.into_iter().filter(|side| side.version == Version::Http2) {
        let pair = Pair { caller, endpoint: Side::ALL[0] };
        play(async {
            let mut caller = stage.connect(pair).await;
            for (path, status, error) in [
                ("/plain", 502, Some("bad-response")),
                ("/forged", 502, Some("bad-response")),
                ("/refused", 403, None),
            ] {
                let mut exchange = caller.websocket(path, KEY).await.unwrap();
                let (head, _) = exchange.answer().await.unwrap();
                assert_eq!((head.status, head.field("x-isobar-error")), (status, error), "{path}");
            }
        });
    }
    // An endpoint of HTTP/2 refuses by any status that is no success.
    for pair in Pair::all().filter(|pair| pair.endpoint.version == Version::Http2) {
        play(async {
            let mut caller = stage.connect(pair).await;
            let mut exchange = caller.websocket("/refused", KEY).await.unwrap();
            let (head, body) = exchange.answer().await.unwrap();
            assert_eq!((head.status, &body[..]), (403, &b"no"[..]), "{pair}");
        });
    }
}

/// Says extended CONNECT with this protocol by raw frames; the first frame about it that comes back.
fn ask(caller: &mut Http2, path: &str, protocol: &str) -> Frame {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", path),
        ("sec-websocket-version", "13"),
    ];
    caller.send(kind::HEADERS, END_HEADERS, 1, &block(&fields));
    loop {
        let frame = caller.next_frame().expect("an answer");
        if frame.stream == 1 && [kind::HEADERS, kind::RST_STREAM].contains(&frame.kind) {
            return frame;
        }
    }
}

/// What a refusal says, or the code of a reset.
fn refusal(isobar: &Isobar, path: &str, protocol: &str) -> String {
    let mut caller = Http2::connect(isobar.listener("web"), &[]);
    let frame = ask(&mut caller, path, protocol);
    match frame.kind {
        kind::RST_STREAM => format!("reset {}", frame.code()),
        _ => String::from_utf8_lossy(&caller.wait_for(kind::DATA).payload).into_owned(),
    }
}

#[test]
fn what_a_route_does_not_allow_is_refused_with_501() {
    let origin = Origin::echoing();
    let isobar = Isobar::start(&format!(
        "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n\
         [[routes]]\npath = \"/none\"\nservice = \"app\"\nupgrades = []\n\
         [[routes]]\npath = \"/fixed\"\nrespond = {{ status = 200, body = \"fixed\" }}\n\
         [[routes]]\npath = \"/\"\nservice = \"app\"\n[services.app]\nendpoints = [\"{}\"]\n",
        origin.address
    ));
    for (path, protocol) in [("/none", "websocket"), ("/fixed", "websocket"), ("/", "connect-udp")] {
        let said = refusal(&isobar, path, protocol);
        assert!(
            said.starts_with("not-implemented: an upgrade to this protocol"),
            "{path} {protocol}: {said}"
        );
    }
    assert_eq!(refusal(&isobar, "/", "two words"), "reset 1");
    assert_eq!(refusal(&isobar, "/", "a\u{7f}"), "reset 1");
    assert_eq!(origin.heads().len(), 0, "nothing of it reached the endpoint");
    assert_eq!(isobar.count(&["isobar_requests_total", "not-implemented"]), 3);
}

#[test]
fn an_endpoint_of_http_2_that_takes_no_tunnels_is_asked_for_none_and_the_operator_told() {
    let origin = Origin::start(|visit| {
        let Some(mut peer) = Http2::accept(&visit.stream, &[]) else { return };
        while let Some(stream) = peer.next_request() {
            peer.answer(stream, "asked");
        }
    });
    let isobar = Isobar::start(&one_service(&[origin.address], "", "protocol = \"h2\"\n"));
    let mut client = isobar.connect();
    client.send(format!(
        "GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: {KEY}\r\n\r\n"
    ));
    let answer = client.response("GET");
    assert_eq!((answer.status, answer.error()), (501, "not-implemented"), "{}", answer.head);
    wait_for("the operator's hint", || isobar.has_logged("no WebSocket with the endpoint").then_some(()));
    assert_eq!(isobar.get("/").text(), "asked");
}

/// A running echo of HTTP/1.1.
struct Echo {
    child: std::process::Child,
    address: SocketAddr,
}

impl Echo {
    fn start() -> Self {
        let mut child = peer("echo_server.py").stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port = port.trim().parse().expect("the echo prints its port");
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_real_client_and_a_real_server_talk_through_two_proxies_with_http_2_between_them() {
    let echo = Echo::start();
    let inner = Isobar::start(&one_service(&[echo.address], "", ""));
    let outer = Isobar::start(&one_service(&[inner.listener("web")], "", "protocol = \"h2\"\n"));
    for _ in 0..3 {
        let mut client = peer("echo_client.py");
        client.arg(format!("ws://{}/chat", outer.listener("web")));
        assert_eq!(String::from_utf8_lossy(&run(client).stdout).trim(), "echoed");
    }
    outer.assert_no_leak();
    // The link between them is kept, and nothing is on it.
    wait_for("the tunnels to end", || (inner.metric(&["isobar_in_flight{"]) == 0.0).then_some(()));
    drop(outer);
}

#[test]
fn a_stop_ends_a_tunnel_when_its_grace_is_over() {
    let echo = Echo::start();
    let service = one_service(&[echo.address], "", "");
    let mut isobar = Isobar::start(&format!("[runtime]\nshutdown_grace = \"300ms\"\n{service}"));
    let mut caller = Http2::connect(isobar.listener("web"), &[]);
    let head = ask(&mut caller, "/", "websocket");
    assert_eq!(head.kind, kind::HEADERS);
    isobar.signal(rustix::process::Signal::TERM);
    while caller.next_frame().is_some() {}
    isobar.wait();
}
