//! Reads `[runtime]`, `[admin]` and `[access_log]`: tables that may stand in one file only.

use std::net::IpAddr;

use ipnet::IpNet;
use isobar_core::HostPattern;

use crate::diagnose::Diagnostic;
use crate::fields::{Context, Fields};
use crate::keys;
use crate::place::Placed;
use crate::settings::{AccessLogSettings, AddressText, AdminSettings, LogFormat, LogTarget, RuntimeSettings};
use crate::text::{check_name, listen_address, parent};

/// Names of the admin interface: each call is compared with all of them.
const ADMIN_HOSTS_MAX: usize = 100;

/// The table of that name, from whichever file has it; a second one is an error.
fn single<'a>(cx: &Context<'_>, roots: &[Fields<'a>], name: &str) -> Option<Fields<'a>> {
    let mut found = roots.iter().filter(|root| root.entry(name).is_some());
    let first = found.next()?;
    for other in found {
        let (Some(first), Some(second)) = (first.entry(name), other.entry(name)) else { continue };
        let finding = Diagnostic::error(&second.key_place, format!("`{name}` is set in two files"))
            .label("second")
            .related(&first.key_place, "first")
            .help("keep one of them: included files add listeners, routes and services");
        cx.reports.add(finding);
    }
    first.optional_table(name)
}

/// Reads `[runtime]`; its defaults where it is absent.
pub(crate) fn read_runtime<'a>(cx: &'a Context<'a>, roots: &[Fields<'a>]) -> RuntimeSettings {
    let fields = single(cx, roots, "runtime").unwrap_or_else(|| Fields::absent(cx, &keys::RUNTIME));
    let trusted = fields.texts("trusted_proxies");
    RuntimeSettings {
        workers: fields.integer("workers") as usize,
        shutdown_delay: fields.duration("shutdown_delay"),
        shutdown_grace: fields.duration("shutdown_grace"),
        trusted_proxies: trusted.iter().filter_map(|text| network(cx, text)).collect(),
        zone: name(cx, &fields, "zone"),
        instance: name(cx, &fields, "instance"),
    }
}

fn name(cx: &Context<'_>, fields: &Fields<'_>, key: &str) -> Option<String> {
    let name = fields.text(key)?;
    check_name(cx, &name, &format!("`runtime.{key}`"));
    Some(name.value)
}

fn network(cx: &Context<'_>, text: &Placed<String>) -> Option<IpNet> {
    if let Ok(network) = text.value.parse::<IpNet>() {
        return Some(network.trunc());
    }
    if let Ok(address) = text.value.parse::<IpAddr>() {
        return Some(IpNet::from(address));
    }
    let message = format!("\"{}\" is not a network or an address", text.value);
    cx.reports.add(
        Diagnostic::error(&text.place, message).help("write a network such as \"10.0.0.0/8\" or an address"),
    );
    None
}

/// Reads `[admin]`; absent means off.
pub(crate) fn read_admin<'a>(cx: &'a Context<'a>, roots: &[Fields<'a>]) -> Option<AdminSettings> {
    let fields = single(cx, roots, "admin")?;
    let listen = listen_address(&fields, "listen");
    let token_file = fields.text("token_file");
    if let (AddressText::Tcp { host, .. }, Some(node)) = (&listen, fields.node("listen"))
        && !is_loopback(host)
        && fields.entry("token_file").is_none()
    {
        let message = format!("the admin interface listens on {listen} without a token");
        let finding = Diagnostic::warning(&node.place, message)
            .help("whoever reaches it may change everything: set `token_file`, or use 127.0.0.1, [::1] or a unix socket");
        cx.reports.add(finding);
    }
    if let Some(file) = token_file.as_ref().filter(|file| file.value.is_empty()) {
        let finding = Diagnostic::error(&file.place, "`admin.token_file` is empty");
        cx.reports.add(finding.help("write the path of a file that holds the token, or leave the key out"));
    }
    let token_file = token_file.map(|file| parent(cx, &file.place).join(file.value));
    Some(AdminSettings { listen, token_file, hosts: admin_hosts(&fields) })
}

fn admin_hosts(fields: &Fields<'_>) -> Vec<String> {
    let cx = fields.cx;
    let texts = fields.texts("hosts");
    if let Some(entry) = fields.entry("hosts").filter(|_| texts.len() > ADMIN_HOSTS_MAX) {
        let message =
            format!("`admin.hosts` has {} names, at most {ADMIN_HOSTS_MAX} are possible", texts.len());
        cx.reports.add(Diagnostic::error(&entry.key_place, message));
    }
    let mut hosts = Vec::new();
    for text in texts.iter().take(ADMIN_HOSTS_MAX) {
        if let Ok(HostPattern::Exact(host)) = HostPattern::parse(&text.value) {
            hosts.push(host);
        } else {
            let message = format!("`admin.hosts` has \"{}\", which is not a host name", text.value);
            let help = "write a whole name without a port, such as \"proxy.internal\"";
            cx.reports.add(Diagnostic::error(&text.place, message).help(help));
        }
    }
    hosts
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Reads `[access_log]`; absent means off.
pub(crate) fn read_access_log<'a>(cx: &'a Context<'a>, roots: &[Fields<'a>]) -> Option<AccessLogSettings> {
    let fields = single(cx, roots, "access_log")?;
    let format = if fields.choice("format") == "text" { LogFormat::Text } else { LogFormat::Json };
    let Some(to) = fields.text("to").filter(|to| to.value != "stdout") else {
        return Some(AccessLogSettings { to: LogTarget::Stdout, format });
    };
    if matches!(to.value.as_str(), "" | "stderr" | "off" | "none" | "-") {
        let message = format!("`access_log.to` is \"{}\", which is neither \"stdout\" nor a path", to.value);
        let help = "use \"stdout\" or a path; leave the table out for no log";
        cx.reports.add(Diagnostic::error(&to.place, message).help(help));
    }
    Some(AccessLogSettings { to: LogTarget::File(parent(cx, &to.place).join(to.value)), format })
}
