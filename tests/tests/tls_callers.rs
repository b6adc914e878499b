//! TLS with callers: which certificate is shown, which versions are spoken, who is let in, and what bounds a handshake.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::Write as _;
use std::process::Command;

use isobar_tests::real::command;
use isobar_tests::{Certificates, Client, Isobar, Origin, one_service, refusing_address, told_to, wait_for};
use rcgen::{DnType, SanType, date_time_ymd};

const OK: &str = "HTTP/1.1 200 OK";

fn start(origin: &Origin, listener: &str) -> Isobar {
    Isobar::start(&one_service(&[origin.address], listener, ""))
}

/// A curl that trusts this authority and asks for `/` on localhost.
fn curl(certificates: &Certificates, isobar: &Isobar) -> Command {
    let mut curl = command("curl");
    curl.args(["--silent", "--show-error", "--cacert", &certificates.at("ca.pem")]);
    curl.arg(format!("https://localhost:{}/", isobar.listener("web").port()));
    // The listener has an address of version 4.
    curl.arg("--ipv4");
    curl
}

fn failed(isobar: &Isobar, reason: &str) -> u64 {
    isobar.count(&["isobar_tls_handshakes_failed_total", &format!("reason=\"{reason}\"")])
}

fn wait_for_failed(isobar: &Isobar, reason: &str, n: u64) {
    wait_for(reason, || (failed(isobar, reason) == n).then_some(()));
}

#[test]
fn the_certificate_with_the_name_is_shown_exact_before_wildcard_and_else_the_first() {
    let (origin, certificates) = (Origin::answering("a"), Certificates::of("Test CA"));
    certificates.issue("first", &["first.test"]);
    certificates.issue("wild", &["*.example.test", "*.shop.example.test"]);
    certificates.issue("exact", &["shop.example.test", "first.test"]);
    let isobar = start(&origin, &certificates.listener(&["first", "wild", "exact"], ""));
    for (name, shown) in [
        ("shop.example.test", "exact"),
        ("SHOP.example.TEST", "exact"),
        ("a.example.test", "wild"),
        ("a.shop.example.test", "wild"),
        ("a.b.example.test", "first"),
        ("example.test", "first"),
        ("first.test", "first"),
        ("other.test", "first"),
        ("", "first"),
    ] {
        let arguments = if name.is_empty() { vec!["-noservername"] } else { vec!["-servername", name] };
        let told = told_to(isobar.listener("web"), &arguments);
        assert!(told.contains(&format!("subject=CN = {shown}\n")), "{name:?} is shown {shown}: {told}");
        assert!(told.contains(OK), "{told}");
    }
}

#[test]
fn versions_from_the_least_on_are_spoken_and_http_is_agreed_upon() {
    let (origin, certificates) = (Origin::answering("a"), Certificates::for_localhost());
    for (min_version, speaks_old) in [("", true), (", min_version = \"1.3\"", false)] {
        let isobar = start(&origin, &certificates.listener(&["web"], min_version));
        for (version, name, spoken) in
            [("-tls1_1", "TLSv1.1", false), ("-tls1_2", "TLSv1.2", speaks_old), ("-tls1_3", "TLSv1.3", true)]
        {
            // Without this openssl itself refuses to try the oldest one.
            let arguments = [version, "-alpn", "http/1.1", "-cipher", "DEFAULT@SECLEVEL=0"];
            let told = told_to(isobar.listener("web"), &arguments);
            assert_eq!(told.contains(OK), spoken, "{version}: {told}");
            let agreed = told.contains(&format!("New, {name},")) && told.contains("ALPN protocol: http/1.1");
            assert_eq!(agreed, spoken, "{version}: {told}");
        }
        let told = told_to(isobar.listener("web"), &["-alpn", "http/1.1,h2"]);
        assert!(told.contains("ALPN protocol: h2"), "the newer one is preferred: {told}");
        let told = told_to(isobar.listener("web"), &["-alpn", "spdy/3"]);
        assert!(!told.contains(OK), "nothing but HTTP is agreed upon: {told}");
        wait_for_failed(&isobar, "incompatible", if speaks_old { 2 } else { 3 });
    }
}

#[test]
fn a_session_is_resumed_on_whichever_worker_the_caller_comes_back_to() {
    const N_AGAIN: usize = 12;
    let (origin, certificates) = (Origin::answering("a"), Certificates::for_localhost());
    let config = one_service(&[origin.address], &certificates.listener(&["web"], ""), "");
    let isobar = Isobar::start(&format!("[runtime]\nworkers = 4\n{config}"));
    let address = isobar.listener("web");
    let mut held = Vec::new();
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let session = certificates.at(name);
        let told = told_to(address, &[version, "-sess_out", &session]);
        assert!(told.contains(&format!("New, {name},")), "{told}");
        for _ in 0..N_AGAIN {
            // The acceptor chooses the worker with the fewest connections: with one more open it is another each time.
            held.push(isobar.connect());
            let told = told_to(address, &[version, "-sess_in", &session]);
            assert!(told.contains(&format!("Reused, {name},")) && told.contains(OK), "{told}");
        }
    }
}

#[test]
fn a_ticket_of_a_listener_is_worth_nothing_to_one_that_demands_more() {
    let (origin, certificates) = (Origin::answering("a"), Certificates::for_localhost());
    let strict = format!(", client_auth = \"required\", client_ca = \"{}\"", certificates.at("ca.pem"));
    let config = format!(
        "{}\n[[listeners]]\nname = \"strict\"\nlisten = \"127.0.0.1:0\"\nservice = \"app\"\n{}",
        one_service(&[origin.address], &certificates.listener(&["web"], ""), ""),
        certificates.listener(&["web"], &strict)
    );
    let isobar = Isobar::start(&config);
    for version in ["-tls1_2", "-tls1_3"] {
        let session = certificates.at(version);
        assert!(told_to(isobar.listener("web"), &[version, "-sess_out", &session]).contains(OK));
        let told = told_to(isobar.listener("strict"), &[version, "-sess_in", &session]);
        assert!(!told.contains(OK), "{told}");
    }
}

#[test]
fn callers_are_let_in_by_their_certificates_as_the_mode_says() {
    let (origin, certificates) = (Origin::answering("a"), Certificates::for_localhost());
    certificates.issue("alice", &[]);
    certificates.issue_with("late", &[], |params| params.not_after = date_time_ymd(2020, 1, 1));
    let strangers = Certificates::of("Another CA");
    strangers.issue("mallory", &[]);
    for (mode, without, with, foreign) in
        [("off", true, true, true), ("optional", true, true, false), ("required", false, true, false)]
    {
        let ca = if mode == "off" {
            String::new()
        } else {
            format!(", client_ca = \"{}\"", certificates.at("ca.pem"))
        };
        let further = format!(", client_auth = \"{mode}\"{ca}");
        let isobar = start(&origin, &certificates.listener(&["web"], &further));
        let is_let_in = |version: &str, shows: Option<(&Certificates, &str)>| {
            let mut curl = curl(&certificates, &isobar);
            curl.args([version, "--tls-max", version.trim_start_matches("--tlsv")]);
            if let Some((of, file)) = shows {
                curl.args([
                    "--cert",
                    &of.at(&format!("{file}.pem")),
                    "--key",
                    &of.at(&format!("{file}.key")),
                ]);
            }
            let output = curl.output().unwrap();
            output.status.success() && output.stdout == b"a"
        };
        for version in ["--tlsv1.2", "--tlsv1.3"] {
            assert_eq!(is_let_in(version, None), without, "{mode} {version} without");
            assert_eq!(is_let_in(version, Some((&certificates, "alice"))), with, "{mode} {version} with");
            assert_eq!(
                is_let_in(version, Some((&strangers, "mallory"))),
                foreign,
                "{mode} {version} foreign"
            );
            assert_eq!(
                is_let_in(version, Some((&certificates, "late"))),
                foreign,
                "{mode} {version} expired"
            );
        }
        let n_refused = |refused: bool, n: u64| if refused { n } else { 0 };
        assert_eq!(failed(&isobar, "no-certificate"), n_refused(!without, 2), "{mode}");
        assert_eq!(failed(&isobar, "bad-certificate"), n_refused(!foreign, 4), "{mode}");
    }
}

#[test]
fn who_the_caller_proved_to_be_reaches_endpoints_routes_and_the_log_and_cannot_be_claimed() {
    let (origin, certificates) = (Origin::echoing(), Certificates::for_localhost());
    certificates.issue_with("alice", &["alice.test"], |params| {
        params.distinguished_name.push(DnType::OrganizationName, "Shop, Inc.");
        params.subject_alt_names.push(SanType::URI("spiffe://prod/cart".try_into().unwrap()));
    });
    let further = format!(", client_auth = \"optional\", client_ca = \"{}\"", certificates.at("ca.pem"));
    let isobar = Isobar::start(&format!(
        "[access_log]\nto = \"access.log\"\n{}\n[[routes]]\nservice = \"app\"\n\
         headers = {{ x-isobar-client-cert-san = \"spiffe://prod/cart\" }}\n\
         [[routes]]\nrespond = {{ status = 403 }}\n",
        one_service(&[origin.address], &certificates.listener(&["web"], &further), "")
            .replace("service = \"app\"\n", "")
    ));
    let claim = "GET / HTTP/1.1\r\nhost: test\r\nx-isobar-client-cert-san: spiffe://prod/cart\r\n\
                 X_Isobar_Client_Cert_Subject: CN=root\r\n\r\n";
    let ask = |shows| {
        let config = certificates.client(shows);
        let mut client = Client::connect_tls(isobar.listener("web"), &config, "localhost").unwrap();
        client.send(claim);
        client.response("GET")
    };
    assert_eq!(ask(None).status, 403);
    let seen = ask(Some("alice"));
    assert_eq!(seen.status, 200);
    let text = seen.text().to_lowercase();
    let ours: Vec<&str> =
        text.lines().filter(|line| line.starts_with("x-isobar") || line.contains('_')).collect();
    let expected = [
        "x-isobar-client-cert-subject: o=shop\\, inc.,cn=alice",
        "x-isobar-client-cert-san: alice.test",
        "x-isobar-client-cert-san: spiffe://prod/cart",
    ];
    assert_eq!(ours, expected, "{text}");
    assert!(text.contains("x-forwarded-proto: https"), "{text}");
    let line = wait_for("the log line", || {
        let log = std::fs::read_to_string(isobar.dir.path().join("access.log")).ok()?;
        log.lines().find(|line| line.contains("\"status\":200")).map(str::to_owned)
    });
    assert!(
        line.contains(r#""client_cert":"O=Shop\\, Inc.,CN=alice","client_cert_san":"alice.test""#),
        "{line}"
    );
}

#[test]
fn plain_http_is_told_so_in_the_clear_however_much_it_sends() {
    let (origin, certificates) = (Origin::answering("a"), Certificates::for_localhost());
    let isobar = start(&origin, &certificates.listener(&["web"], ""));
    let long = "x".repeat(200_000);
    for (n, sent) in [
        "GET / HTTP/1.1\r\nhost: test\r\n\r\n".to_owned(),
        format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n{long}", long.len()),
    ]
    .iter()
    .enumerate()
    {
        let mut client = isobar.connect();
        client.send(sent);
        let response = client.response("GET");
        assert_eq!((response.status, response.error()), (400, "bad-request"), "{}", response.head);
        assert!(response.head.starts_with("HTTP/1.1 400"), "{}", response.head);
        assert!(response.text().contains("https"), "{}", response.text());
        wait_for_failed(&isobar, "plain-http", n as u64 + 1);
    }
    assert_eq!(origin.n_connections(), 0);
}

#[test]
fn a_handshake_that_does_not_end_in_time_is_given_up() {
    let (origin, certificates) = (Origin::answering("a"), Certificates::for_localhost());
    let listener = certificates.listener(&["web"], "") + "\ntimeouts = { handshake = \"300ms\" }";
    let isobar = start(&origin, &listener);
    // The head of a record, and no more of it.
    for begun in [&b""[..], &b"\x16\x03\x01\x02\x00\x01"[..]] {
        let mut client = isobar.connect();
        client.send(begun);
        assert!(client.is_closed_by_peer());
    }
    wait_for_failed(&isobar, "timeout", 2);
    assert!(told_to(isobar.listener("web"), &[]).contains(OK));
}

#[test]
fn handshakes_in_progress_are_bounded_and_room_comes_back() {
    let (origin, certificates) = (Origin::answering("a"), Certificates::for_localhost());
    let listener = certificates.listener(&["web"], "") + "\nlimits = { handshakes = 2 }";
    let isobar = start(&origin, &listener);
    let in_progress = |n| {
        wait_for("handshakes in progress", || {
            (isobar.count(&["isobar_tls_handshakes_in_progress{"]) == n).then_some(())
        });
    };
    let silent = [isobar.connect(), isobar.connect()];
    in_progress(2);
    assert!(isobar.connect().is_closed_by_peer(), "one above the bound is closed");
    wait_for_failed(&isobar, "overloaded", 1);
    drop(silent);
    in_progress(0);
    wait_for_failed(&isobar, "closed", 2);
    assert!(told_to(isobar.listener("web"), &[]).contains(OK));
    assert_eq!(isobar.count(&["isobar_tls_handshakes_total"]), 1);
}

#[test]
fn what_is_neither_tls_nor_http_is_closed_and_counted() {
    let certificates = Certificates::for_localhost();
    let isobar = Isobar::start(&one_service(&[refusing_address()], &certificates.listener(&["web"], ""), ""));
    let mut client = isobar.connect();
    client.send(b"\x00\x00\x00\x00\x00\x00\x00\x00");
    assert!(client.is_closed_by_peer());
    wait_for_failed(&isobar, "not-tls", 1);
}

#[test]
fn bytes_of_tls_that_carry_no_request_buy_no_time() {
    let (origin, certificates) = (Origin::answering("a"), Certificates::for_localhost());
    let listener =
        certificates.listener(&["web"], "") + "\ntimeouts = { idle = \"500ms\", head = \"500ms\" }";
    let isobar = start(&origin, &listener);
    let config = certificates.client(None);
    let mut client = Client::connect_tls(isobar.listener("web"), &config, "localhost").unwrap();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(client.response("GET").status, 200);
    // A record of application data that never comes to its end, byte by byte, until the proxy closes.
    let mut record = [23_u8, 3, 3, 0x40, 0].into_iter().chain(std::iter::repeat(0));
    wait_for("the end of a connection that only pretends", || {
        client.stream.write_all(&[record.next()?]).is_err().then_some(())
    });
}
