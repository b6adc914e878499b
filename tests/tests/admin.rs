//! The API for operators over the real binary: edits change traffic, who is let in, what garbage does, the
//! configuration, and the commands that use it.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use isobar_tests::{Client, Isobar, Load, Origin, Response, one_service, save, wait_for};
use serde_json::Value;

const LOCAL: &str = "host: localhost\r\n";
const CONFIG: &str = "/api/v1/config";

fn endpoint(id: &str) -> String {
    format!("/api/v1/services/app/endpoints/{}", id.replace('/', "%2F").replace(':', "%3A"))
}

fn json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{error}: {response:?}"))
}

/// Status and code of an error; panics where the answer is no error of the one form.
fn refusal(response: &Response) -> (u16, String) {
    let error = &json(response)["error"];
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{response:?}");
    (response.status, error["code"].as_str().unwrap().to_owned())
}

/// One command of the tested binary against the proxy.
fn command(isobar: &Isobar, words: &[&str]) -> Output {
    Command::new(Isobar::program())
        .args(words)
        .env("ISOBAR_ADMIN", format!("http://{}", isobar.admin_address()))
        .env_remove("ISOBAR_ADMIN_TOKEN")
        .output()
        .unwrap()
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_drained_endpoint_gets_nothing_new_finishes_what_it_has_and_loses_its_idle_connections() {
    let (go, told) = channel::<()>();
    let told = Mutex::new(told);
    let (ended, told_ended) = channel::<()>();
    let held = Origin::start(move |visit| {
        while let Some(head) = visit.head() {
            if head.starts_with("GET /held ") {
                told.lock().unwrap().recv().unwrap();
            }
            visit.answer("held");
        }
        // The test may have ended by now.
        let _ = ended.send(());
    });
    let other = Origin::answering("other");
    // One worker has one pool, so that it is known which connections are idle.
    let config = format!("[runtime]\nworkers = 1\n{}", one_service(&[held.address, other.address], "", ""));
    let isobar = Isobar::start(&config);
    let mut caller = isobar.connect();
    let at_held = || held.heads().iter().any(|head| head.starts_with("GET /held "));
    while !at_held() {
        caller.send("GET /held HTTP/1.1\r\nhost: test\r\n\r\n");
        wait_for("the request to arrive", || (at_held() || other.heads().len() == 1).then_some(()));
        if !at_held() {
            assert_eq!(caller.response("GET").text(), "other");
        }
    }
    // Another connection to the same endpoint, idle when it drains.
    while isobar.get("/").text() != "held" {}
    let id = held.address.to_string();
    let drained = command(&isobar, &["drain", "app", &id]);
    assert!(drained.status.success() && shown(&drained).contains("1 in flight"), "{}", shown(&drained));
    told_ended.recv_timeout(isobar_tests::PATIENCE).expect("the idle connection is closed");
    for _ in 0..20 {
        assert_eq!(isobar.get("/").text(), "other");
    }
    go.send(()).unwrap();
    assert_eq!(caller.response("GET").text(), "held", "a request in flight finishes");
    told_ended.recv_timeout(isobar_tests::PATIENCE).expect("its connection is not kept");
    assert!(command(&isobar, &["undrain", "app", &id]).status.success());
    wait_for("the endpoint to be back", || (isobar.get("/").text() == "held").then_some(()));
}

#[test]
fn endpoints_come_go_and_change_their_share_and_no_request_fails() {
    let origins = ["a", "b", "c"].map(Origin::answering);
    let isobar = Isobar::start(&one_service(&[origins[0].address, origins[1].address], "", ""));
    let load = Load::on(isobar.listener("web"));
    let b = origins[1].address.to_string();
    let call = |method: &str, path: &str, body: &str| isobar.admin_call(method, path, LOCAL, body);

    assert!(command(&isobar, &["weight", "app", &b, "0"]).status.success());
    for _ in 0..10 {
        assert_eq!(isobar.get("/").text(), "a", "weight 0 takes nothing");
    }
    let override_path = format!("{}/override", endpoint(&b));
    assert_eq!(call("DELETE", &override_path, "").status, 204);
    load.wait_for_each(&["a", "b"]);
    assert_eq!(refusal(&call("DELETE", &override_path, "")), (404, "no-override".to_owned()));

    let body = format!("{{\"address\": \"{}\", \"weight\": 3}}", origins[2].address);
    let put = call("PUT", &endpoint("web/c:1"), &body);
    assert_eq!((put.status, &json(&put)["id"]), (200, &Value::from("web/c:1")), "{put:?}");
    load.wait_for_each(&["a", "b", "c"]);
    assert_eq!(call("DELETE", &endpoint("web/c:1"), "").status, 204);
    for _ in 0..10 {
        assert_ne!(isobar.get("/").text(), "c", "a removed endpoint gets nothing new");
    }
    assert_eq!(call("DELETE", &endpoint(&b), "").status, 204, "one of the configuration");
    for _ in 0..10 {
        assert_eq!(isobar.get("/").text(), "a");
    }
    assert_eq!(call("DELETE", &override_path, "").status, 204);
    load.wait_for_each(&["a", "b"]);
    load.end_without_failure();
}

#[test]
fn another_attempt_goes_to_an_endpoint_that_came_while_the_first_was_under_way() {
    let (go, told) = channel::<()>();
    let told = Mutex::new(told);
    let held = Origin::start(move |visit| {
        if visit.head().is_some() {
            told.lock().unwrap().recv().unwrap();
            // The connection ends without an answer.
        }
    });
    let other = Origin::answering("other");
    let isobar = Isobar::start(&one_service(&[held.address], "", ""));
    let mut caller = isobar.connect();
    caller.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    wait_for("the request to arrive", || (held.heads().len() == 1).then_some(()));
    let body = format!("{{\"address\": \"{}\"}}", other.address);
    assert_eq!(isobar.admin_call("PUT", &endpoint("new"), LOCAL, &body).status, 200);
    go.send(()).unwrap();
    assert_eq!(caller.response("GET").text(), "other");
    assert_eq!(held.heads().len(), 1);
}

#[test]
fn a_configuration_whose_sender_leaves_before_the_answer_is_carried_out_to_its_end() {
    let origins = ["a", "b"].map(Origin::answering);
    let isobar = Isobar::start(&one_service(&[origins[0].address], "", ""));
    let report =
        || json(&isobar.admin_call("GET", CONFIG, &format!("{LOCAL}accept: application/json\r\n"), ""));
    let running = report()["document"].as_str().unwrap().to_owned();
    let other = running.replace(&origins[0].address.to_string(), &origins[1].address.to_string());
    let mut sender = Client::connect(isobar.admin_address());
    let length = other.len();
    sender.send(format!("PUT {CONFIG} HTTP/1.1\r\n{LOCAL}content-length: {length}\r\n\r\n{other}"));
    // A sender that is gone before its request was read has asked for nothing.
    wait_for("the request to be read", || isobar.has_logged("configuration received").then_some(()));
    drop(sender);
    wait_for("the change to be reported", || (report()["revision"] == 2).then_some(()));
    assert_eq!(isobar.get("/").text(), "b", "what is reported is in force");
}

#[test]
fn without_the_token_or_under_a_foreign_name_only_probes_and_scrapers_are_answered() {
    let origin = Origin::answering("a");
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    save(&token, "s3cret\n");
    let isobar = Isobar::start(&one_service(&[origin.address], "", "").replace(
        "[services.app]",
        &format!("[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"{}\"\nhosts = [\"ops.internal\"]\n[services.app]", token.display()),
    ));
    let bearer = |token: &str| format!("{LOCAL}authorization: Bearer {token}\r\n");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(isobar.admin_call("GET", path, "host: anything.example\r\n", "").status, 200, "{path}");
    }
    for path in ["/api/v1/services", "/api/v1/services/app", "/api/v1/events", CONFIG, "/api/v1/nothing"] {
        let call = |fields: &str| isobar.admin_call("GET", path, fields, "");
        for fields in [LOCAL.to_owned(), bearer("s3cre"), bearer("s3cret2"), bearer("")] {
            let refused = call(&fields);
            assert_eq!(refusal(&refused), (401, "token-required".to_owned()), "{path} {fields}");
            assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example"] {
            let fields = format!("host: {host}\r\nauthorization: Bearer s3cret\r\n");
            assert_eq!(refusal(&call(&fields)), (403, "host-not-allowed".to_owned()), "{path} {host}");
        }
    }
    let named = "host: OPS.internal:9900\r\nauthorization: Bearer s3cret\r\n";
    assert_eq!(isobar.admin_call("GET", CONFIG, named, "").status, 200);
    let page = format!("{}origin: https://evil.example\r\n", bearer("s3cret"));
    let changed = isobar.admin_call("DELETE", &endpoint(&origin.address.to_string()), &page, "");
    assert_eq!(refusal(&changed), (403, "origin-not-allowed".to_owned()));
    let refused = command(&isobar, &["status"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(shown(&refused).contains("ISOBAR_ADMIN_TOKEN"), "{}", shown(&refused));
    assert_eq!(isobar.get("/").text(), "a", "nothing was changed");
}

#[test]
fn garbage_and_huge_bodies_are_refused_in_one_form_and_change_nothing() {
    let origin = Origin::answering("a");
    let isobar = Isobar::start(&one_service(&[origin.address], "", ""));
    let here = endpoint(&origin.address.to_string());
    for (method, path, body, expected) in [
        ("PATCH", here.as_str(), "{", (400, "bad-json")),
        ("PATCH", here.as_str(), "{}", (400, "bad-change")),
        ("PATCH", here.as_str(), "{\"wieght\": 1}", (400, "bad-change")),
        ("PUT", here.as_str(), "{\"address\": \"cart.internal:80\"}", (400, "bad-change")),
        ("PUT", CONFIG, "listeners = 1", (422, "configuration-refused")),
        ("PATCH", "/api/v1/services/app/endpoints/none", "{\"weight\": 1}", (404, "unknown-endpoint")),
        ("PATCH", "/api/v1/services/none/endpoints/a", "{\"weight\": 1}", (404, "unknown-service")),
        ("DELETE", "/api/v1/services/app/endpoints/%ff", "", (400, "bad-path")),
        ("POST", "/api/v1/services", "", (405, "method-not-allowed")),
        ("GET", "/api/v1/nothing", "", (404, "not-found")),
    ] {
        let refused = isobar.admin_call(method, path, LOCAL, body);
        assert_eq!(refusal(&refused), (expected.0, expected.1.to_owned()), "{method} {path}");
    }
    // Announced and not sent: a refusal that waited for the body would not come.
    for (method, path, length) in [("PATCH", here.as_str(), (64 << 10) + 1), ("PUT", CONFIG, (16 << 20) + 1)]
    {
        let mut client = Client::connect(isobar.admin_address());
        client.send(format!("{method} {path} HTTP/1.1\r\n{LOCAL}content-length: {length}\r\n\r\n"));
        let refused = client.response(method);
        assert_eq!(refusal(&refused), (413, "body-too-large".to_owned()), "{method} {path}");
    }
    let shown = json(&isobar.admin("/api/v1/services/app"));
    assert_eq!(shown["endpoints"].as_array().unwrap().len(), 1);
    assert_eq!(shown["endpoints"][0]["weight"], 1);
    assert_eq!(isobar.get("/").text(), "a");
}

#[test]
fn a_configuration_that_is_put_takes_effect_as_a_whole_or_is_refused_with_its_reason_for_all_to_see() {
    let origins = ["a", "b"].map(Origin::answering);
    let isobar = Isobar::start(&one_service(&[origins[0].address], "", ""));
    let load = Load::on(isobar.listener("web"));
    let wants_json = format!("{LOCAL}accept: application/json\r\n");
    let report = || json(&isobar.admin_call("GET", CONFIG, &wants_json, ""));
    let running = report()["document"].as_str().unwrap().to_owned();
    let other = running.replace(&origins[0].address.to_string(), &origins[1].address.to_string());
    assert_ne!(running, other);

    let put = isobar.admin_call("PUT", CONFIG, LOCAL, &other);
    assert_eq!((put.status, &json(&put)["revision"]), (200, &Value::from(2)), "{put:?}");
    assert_eq!(isobar.get("/").text(), "b", "it is in force when the answer comes");
    let bad = other.replace("round-robin", "round-robbin");
    let refused = isobar.admin_call("PUT", CONFIG, LOCAL, &bad);
    assert_eq!(refusal(&refused), (422, "configuration-refused".to_owned()));
    assert!(refused.text().contains("round-robbin"), "{refused:?}");
    let after = report();
    assert_eq!((&after["revision"], &after["document"]), (&Value::from(2), &Value::from(other)));
    assert!(after["refused"]["reason"].as_str().unwrap().contains("round-robbin"), "{after}");
    assert!(isobar.admin(CONFIG).text().contains("# refused "));
    let status = command(&isobar, &["status"]);
    assert!(status.status.success() && shown(&status).contains("round-robbin"), "{}", shown(&status));
    assert!(shown(&status).contains(&origins[1].address.to_string()), "{}", shown(&status));
    assert_eq!(isobar.get("/").text(), "b", "a refused one changes nothing");
    // A file that stirs, is broken and mended says in the end what it said before.
    let file = std::fs::read_to_string(isobar.config_file()).unwrap();
    let failing = |value| {
        wait_for("the file to be read", || {
            (isobar.count(&["isobar_configuration_failing"]) == value).then_some(())
        });
    };
    save(&isobar.config_file(), "broken");
    wait_for("the file to be refused", || {
        isobar.admin(CONFIG).text().contains("isobar.toml:1:").then_some(())
    });
    save(&isobar.config_file(), &file);
    failing(0);
    assert_eq!(isobar.get("/").text(), "b", "what was put holds until the file says something else");
    isobar.signal(rustix::process::Signal::HUP);
    wait_for("the file to be loaded", || (isobar.get("/").text() == "a").then_some(()));
    load.end_without_failure();
}
