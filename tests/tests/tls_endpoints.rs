//! TLS to endpoints: whom the proxy believes, what it shows and asks for, and what an operator reads when it does not work.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use isobar_tests::real::free_address;
use isobar_tests::servers::{nginx, open_folder};
use isobar_tests::{Certificates, Client, Isobar, Origin, Visit, one_service, save, wait_for};
use rcgen::{BasicConstraints, IsCa, date_time_ymd};
use rustix::process::Signal;
use rustls::Connection;
use serde_json::Value;

const UNTRUSTED: &str = "self-signed or signed by a CA that is not trusted: name that CA in `tls.ca`";
const TROUBLE: &str = "no TLS with the endpoint";

/// One worker, so that what is told once a minute by each is told once.
fn start(endpoint: SocketAddr, service: &str) -> Isobar {
    Isobar::start(&format!("[runtime]\nworkers = 1\n{}", one_service(&[endpoint], "", service)))
}

fn trusting(certificates: &Certificates, further: &str) -> String {
    format!("tls = {{ ca = \"{}\"{further} }}", certificates.at("ca.pem"))
}

fn answering(certificates: &Certificates, names: &[&str]) -> Origin {
    certificates.issue("end", names);
    Origin::answering_tls(certificates.server("end", false), "a")
}

fn assert_refused(isobar: &Isobar, reason: &str) {
    for _ in 0..3 {
        let response = isobar.get("/");
        assert_eq!((response.status, response.error()), (502, "connect-failed"), "{reason}");
    }
    wait_for(reason, || isobar.has_logged(reason).then_some(()));
    let told = isobar.logged(TROUBLE, "error");
    assert_eq!(told.len(), 1, "told once, not for each attempt: {told:?}");
    assert!(told[0].contains(reason), "{told:?}");
}

#[test]
fn a_verified_endpoint_serves_and_its_connection_is_used_again() {
    let certificates = Certificates::of("Test CA");
    let endpoint = answering(&certificates, &["127.0.0.1"]);
    let isobar = start(endpoint.address, &trusting(&certificates, ""));
    for _ in 0..10 {
        assert_eq!(isobar.get("/").text(), "a");
    }
    assert_eq!(endpoint.n_connections(), 1);
}

#[test]
fn an_endpoint_is_asked_for_and_verified_by_the_name_that_is_set() {
    let certificates = Certificates::of("Test CA");
    certificates.issue("end", &["cart.internal"]);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let endpoint = Origin::start_tls(certificates.server("end", false), move |visit| {
        let Connection::Server(server) = visit.session.tls() else { return };
        let name = server.server_name().map(str::to_owned);
        seen.lock().unwrap().push((name, server.alpn_protocol().map(<[u8]>::to_vec)));
        while visit.head().is_some() {
            visit.answer("a");
        }
    });
    let isobar = start(endpoint.address, &trusting(&certificates, ", sni = \"cart.internal\""));
    assert_eq!(isobar.get("/").text(), "a");
    let expected = (Some("cart.internal".to_owned()), Some(b"http/1.1".to_vec()));
    assert_eq!(*asked.lock().unwrap(), [expected]);
}

#[test]
fn an_endpoint_that_cannot_be_believed_is_refused_with_a_reason_and_what_to_do() {
    let certificates = Certificates::of("Test CA");
    let strangers = Certificates::of("Another CA");
    certificates.issue_with("late", &["127.0.0.1"], |params| params.not_after = date_time_ymd(2020, 1, 1));
    certificates.issue_with("early", &["127.0.0.1"], |params| params.not_before = date_time_ymd(2090, 1, 1));
    certificates.issue("other", &["other.test", "127.0.0.9"]);
    certificates.issue("nameless", &[]);
    certificates.issue_self_signed("own", &["127.0.0.1"]);
    certificates.issue_with("authority", &["127.0.0.1"], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    strangers.issue("foreign", &["127.0.0.1"]);
    for (of, file, reason) in [
        (&certificates, "late", "its certificate has expired: renew it"),
        (&certificates, "early", "its certificate is not valid yet"),
        (&certificates, "other", "its certificate is not for 127.0.0.1 but for"),
        (&certificates, "nameless", "its certificate is not for 127.0.0.1 but for no name"),
        (&certificates, "own", UNTRUSTED),
        (&certificates, "authority", "marked as a CA's"),
        (&strangers, "foreign", UNTRUSTED),
    ] {
        for (protocol, name) in [("http1", "http/1.1"), ("h2", "h2")] {
            let mut server = Arc::unwrap_or_clone(of.server(file, false));
            server.alpn_protocols = vec![name.into()];
            let endpoint = Origin::answering_tls(Arc::new(server), "a");
            let protocol = format!("protocol = \"{protocol}\"\n");
            let isobar = start(endpoint.address, &(protocol + &trusting(&certificates, "")));
            assert_refused(&isobar, reason);
            assert!(endpoint.heads().is_empty(), "{file}: no byte of a request is given to it");
        }
    }
}

#[test]
fn an_endpoint_that_speaks_no_tls_is_told_as_such() {
    let certificates = Certificates::of("Test CA");
    let plain = Origin::start(|visit| {
        visit.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    });
    assert_refused(&start(plain.address, &trusting(&certificates, "")), "it does not speak TLS there");
    let closing = Origin::start(|visit| {
        visit.take(1);
    });
    assert_refused(&start(closing.address, &trusting(&certificates, "")), "does it speak TLS there?");
}

#[test]
fn without_a_ca_of_its_own_a_service_believes_whom_the_system_trusts() {
    let (certificates, strangers) = (Certificates::of("Test CA"), Certificates::of("Another CA"));
    let endpoint = answering(&certificates, &["127.0.0.1"]);
    for (trusted, believed) in [(&certificates, true), (&strangers, false)] {
        let config = one_service(&[endpoint.address], "", "tls = true");
        let bundle = trusted.at("ca.pem");
        let isobar = Isobar::start_with(&format!("[runtime]\nworkers = 1\n{config}"), |command| {
            command.env("SSL_CERT_FILE", &bundle).env_remove("SSL_CERT_DIR")
        });
        if believed {
            assert_eq!(isobar.get("/").text(), "a");
        } else {
            assert_refused(&isobar, UNTRUSTED);
        }
    }
}

#[test]
fn a_hangup_reads_again_whom_the_system_trusts() {
    let (certificates, strangers) = (Certificates::of("Test CA"), Certificates::of("Another CA"));
    let endpoint = answering(&certificates, &["127.0.0.1"]);
    let bundle = certificates.path("bundle.pem");
    std::fs::copy(strangers.path("ca.pem"), &bundle).unwrap();
    let config = one_service(&[endpoint.address], "", "tls = true");
    let isobar = Isobar::start_with(&config, |command| {
        command.env("SSL_CERT_FILE", &bundle).env_remove("SSL_CERT_DIR")
    });
    assert_eq!(isobar.get("/").error(), "connect-failed");
    std::fs::copy(certificates.path("ca.pem"), &bundle).unwrap();
    isobar.signal(Signal::HUP);
    wait_for("the endpoint to be believed", || (isobar.get("/").text() == "a").then_some(()));
}

#[test]
fn an_endpoint_whose_ca_left_the_bundle_is_refused_whatever_connections_to_it_are_kept() {
    let (certificates, strangers) = (Certificates::of("Test CA"), Certificates::of("Another CA"));
    let endpoint = answering(&certificates, &["127.0.0.1"]);
    let bundle = certificates.path("bundle.pem");
    let both =
        [certificates.path("ca.pem"), strangers.path("ca.pem")].map(|file| std::fs::read(file).unwrap());
    save(&bundle, both.concat());
    // A bundle of the service's own is watched, the system's is read at a hangup.
    for (tls, hangs_up) in
        [(format!("tls = {{ ca = \"{}\" }}", bundle.display()), false), ("tls = true".to_owned(), true)]
    {
        save(&bundle, both.concat());
        let config = format!("[runtime]\nworkers = 1\n{}", one_service(&[endpoint.address], "", &tls));
        let isobar = Isobar::start_with(&config, |command| {
            command.env("SSL_CERT_FILE", &bundle).env_remove("SSL_CERT_DIR")
        });
        assert_eq!(isobar.get("/").text(), "a");
        save(&bundle, &both[1]);
        if hangs_up {
            isobar.signal(Signal::HUP);
        }
        wait_for("the endpoint to be refused", || {
            (isobar.get("/").error() == "connect-failed").then_some(())
        });
        assert_refused(&isobar, UNTRUSTED);
        save(&bundle, both.concat());
        if hangs_up {
            isobar.signal(Signal::HUP);
        }
        wait_for("the endpoint to be believed again", || (isobar.get("/").text() == "a").then_some(()));
    }
}

#[test]
fn an_endpoint_that_demands_a_certificate_is_shown_ours_and_its_demand_is_told() {
    let certificates = Certificates::of("Test CA");
    certificates.issue("end", &["127.0.0.1"]);
    certificates.issue("proxy", &[]);
    let endpoint = Origin::answering_tls(certificates.server("end", true), "a");
    let ours = format!(", {}", certificates.pair("proxy"));
    let isobar = start(endpoint.address, &trusting(&certificates, &ours));
    assert_eq!(isobar.get("/").text(), "a");
    let isobar = start(endpoint.address, &trusting(&certificates, ""));
    assert_eq!(isobar.get("/").status, 502);
    let reason = "it demands a certificate: set `tls.certificate` and `tls.key`";
    wait_for(reason, || {
        isobar.logged(TROUBLE, "error").iter().any(|told| told.contains(reason)).then_some(())
    });
}

#[test]
fn another_identity_of_a_service_uses_no_connection_that_was_made_under_the_former() {
    let certificates = Certificates::of("Test CA");
    let endpoint = answering(&certificates, &["127.0.0.1", "cart.internal"]);
    let config = |further: &str| {
        let service = trusting(&certificates, further);
        format!("[runtime]\nworkers = 1\n{}", one_service(&[endpoint.address], "", &service))
    };
    let isobar = Isobar::start(&config(""));
    assert_eq!(isobar.get("/").text(), "a");
    isobar.configure(&config(", sni = \"cart.internal\""));
    wait_for("the reload", || (isobar.count(&["isobar_configuration_applied_total"]) == 2).then_some(()));
    assert_eq!(isobar.get("/").text(), "a");
    assert_eq!(endpoint.n_connections(), 2);
}

#[test]
fn nginx_is_spoken_to_in_either_version_and_knows_us_by_our_certificate() {
    let certificates = Certificates::of("Test CA");
    certificates.issue("end", &["127.0.0.1"]);
    certificates.issue("proxy", &[]);
    for version in ["TLSv1.2", "TLSv1.3"] {
        let (folder, address) = (open_folder(), free_address());
        let [pem, key, ca] = ["end.pem", "end.key", "ca.pem"].map(|file| certificates.at(file));
        let server = format!(
            "server {{ listen {address} ssl; ssl_protocols {version}; ssl_certificate {pem}; ssl_certificate_key {key};\n\
             ssl_client_certificate {ca}; ssl_verify_client on;\n\
             return 200 \"$ssl_protocol $ssl_client_s_dn $connection_requests\"; }}"
        );
        let _nginx = nginx(folder.path(), address, &server);
        let ours = format!(", {}", certificates.pair("proxy"));
        let isobar = start(address, &trusting(&certificates, &ours));
        for n in 1..=20 {
            assert_eq!(isobar.get("/").text(), format!("{version} CN=proxy {n}"));
        }
    }
}

fn state(isobar: &Isobar) -> (String, String) {
    let service: Value = serde_json::from_str(&isobar.admin("/api/v1/services/app").text()).unwrap();
    let endpoint = &service["endpoints"][0];
    let text = |name: &str| endpoint[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("reason"))
}

#[test]
fn probes_speak_tls_too_and_say_why_they_fail() {
    const HEALTH: &str = "\nhealth = { http = \"/healthz\", interval = \"100ms\", unhealthy_after = 1 }";
    let (certificates, strangers) = (Certificates::of("Test CA"), Certificates::of("Another CA"));
    let endpoint = answering(&certificates, &["127.0.0.1"]);
    let isobar = start(endpoint.address, &(trusting(&certificates, "") + HEALTH));
    wait_for("healthy", || (state(&isobar).0 == "healthy").then_some(()));
    assert!(endpoint.heads().iter().any(|head| head.contains("/healthz")));
    let isobar = start(endpoint.address, &(trusting(&strangers, "") + HEALTH));
    let reason = wait_for("unhealthy", || {
        let (state, reason) = state(&isobar);
        (state == "unhealthy").then_some(reason)
    });
    assert!(reason.contains("no TLS") && reason.contains(UNTRUSTED), "{reason}");
    certificates.issue("strict", &["127.0.0.1"]);
    let endpoint = Origin::answering_tls(certificates.server("strict", true), "a");
    let isobar = start(endpoint.address, &(trusting(&certificates, "") + HEALTH));
    let reason = wait_for("unhealthy", || {
        let (state, reason) = state(&isobar);
        (state == "unhealthy").then_some(reason)
    });
    assert!(reason.contains("it demands a certificate"), "{reason}");
}

/// An endpoint that sends this answer, ends it with a word or without, and closes.
fn ending(certificates: &Certificates, answer: &'static str, says_close: bool) -> Origin {
    certificates.issue("end", &["127.0.0.1"]);
    Origin::start_tls(certificates.server("end", false), move |visit: &mut Visit| {
        if visit.head().is_some() {
            visit.send(answer);
            if says_close {
                visit.session.say_close(&mut visit.stream);
            }
        }
    })
}

#[test]
fn a_close_without_a_word_is_no_end_of_an_answer_that_only_the_close_ends() {
    const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\npart";
    const WITH_LENGTH: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\npart";
    let certificates = Certificates::for_localhost();
    for (answer, says_close, is_whole) in
        [(UNTIL_CLOSE, true, true), (UNTIL_CLOSE, false, false), (WITH_LENGTH, false, true)]
    {
        let endpoint = ending(&certificates, answer, says_close);
        let listener = certificates.listener(&["web"], "");
        let config = one_service(&[endpoint.address], &listener, &trusting(&certificates, ""));
        let isobar = Isobar::start(&config);
        for version in ["1.1", "1.0"] {
            let config = certificates.client(None);
            let mut client = Client::connect_tls(isobar.listener("web"), &config, "localhost").unwrap();
            client.send(format!("GET / HTTP/{version}\r\nhost: test\r\n\r\n"));
            let answered = client.any_response("GET");
            let whole = answered.is_some_and(|answered| answered.text() == "part");
            assert_eq!(whole, is_whole, "{answer:?} {says_close} {version}");
        }
    }
}

#[test]
fn an_answer_that_comes_before_the_end_of_an_upload_is_not_lost() {
    let certificates = Certificates::for_localhost();
    certificates.issue("end", &["127.0.0.1"]);
    let endpoint = Origin::start_tls(certificates.server("end", false), |visit| {
        if visit.head().is_some() {
            visit.send("HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig");
            visit.session.say_close(&mut visit.stream);
        }
    });
    let listener = certificates.listener(&["web"], "");
    let isobar = Isobar::start(&one_service(&[endpoint.address], &listener, &trusting(&certificates, "")));
    let mut client =
        Client::connect_tls(isobar.listener("web"), &certificates.client(None), "localhost").unwrap();
    let n = 8 << 20;
    client.send(format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {n}\r\n\r\n"));
    client.send(vec![b'x'; 1 << 20]);
    let response = client.response("POST");
    assert_eq!((response.status, response.text().as_str()), (413, "big"));
}
