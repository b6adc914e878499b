//! Handshakes with endpoints: whom they must prove to be, and what is said when they do not.

use std::collections::BTreeMap;
use std::sync::Arc;

use isobar_core::{Address, Endpoint};
use isobar_tls::{NoServerName, Originator, explain};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::{AlertDescription, Connection, Error, InvalidMessage, ServerConfig, ServerConnection};

use crate::world::{Issued, World, endpoint, service, speak};

fn originator(world: &World, further: &str) -> Originator {
    world.load(&service(&format!("{{ ca = \"ca.pem\"{further} }}"))).services.remove(0).unwrap()
}

fn meet(originator: &Originator, server: ServerConfig) -> Result<(), Error> {
    let name = ServerName::try_from("cart.internal").unwrap();
    let mut client = Connection::from(originator.connect(name).unwrap());
    let mut server = Connection::from(ServerConnection::new(Arc::new(server)).unwrap());
    speak(&mut client, &mut server)
}

#[test]
fn a_certificate_that_proves_nothing_is_refused_with_what_to_do() {
    let mut world = World::new();
    let made: [(&str, Issued); 6] = [
        (
            "its certificate has expired: renew it, or set this machine's clock",
            world.issue_with("a", &["cart.internal"], |params| params.not_after = date_time_ymd(2020, 1, 1)),
        ),
        (
            "its certificate is not valid yet: set this machine's clock",
            world.issue_with("b", &["cart.internal"], |params| params.not_before = date_time_ymd(2090, 1, 1)),
        ),
        (
            "its certificate is not for cart.internal but for x.test, 127.0.0.9",
            world.issue("c", &["x.test", "127.0.0.9"]),
        ),
        ("its certificate is not for cart.internal but for no name", world.issue("d", &[])),
        (
            "its certificate is not made for servers",
            world.issue_with("e", &["cart.internal"], |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
        ),
        (
            "its certificate is marked as a CA's",
            world.issue_with("f", &["cart.internal"], |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }),
        ),
    ];
    let originator = originator(&world, "");
    for (reason, issued) in made {
        let told = explain(&meet(&originator, endpoint(issued)).unwrap_err());
        assert!(told.starts_with(reason), "{reason}\n{told}");
    }
    for (name, reason) in [
        (
            "Another CA",
            "its certificate is self-signed or signed by a CA that is not trusted: name that CA in `tls.ca`",
        ),
        ("Test CA", "its certificate was not signed by the CA of that name that is trusted"),
    ] {
        let issued = World::of(name).issue("g", &["cart.internal"]);
        let told = explain(&meet(&originator, endpoint(issued)).unwrap_err());
        assert!(told.starts_with(reason), "{reason}\n{told}");
    }
    assert_eq!(meet(&originator, endpoint(world.issue("h", &["cart.internal"]))), Ok(()));
}

#[test]
fn ours_is_shown_to_an_endpoint_that_demands_it() {
    let mut world = World::new();
    world.issue("proxy", &[]);
    let server = |issued: Issued| {
        let verifier = WebPkiClientVerifier::builder(Arc::new(world.roots())).build().unwrap();
        let builder = ServerConfig::builder().with_client_cert_verifier(verifier);
        builder.with_single_cert(issued.chain, issued.key).unwrap()
    };
    let mut of_endpoint = World::new();
    let (one, other) =
        (of_endpoint.issue("a", &["cart.internal"]), of_endpoint.issue("b", &["cart.internal"]));
    let ca = String::from_utf8(of_endpoint.files[&std::path::PathBuf::from("/ca.pem")].clone()).unwrap();
    let mut both = World::new();
    both.files.clone_from(&world.files);
    both.files.insert("/ca.pem".into(), ca.into_bytes());
    let ours = ", certificate = \"proxy.pem\", key = \"proxy.key\"";
    assert_eq!(meet(&originator(&both, ours), server(one)), Ok(()));
    assert_eq!(meet(&originator(&both, ""), server(other)), Err(Error::NoCertificatesPresented));
}

#[test]
fn what_ends_a_handshake_is_said_in_words_that_name_a_remedy() {
    for (error, said) in [
        (Error::InvalidMessage(InvalidMessage::InvalidContentType), "it does not speak TLS there"),
        (
            Error::AlertReceived(AlertDescription::CertificateRequired),
            "it demands a certificate: set `tls.certificate` and `tls.key` of the service",
        ),
        (
            Error::AlertReceived(AlertDescription::UnknownCA),
            "it refuses the certificate that it was shown (UnknownCA)",
        ),
        (
            Error::AlertReceived(AlertDescription::UnrecognisedName),
            "it has no certificate for the name it was asked for",
        ),
        (Error::AlertReceived(AlertDescription::InternalError), "it broke the handshake off (InternalError)"),
        (Error::NoApplicationProtocol, "it does not speak HTTP/1.1 there"),
    ] {
        assert_eq!(explain(&error), said);
    }
}

#[test]
fn an_endpoint_is_verified_by_the_name_that_is_set_else_by_its_own_else_by_its_address() {
    let world = World::new();
    let made = |host: Option<&str>, address: Address| Endpoint {
        id: "a".into(),
        address,
        weight: 1,
        priority: 0,
        zone: None,
        host: host.map(Into::into),
        hash_key: None,
        metadata: BTreeMap::new(),
    };
    let tcp = || Address::Tcp("[::1]:443".parse().unwrap());
    let unix = || Address::Unix(std::path::Path::new("/s").into());
    let (plain, set) = (originator(&world, ""), originator(&world, ", sni = \"set.test\""));
    for (originator, endpoint, expected) in [
        (&plain, made(Some("cart.internal"), tcp()), Ok("cart.internal")),
        (&plain, made(None, tcp()), Ok("::1")),
        (&plain, made(None, unix()), Err(NoServerName)),
        (&set, made(Some("cart.internal"), tcp()), Ok("set.test")),
        (&set, made(None, unix()), Ok("set.test")),
    ] {
        let name = originator.name(&endpoint).map(|name| name.to_str().into_owned());
        assert_eq!(name, expected.map(str::to_owned));
    }
}
