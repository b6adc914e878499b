//! `tls` of listeners and services, read.

use std::path::PathBuf;
use std::time::Duration;

use isobar_config::{CertificateFiles, ClientAuth, ListenerTls, ServiceTls, Settings, TlsVersion};

use crate::memory::{Memory, env};

fn settings(text: &str) -> Settings {
    let memory = Memory::of(&[("/etc/isobar.toml", text)]);
    isobar_config::load("/etc/isobar.toml".as_ref(), &memory, &env).unwrap().settings
}

fn listener(tls: &str) -> Settings {
    settings(&format!("[[listeners]]\nname = \"a\"\nlisten = \":1\"\n{tls}"))
}

fn service(tls: &str) -> Option<ServiceTls> {
    let text = "[[listeners]]\nname = \"a\"\nlisten = \":1\"\nservice = \"web\"\n[services.web]\nendpoints = [\"a:1\"]";
    settings(&format!("{text}\n{tls}")).services[0].tls.clone()
}

fn files(certificate: &str, key: &str) -> CertificateFiles {
    CertificateFiles { certificate: PathBuf::from(certificate), key: PathBuf::from(key) }
}

#[test]
fn a_listener_has_its_certificates_in_order_and_asks_callers_for_none() {
    let settings = listener(
        "tls = { certificates = [{ certificate = \"a.pem\", key = \"/k\" }, { certificate = \"b\", key = \"c\" }] }",
    );
    let expected = ListenerTls {
        certificates: vec![files("/etc/a.pem", "/k"), files("/etc/b", "/etc/c")],
        client_auth: ClientAuth::Off,
        client_ca: None,
        min_version: TlsVersion::Tls12,
    };
    assert_eq!(settings.listeners[0].tls, Some(expected));
}

#[test]
fn callers_are_asked_for_a_certificate_where_that_is_written() {
    let settings = listener(
        "limits = { handshakes = 7 }\ntimeouts = { handshake = \"3s\" }\ntls = { certificates = [{ certificate = \"a\", \
         key = \"k\" }], client_auth = \"optional\", client_ca = \"ca\", min_version = \"1.3\" }",
    );
    let listener = &settings.listeners[0];
    let tls = listener.tls.as_ref().unwrap();
    assert_eq!((tls.client_auth, tls.min_version), (ClientAuth::Optional, TlsVersion::Tls13));
    assert_eq!(tls.client_ca, Some(PathBuf::from("/etc/ca")));
    assert_eq!((listener.limits.handshakes, listener.timeouts.handshake), (7, Duration::from_secs(3)));
}

#[test]
fn tls_to_endpoints_is_off_on_or_a_table() {
    assert_eq!(service(""), None);
    assert_eq!(service("tls = false"), None);
    assert_eq!(service("tls = true"), Some(ServiceTls::default()));
    assert_eq!(service("tls = {}"), Some(ServiceTls::default()));
    let table =
        "tls = { ca = \"ca.pem\", sni = \"Cart.Internal\", certificate = \"c.pem\", key = \"c.key\" }";
    let expected = ServiceTls {
        ca: Some(PathBuf::from("/etc/ca.pem")),
        sni: Some("cart.internal".to_owned()),
        certificate: Some(files("/etc/c.pem", "/etc/c.key")),
    };
    assert_eq!(service(table), Some(expected));
    assert_eq!(service("tls = { sni = \"::1\" }").unwrap().sni.as_deref(), Some("::1"));
}
