//! Reads `health` of a service: its probes.
//!
//! Invariants of what comes out: each probe asks exactly one thing, and what it sends is legal on the wire.

use std::time::Duration;

use crate::diagnose::{Diagnostic, Echo};
use crate::document::{Node, Value};
use crate::fields::{Context, Fields};
use crate::mistakes::{is_misspelt, wrong_kind};
use crate::place::Placed;
use crate::rewrite::check_authority;
use crate::service_settings::{HealthSettings, InitialHealth, ProbeKind};
use crate::spec::Kind;

/// Probes of one service: each is a connection to every endpoint, interval by interval.
const PROBES_MAX: usize = 8;
/// Entries of one `status`: a class says more than any list of numbers that a person writes.
const STATUSES_MAX: usize = 100;
/// Bytes of a probe's target: what most servers accept.
const TARGET_MAX: usize = 8 << 10;
/// Fastest default for an endpoint that fails: a tenth of a second is soon enough, and gives it air.
const FAILING_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Statuses that pass where none are written: the request was answered, not refused.
const PASSING: (u16, u16) = (200, 399);
/// Statuses that end a request.
const FINAL: std::ops::RangeInclusive<i128> = 200..=599;
/// Bytes of the name that a `grpc` probe asks for: no package of services has a longer one.
const SERVICE_MAX: usize = 1 << 10;
/// The keys that say what is asked, of which a table has one.
const KINDS: [&str; 3] = ["http", "tcp", "grpc"];

/// Reads the probes of a service, in written order.
pub(crate) fn read(service: &Fields<'_>, http2: bool) -> Vec<HealthSettings> {
    let tables = service.tables("health");
    if let Some(entry) = service.entry("health").filter(|_| tables.len() > PROBES_MAX) {
        let message = format!("`health` has {} tables, at most {PROBES_MAX} are possible", tables.len());
        service.cx.reports.add(Diagnostic::error(&entry.key_place, message));
    }
    tables.iter().take(PROBES_MAX).map(|table| health(table, http2)).collect()
}

fn health(fields: &Fields<'_>, http2: bool) -> HealthSettings {
    let interval = fields.duration("interval");
    let failing = (interval / 4).max(FAILING_INTERVAL_MIN).min(interval);
    HealthSettings {
        probe: probe(fields, http2),
        interval,
        failing_interval: fields.maybe_duration("failing_interval").unwrap_or(failing),
        timeout: fields.duration("timeout"),
        healthy_after: fields.integer("healthy_after") as u32,
        unhealthy_after: fields.integer("unhealthy_after") as u32,
        initial: match fields.choice("initial") {
            "healthy" => InitialHealth::Healthy,
            "unhealthy" => InitialHealth::Unhealthy,
            _ => InitialHealth::Unknown,
        },
        http2,
        port: fields.node("port").map(|_| fields.integer("port") as u16),
    }
}

fn probe(fields: &Fields<'_>, http2: bool) -> ProbeKind {
    let cx = fields.cx;
    let tcp = fields.flag("tcp");
    let (path, service) = (fields.text("http"), fields.text("grpc"));
    let (status, host) = (statuses(fields), fields.text("host"));
    if let Some(path) = &path {
        check_target(cx, path, "a probe");
    }
    if let Some(host) = &host {
        check_authority(cx, "health.host", host, "the endpoint's address is sent");
    }
    let asked = |name: &&&str| fields.entry(name).is_some() && (**name != "tcp" || tcp);
    let kinds: Vec<&str> = KINDS.iter().filter(asked).copied().collect();
    match *kinds.as_slice() {
        [] => check_nothing(fields),
        [kind] => check_effect(fields, kind),
        [first, second, ..] => check_one(fields, first, second),
    }
    if let Some(service) = &service {
        check_grpc(cx, service, http2);
    }
    let host = host.map(|host| host.value);
    match (path, service) {
        (Some(path), _) => ProbeKind::Http { path: path.value, host, status },
        (None, Some(service)) => ProbeKind::Grpc { service: service.value, host },
        (None, None) => ProbeKind::Tcp,
    }
}

/// Finds two kinds of probes in one table.
fn check_one(fields: &Fields<'_>, first: &str, second: &str) {
    let (Some(one), Some(other)) = (fields.entry(first), fields.entry(second)) else { return };
    let message = format!("`health` has both `{first}` and `{second}`");
    let help = "write two tables to probe both: health = [{ http = \"/healthz\" }, { tcp = true }]";
    let finding = Diagnostic::error(&other.key_place, message);
    fields.cx.reports.add(finding.related(&one.key_place, "first").help(help));
}

/// Finds keys that a probe of this kind does not obey.
fn check_effect(fields: &Fields<'_>, kind: &str) {
    let without: &[&str] = match kind {
        "tcp" => &["status", "host"],
        "grpc" => &["status"],
        _ => &[],
    };
    for entry in without.iter().filter_map(|name| fields.entry(name)) {
        let message = format!("`{}` has no effect on a probe with `{kind}`", entry.key);
        let finding = Diagnostic::error(&entry.key_place, message);
        fields.cx.reports.add(finding.help("leave the key out, or probe with `http`"));
    }
}

/// What a `grpc` probe can ask, and of whom.
fn check_grpc(cx: &Context<'_>, service: &Placed<String>, http2: bool) {
    if !http2 {
        let message = "`health` has `grpc`, but the service's endpoints speak HTTP/1.1";
        let help = "add `protocol = \"h2\"` to the service, which gRPC needs";
        cx.reports.add(Diagnostic::error(&service.place, message).help(help));
    }
    let name = &service.value;
    if name.len() > SERVICE_MAX {
        let message = "`health.grpc` is longer than 1KiB".to_owned();
        cx.reports.add(Diagnostic::error(&service.place, message).help("write the name of one service"));
    }
}

/// A probe that asks nothing, unless what it was meant to ask has a finding already.
fn check_nothing(fields: &Fields<'_>) {
    let (Some(table), Some(place)) = (fields.table, &fields.place) else { return };
    let meant = |name: &&str| is_misspelt(fields.cx, fields.spec, table, name);
    let refused = matches!(fields.node("tcp"), Some(node) if !matches!(node.value, Value::Flag(_)));
    if refused || KINDS.iter().any(meant) {
        return;
    }
    let finding = Diagnostic::error(place, "`health` of a service needs `http`, `tcp = true` or `grpc`");
    fields.cx.reports.add(finding.help("add a path, such as http = \"/healthz\"").echo(Echo::Missing));
}

/// Reports what cannot stand in the request line of a probe of this kind (RFC 9112, section 3.2.1).
pub(crate) fn check_target(cx: &Context<'_>, path: &Placed<String>, of: &str) {
    let text = &path.value;
    let (problem, help) = if !text.starts_with('/') {
        ("does not begin with \"/\"", format!("write \"/{text}\""))
    } else if !text.chars().all(|c| c.is_ascii_graphic() && c != '#') {
        let help = "write other characters percent-encoded in UTF-8, such as %20 for a space";
        ("holds a character that no request's target has", help.to_owned())
    } else if text.len() > TARGET_MAX {
        ("is longer than 8KiB", "probe a shorter path".to_owned())
    } else {
        return;
    };
    let message = format!("the path \"{text}\" of {of} {problem}");
    cx.reports.add(Diagnostic::error(&path.place, message).help(help));
}

fn statuses(fields: &Fields<'_>) -> Vec<(u16, u16)> {
    let Some(entry) = fields.entry("status") else { return vec![PASSING] };
    let nodes = match &entry.node.value {
        Value::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(&entry.node),
    };
    let problem = match nodes.len() {
        0 => "`health.status = []` passes no probe".to_owned(),
        n if n > STATUSES_MAX => format!("`health.status` has more than {STATUSES_MAX} entries"),
        _ => return nodes.iter().filter_map(|node| status(fields.cx, node)).collect(),
    };
    let finding = Diagnostic::error(&entry.node.place, problem);
    fields.cx.reports.add(finding.help("write a class such as \"2xx\", or leave the key out for 200 to 399"));
    Vec::new()
}

/// One entry as a range.
fn status(cx: &Context<'_>, node: &Node) -> Option<(u16, u16)> {
    let finding = match &node.value {
        Value::Integer(Some(status)) if FINAL.contains(status) => {
            return Some((*status as u16, *status as u16));
        }
        Value::Integer(_) => {
            let message =
                format!("`health.status` is {}, but must be from 200 to 599", cx.sources.text(&node.place));
            Diagnostic::error(&node.place, message).help("a probe is answered by one of these")
        }
        Value::Text(text) => match text.as_str() {
            "2xx" => return Some((200, 299)),
            "3xx" => return Some((300, 399)),
            "4xx" => return Some((400, 499)),
            "5xx" => return Some((500, 599)),
            _ => {
                let message = format!("`health.status` is \"{text}\", which is no class of statuses");
                let help = match text.parse::<u16>() {
                    Ok(_) => format!("write {text} without quotes"),
                    Err(_) => {
                        "write \"2xx\", \"3xx\", \"4xx\" or \"5xx\", or a status such as 200".to_owned()
                    }
                };
                Diagnostic::error(&node.place, message).help(help)
            }
        },
        _ => {
            wrong_kind(cx, node, &Kind::Status, "`health.status`");
            return None;
        }
    };
    cx.reports.add(finding);
    None
}
