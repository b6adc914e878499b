//! Every pair of protocols while something changes: a drain, a reload, an endpoint that speaks otherwise, probes.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use isobar_tests::pairs::{Body, Caller, Exchange, Pair, Part, Side, Stage, Version, play, until};
use isobar_tests::{Certificates, Isobar, Origin, PATIENCE, one_service, wait_for};
use rustix::process::Signal;

/// An endpoint that tells of each request and answers when it may.
fn waiting() -> (Part, mpsc::Receiver<()>, Arc<AtomicBool>) {
    let (tell, told) = mpsc::channel();
    let may_answer = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&may_answer);
    let part = Part::of(move |mut exchange: Exchange| {
        let (tell, asked) = (tell.clone(), Arc::clone(&asked));
        async move {
            tell.send(()).ok()?;
            if exchange.head.path.ends_with("/slow") {
                until("the word to answer", || asked.load(Ordering::SeqCst)).await;
            }
            exchange.reply(200, "late").await.ok()?;
            Some(exchange)
        }
    });
    (part, told, may_answer)
}

/// A request of each pair that its endpoint has and keeps.
async fn in_flight(stage: &Stage, told: &mpsc::Receiver<()>) -> Vec<(Pair, Caller, Exchange)> {
    let mut open = Vec::new();
    for pair in Pair::all() {
        let mut caller = stage.connect(pair).await;
        let exchange = caller.begin("GET", "/slow", &[], Body::None).await.unwrap();
        open.push((pair, caller, exchange));
    }
    let mut n = 0;
    until("every request to arrive", || {
        n += told.try_iter().count();
        n == open.len()
    })
    .await;
    open
}

#[test]
fn a_drain_lets_every_request_in_flight_finish_and_says_that_no_more_is_taken() {
    let (part, told, may_answer) = waiting();
    let mut stage = Stage::new(&part);
    play(async {
        let open = in_flight(&stage, &told).await;
        let address = stage.isobar.listener("plain");
        stage.isobar.signal(Signal::TERM);
        until("the listeners to close", || TcpStream::connect(address).is_err()).await;
        may_answer.store(true, Ordering::SeqCst);
        for (pair, mut caller, mut exchange) in open {
            let (head, body) = exchange.answer().await.unwrap();
            assert_eq!((head.status, &body[..]), (200, &b"late"[..]), "{pair}");
            if pair.caller.version == Version::Http1 {
                assert_eq!(head.field("connection"), Some("close"), "{pair}");
            } else {
                // A request that crosses the word (GOAWAY) is served; none comes after it.
                let last = async { while caller.get("/later").await.is_ok() {} };
                assert!(tokio::time::timeout(PATIENCE, last).await.is_ok(), "{pair}: no GOAWAY came");
            }
        }
    });
    assert_eq!(stage.isobar.wait().code(), Some(0));
}

#[test]
fn a_reload_keeps_what_is_in_flight_and_later_requests_of_a_connection_see_the_new_routes() {
    let (part, told, may_answer) = waiting();
    let stage = Stage::new(&part);
    let before = stage.configuration("", "");
    let added = "[[routes]]\npath = \"/\"\nheaders = { \"x-new\" = \"*\" }\nrespond = { status = 200, body = \"new\" }\n";
    let after = before.replacen("[[routes]]", &format!("{added}[[routes]]"), 1);
    play(async {
        let open = in_flight(&stage, &told).await;
        let applied = stage.isobar.count(&["isobar_configuration_applied_total"]);
        stage.isobar.configure(&after);
        until("the new configuration", || {
            stage.isobar.count(&["isobar_configuration_applied_total"]) > applied
        })
        .await;
        may_answer.store(true, Ordering::SeqCst);
        for (pair, mut caller, mut exchange) in open {
            if pair.caller.version == Version::Http2 {
                let mut second = caller.begin("GET", "/", &[("x-new", "1")], Body::None).await.unwrap();
                assert_eq!(second.answer().await.unwrap().1, b"new", "{pair}: beside one in flight");
            }
            assert_eq!(exchange.answer().await.unwrap().1, b"late", "{pair}");
            caller.take_back(exchange);
            let mut next = caller.begin("GET", "/", &[("x-new", "1")], Body::None).await.unwrap();
            assert_eq!(next.answer().await.unwrap().1, b"new", "{pair}");
        }
    });
}

#[test]
fn an_endpoint_over_tls_that_offers_http_1_alone_is_told_as_such() {
    let certificates = Certificates::for_localhost();
    let origin = Origin::answering_tls(certificates.server("web", false), "old");
    let service = format!("protocol = \"h2\"\ntls = {{ ca = \"{}\" }}", certificates.at("ca.pem"));
    let isobar = Isobar::start(&one_service(&[origin.address], "", &service));
    let answer = isobar.get("/");
    assert_eq!((answer.status, answer.error()), (502, "connect-failed"));
    wait_for("a reason that an operator understands", || {
        isobar
            .log_text()
            .lines()
            .any(|line| {
                line.contains("with the endpoint") && (line.contains("HTTP/2") || line.contains("ALPN"))
            })
            .then_some(())
    });
    assert!(origin.heads().is_empty(), "no byte of a request is given to it");
}

#[test]
fn a_probe_of_a_service_that_speaks_http_2_over_tls_goes_by_http_2() {
    let stage = Stage::with(
        &Part::of(|mut exchange: Exchange| async move {
            let is_probe = exchange.head.path == "/healthz";
            exchange.reply(if is_probe { 204 } else { 200 }, "").await.ok()?;
            Some(exchange)
        }),
        "",
        "health = { http = \"/healthz\", interval = \"100ms\", initial = \"unhealthy\" }\n",
    );
    for endpoint in Side::ALL {
        let pair = Pair { caller: Side::ALL[0], endpoint };
        play(async {
            let end = tokio::time::Instant::now() + PATIENCE;
            loop {
                let mut caller = stage.connect(pair).await;
                let status = caller.get("/").await.unwrap().0.status;
                if status == 200 {
                    break;
                }
                assert_eq!(status, 503, "{pair}");
                assert!(tokio::time::Instant::now() < end, "{pair}: no probe passed");
            }
        });
    }
}
