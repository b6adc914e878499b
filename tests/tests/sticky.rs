//! Sticky cookies, seen from callers that keep them.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use isobar_tests::keyed::{addresses, origins};
use isobar_tests::real::{Program, command, free_address, run};
use isobar_tests::servers::{nginx, open_folder};
use isobar_tests::{Certificates, Client, Isobar, Origin, Response, one_service, save, wait_for};
use rustix::process::Signal;

const ATTRIBUTES: &str = "; Path=/; HttpOnly; SameSite=Lax";

/// A caller that keeps what it is told to keep.
struct Caller {
    proxy: SocketAddr,
    cookie: Option<String>,
    n_set: usize,
}

impl Caller {
    fn of(isobar: &Isobar) -> Self {
        Self { proxy: isobar.listener("web"), cookie: None, n_set: 0 }
    }

    /// One request over a connection of its own.
    fn ask(&mut self) -> Response {
        self.ask_with("")
    }

    fn ask_with(&mut self, fields: &str) -> Response {
        let cookie =
            self.cookie.as_ref().map_or(String::new(), |cookie| format!("cookie: a=1; {cookie}\r\n"));
        let mut client = Client::connect(self.proxy);
        client.send(format!("GET / HTTP/1.1\r\nhost: test\r\n{fields}{cookie}\r\n"));
        let response = client.response("GET");
        assert_eq!(response.status, 200, "{response:?}");
        if let Some(set) = response.header("set-cookie") {
            self.cookie = Some(set.split(';').next().unwrap().to_owned());
            self.n_set += 1;
        }
        response
    }

    fn ask_who(&mut self) -> String {
        self.ask().text()
    }
}

fn edit(isobar: &Isobar, address: SocketAddr, draining: bool) {
    let path = format!("/api/v1/services/app/endpoints/{}", address.to_string().replace(':', "%3A"));
    let body = format!("{{\"draining\": {draining}}}");
    assert_eq!(isobar.admin_call("PATCH", &path, "host: localhost\r\n", &body).status, 200);
}

#[test]
fn a_caller_keeps_its_endpoint_on_every_worker_through_reloads_restarts_and_changes_of_others() {
    let origins = origins(5);
    let all = addresses(&origins);
    let config = |endpoints: &[SocketAddr], cookie: &str| {
        let service = format!("sticky = {{ cookie = \"{cookie}\", ttl = \"90m\" }}");
        format!("[runtime]\nworkers = 4\n{}", one_service(endpoints, "", &service))
    };
    let first = Isobar::start(&config(&all[..4], "at"));
    let mut callers: Vec<Caller> = (0..12).map(|_| Caller::of(&first)).collect();
    let homes: Vec<String> = callers
        .iter_mut()
        .map(|caller| {
            let response = caller.ask();
            let set = response.header("set-cookie").unwrap();
            assert!(set.starts_with("at=") && set.ends_with(&format!("{ATTRIBUTES}; Max-Age=5400")), "{set}");
            response.text()
        })
        .collect();
    let stay = |callers: &mut [Caller]| {
        for _ in 0..3 {
            for (caller, home) in callers.iter_mut().zip(&homes) {
                assert_eq!(caller.ask_who(), *home);
                assert_eq!(caller.n_set, 1, "whoever is at home is told nothing");
            }
        }
    };
    stay(&mut callers);
    // Another order and one more; nobody was at the fifth.
    let others: Vec<SocketAddr> = all.iter().rev().copied().collect();
    let n_applied = || first.count(&["isobar_configuration_applied_total"]);
    let before = n_applied();
    first.configure(&config(&others, "at"));
    wait_for("the reload", || (n_applied() > before).then_some(()));
    stay(&mut callers);
    drop(first);
    let second = Isobar::start(&config(&all, "at"));
    for caller in &mut callers {
        caller.proxy = second.listener("web");
    }
    edit(&second, all[4], true);
    stay(&mut callers);
    // The endpoint sees what the caller sent.
    assert!(origins.iter().flat_map(Origin::heads).any(|head| head.contains("cookie: a=1; at=")));
}

#[test]
fn a_caller_moves_once_when_its_endpoint_drains_and_stays_where_it_went() {
    let origins = origins(3);
    let isobar = Isobar::start(&one_service(&addresses(&origins), "", "sticky = {}"));
    let mut caller = Caller::of(&isobar);
    let home = caller.ask_who();
    edit(&isobar, home.parse().unwrap(), true);
    let moved = caller.ask_who();
    assert_ne!(moved, home);
    for _ in 0..6 {
        assert_eq!((caller.ask_who(), caller.n_set), (moved.clone(), 2));
    }
    edit(&isobar, home.parse().unwrap(), false);
    for _ in 0..6 {
        assert_eq!((caller.ask_who(), caller.n_set), (moved.clone(), 2), "who is back pulls nobody");
    }
}

#[test]
fn a_caller_moves_once_when_its_endpoint_is_killed_and_stays_where_it_went() {
    let folders = [open_folder(), open_folder(), open_folder()];
    let at = [free_address(), free_address(), free_address()];
    let start = |n: usize| -> Program {
        let server = format!("server {{ listen {0}; location / {{ return 200 {0}; }} }}", at[n]);
        nginx(folders[n].path(), at[n], &server)
    };
    let mut servers: Vec<Option<Program>> = (0..3).map(|n| Some(start(n))).collect();
    let health = "sticky = {}\nhealth = { tcp = true, interval = \"100ms\" }";
    let isobar = Isobar::start(&one_service(&at, "", health));
    let mut caller = Caller::of(&isobar);
    let home = caller.ask_who();
    let n = at.iter().position(|address| address.to_string() == home).unwrap();
    servers[n].take().unwrap().signal(Signal::KILL);
    // The very next request finds out and is answered all the same.
    let moved = caller.ask_who();
    assert_ne!(moved, home);
    let of_state = |state: &str| isobar.metric(&["isobar_endpoints", &format!("state=\"{state}\"")]);
    wait_for("the verdict", || (of_state("unhealthy") >= 1.0).then_some(()));
    assert_eq!((caller.ask_who(), caller.n_set), (moved.clone(), 2));
    servers[n] = Some(start(n));
    wait_for("its return", || (of_state("healthy") >= 3.0).then_some(()));
    for _ in 0..6 {
        assert_eq!((caller.ask_who(), caller.n_set), (moved.clone(), 2));
    }
}

#[test]
fn a_cookie_that_stands_for_nobody_is_as_good_as_none() {
    let origins = origins(2);
    let folder = open_folder();
    let key = folder.path().join("sticky.key");
    save(&key, "a secret of some length");
    let service = format!("sticky = {{ key_file = \"{}\" }}", key.display());
    let isobar = Isobar::start(&one_service(&addresses(&origins), "", &service));
    let mut honest = Caller::of(&isobar);
    let home = honest.ask_who();
    let cookie = honest.cookie.clone().unwrap();
    for forged in [
        "isobar=",
        "isobar",
        "isobar=0",
        "isobar=0000000000000000",
        "isobar=ffffffffffffffff",
        "isobar=\"0000000000000000\"",
        "isobar=%00",
        "isobar=\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
        "isobar=00000000000000000000000000000000000000000000000000000000000000",
        &cookie.to_uppercase(),
        &format!("{cookie}0"),
        &format!("x{cookie}"),
    ] {
        let mut caller = Caller { cookie: Some(forged.to_owned()), ..Caller::of(&isobar) };
        caller.ask();
        assert_eq!(caller.n_set, 1, "{forged}");
        assert!(caller.cookie.as_ref().is_some_and(|set| set.len() == "isobar=0123456789abcdef".len()));
    }
    assert_eq!((honest.ask_who(), honest.n_set), (home.clone(), 1));
    // What is shown can be put again, and then the secret is read again.
    let shown = isobar.admin("/api/v1/config").text();
    let put = isobar.admin_call("PUT", "/api/v1/config", "host: localhost\r\n", &shown);
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!((honest.ask_who(), honest.n_set), (home, 1));
    // Under another secret everybody is new, once.
    save(&key, "another secret of some length");
    wait_for("the other secret", || {
        honest.ask();
        (honest.n_set == 2).then_some(())
    });
    let home = honest.ask_who();
    assert_eq!((honest.ask_who(), honest.n_set), (home, 2));
}

#[test]
fn a_caller_of_http_2_over_tls_gets_a_secure_cookie_and_is_known_by_it() {
    let (origins, certificates) = (origins(3), Certificates::for_localhost());
    let tls = certificates.listener(&["web"], "");
    let isobar = Isobar::start(&one_service(&addresses(&origins), &tls, "sticky = {}"));
    let jar = isobar.dir.path().join("jar");
    let ask = || {
        let mut curl = command("curl");
        curl.args(["--silent", "--show-error", "--fail", "--http2", "--max-time", "60", "--include"]);
        curl.args(["--cacert", &certificates.at("ca.pem")]);
        curl.arg("--cookie").arg(&jar).arg("--cookie-jar").arg(&jar);
        curl.arg(format!("https://localhost:{}/", isobar.listener("web").port())).arg("--ipv4");
        String::from_utf8(run(curl).stdout).unwrap()
    };
    let first = ask();
    assert!(
        first.starts_with("HTTP/2 200") && first.contains(&format!("{ATTRIBUTES}; Secure\r\n")),
        "{first}"
    );
    let home = first.lines().last().unwrap();
    for _ in 0..6 {
        let again = ask();
        assert!(!again.contains("set-cookie") && again.ends_with(home), "{again}");
    }
}

#[test]
fn an_endpoint_at_its_maximum_of_connections_keeps_its_callers() {
    let (go, told) = channel::<()>();
    let told = Mutex::new(told);
    let held = Origin::start(move |visit| {
        while let Some(head) = visit.head() {
            if head.starts_with("GET /held ") {
                told.lock().unwrap().recv().unwrap();
            }
            visit.answer("held");
        }
    });
    let other = Origin::answering("other");
    let service = "sticky = {}\npool = { max_connections_per_endpoint = 1 }";
    let config =
        format!("[runtime]\nworkers = 1\n{}", one_service(&[held.address, other.address], "", service));
    let isobar = Isobar::start(&config);
    let mut caller = Caller::of(&isobar);
    assert_eq!(caller.ask_who(), "held", "round robin begins with the first");
    let mut slow = isobar.connect();
    slow.send(format!(
        "GET /held HTTP/1.1\r\nhost: test\r\ncookie: {}\r\n\r\n",
        caller.cookie.as_ref().unwrap()
    ));
    wait_for("it to arrive", || held.heads().iter().any(|head| head.starts_with("GET /held ")).then_some(()));
    for _ in 0..4 {
        assert_eq!((caller.ask_who(), caller.n_set), ("other".to_owned(), 1));
    }
    go.send(()).unwrap();
    assert_eq!(slow.response("GET").text(), "held");
    assert_eq!((caller.ask_who(), caller.n_set), ("held".to_owned(), 1));
}

#[test]
fn a_connection_that_was_closed_while_it_was_idle_moves_nobody() {
    let hasty = |body: &'static str| {
        Origin::start(move |visit| {
            // Each connection answers once and ends at the second request, as if it had been closed before.
            if visit.head().is_some() {
                visit.answer(body);
                visit.head();
            }
        })
    };
    let (one, two) = (hasty("one"), hasty("two"));
    let config =
        format!("[runtime]\nworkers = 1\n{}", one_service(&[one.address, two.address], "", "sticky = {}"));
    let isobar = Isobar::start(&config);
    let mut caller = Caller::of(&isobar);
    let home = caller.ask_who();
    for _ in 0..6 {
        assert_eq!((caller.ask_who(), caller.n_set), (home.clone(), 1));
    }
    assert!(isobar.count(&["isobar_retries_total"]) >= 3, "connections were found closed");
}

#[test]
fn a_cookie_stands_above_a_key_and_a_trusted_proxy_says_that_the_caller_speaks_tls() {
    let origins = origins(4);
    let config = one_service(&addresses(&origins), "", "sticky = {}")
        .replace("policy = \"round-robin\"", "policy = { name = \"maglev\", key = \"header:x-user\" }");
    let isobar = Isobar::start(&format!("[runtime]\ntrusted_proxies = [\"127.0.0.1\"]\n{config}"));
    let mut caller = Caller::of(&isobar);
    let first = caller.ask_with("x-user: anna\r\nx-forwarded-proto: https\r\n");
    assert!(first.header("set-cookie").is_some_and(|set| set.ends_with("; Secure")), "{first:?}");
    for user in 0..20 {
        let answer = caller.ask_with(&format!("x-user: {user}\r\n"));
        assert_eq!((answer.text(), caller.n_set), (first.text(), 1));
    }
}

#[test]
fn a_caller_that_only_opens_tunnels_is_known_again_too() {
    let echo = || {
        Origin::start(|visit| {
            if visit.head().is_some() {
                let address = visit.stream.local_addr().unwrap();
                visit.send(format!(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-at: {address}\r\n\r\n"
                ));
                // Until the caller leaves.
                visit.is_closed_by_peer();
            }
        })
    };
    let origins = [echo(), echo(), echo()];
    let isobar =
        Isobar::start(&one_service(&origins.each_ref().map(|origin| origin.address), "", "sticky = {}"));
    let open = |fields: &str| {
        let mut client = isobar.connect();
        client.send(format!(
            "GET /chat HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n{fields}\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        let response = client.response("GET");
        assert_eq!(response.status, 101, "{response:?}");
        response
    };
    let first = open("");
    let cookie = first.header("set-cookie").and_then(|set| set.split(';').next()).unwrap();
    for _ in 0..4 {
        let again = open(&format!("cookie: {cookie}\r\n"));
        assert_eq!((again.header("x-at"), again.header("set-cookie")), (first.header("x-at"), None));
    }
}
