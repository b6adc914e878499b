//! Instances that are killed, stopped and started again behind probes, and probes of every kind.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use isobar_tests::real::{Program, free_address};
use isobar_tests::servers::{nginx, open_folder};
use isobar_tests::{Isobar, Load, Origin, SECOND_WITH_SLACK, one_service, wait_for, wait_up_to};
use rustix::process::Signal;
use tempfile::TempDir;

/// How often an instance is killed, in turn.
const N_KILLS: usize = 5;

const HTTP: &str = "health = { http = \"/healthz\", interval = \"200ms\", timeout = \"1s\" }";

/// A server of its own process that answers with its name.
struct Instance {
    name: &'static str,
    address: SocketAddr,
    folder: TempDir,
    program: Option<Program>,
}

impl Instance {
    fn start(name: &'static str) -> Self {
        let mut instance = Self { name, address: free_address(), folder: open_folder(), program: None };
        instance.restart();
        instance
    }

    /// Starts it, again at the same address, and waits until it accepts.
    fn restart(&mut self) {
        let (address, name) = (self.address, self.name);
        let server = format!("server {{ listen {address}; location / {{ return 200 {name}; }} }}");
        self.program = Some(nginx(self.folder.path(), address, &server));
    }

    /// `kill -9`.
    fn kill(&mut self) {
        self.program = None;
    }

    fn signal(&self, signal: Signal) {
        self.program.as_ref().unwrap().signal(signal);
    }
}

fn instances() -> [Instance; 3] {
    ["a", "b", "c"].map(Instance::start)
}

/// A proxy with two workers whose listener `web` serves these.
fn start(endpoints: &[SocketAddr], service: &str) -> Isobar {
    Isobar::start(&format!("[runtime]\nworkers = 2\n{}", one_service(endpoints, "", service)))
}

/// Waits until so many endpoints of the service are in this state.
fn await_state(isobar: &Isobar, state: &str, n: u64) {
    let label = format!("state=\"{state}\"");
    let parts = ["isobar_endpoints{", "service=\"app\"", &label];
    wait_for(&format!("{n} {state} endpoints"), || (isobar.count(&parts) == n).then_some(()));
}

fn n_probes(isobar: &Isobar, result: &str) -> u64 {
    isobar.count(&["isobar_probes_total", "service=\"app\"", &format!("result=\"{result}\"")])
}

#[test]
fn a_kill_of_one_instance_in_turn_fails_no_request_and_traffic_returns_with_its_probes() {
    let mut instances = instances();
    let isobar = start(&instances.each_ref().map(|instance| instance.address), HTTP);
    await_state(&isobar, "healthy", 3);
    let load = Load::on(isobar.listener("web"));
    load.wait_for_each(&["a", "b", "c"]);
    for turn in 0..N_KILLS {
        let victim = &mut instances[turn % 3];
        let n_failed = n_probes(&isobar, "failed");
        victim.kill();
        await_state(&isobar, "unhealthy", 1);
        wait_for("a probe to fail", || (n_probes(&isobar, "failed") > n_failed).then_some(()));
        load.wait_for_answers(200);
        load.assert_no_failure();
        victim.restart();
        let n = load.n_from(victim.name);
        await_state(&isobar, "healthy", 3);
        let what = format!("turn {turn}: traffic to return to {}", victim.name);
        wait_up_to(SECOND_WITH_SLACK, &what, || (load.n_from(victim.name) > n).then_some(()));
    }
    load.end_without_failure();
    let events = |event: &str| isobar.count(&["isobar_endpoint_events_total", &format!("event=\"{event}\"")]);
    assert_eq!(events("unhealthy"), N_KILLS as u64, "{}", isobar.log_text());
}

#[test]
fn an_instance_that_hangs_is_taken_out_and_comes_back_when_it_goes_on() {
    let instances = instances();
    let service = one_service(&instances.each_ref().map(|instance| instance.address), "", HTTP);
    let isobar = Isobar::start(&format!(
        "[runtime]\nworkers = 2\n{}[[routes]]\nservice = \"app\"\n\
         retry = {{ attempts = 3, on = [\"connect-failure\", \"reset\", \"timeout\"], per_try_timeout = \"1s\" }}\n",
        service.replace("service = \"app\"\n", "")
    ));
    await_state(&isobar, "healthy", 3);
    let load = Load::on(isobar.listener("web"));
    load.wait_for_each(&["a", "b", "c"]);
    instances[1].signal(Signal::STOP);
    await_state(&isobar, "unhealthy", 1);
    wait_for("the reason", || isobar.has_logged("no answer within 1s").then_some(()));
    wait_for("the attempts at it to end, and no others", || {
        let n = isobar.count(&["isobar_failures_total", "timeout"]);
        load.wait_for_answers(300);
        (isobar.count(&["isobar_failures_total", "timeout"]) == n
            && isobar.count(&["isobar_in_flight{", &instances[1].address.to_string()]) == 0)
            .then_some(())
    });
    let n = load.n_from("b");
    instances[1].signal(Signal::CONT);
    await_state(&isobar, "healthy", 3);
    wait_for("traffic to return", || (load.n_from("b") > n + 10).then_some(()));
    load.end_without_failure();
}

/// An endpoint that answers with its name, and probes with 200 while the flag is set.
fn probed(name: &'static str, is_well: bool) -> (Origin, Arc<AtomicBool>) {
    let flag = Arc::new(AtomicBool::new(is_well));
    let well = Arc::clone(&flag);
    let origin = Origin::start(move |visit| {
        while let Some(head) = visit.head() {
            if !head.starts_with("GET /healthz ") {
                visit.answer(name);
            } else if well.load(Ordering::SeqCst) {
                visit.answer("well");
            } else {
                visit.send("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
            }
        }
    });
    (origin, flag)
}

#[test]
fn an_endpoint_that_says_503_of_its_health_takes_no_traffic_although_it_would_answer() {
    let (good, (bad, well)) = (probed("good", true).0, probed("bad", true));
    let isobar = start(&[good.address, bad.address], HTTP);
    await_state(&isobar, "healthy", 2);
    let load = Load::on(isobar.listener("web"));
    load.wait_for_each(&["good", "bad"]);
    well.store(false, Ordering::SeqCst);
    await_state(&isobar, "unhealthy", 1);
    wait_for("the reason", || isobar.has_logged("status 503").then_some(()));
    // What was picked before the verdict may still be on its way back.
    wait_for("the last answer of it", || {
        let n = load.n_from("bad");
        load.wait_for_answers(300);
        (load.n_from("bad") == n).then_some(())
    });
    well.store(true, Ordering::SeqCst);
    await_state(&isobar, "healthy", 2);
    load.wait_for_each(&["bad"]);
    load.end_without_failure();
}

#[test]
fn an_endpoint_that_counts_as_unhealthy_takes_no_traffic_before_it_has_proved_itself() {
    let (first, go) = (probed("first", true).0, Arc::new(AtomicBool::new(false)));
    let gate = Arc::clone(&go);
    let second = Origin::start(move |visit| {
        while let Some(head) = visit.head() {
            if head.starts_with("GET /healthz ") {
                wait_for("the gate", || gate.load(Ordering::SeqCst).then_some(()));
            }
            visit.answer("second");
        }
    });
    let isobar = start(
        &[first.address, second.address],
        "health = { http = \"/healthz\", interval = \"200ms\", timeout = \"20s\", initial = \"unhealthy\", \
         healthy_after = 2 }",
    );
    // At the very start nobody has proved himself, and a refusal is better than an endpoint that is not ready.
    wait_for("the first to prove itself", || {
        let response = isobar.get("/");
        assert!(response.text() == "first" || response.error() == "no-endpoints", "{}", response.head);
        (response.status == 200).then_some(())
    });
    await_state(&isobar, "healthy", 1);
    let load = Load::on(isobar.listener("web"));
    load.wait_for_answers(500);
    assert_eq!(load.n_from("second"), 0);
    go.store(true, Ordering::SeqCst);
    load.wait_for_each(&["second"]);
    await_state(&isobar, "healthy", 2);
    let heads = second.heads();
    let n_before = heads.iter().take_while(|head| head.starts_with("GET /healthz ")).count();
    assert!(n_before >= 2, "{n_before} probes came before the first request");
    load.end_without_failure();
}

#[test]
fn when_all_are_unhealthy_health_is_ignored_and_requests_are_served() {
    let endpoints = ["a", "b", "c"].map(|name| probed(name, true));
    let isobar = start(&endpoints.each_ref().map(|(origin, _)| origin.address), HTTP);
    await_state(&isobar, "healthy", 3);
    let load = Load::on(isobar.listener("web"));
    for (_, well) in &endpoints {
        well.store(false, Ordering::SeqCst);
    }
    await_state(&isobar, "unhealthy", 3);
    load.wait_for_each(&["a", "b", "c"]);
    wait_for("a line of it", || isobar.has_logged("too few endpoints are healthy").then_some(()));
    endpoints[0].1.store(true, Ordering::SeqCst);
    await_state(&isobar, "healthy", 1);
    wait_for("only the healthy one to serve", || {
        let n = load.n_from("a");
        let others = load.n_answers() - n;
        load.wait_for_answers(300);
        (load.n_answers() - load.n_from("a") <= others).then_some(())
    });
    load.end_without_failure();
}

#[test]
fn a_tcp_probe_follows_a_port_that_closes_and_opens() {
    let (origin, closed) = (Origin::answering("a"), free_address());
    let isobar = start(&[origin.address, closed], "health = { tcp = true, interval = \"200ms\" }");
    await_state(&isobar, "healthy", 1);
    await_state(&isobar, "unhealthy", 1);
    wait_for("the reason", || isobar.has_logged("cannot connect").then_some(()));
    let load = Load::on(isobar.listener("web"));
    load.wait_for_answers(100);
    // It would accept requests and answer none of them, so there are none while it is open.
    load.end_without_failure();
    for _ in 0..2 {
        let opened = TcpListener::bind(closed).unwrap();
        await_state(&isobar, "healthy", 2);
        drop(opened);
        await_state(&isobar, "unhealthy", 1);
    }
    assert_eq!(isobar.get("/").text(), "a");
}

#[test]
fn a_probe_of_another_port_decides_for_the_endpoint_and_asks_nothing_else_of_it() {
    let (app, (other, health)) = (Origin::answering("a"), (Origin::answering("b"), probed("health", true)));
    let service = format!(
        "health = {{ http = \"/healthz\", interval = \"200ms\", port = {}, host = \"app.test\" }}",
        health.0.address.port()
    );
    // Both share the port of the probe, so both follow its verdict.
    let isobar = start(&[app.address, other.address], &service);
    await_state(&isobar, "healthy", 2);
    health.1.store(false, Ordering::SeqCst);
    await_state(&isobar, "unhealthy", 2);
    assert_eq!(isobar.get("/").status, 200, "fail-open");
    let heads = health.0.heads();
    assert!(heads.iter().all(|head| head.to_lowercase().contains("\r\nhost: app.test\r\n")), "{heads:?}");
    assert!(app.heads().iter().all(|head| !head.contains("/healthz")), "{:?}", app.heads());
}
