//! Scanners of TLS against a listener with nothing but its certificates set: testssl.sh and sslyze.
//!
//! Limits: the certificate is a test's, so what they say about certificates is left out. Only with `ISOBAR_SOAK=1` does
//! testssl.sh also try each cipher suite and the handshakes of some thirty clients, which takes as long as all the rest.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;

use isobar_tests::real::command;
use isobar_tests::{Certificates, Isobar, Origin, one_service};
use serde_json::Value;

/// What testssl.sh looks at: protocols, kinds of ciphers, forward secrecy, preferences, defaults, fields, vulnerabilities.
const SECTIONS: [&str; 7] = ["-p", "-s", "-f", "-P", "-S", "-h", "-U"];

/// Fewer findings than this, good ones included, and testssl.sh did not look at everything; it makes some 90.
const N_FINDINGS_MIN: usize = 75;

/// A listener with TLS over an endpoint that sends the fields for browsers which are an application's to choose.
fn start() -> Isobar {
    let certificates = Certificates::for_localhost();
    let origin = Origin::start(|visit| {
        while visit.head().is_some() {
            visit.send(
                "HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=31536000; includeSubDomains\r\n\
                 x-frame-options: DENY\r\nx-content-type-options: nosniff\r\n\
                 content-security-policy: default-src 'self'\r\ncontent-length: 1\r\n\r\na",
            );
        }
    });
    // The scanners break connections off wherever they have seen enough.
    Isobar::start(&one_service(&[origin.address], &certificates.listener(&["web"], ""), "")).expect_open()
}

#[test]
fn testssl_finds_nothing_above_low_but_for_the_test_s_certificate() {
    let isobar = start();
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let mut testssl = command("testssl");
    testssl.args(["--quiet", "--color", "0", "--warnings", "batch", "--jsonfile"]).arg(&report);
    if std::env::var_os("ISOBAR_SOAK").is_none() {
        testssl.args(SECTIONS);
    }
    // Its exit code counts findings; the report says which.
    let told = testssl.arg(format!("localhost:{}", isobar.listener("web").port())).output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let report: Value = serde_json::from_str(&std::fs::read_to_string(report).expect(&told)).expect(&told);
    let findings = report.as_array().unwrap();
    assert!(findings.len() >= N_FINDINGS_MIN, "only {} findings: {told}", findings.len());
    let is_above_low = |finding: &&Value| {
        let is_about_certificates = finding["id"].as_str().unwrap().starts_with("cert");
        let is_bad = ["MEDIUM", "HIGH", "CRITICAL", "FATAL"].contains(&finding["severity"].as_str().unwrap());
        is_bad && !is_about_certificates
    };
    let bad: Vec<&Value> = findings.iter().filter(is_above_low).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    let severity = |id: &str| {
        let found = findings.iter().find(|finding| finding["id"] == id);
        found.map(|finding| finding["severity"].as_str().unwrap().to_owned())
    };
    assert_eq!(severity("TLS1_3").as_deref(), Some("OK"), "it got through to the listener: {told}");
    assert_eq!(severity("ALPN_HTTP2").as_deref(), Some("OK"), "{told}");
}

#[test]
fn sslyze_finds_the_listener_as_mozilla_s_intermediate_configuration_but_for_the_test_s_certificate() {
    let isobar = start();
    let mut sslyze = command("sslyze");
    sslyze.args(["--mozilla_config=intermediate", &format!("localhost:{}", isobar.listener("web").port())]);
    // It fails for the certificate.
    let output = sslyze.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, verdict) = told.split_once("COMPLIANCE AGAINST").unwrap_or_else(|| panic!("{told}: {output:?}"));
    assert!(verdict.contains("Not compliant."), "{verdict}");
    let rules: BTreeSet<&str> = verdict
        .lines()
        .filter_map(|line| line.trim().strip_prefix("* "))
        .filter_map(|line| line.split_once(':'))
        .map(|(rule, _)| rule)
        .collect();
    // Nobody trusts its CA, and it is for more than a year.
    assert_eq!(
        rules,
        BTreeSet::from(["certificate_path_validation", "maximum_certificate_lifespan"]),
        "{told}"
    );
}
