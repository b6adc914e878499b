//! Files that cannot be used, each told with what to do, all at once; and what loads of the same have in common.

use std::path::PathBuf;

use isobar_tls::{TlsSet, paths};
use rcgen::{KeyPair, date_time_ymd};

use crate::world::{World, listener, service, settings};

const WEB: &str = "certificates = [{ certificate = \"web.pem\", key = \"web.key\" }]";

fn world() -> World {
    let mut world = World::new();
    world.issue("web", &["shop.test"]);
    world
}

#[test]
fn a_file_that_cannot_be_used_is_told_with_its_user_and_what_to_do() {
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let other_key = KeyPair::generate().unwrap().serialize_pem();
    for (file, text, problem) in [
        ("/web.pem", "", "has no certificate: expected PEM"),
        ("/web.pem", broken, "is not sound PEM"),
        ("/web.pem", no_certificate, "holds a certificate that cannot be read"),
        ("/web.key", "nothing", "has no private key: expected PEM"),
        ("/web.key", encrypted, "has an encrypted key: write it without a passphrase"),
        ("/web.key", &other_key, "is not the key of /web.pem: name the two that belong together"),
    ] {
        let mut world = world();
        world.files.insert(file.into(), text.as_bytes().to_vec());
        let told = world.problems(&listener(WEB));
        let expected = format!("listener \"web\": {file} {problem}");
        assert!(told.starts_with(&expected) && told.lines().count() == 1, "{expected}\n{told}");
    }
}

#[test]
fn every_problem_is_told_and_each_file_once() {
    let mut world = world();
    world.files.remove(&PathBuf::from("/web.key"));
    world.files.insert("/ca.pem".into(), Vec::new());
    let twice = listener(
        "certificates = [{ certificate = \"web.pem\", key = \"web.key\" }, { certificate = \"web.pem\", key = \"web.key\" }]",
    );
    let told = world.problems(
        &(twice + "service = \"app\"\n[services.app]\nendpoints = [\"a:1\"]\ntls = { ca = \"ca.pem\" }"),
    );
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[0].starts_with("listener \"web\": /web.key cannot be read"), "{told}");
    assert!(lines[1].starts_with("service \"app\": /ca.pem has no certificate"), "{told}");
}

#[test]
fn an_expired_certificate_is_loaded_and_its_end_is_told() {
    let mut world = World::new();
    world.issue_with("web", &["shop.test"], |params| params.not_after = date_time_ymd(2020, 1, 1));
    let TlsSet { expiries, .. } = world.load(&listener(WEB));
    let told: Vec<_> = expiries.iter().map(|one| (one.file.clone(), one.not_after.as_secs())).collect();
    assert_eq!(told, [(PathBuf::from("/web.pem"), 1_577_836_800)]);
}

#[test]
fn loads_have_the_same_fingerprint_where_they_read_the_same() {
    let mut world = world();
    let text =
        listener(WEB) + "service = \"app\"\n[services.app]\nendpoints = [\"a:1\"]\ntls = { ca = \"ca.pem\" }";
    let (first, again) = (world.load(&text), world.load(&text));
    assert_eq!(first.fingerprint, again.fingerprint);
    assert_eq!(first.services, again.services);
    world.files.insert("/ca.pem".into(), World::new().files[&PathBuf::from("/ca.pem")].clone());
    let other = world.load(&text);
    assert_ne!(first.fingerprint, other.fingerprint);
    assert_ne!(first.services, other.services);
}

#[test]
fn services_with_other_names_or_certificates_are_other_identities() {
    let mut world = world();
    world.issue("proxy", &[]);
    let of = |tls: &str| world.load(&service(tls)).services.remove(0);
    let forms = [
        "{ ca = \"ca.pem\" }",
        "{ ca = \"ca.pem\", sni = \"a.test\" }",
        "{ ca = \"ca.pem\", sni = \"b.test\" }",
        "{ ca = \"ca.pem\", certificate = \"proxy.pem\", key = \"proxy.key\" }",
        "{ ca = \"web.pem\" }",
    ];
    for (place, one) in forms.iter().enumerate() {
        for (other_place, other) in forms.iter().enumerate() {
            assert_eq!(of(one) == of(other), place == other_place, "{one} {other}");
        }
    }
    assert_eq!(of("false"), None);
}

#[test]
fn every_file_that_is_read_is_named() {
    let text = listener(
        "certificates = [{ certificate = \"web.pem\", key = \"/w.key\" }], client_auth = \"optional\", client_ca = \"d/ca.pem\"",
    );
    let text = text
        + "service = \"app\"\n[services.app]\nendpoints = [\"a:1\"]\n\
           tls = { ca = \"ca.pem\", certificate = \"c.pem\", key = \"c.key\" }";
    let named: Vec<String> = paths(&settings(&text)).iter().map(|path| path.display().to_string()).collect();
    assert_eq!(named, ["/c.key", "/c.pem", "/ca.pem", "/d/ca.pem", "/w.key", "/web.pem"]);
}
