//! Live weights with real endpoints: what they report, what their agents say, what is measured of them.
//!
//! An endpoint that takes its time is what is tested, so there a delay is no synchronisation.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use isobar_tests::real::{peer, run};
use isobar_tests::{Isobar, Load, Origin, PATIENCE, one_service, wait_for, wait_up_to};
use serde_json::Value;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The load of each of three endpoints, and the shares that follow where their rates are equal.
const UTILIZATION: [f64; 3] = [0.9, 0.3, 0.3];
const SHARES: [f64; 3] = [1.0 / 7.0, 3.0 / 7.0, 3.0 / 7.0];

/// The same as effective weights, around a mean of a hundred.
const WEIGHTS: [u64; 3] = [43, 129, 129];

/// Answers that shares are judged by: chance moves a share of three sevenths by more than three points in one of a
/// hundred thousand such windows.
const WINDOW: usize = 6_000;

/// Fields that an endpoint puts into its answers from now on.
type Fields = Arc<Mutex<String>>;

fn reporting(name: &'static str, fields: &Fields) -> Origin {
    let fields = Arc::clone(fields);
    Origin::start(move |visit| {
        while visit.head().is_some() {
            let fields = fields.lock().unwrap().clone();
            visit.send(format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n{name}", name.len()));
        }
    })
}

/// Three endpoints that say the same to everybody.
fn three(say: impl Fn(usize) -> String) -> (Vec<Origin>, Vec<Fields>) {
    let fields: Vec<Fields> = (0..3).map(|place| Arc::new(Mutex::new(say(place)))).collect();
    (NAMES.iter().zip(&fields).map(|(name, fields)| reporting(name, fields)).collect(), fields)
}

fn before(policy: &str, weights: &str, addresses: &[SocketAddr]) -> Isobar {
    let service = format!("weights = {{ {weights} }}\n");
    let config = one_service(addresses, "", &service);
    Isobar::start(&config.replace("policy = \"round-robin\"", &format!("policy = \"{policy}\"")))
}

fn addresses(origins: &[Origin]) -> Vec<SocketAddr> {
    origins.iter().map(|origin| origin.address).collect()
}

/// A number or a text of each endpoint, as the admin interface shows it. Asked at a pace, since each time takes a port of
/// the machine for a minute.
fn shown(isobar: &Isobar, name: &str) -> Vec<Value> {
    std::thread::park_timeout(Duration::from_millis(50));
    let service: Value = serde_json::from_str(&isobar.admin("/api/v1/services/app").text()).unwrap();
    service["endpoints"].as_array().unwrap().iter().map(|endpoint| endpoint[name].clone()).collect()
}

fn effective(isobar: &Isobar) -> Vec<u64> {
    shown(isobar, "effective_weight").iter().map(|weight| weight.as_u64().unwrap()).collect()
}

fn wait_for_weights(isobar: &Isobar, weights: &[u64]) {
    wait_for(&format!("the effective weights {weights:?}"), || (effective(isobar) == weights).then_some(()));
}

/// The shares of the three in the next answers.
fn shares(load: &Load) -> [f64; 3] {
    let counts = || NAMES.map(|name| load.n_from(name));
    let (all, before) = (load.n_answers(), counts());
    load.wait_for_answers(WINDOW);
    let (all, after) = (load.n_answers() - all, counts());
    [0, 1, 2].map(|place| (after[place] - before[place]) as f64 / all as f64)
}

fn assert_shares(shares: [f64; 3], expected: [f64; 3], what: &str) {
    for (share, expected) in shares.iter().zip(expected) {
        assert!((share - expected).abs() <= 0.03, "{what}: {shares:?}");
    }
}

const QUICK: &str = "from = \"reported\", blackout = \"300ms\", update = \"100ms\"";

#[test]
fn reports_of_equal_rates_give_shares_by_what_each_rate_costs() {
    for policy in ["p2c", "round-robin", "random"] {
        let (origins, _) = three(|place| {
            let utilization = UTILIZATION[place];
            format!("endpoint-load-metrics: TEXT cpu_utilization={utilization}, rps_fractional=100.0\r\n")
        });
        let isobar = before(policy, QUICK, &addresses(&origins));
        let load = Load::on(isobar.listener("web"));
        wait_for_weights(&isobar, &WEIGHTS);
        assert_shares(shares(&load), SHARES, policy);
        load.end_without_failure();
    }
}

#[test]
fn plain_loads_give_shares_by_what_is_left_and_go_on_to_the_caller() {
    let (origins, _) = three(|place| format!("x-load: {}\r\n", [0.9, 0.5, 0.0][place]));
    let isobar = before("round-robin", QUICK, &addresses(&origins));
    let load = Load::on(isobar.listener("web"));
    wait_for_weights(&isobar, &[10, 50, 100]);
    assert_shares(shares(&load), [10.0 / 160.0, 50.0 / 160.0, 100.0 / 160.0], "x-load");
    load.end_without_failure();
    assert!(isobar.get("/").header("x-load").is_some());
}

#[test]
fn garbage_is_no_report_and_weights_that_nothing_renews_end_with_their_time() {
    let say = |place: usize| {
        let utilization = UTILIZATION[place];
        format!("endpoint-load-metrics: cpu_utilization:{utilization},rps_fractional:100\r\n")
    };
    let (origins, fields) = three(say);
    let isobar = before("p2c", &format!("{QUICK}, expiry = \"2s\""), &addresses(&origins));
    let load = Load::on(isobar.listener("web"));
    wait_for_weights(&isobar, &WEIGHTS);
    for (place, garbage) in [
        "endpoint-load-metrics: TEXT cpu_utilization=NaN,rps_fractional=100\r\nx-load: -1\r\n",
        "endpoint-load-metrics: TEXT cpu_utilization=0.3,rps_fractional=1e99\r\nx-load: much\r\n",
        "endpoint-load-metrics: {\"cpu_utilization\": 0.3}\r\nendpoint-load-metrics-bin: ????\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        garbage.clone_into(&mut fields[place].lock().unwrap());
    }
    wait_for("the reports to expire", || {
        let weights = effective(&isobar);
        let has_expired = weights == [100; 3];
        // They expire within two periods of each other, and until then one that is left alone says nothing.
        let expected = weights == WEIGHTS || weights.iter().all(|weight| (40..=150).contains(weight));
        assert!(expected, "{weights:?}");
        has_expired.then_some(())
    });
    load.wait_for_answers(WINDOW / 4);
    assert_eq!(effective(&isobar), [100; 3]);
    for (place, fields) in fields.iter().enumerate() {
        *fields.lock().unwrap() = say(place);
    }
    wait_for_weights(&isobar, &WEIGHTS);
    load.end_without_failure();
}

/// An agent that says its line to everybody who connects; its port.
fn agent(line: &Arc<Mutex<&'static str>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, line) = (listener.local_addr().unwrap().port(), Arc::clone(line));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let line = *line.lock().unwrap();
            // A proxy that ends in the middle of a test's end is no error here.
            let _ = stream.write_all(line.as_bytes());
        }
    });
    port
}

/// An endpoint on another address of this machine, where no agent is; it answers `name`.
fn elsewhere(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
                while let Ok(n @ 1..) = stream.read(&mut piece) {
                    seen.extend_from_slice(&piece[..n]);
                    if seen.ends_with(b"\r\n\r\n") {
                        seen.clear();
                        let length = name.len();
                        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{name}");
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

#[test]
fn an_agent_sets_a_share_drains_and_brings_back_without_a_failed_request() {
    let line = Arc::new(Mutex::new("50%\n"));
    let port = agent(&line);
    let origin = Origin::answering("a");
    let weights = format!("{QUICK}, agent = {{ port = {port}, interval = \"100ms\" }}");
    let isobar = before("round-robin", &weights, &[origin.address, elsewhere("b")]);
    let load = Load::on(isobar.listener("web"));
    wait_for_weights(&isobar, &[50, 100]);
    assert_shares(shares(&load), [1.0 / 3.0, 2.0 / 3.0, 0.0], "50%");
    for (text, reason) in [("drain\n", "agent: drain"), ("down # disk\n", "agent: down: disk")] {
        *line.lock().unwrap() = text;
        wait_for(reason, || (shown(&isobar, "reason")[0] == reason).then_some(()));
        assert_eq!(effective(&isobar), [0, 100]);
        // Whatever was under way then has ended when each caller has had some more answers.
        load.wait_for_answers(50);
        let n = load.n_from("a");
        load.wait_for_answers(500);
        assert_eq!(load.n_from("a"), n, "{text}");
        *line.lock().unwrap() = "up 75%\n";
        wait_for_weights(&isobar, &[75, 100]);
        load.wait_for_each(&["a"]);
    }
    load.end_without_failure();
    assert!(isobar.count(&["isobar_agent_checks_total{", "result=\"answered\""]) > 0);
    let events =
        |event: &str| isobar.count(&["isobar_endpoint_events_total{", &format!("event=\"{event}\"")]);
    assert_eq!((events("draining"), events("undrained")), (1, 1));
    assert_eq!((events("unhealthy"), events("healthy")), (1, 1));
}

#[test]
fn an_endpoint_that_is_ten_times_slower_loses_weight_and_gets_it_back_when_it_recovers() {
    let delay = Arc::new(AtomicU64::new(50));
    let delays = [Arc::clone(&delay), Arc::new(AtomicU64::new(5)), Arc::new(AtomicU64::new(5))];
    let origins: Vec<Origin> = NAMES
        .into_iter()
        .zip(delays)
        .map(|(name, delay)| {
            Origin::start(move |visit| {
                while visit.head().is_some() {
                    std::thread::sleep(Duration::from_millis(delay.load(Ordering::SeqCst)));
                    visit.answer(name);
                }
            })
        })
        .collect();
    // By turns, so that weights alone decide.
    let isobar = before("round-robin", "from = \"measured\", update = \"200ms\"", &addresses(&origins));
    let load = Load::on(isobar.listener("web"));
    let share = |weights: &[u64]| weights[0] as f64 / weights.iter().sum::<u64>() as f64;
    wait_for("the slow one to weigh a quarter of the others' mean", || {
        (share(&effective(&isobar)) <= 1.0 / 9.0).then_some(())
    });
    let (all, own) = (load.n_answers(), load.n_from("a"));
    load.wait_for_answers(500);
    let got = (load.n_from("a") - own) as f64 / (load.n_answers() - all) as f64;
    assert!(got <= 0.17, "{got} of the answers came from the slow one");
    delay.store(5, Ordering::SeqCst);
    wait_up_to(PATIENCE, "the recovered one to weigh as much as the others", || {
        (share(&effective(&isobar)) >= 0.8 / 3.0).then_some(())
    });
    load.end_without_failure();
}

#[test]
fn a_reload_changes_where_weights_come_from_without_a_failed_request() {
    let (origins, _) = three(|place| format!("x-load: {}\r\n", [0.8, 0.5, 0.0][place]));
    let config =
        |weights: &str| one_service(&addresses(&origins), "", &format!("weights = {{ {weights} }}\n"));
    let isobar = Isobar::start(&config("from = \"configured\""));
    let load = Load::on(isobar.listener("web"));
    load.wait_for_each(&NAMES);
    assert_eq!(effective(&isobar), [1; 3]);
    for _ in 0..2 {
        isobar.configure(&config(QUICK));
        wait_for_weights(&isobar, &[20, 50, 100]);
        isobar.configure(&config("from = \"measured\""));
        // What answers alike weighs alike, so what was reported is forgotten.
        wait_for("measured weights", || {
            effective(&isobar).iter().all(|weight| (60..=150).contains(weight)).then_some(())
        });
        isobar.configure(&config("from = \"configured\""));
        wait_for_weights(&isobar, &[1; 3]);
    }
    load.end_without_failure();
}

/// A gRPC server that reports its load, killed when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(name: &str, utilization: f64) -> Self {
        let mut server = peer("grpc_server.py");
        server.args([name, "/dev/null", "--utilization", &utilization.to_string()]);
        let mut child = server.stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port: u16 = port.trim().parse().expect("the server prints its port");
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn reports_in_the_trailers_of_grpc_calls_count_alike() {
    let servers: Vec<Server> =
        NAMES.iter().zip(UTILIZATION).map(|(name, load)| Server::start(name, load)).collect();
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let config = one_service(&addresses, "", &format!("protocol = \"h2\"\nweights = {{ {QUICK} }}\n"));
    let isobar = Isobar::start(&config);
    let spread = |n: usize| {
        let mut client = peer("grpc_client.py");
        client.arg(isobar.listener("web").to_string()).args(["-", "spread", &n.to_string()]);
        let told = String::from_utf8(run(client).stdout).unwrap();
        let counts = told.lines().map(|line| line.split_once(' ').unwrap());
        counts.map(|(name, n)| (name.to_owned(), n.parse::<f64>().unwrap())).collect::<BTreeMap<_, _>>()
    };
    spread(100);
    wait_for_weights(&isobar, &WEIGHTS);
    let counts = spread(2_000);
    assert_shares(NAMES.map(|name| counts[name] / 2_000.0), SHARES, "gRPC");
    isobar.assert_no_leak();
}
