//! Certificates that change under a running proxy: sound ones take effect, others do not, and no request is lost.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;

use isobar_tests::{
    Certificates, Client, Isobar, Load, Origin, SECOND_WITH_SLACK, one_service, save, wait_for, wait_up_to,
};
use rcgen::date_time_ymd;
use rustix::process::Signal;

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const REFUSED_LINE: &str = "changed certificates refused: those in force stay";

fn config(origin: &Origin, certificates: &Certificates) -> String {
    one_service(&[origin.address], &certificates.listener(&["web"], ""), "")
}

fn connect(certificates: &Certificates, address: SocketAddr) -> Client {
    Client::connect_tls(address, &certificates.client(None), "localhost").unwrap()
}

/// The certificate that a new connection is shown.
fn shown(certificates: &Certificates, isobar: &Isobar) -> Vec<u8> {
    let client = connect(certificates, isobar.listener("web"));
    client.session.tls().peer_certificates().unwrap()[0].to_vec()
}

fn wait_for_another(certificates: &Certificates, isobar: &Isobar, before: &[u8]) {
    wait_up_to(SECOND_WITH_SLACK, "the new certificate", || {
        (shown(certificates, isobar) != before).then_some(())
    });
}

fn wait_for_failing(isobar: &Isobar, failing: u64) {
    wait_for("isobar_certificates_failing", || {
        (isobar.count(&["isobar_certificates_failing"]) == failing).then_some(())
    });
}

#[test]
fn a_replaced_certificate_is_shown_within_a_second_and_open_connections_go_on() {
    let (origin, certificates) = (Origin::answering("a"), Certificates::for_localhost());
    let isobar = Isobar::start(&config(&origin, &certificates));
    let mut kept = connect(&certificates, isobar.listener("web"));
    let first = shown(&certificates, &isobar);
    certificates.issue_with("web", &["localhost"], |params| params.not_after = date_time_ymd(2040, 1, 1));
    wait_for_another(&certificates, &isobar, &first);
    let end = isobar.metric(&["isobar_certificate_not_after_seconds{"]);
    assert_eq!(end as u64, 2_208_988_800, "the end of the new one is told");
    kept.send(GET);
    assert_eq!(kept.response("GET").text(), "a");
    wait_for_failing(&isobar, 0);
}

#[test]
fn files_that_are_not_sound_change_nothing_and_are_told_once() {
    let (origin, certificates) = (Origin::answering("a"), Certificates::for_localhost());
    certificates.issue("other", &["localhost"]);
    let other_key = std::fs::read(certificates.path("other.key")).unwrap();
    let isobar = Isobar::start(&config(&origin, &certificates));
    let first = shown(&certificates, &isobar);
    let good = (
        std::fs::read(certificates.path("web.pem")).unwrap(),
        std::fs::read(certificates.path("web.key")).unwrap(),
    );
    for (file, spoilt, reason) in [
        ("web.pem", &b"no certificate"[..], "has no certificate: expected PEM"),
        ("web.key", &b""[..], "has no private key: expected PEM"),
        ("web.key", &other_key, "is not the key of"),
    ] {
        let n_lines = isobar.logged(REFUSED_LINE, "level").len();
        let refused = || isobar.count(&["isobar_certificates_refused_total"]);
        let n_refused = refused();
        save(&certificates.path(file), spoilt);
        wait_for_failing(&isobar, 1);
        wait_for("the reason", || isobar.has_logged(reason).then_some(()));
        assert!(refused() > n_refused);
        assert_eq!(shown(&certificates, &isobar), first, "{reason}");
        let n_refused = refused();
        save(&certificates.path(file), spoilt);
        wait_for("another refusal", || (refused() > n_refused).then_some(()));
        assert_eq!(isobar.logged(REFUSED_LINE, "level").len(), n_lines + 1, "{}", isobar.log_text());
        save(&certificates.path("web.pem"), &good.0);
        save(&certificates.path("web.key"), &good.1);
        wait_for_failing(&isobar, 0);
    }
    std::fs::remove_file(certificates.path("web.pem")).unwrap();
    wait_for_failing(&isobar, 1);
    assert!(isobar.has_logged("cannot be read"), "{}", isobar.log_text());
    certificates.issue("web", &["localhost"]);
    wait_for_another(&certificates, &isobar, &first);
    wait_for_failing(&isobar, 0);
}

#[test]
fn a_start_or_a_reload_with_files_that_are_not_sound_is_refused_with_every_problem() {
    let (origin, certificates) = (Origin::answering("a"), Certificates::for_localhost());
    let bad = one_service(
        &[origin.address],
        &certificates.listener(&["gone", "web"], ""),
        &format!("tls = {{ ca = \"{}\" }}", certificates.at("web.key")),
    );
    let mut isobar = Isobar::launch(&bad, |command| command).expect_errors();
    assert_eq!(isobar.wait().code(), Some(1));
    for problem in ["gone.pem cannot be read", "gone.key cannot be read", "web.key has no certificate"] {
        wait_for(problem, || isobar.has_logged(problem).then_some(()));
    }
    let isobar = Isobar::start(&config(&origin, &certificates));
    isobar.configure(&bad);
    wait_for("the refusal", || (isobar.count(&["isobar_configuration_failing"]) == 1).then_some(()));
    wait_for("the reason", || isobar.has_logged("gone.pem cannot be read").then_some(()));
    let mut client = connect(&certificates, isobar.listener("web"));
    client.send(GET);
    assert_eq!(client.response("GET").text(), "a");
}

#[test]
fn a_configuration_refused_for_its_certificates_is_taken_when_they_are_mended() {
    let (origin, certificates) = (Origin::answering("a"), Certificates::for_localhost());
    let isobar = Isobar::start(&config(&origin, &certificates));
    isobar.configure(&one_service(&[origin.address], &certificates.listener(&["later", "web"], ""), ""));
    let failing = |n| (isobar.count(&["isobar_configuration_failing"]) == n).then_some(());
    wait_for("the refusal", || failing(1));
    certificates.issue("later", &["localhost"]);
    wait_for("the configuration", || failing(0));
    assert_eq!(isobar.count(&["isobar_configuration_applied_total"]), 2);
    let files = isobar.metrics().keys().filter(|name| name.contains("isobar_certificate_not_after")).count();
    assert_eq!(files, 2);
}

#[test]
fn an_expired_certificate_of_ours_is_used_and_warned_of() {
    let (origin, certificates) = (Origin::answering("a"), Certificates::of("Test CA"));
    certificates.issue_with("web", &["localhost"], |params| params.not_after = date_time_ymd(2020, 1, 1));
    let isobar = Isobar::start(&config(&origin, &certificates));
    assert!(isobar.has_logged("the certificate has expired"), "{}", isobar.log_text());
}

#[test]
fn changes_of_certificates_and_settings_under_load_lose_no_request() {
    const N_CHANGES: usize = 10;
    let (origin, certificates) = (Origin::answering("a"), Certificates::for_localhost());
    certificates.issue("end", &["127.0.0.1"]);
    let endpoint = Origin::answering_tls(certificates.server("end", false), "b");
    let with = |n: usize| {
        let listener =
            certificates.listener(&["web"], "") + &format!("\nlimits = {{ headers = {} }}", 100 + n);
        let service = format!("tls = {{ ca = \"{}\" }}", certificates.at("ca.pem"));
        let config = one_service(&[endpoint.address], &listener, &service);
        format!("[runtime]\nworkers = 2\n{config}")
    };
    let isobar = Isobar::start(&with(0));
    let load = Load::on_tls(isobar.listener("web"), &certificates.client(None));
    load.wait_for_answers(20);
    for n in 1..=N_CHANGES {
        let before = shown(&certificates, &isobar);
        certificates.issue("web", &["localhost"]);
        wait_for("the new certificate", || (shown(&certificates, &isobar) != before).then_some(()));
        isobar.configure(&with(n));
        wait_for("the reload", || {
            (isobar.count(&["isobar_configuration_applied_total"]) > n as u64).then_some(())
        });
        load.wait_for_answers(20);
    }
    load.end_without_failure();
    drop(origin);
}

#[test]
fn a_connection_that_would_not_be_let_in_any_more_ends_with_its_next_answer() {
    let (origin, certificates) = (Origin::answering("a"), Certificates::for_localhost());
    let plain = one_service(&[origin.address], "", "");
    let strict = format!(", client_auth = \"required\", client_ca = \"{}\"", certificates.at("ca.pem"));
    let strict = one_service(&[origin.address], &certificates.listener(&["web"], &strict), "");
    let isobar = Isobar::start(&plain);
    let mut in_clear = isobar.connect();
    let mut n_applied = 1;
    let mut apply = |config: &str| {
        isobar.configure(config);
        n_applied += 1;
        wait_for("the reload", || {
            (isobar.count(&["isobar_configuration_applied_total"]) == n_applied).then_some(())
        });
    };
    let ends = |client: &mut Client| {
        client.send(GET);
        client.response("GET").header("connection") == Some("close") && client.is_closed_by_peer()
    };
    apply(&config(&origin, &certificates));
    assert!(ends(&mut in_clear), "the listener speaks TLS now");
    let mut anonymous = connect(&certificates, isobar.listener("web"));
    apply(&strict);
    assert!(ends(&mut anonymous), "the listener demands a certificate now");
}

#[test]
fn a_request_in_flight_over_tls_is_answered_at_a_drain() {
    let certificates = Certificates::for_localhost();
    certificates.issue("end", &["127.0.0.1"]);
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let endpoint = Origin::start_tls(certificates.server("end", false), move |visit| {
        if visit.head().is_some() {
            released.lock().unwrap().recv().unwrap();
            visit.answer("late");
        }
    });
    let service = format!("tls = {{ ca = \"{}\" }}", certificates.at("ca.pem"));
    let config = one_service(&[endpoint.address], &certificates.listener(&["web"], ""), &service);
    let mut isobar = Isobar::start(&config);
    let mut idle = connect(&certificates, isobar.listener("web"));
    let mut client = connect(&certificates, isobar.listener("web"));
    client.send(GET);
    wait_for("the request", || (!endpoint.heads().is_empty()).then_some(()));
    isobar.signal(Signal::TERM);
    assert!(idle.is_closed_by_peer(), "an idle connection is closed, in the words of TLS");
    release.send(()).unwrap();
    let response = client.response("GET");
    assert_eq!((response.text().as_str(), response.header("connection")), ("late", Some("close")));
    assert!(client.is_closed_by_peer());
    assert_eq!(isobar.wait().code(), Some(0));
}
