//! Changes of the configuration and of a discovered file under load: none fails a request, and what runs goes on.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use isobar_tests::{Isobar, Load, Origin, SECOND_WITH_SLACK, one_service, save, wait_for, wait_up_to};
use rustix::process::Signal;

/// Reloads in a row, by watch and by signal each.
const N_RELOADS: u64 = 100;

/// How often an endpoint or a listener comes and goes.
const N_ROUNDS: usize = 5;

const APPLIED: &str = "isobar_configuration_applied_total";

/// A proxy with two workers.
fn start(config: &str) -> Isobar {
    Isobar::start(&format!("[runtime]\nworkers = 2\n{config}"))
}

/// Saves another configuration and waits until it is applied.
fn apply(isobar: &Isobar, config: &str) {
    let before = isobar.count(&[APPLIED]);
    isobar.configure(&format!("[runtime]\nworkers = 2\n{config}"));
    wait_for("the configuration to be applied", || (isobar.count(&[APPLIED]) > before).then_some(()));
}

/// An endpoint that answers with its name, and how many connections it has open.
fn counting(name: &'static str) -> (Origin, Arc<AtomicUsize>) {
    let open = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&open);
    let origin = Origin::start(move |visit| {
        counted.fetch_add(1, Ordering::SeqCst);
        while visit.head().is_some() {
            visit.answer(name);
        }
        counted.fetch_sub(1, Ordering::SeqCst);
    });
    (origin, open)
}

#[test]
fn an_endpoint_in_a_watched_file_comes_and_goes_within_a_second_and_no_request_fails() {
    let (fixed, (moving, open)) = ([Origin::answering("a"), Origin::answering("b")], counting("c"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.toml");
    let two = format!("\"{}\", \"{}\"", fixed[0].address, fixed[1].address);
    let (without, with) =
        (format!("endpoints = [{two}]\n"), format!("endpoints = [{two}, \"{}\"]\n", moving.address));
    save(&file, &without);
    let discovery = format!("discovery = {{ file = \"{}\" }}", file.display());
    let isobar = start(&one_service(&[], "", &discovery).replace("endpoints = []\n", ""));
    let load = Load::on(isobar.listener("web"));
    load.wait_for_each(&["a", "b"]);
    for round in 0..N_ROUNDS {
        let n = load.n_from("c");
        save(&file, &with);
        wait_up_to(SECOND_WITH_SLACK, "an answer from the new endpoint", || {
            (load.n_from("c") > n).then_some(())
        });
        save(&file, &without);
        let saved = Instant::now();
        // What comes within another second of silence would be an answer after the last one.
        wait_for("the last answer from the removed endpoint", || {
            (load.last_from("c").unwrap().max(saved).elapsed() > Duration::from_secs(1)).then_some(())
        });
        let late = load.last_from("c").unwrap().saturating_duration_since(saved);
        assert!(late < SECOND_WITH_SLACK, "round {round}: the last answer came {late:?} after the removal");
        wait_for("kept connections to close", || (open.load(Ordering::SeqCst) == 0).then_some(()));
        load.wait_for_each(&["a", "b"]);
    }
    load.end_without_failure();
    assert_eq!(isobar.count(&[APPLIED]), 1, "a discovered file is no configuration");
}

#[test]
fn a_hundred_reloads_in_a_row_by_watch_and_by_signal_fail_no_request_and_each_takes_effect() {
    let origins = [Origin::answering("a"), Origin::answering("b")];
    let service = one_service(&[origins[0].address, origins[1].address], "", "");
    let text = |n: u64| {
        let (attempts, mark) = (2 + n % 2, n % 2);
        let service = service.replace("service = \"app\"\n", "");
        format!(
            "{service}\n[[routes]]\nname = \"all\"\nservice = \"app\"\nretry = {{ attempts = {attempts} }}\n\
             response_headers = {{ set = {{ x-mark = \"{mark}\" }} }}\n"
        )
    };
    let isobar = start(&text(0));
    let load = Load::on(isobar.listener("web"));
    for n in 1..=2 * N_RELOADS {
        isobar.configure(&format!("[runtime]\nworkers = 2\n{}", text(n)));
        if n > N_RELOADS {
            isobar.signal(Signal::HUP);
        }
        wait_for("the configuration to be applied", || (isobar.count(&[APPLIED]) == n + 1).then_some(()));
        let mark = (n % 2).to_string();
        assert_eq!(isobar.get("/").header("x-mark"), Some(mark.as_str()), "reload {n}");
    }
    load.end_without_failure();
    assert_eq!(isobar.count(&[APPLIED]), 2 * N_RELOADS + 1, "each is applied once");
    assert_eq!(isobar.count(&["isobar_configuration_refused_total"]), 0);
}

#[test]
fn a_listener_comes_and_goes_and_no_request_on_any_listener_fails() {
    let origin = Origin::answering("a");
    let without = one_service(&[origin.address], "", "");
    let with =
        format!("{without}[[listeners]]\nname = \"extra\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n");
    let isobar = start(&without);
    let load = Load::on(isobar.listener("web"));
    for round in 1..=N_ROUNDS {
        apply(&isobar, &with);
        let listening = |name: &String| name == "extra";
        wait_for("the listener", || {
            let listeners = isobar.logged("listening", "listener");
            (listeners.into_iter().filter(listening).count() == round).then_some(())
        });
        let address = isobar.listener("extra");
        let extra = Load::until_refused(address);
        extra.wait_for_answers(200);
        apply(&isobar, &without);
        extra.end_refused();
        assert!(TcpStream::connect(address).is_err(), "round {round}: the removed listener accepts");
        load.wait_for_answers(50);
    }
    load.end_without_failure();
    assert_eq!(isobar.count(&["isobar_connections_open", "extra"]), 0);
}

#[test]
fn a_changed_route_holds_for_every_request_after_it_and_none_fails() {
    let origins = [Origin::answering("a"), Origin::answering("b")];
    let text = |service: &str| {
        format!(
            "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n[[routes]]\npath = \"/\"\nservice = \"{service}\"\n\
             [services.a]\nendpoints = [\"{}\"]\n[services.b]\nendpoints = [\"{}\"]\n",
            origins[0].address, origins[1].address
        )
    };
    let isobar = start(&text("a"));
    let load = Load::on(isobar.listener("web"));
    for service in ["b", "a", "b", "a"] {
        apply(&isobar, &text(service));
        for _ in 0..5 {
            assert_eq!(isobar.get("/").text(), service);
        }
        load.wait_for_each(&[service]);
    }
    load.end_without_failure();
}

#[test]
fn numbers_and_connections_go_on_over_a_reload() {
    let (go, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |visit| {
        while let Some(head) = visit.head() {
            if head.starts_with("GET /held ") {
                told.lock().unwrap().recv().unwrap();
            }
            visit.answer("a");
        }
    });
    let text = |attempts: u64| {
        let service = one_service(&[origin.address], "", "").replace("service = \"app\"\n", "");
        format!("{service}\n[[routes]]\nservice = \"app\"\nretry = {{ attempts = {attempts} }}\n")
    };
    // One worker, so that there is one pool.
    let isobar = Isobar::start(&format!("[runtime]\nworkers = 1\n{}", text(2)));
    let (mut held, mut kept) = (isobar.connect(), isobar.connect());
    held.send("GET /held HTTP/1.1\r\nhost: test\r\n\r\n");
    wait_for("the request in flight", || (origin.heads().len() == 1).then_some(()));
    for attempts in 3..8 {
        kept.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(kept.response("GET").status, 200, "a caller's kept connection goes on");
        let before = isobar.count(&[APPLIED]);
        isobar.configure(&format!("[runtime]\nworkers = 1\n{}", text(attempts)));
        wait_for("the reload", || (isobar.count(&[APPLIED]) > before).then_some(()));
        assert_eq!(isobar.count(&["isobar_in_flight{"]), 1);
        let n = attempts - 2;
        wait_for("the count to go on", || (isobar.count(&["isobar_attempts_total"]) == n + 1).then_some(()));
        assert_eq!(isobar.count(&["isobar_requests_total"]), n);
        assert_eq!(isobar.count(&["isobar_upstream_connections_open"]), 2);
    }
    go.send(()).unwrap();
    assert_eq!(held.response("GET").text(), "a", "a request in flight is finished");
    assert_eq!(origin.n_connections(), 2, "kept connections to endpoints are used over reloads");
}

#[test]
fn a_file_that_comes_into_an_included_folder_takes_effect_and_goes_with_it() {
    let origins = [Origin::answering("a"), Origin::answering("b")];
    let folder = tempfile::tempdir().unwrap();
    let main = format!(
        "include = [\"{}/*.toml\"]\n[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n\
         [[routes]]\npath_exact = \"/\"\nservice = \"a\"\n[services.a]\nendpoints = [\"{}\"]\n",
        folder.path().display(),
        origins[0].address
    );
    let isobar = Isobar::start(&main);
    let load = Load::on(isobar.listener("web"));
    let file = folder.path().join("b.toml");
    for _ in 0..2 {
        assert_eq!(isobar.get("/b").error(), "no-route");
        let address = origins[1].address;
        let part = format!(
            "[[routes]]\npath = \"/b\"\nservice = \"b\"\n[services.b]\nendpoints = [\"{address}\"]\n"
        );
        save(&file, part);
        wait_for("the new route", || (isobar.get("/b").text() == "b").then_some(()));
        std::fs::remove_file(&file).unwrap();
        wait_for("the route to go", || (isobar.get("/b").error() == "no-route").then_some(()));
    }
    load.end_without_failure();
}
