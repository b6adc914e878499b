//! Every pair of protocols carries methods, statuses, bodies, trailers and informational answers.
#![allow(clippy::unwrap_used, reason = "a test")]

use isobar_tests::pairs::{Body, Exchange, Pair, Part, Stage, Version, play};

/// Answers with what came: the method in a field, the body as the body.
async fn echo(mut exchange: Exchange) -> Option<Exchange> {
    let body = exchange.receiving.rest().await.ok()?;
    let method = exchange.head.method.clone();
    let fields = [("x-method", method.as_str()), ("x-own", "2")];
    if method == "HEAD" {
        exchange.sending.head(200, &[fields[0], ("content-length", "5")], Body::None).await.ok()?;
        return Some(exchange);
    }
    exchange.sending.head(200, &fields, Body::Length(body.len())).await.ok()?;
    exchange.sending.data(&body).await.ok()?;
    exchange.sending.end(&[]).await.ok()?;
    Some(exchange)
}

#[test]
fn every_method_arrives_with_its_body_and_fields() {
    let stage = Stage::new(&Part::of(echo));
    for pair in Pair::all() {
        play(async {
            let mut caller = stage.connect(pair).await;
            for method in ["GET", "HEAD", "DELETE", "OPTIONS", "BREW"] {
                let fields = [("x-own", "1"), ("cookie", "a=1"), ("cookie", "b=2")];
                let mut exchange = caller.begin(method, "/a?b=c", &fields, Body::None).await.unwrap();
                let (head, body) = exchange.answer().await.unwrap();
                assert_eq!((head.status, head.field("x-method")), (200, Some(method)), "{pair}");
                assert!(body.is_empty(), "{pair} {method}");
                if method == "HEAD" {
                    assert_eq!(head.field("content-length"), Some("5"), "{pair}");
                }
                caller.take_back(exchange);
            }
            for method in ["POST", "PUT", "PATCH", "DELETE", "SEARCH"] {
                for form in [Body::Length(4), Body::Open] {
                    let mut exchange = caller.begin(method, "/", &[], form).await.unwrap();
                    exchange.sending.data(b"bo").await.unwrap();
                    exchange.sending.data(b"dy").await.unwrap();
                    exchange.sending.end(&[]).await.unwrap();
                    let (head, body) = exchange.answer().await.unwrap();
                    assert_eq!(head.field("x-method"), Some(method), "{pair}");
                    assert_eq!(
                        (head.field("x-own"), &body[..]),
                        (Some("2"), &b"body"[..]),
                        "{pair} {method}"
                    );
                    caller.take_back(exchange);
                }
            }
        });
    }
}

#[test]
fn a_status_arrives_as_it_is_and_those_without_a_body_have_none() {
    let stage = Stage::new(&Part::of(|mut exchange: Exchange| async move {
        let status: u16 = exchange.head.path.rsplit('/').next()?.parse().ok()?;
        if [204, 304].contains(&status) {
            exchange.sending.head(status, &[("etag", "\"x\"")], Body::None).await.ok()?;
        } else {
            exchange.reply(status, "text").await.ok()?;
        }
        Some(exchange)
    }));
    for pair in Pair::all() {
        play(async {
            let mut caller = stage.connect(pair).await;
            for status in [200, 204, 206, 304, 404, 500, 503, 599] {
                let (head, body) = caller.get(&format!("/{status}")).await.unwrap();
                assert_eq!(head.status, status, "{pair}");
                let expected: &[u8] = if [204, 304].contains(&status) { b"" } else { b"text" };
                assert_eq!(body, expected, "{pair} {status}");
            }
        });
    }
}

#[test]
fn trailers_pass_both_ways() {
    let stage = Stage::new(&Part::of(|mut exchange: Exchange| async move {
        let body = exchange.receiving.rest().await.ok()?;
        let sum = exchange.receiving.trailers().iter().find(|(name, _)| name == "x-sum")?.1.clone();
        exchange.sending.head(200, &[], Body::Open).await.ok()?;
        exchange.sending.data(&body).await.ok()?;
        exchange.sending.end(&[("x-seen", sum.as_str()), ("x-late", "1")]).await.ok()?;
        Some(exchange)
    }));
    for pair in Pair::all() {
        play(async {
            let mut caller = stage.connect(pair).await;
            for body in [&b"body"[..], b""] {
                let mut exchange =
                    caller.begin("POST", "/", &[("te", "trailers")], Body::Open).await.unwrap();
                exchange.sending.data(body).await.unwrap();
                exchange.sending.end(&[("x-sum", "7")]).await.unwrap();
                let (head, echoed) = exchange.answer().await.unwrap();
                assert_eq!((head.status, &echoed[..]), (200, body), "{pair}");
                let trailers: Vec<_> = exchange.receiving.trailers().clone();
                let expected = [("x-seen", "7"), ("x-late", "1")].map(|(n, v)| (n.to_owned(), v.to_owned()));
                assert_eq!(trailers, expected, "{pair}");
                caller.take_back(exchange);
            }
        });
    }
}

#[test]
fn informational_answers_come_in_order_before_the_final_one() {
    let stage = Stage::new(&Part::of(|mut exchange: Exchange| async move {
        for place in ["/a", "/b"] {
            exchange.sending.informational(103, &[("link", place)]).await.ok()?;
        }
        exchange.reply(200, "final").await.ok()?;
        Some(exchange)
    }));
    for pair in Pair::all() {
        play(async {
            let mut caller = stage.connect(pair).await;
            let mut exchange = caller.begin("GET", "/", &[], Body::None).await.unwrap();
            for place in ["/a", "/b"] {
                let head = exchange.receiving.head().await.unwrap();
                assert_eq!((head.status, head.field("link")), (103, Some(place)), "{pair}");
            }
            let (head, body) = exchange.answer().await.unwrap();
            assert_eq!((head.status, &body[..]), (200, &b"final"[..]), "{pair}");
        });
    }
}

#[test]
fn a_caller_that_waits_for_100_gets_it_from_the_endpoint_before_it_sends() {
    let stage = Stage::new(&Part::of(|mut exchange: Exchange| async move {
        if exchange.head.field("expect") != Some("100-continue") {
            exchange.reply(500, "no expectation").await.ok()?;
            return None;
        }
        if exchange.head.path.ends_with("/refused") {
            exchange.reply(417, "no").await.ok()?;
            return None;
        }
        exchange.sending.informational(100, &[]).await.ok()?;
        let body = exchange.receiving.rest().await.ok()?;
        exchange.reply(200, &String::from_utf8(body).ok()?).await.ok()?;
        Some(exchange)
    }));
    for pair in Pair::all() {
        play(async {
            let expects = [("expect", "100-continue")];
            let mut caller = stage.connect(pair).await;
            let mut exchange = caller.begin("POST", "/", &expects, Body::Length(4)).await.unwrap();
            assert_eq!(exchange.receiving.head().await.unwrap().status, 100, "{pair}");
            exchange.sending.data(b"body").await.unwrap();
            exchange.sending.end(&[]).await.unwrap();
            let (head, body) = exchange.answer().await.unwrap();
            assert_eq!((head.status, &body[..]), (200, &b"body"[..]), "{pair}");
            drop(exchange);
            let mut caller = stage.connect(pair).await;
            let mut exchange = caller.begin("POST", "/refused", &expects, Body::Length(4)).await.unwrap();
            assert_eq!(exchange.answer().await.unwrap().0.status, 417, "{pair}");
        });
    }
}

#[test]
fn an_answer_that_comes_before_the_end_of_the_upload_is_not_lost() {
    let stage = Stage::new(&Part::of(|mut exchange: Exchange| async move {
        exchange.receiving.data().await.ok()?;
        exchange.reply(413, "enough").await.ok()?;
        None
    }));
    for pair in Pair::all() {
        play(async {
            let mut caller = stage.connect(pair).await;
            let mut exchange = caller.begin("POST", "/", &[], Body::Length(10 << 20)).await.unwrap();
            exchange.sending.data(b"part").await.unwrap();
            let (head, body) = exchange.answer().await.unwrap();
            assert_eq!((head.status, &body[..]), (413, &b"enough"[..]), "{pair}");
            drop((exchange, caller));
            stage.settle().await;
        });
    }
}

#[test]
fn streams_of_one_caller_are_exchanges_of_their_own() {
    let stage = Stage::new(&Part::of(|mut exchange: Exchange| async move {
        // Each waits for its own body, so none can be answered in the order of the requests.
        let body = exchange.receiving.rest().await.ok()?;
        exchange.reply(200, &String::from_utf8(body).ok()?).await.ok()?;
        Some(exchange)
    }));
    for pair in Pair::all().filter(|pair| pair.caller.version == Version::Http2) {
        play(async {
            let mut caller = stage.connect(pair).await;
            let mut open = Vec::new();
            for n in 0..50 {
                let exchange = caller.begin("POST", &format!("/{n}"), &[], Body::Open).await.unwrap();
                open.push((n, exchange));
            }
            while let Some((n, mut exchange)) = open.pop() {
                exchange.sending.data(n.to_string().as_bytes()).await.unwrap();
                exchange.sending.end(&[]).await.unwrap();
                assert_eq!(exchange.answer().await.unwrap().1, n.to_string().into_bytes(), "{pair}");
            }
        });
    }
}
