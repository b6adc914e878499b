//! Reads `tls`, of a listener and of a service.
//!
//! Invariants of what comes out: a listener has a certificate; callers are asked for theirs only where there is a CA to
//! verify them by; a certificate has its key. What the files hold is not looked at here.

use std::net::IpAddr;
use std::path::PathBuf;

use isobar_core::HostPattern;

use crate::diagnose::{Diagnostic, Echo};
use crate::document::{Node, Value};
use crate::fields::Fields;
use crate::mistakes::{is_misspelt, wrong_kind};
use crate::text::parent;
use crate::tls_settings::{CertificateFiles, ClientAuth, ListenerTls, ServiceTls, TlsVersion};

/// Certificates of one listener: each handshake may look through the names of all of them.
const CERTIFICATES_MAX: usize = 1000;

/// Reads `tls` of a listener.
pub(crate) fn read_listener(listener: &Fields<'_>) -> Option<ListenerTls> {
    let fields = listener.optional_table("tls")?;
    let tables = fields.tables("certificates");
    if let Some(entry) = fields.entry("certificates") {
        let is_list = matches!(&entry.node.value, Value::List(nodes) if nodes.is_empty());
        if is_list {
            let finding = Diagnostic::error(&entry.node.place, "`tls.certificates` is empty");
            let help = "add a certificate, such as { certificate = \"web.pem\", key = \"web.key\" }, or leave `tls` out";
            fields.cx.reports.add(finding.help(help));
        }
        if tables.len() > CERTIFICATES_MAX {
            let message = format!(
                "`tls.certificates` has {} tables, at most {CERTIFICATES_MAX} are possible",
                tables.len()
            );
            fields.cx.reports.add(Diagnostic::error(&entry.key_place, message));
        }
    }
    let client_auth = match fields.choice("client_auth") {
        "optional" => ClientAuth::Optional,
        "required" => ClientAuth::Required,
        _ => ClientAuth::Off,
    };
    check_client_ca(&fields, client_auth);
    Some(ListenerTls {
        certificates: tables.iter().take(CERTIFICATES_MAX).map(certificate_of_listener).collect(),
        client_auth,
        client_ca: path(&fields, "client_ca"),
        min_version: if fields.choice("min_version") == "1.3" {
            TlsVersion::Tls13
        } else {
            TlsVersion::Tls12
        },
    })
}

fn certificate_of_listener(fields: &Fields<'_>) -> CertificateFiles {
    CertificateFiles {
        certificate: path(fields, "certificate").unwrap_or_default(),
        key: path(fields, "key").unwrap_or_default(),
    }
}

fn check_client_ca(fields: &Fields<'_>, client_auth: ClientAuth) {
    let cx = fields.cx;
    match (fields.entry("client_auth"), fields.entry("client_ca")) {
        (Some(mode), None) if client_auth != ClientAuth::Off => {
            if fields.table.is_some_and(|table| is_misspelt(cx, fields.spec, table, "client_ca")) {
                return;
            }
            let finding = Diagnostic::error(&mode.node.place, "`tls.client_auth` needs `client_ca`");
            let help = "add the CA that signs the callers' certificates, such as client_ca = \"ca.pem\"";
            cx.reports.add(finding.help(help).echo(Echo::Missing));
        }
        (_, Some(ca)) if client_auth == ClientAuth::Off => {
            let finding =
                Diagnostic::error(&ca.key_place, "`tls.client_ca` has no effect without `client_auth`");
            cx.reports
                .add(finding.help("add client_auth = \"required\" or \"optional\", or leave the key out"));
        }
        _ => {}
    }
}

/// Reads `tls` of a service: `true`, or a table.
pub(crate) fn read_service(service: &Fields<'_>) -> Option<ServiceTls> {
    match service.node("tls") {
        None | Some(Node { value: Value::Flag(false), .. }) => return None,
        Some(Node { value: Value::Flag(true), .. }) => return Some(ServiceTls::default()),
        Some(Node { value: Value::Table(_), .. }) => {}
        Some(node) => {
            if let Some(key) = service.spec.key("tls") {
                wrong_kind(service.cx, node, &key.kind, "`tls` of a service");
            }
            return None;
        }
    }
    let fields = service.table("tls");
    let (certificate, key) = (path(&fields, "certificate"), path(&fields, "key"));
    for (has, lacks) in [("certificate", "key"), ("key", "certificate")] {
        if let (Some(entry), None) = (fields.entry(has), fields.entry(lacks))
            && !fields.table.is_some_and(|table| is_misspelt(fields.cx, fields.spec, table, lacks))
        {
            let finding = Diagnostic::error(&entry.key_place, format!("`tls.{has}` needs `{lacks}`"));
            let help = format!("add the path of its PEM file, or leave `{has}` out");
            fields.cx.reports.add(finding.help(help).echo(Echo::Missing));
        }
    }
    let certificate = certificate.zip(key).map(|(certificate, key)| CertificateFiles { certificate, key });
    Some(ServiceTls { ca: path(&fields, "ca"), sni: sni(&fields), certificate })
}

fn sni(fields: &Fields<'_>) -> Option<String> {
    let name = fields.text("sni")?;
    if name.value.parse::<IpAddr>().is_ok() {
        return Some(name.value);
    }
    if let Ok(HostPattern::Exact(host)) = HostPattern::parse(&name.value) {
        return Some(host);
    }
    let finding =
        Diagnostic::error(&name.place, format!("`tls.sni` has \"{}\", which is not a host name", name.value));
    fields.cx.reports.add(finding.help("write a whole name without a port, such as \"cart.internal\""));
    None
}

/// A path, relative to the file that has it.
fn path(fields: &Fields<'_>, name: &str) -> Option<PathBuf> {
    let text = fields.text(name)?;
    if text.value.is_empty() {
        let finding = Diagnostic::error(&text.place, format!("`{name}` is empty"));
        fields.cx.reports.add(finding.help("write the path of a PEM file"));
    }
    Some(parent(fields.cx, &text.place).join(text.value))
}
