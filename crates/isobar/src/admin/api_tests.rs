//! Laws of the calls for operators: services, endpoints, events, configuration.

use axum::body::Bytes;
use futures_util::stream;
use isobar_config::NoFiles;
use serde_json::{Value, json};

use super::*;
use crate::admin::body::{BODY_TIMEOUT, CHANGE_BYTES_MAX, CONFIGURATION_BYTES_MAX};
use crate::admin::events::{HEARTBEAT_INTERVAL, STREAMS_MAX};

const CONFIGURATION: &str = r#"
[[listeners]]
name = "web"
listen = "127.0.0.1:0"
service = "web"

[services.web]
policy = "round-robin"
endpoints = ["127.0.0.1:9001", { address = "127.0.0.1:9002", id = "web/b[1]", weight = 3, zone = "z", priority = 1 }]
"#;

/// Subjects with the service `web`.
async fn serving() -> Subjects {
    let subjects = subjects(Phase::Ready);
    let no_variables = |_: &str| None;
    let loaded =
        isobar_config::load_text("isobar.toml".as_ref(), CONFIGURATION.to_owned(), &NoFiles, &no_variables)
            .unwrap();
    let prepared = subjects.clusters.prepare(&loaded.settings.services).await.unwrap();
    subjects.clusters.commit(prepared).await;
    subjects
}

fn call(method: Method, path: &str, body: impl Into<Body>) -> Request {
    let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    request.body(body.into()).unwrap()
}

async fn read(subjects: &Subjects, path: &str) -> Value {
    let answer = answer(subjects.clone(), fetch(path)).await;
    assert_eq!((answer.status, answer.content_type.as_str()), (200, "application/json"), "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// Status and code of a refused call, or its status alone.
async fn verdict(subjects: &Subjects, request: Request) -> (u16, String) {
    let answer = answer(subjects.clone(), request).await;
    let refused = answer.status >= 400;
    (answer.status, if refused { code(&answer) } else { String::new() })
}

#[tokio::test]
async fn services_are_told_with_their_states_and_sources() {
    let subjects = serving().await;
    let services = read(&subjects, "/api/v1/services").await;
    let web = &services["services"][0];
    assert_eq!((&web["name"], &web["policy"]), (&json!("web"), &json!("round-robin")));
    assert_eq!(web["states"], json!({ "healthy": 0, "unhealthy": 0, "unknown": 2, "draining": 0 }));
    let source = &web["sources"][0];
    assert_eq!((&source["name"], &source["endpoints"]), (&json!("configuration"), &json!(2)));
    assert!(source["problem"].is_null(), "{source}");
    let age = source["updated_age_seconds"].to_string();
    assert!(age.split_once('.').is_some_and(|(_, parts)| parts.len() <= 3), "whole milliseconds: {age}");
    assert!(web["endpoints"].is_null());

    let mut web = read(&subjects, "/api/v1/services/web").await;
    let expected = json!({
        "id": "web/b[1]", "address": "127.0.0.1:9002", "weight": 3, "effective_weight": 3, "zone": "z",
        "priority": 1, "state": "unknown", "draining": false, "reason": "", "source": "configuration",
        "in_flight": 0, "connections": 0, "requests": 0, "failures": 0, "latency_ms": null,
    });
    assert_eq!(web["endpoints"][1].take(), expected);
    assert_eq!(web["endpoints"][0]["id"], "127.0.0.1:9001");
}

#[tokio::test]
async fn an_endpoint_is_added_changed_and_removed_and_each_answer_shows_it_as_published() {
    let subjects = serving().await;
    let path = "/api/v1/services/web/endpoints/new%2F%5B::1%5D:80";
    let edit = async |method, body: &str| {
        let answer = answer(subjects.clone(), call(method, path, body.to_owned())).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str::<Value>(&answer.body).unwrap()
    };
    let added = edit(Method::PUT, r#"{"address": "[::1]:80", "weight": 2, "zone": "c"}"#).await;
    assert_eq!((&added["id"], &added["weight"]), (&json!("new/[::1]:80"), &json!(2)));
    assert_eq!((&added["address"], &added["source"]), (&json!("[::1]:80"), &json!("admin")));
    let drained = edit(Method::PATCH, r#"{"draining": true, "weight": 5}"#).await;
    assert_eq!((&drained["state"], &drained["weight"]), (&json!("draining"), &json!(5)));
    assert_eq!((&drained["effective_weight"], &drained["zone"]), (&json!(0), &json!("c")));
    let back = edit(Method::PATCH, r#"{"draining": false}"#).await;
    assert_eq!((&back["draining"], &back["effective_weight"]), (&json!(false), &json!(5)));
    assert_eq!(verdict(&subjects, call(Method::DELETE, path, "")).await, (204, String::new()));
    assert_eq!(
        verdict(&subjects, call(Method::DELETE, path, "")).await,
        (404, "unknown-endpoint".to_owned())
    );
    assert_eq!(read(&subjects, "/api/v1/services/web").await["endpoints"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_end_of_an_override_brings_back_what_the_source_says() {
    let subjects = serving().await;
    let (path, clear) = (
        "/api/v1/services/web/endpoints/127.0.0.1:9001",
        "/api/v1/services/web/endpoints/127.0.0.1:9001/override",
    );
    assert_eq!(verdict(&subjects, call(Method::DELETE, clear, "")).await, (404, "no-override".to_owned()));
    assert_eq!(verdict(&subjects, call(Method::PATCH, path, r#"{"weight": 9}"#)).await.0, 200);
    assert_eq!(verdict(&subjects, call(Method::DELETE, path, "")).await.0, 204);
    assert_eq!(verdict(&subjects, call(Method::DELETE, clear, "")).await.0, 204);
    let web = read(&subjects, "/api/v1/services/web").await;
    let first = &web["endpoints"][0];
    assert_eq!((&first["weight"], &first["source"]), (&json!(1), &json!("configuration")));
}

#[tokio::test]
async fn garbage_is_refused_with_a_code_and_changes_nothing() {
    let subjects = serving().await;
    let before = read(&subjects, "/api/v1/services/web").await["endpoints"].take();
    let (put, patch) = (Method::PUT, Method::PATCH);
    for (method, path, body, expected) in [
        (Method::GET, "/api/v1/services/none", "", (404, "unknown-service")),
        (Method::GET, "/api/v1/services/%00", "", (404, "unknown-service")),
        (Method::GET, "/api/v1/services/%ff", "", (400, "bad-path")),
        (Method::GET, "/api/v1/services/web/", "", (404, "not-found")),
        (Method::POST, "/api/v1/services", "", (405, "method-not-allowed")),
        (Method::GET, "/api/v1/services/web/endpoints/a", "", (405, "method-not-allowed")),
        (put.clone(), "/api/v1/services/none/endpoints/a", "{}", (404, "unknown-service")),
        (put.clone(), "/api/v1/services/web/endpoints/a", "", (400, "bad-json")),
        (put.clone(), "/api/v1/services/web/endpoints/a", "\0\u{7f}", (400, "bad-json")),
        (put.clone(), "/api/v1/services/web/endpoints/a", "[1]", (400, "bad-change")),
        (put.clone(), "/api/v1/services/web/endpoints/a", r#"{"address": "a.b:1"}"#, (400, "bad-change")),
        (put.clone(), "/api/v1/services/web/endpoints/%ff", "{}", (400, "bad-path")),
        (put.clone(), "/api/v1/services/web/endpoints/%0a", "{}", (400, "bad-change")),
        (put, "/api/v1/services/web/endpoints/", "{}", (404, "not-found")),
        (patch.clone(), "/api/v1/services/web/endpoints/127.0.0.1:9001", "{}", (400, "bad-change")),
        (patch, "/api/v1/services/web/endpoints/a", r#"{"weight": 1}"#, (404, "unknown-endpoint")),
        (Method::DELETE, "/api/v1/services/web/endpoints/a", "", (404, "unknown-endpoint")),
        (Method::DELETE, "/api/v1/services/web/endpoints/a/override", "", (404, "no-override")),
    ] {
        let got = verdict(&subjects, call(method.clone(), path, body)).await;
        assert_eq!((got.0, got.1.as_str()), expected, "{method} {path} {body}");
    }
    assert_eq!(read(&subjects, "/api/v1/services/web").await["endpoints"], before);
}

#[tokio::test]
async fn a_refusal_says_what_there_is_and_what_to_send() {
    let subjects = serving().await;
    let path = "/api/v1/services/web/endpoints/a";
    for (refused, part) in [
        (call(Method::GET, "/api/v1/services/none", ""), "there are: web"),
        (call(Method::PATCH, "/api/v1/services/none/endpoints/a", "{}"), "there are: web"),
        (call(Method::PUT, path, " \n"), "the body is empty; send a JSON object with some of `address`"),
        (call(Method::PATCH, path, ""), "the body is empty; send a JSON object with some of `weight`"),
        (call(Method::GET, "/api", ""), "/api/v1/events and /api/v1/config"),
    ] {
        let answer = answer(subjects.clone(), refused).await;
        assert!(answer.body.contains(part), "{part} is missing in {}", answer.body);
    }
    let none = answer(self::subjects(Phase::Ready), fetch("/api/v1/services/web")).await;
    assert!(none.body.contains("has none"), "{}", none.body);
}

#[tokio::test]
async fn a_body_over_its_bound_is_refused_at_the_bound_whatever_was_announced() {
    let subjects = serving().await;
    for (method, path, max) in [
        (Method::PUT, "/api/v1/services/web/endpoints/a", CHANGE_BYTES_MAX),
        (Method::PATCH, "/api/v1/services/web/endpoints/a", CHANGE_BYTES_MAX),
        (Method::PUT, "/api/v1/config", CONFIGURATION_BYTES_MAX),
    ] {
        let expected = (413, "body-too-large".to_owned());
        let announced = call(method.clone(), path, vec![b' '; max + 1]);
        assert_eq!(verdict(&subjects, announced).await, expected, "{path}");
        // Without end, and without a length.
        let pieces = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 4096])));
        let endless = call(method.clone(), path, Body::from_stream(pieces));
        assert_eq!(verdict(&subjects, endless).await, expected, "{path}");
        let fits = verdict(&subjects, call(method, path, vec![b' '; max])).await;
        assert_ne!(fits.0, 413, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_given_up() {
    let subjects = serving().await;
    let started = tokio::time::Instant::now();
    let pending = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let stalled = call(Method::PATCH, "/api/v1/services/web/endpoints/127.0.0.1:9001", pending);
    assert_eq!(verdict(&subjects, stalled).await, (408, "request-timeout".to_owned()));
    assert!(started.elapsed() >= BODY_TIMEOUT);
}

#[tokio::test]
async fn a_configuration_is_shown_as_toml_or_json_and_replaced_as_a_whole() {
    let subjects = serving().await;
    let shown = answer(subjects.clone(), fetch("/api/v1/config")).await;
    assert_eq!(shown.content_type, "application/toml; charset=utf-8");
    assert!(shown.body.starts_with("# revision 1\n# applied 1970-01-01T00:00:00.000Z\n# from isobar.toml\n"));
    assert!(shown.body.ends_with("\n[runtime]\n"));
    let put = answer(subjects.clone(), call(Method::PUT, "/api/v1/config", "[admin]\n")).await;
    let report: Value = serde_json::from_str(&put.body).unwrap();
    assert_eq!((put.status, &report["revision"], &report["document"]), (200, &json!(2), &json!("[admin]\n")));
    let mut asked = fetch("/api/v1/config");
    asked.headers_mut().insert(header::ACCEPT, "application/json".parse().unwrap());
    let shown = answer(subjects.clone(), asked).await;
    assert_eq!(serde_json::from_str::<Value>(&shown.body).unwrap(), report);
    assert_eq!(report["refused"], Value::Null);

    let refused = answer(subjects.clone(), call(Method::PUT, "/api/v1/config", "broken")).await;
    assert_eq!((refused.status, code(&refused).as_str()), (422, "configuration-refused"));
    assert!(refused.body.contains("isobar.toml:1:1: broken"));
    let no_text = call(Method::PUT, "/api/v1/config", vec![0xff]);
    assert_eq!(verdict(&subjects, no_text).await, (422, "configuration-refused".to_owned()));
}

/// The next piece of an event stream.
async fn piece(body: &mut Body) -> Option<String> {
    let frame = body.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn a_stream_tells_what_happens_after_it_began() {
    let subjects = serving().await;
    let response = router(subjects.clone()).oneshot(fetch("/api/v1/events")).await.unwrap();
    assert_eq!(response.headers().get(header::CONTENT_TYPE).unwrap(), "text/event-stream");
    let mut body = response.into_body();
    let drain = call(Method::PATCH, "/api/v1/services/web/endpoints/127.0.0.1:9001", r#"{"draining": true}"#);
    assert_eq!(verdict(&subjects, drain).await.0, 200);
    let text = piece(&mut body).await.unwrap();
    let data = text.strip_prefix("event: draining\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
    let told: Value = serde_json::from_str(data).unwrap();
    assert_eq!((&told["service"], &told["endpoint"]), (&json!("web"), &json!("127.0.0.1:9001")));
    assert!(told["at"].as_str().unwrap().ends_with('Z') && told["event"] == "draining", "{told}");
    subjects.journal.tell_process("configuration-refused", "a\nb");
    let text = piece(&mut body).await.unwrap();
    assert_eq!(text.lines().count(), 3, "a reason ends no line of a stream: {text}");
}

#[tokio::test]
async fn a_stream_that_falls_behind_is_told_how_much_it_missed() {
    let subjects = serving().await;
    let mut body = router(subjects.clone()).oneshot(fetch("/api/v1/events")).await.unwrap().into_body();
    for _ in 0..5000 {
        subjects.journal.tell_process("configuration-applied", "");
    }
    let text = piece(&mut body).await.unwrap();
    assert!(text.starts_with("event: lagged\n") && text.contains("\"missed\":904"), "{text}");
    assert!(piece(&mut body).await.unwrap().starts_with("event: configuration-applied\n"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_kept_alive() {
    let subjects = serving().await;
    let mut body = router(subjects.clone()).oneshot(fetch("/api/v1/events")).await.unwrap().into_body();
    let started = tokio::time::Instant::now();
    for _ in 0..3 {
        assert!(piece(&mut body).await.unwrap().starts_with(':'));
    }
    assert_eq!(started.elapsed().as_secs(), 3 * HEARTBEAT_INTERVAL.as_secs());
}

#[tokio::test]
async fn streams_are_bounded_and_a_closed_one_makes_room() {
    let subjects = serving().await;
    let router = router(subjects);
    let open = async || router.clone().oneshot(fetch("/api/v1/events")).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..STREAMS_MAX {
        let response = open().await;
        assert_eq!(response.status().as_u16(), 200);
        streams.push(response);
    }
    assert_eq!(open().await.status().as_u16(), 503);
    streams.pop();
    assert_eq!(open().await.status().as_u16(), 200);
}

#[tokio::test]
async fn a_drain_ends_streams_and_opens_no_more() {
    let subjects = serving().await;
    let mut body = router(subjects.clone()).oneshot(fetch("/api/v1/events")).await.unwrap().into_body();
    subjects.readiness.enter(Phase::Draining);
    assert!(piece(&mut body).await.is_none());
    assert_eq!(verdict(&subjects, fetch("/api/v1/events")).await, (503, "draining".to_owned()));
}
