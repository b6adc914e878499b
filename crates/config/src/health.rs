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
/// Keys that only an `http` probe obeys.
const HTTP_ONLY: [&str; 2] = ["status", "host"];

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
        probe: probe(fields),
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

fn probe(fields: &Fields<'_>) -> ProbeKind {
    let cx = fields.cx;
    let tcp = fields.flag("tcp");
    let path = fields.text("http");
    let (status, host) = (statuses(fields), fields.text("host"));
    if let Some(path) = &path {
        check_target(cx, path);
    }
    if let Some(host) = &host {
        check_authority(cx, "health.host", host, "the endpoint's address is sent");
    }
    match (fields.entry("http"), fields.entry("tcp").filter(|_| tcp)) {
        (Some(http), Some(tcp)) => {
            let finding = Diagnostic::error(&tcp.key_place, "`health` has both `http` and `tcp`");
            let help = "write two tables to probe both: health = [{ http = \"/healthz\" }, { tcp = true }]";
            cx.reports.add(finding.related(&http.key_place, "first").help(help));
        }
        (None, Some(_)) => check_tcp(fields),
        (None, None) => check_nothing(fields),
        (Some(_), None) => {}
    }
    match path {
        Some(path) => ProbeKind::Http { path: path.value, host: host.map(|host| host.value), status },
        None => ProbeKind::Tcp,
    }
}

fn check_tcp(fields: &Fields<'_>) {
    for entry in HTTP_ONLY.iter().filter_map(|name| fields.entry(name)) {
        let message = format!("`{}` has no effect on a probe with `tcp`", entry.key);
        let finding = Diagnostic::error(&entry.key_place, message);
        fields.cx.reports.add(finding.help("leave the key out, or probe with `http`"));
    }
}

/// A probe that asks nothing, unless what it was meant to ask has a finding already.
fn check_nothing(fields: &Fields<'_>) {
    let (Some(table), Some(place)) = (fields.table, &fields.place) else { return };
    let meant = |name: &&str| is_misspelt(fields.cx, fields.spec, table, name);
    let refused = matches!(fields.node("tcp"), Some(node) if !matches!(node.value, Value::Flag(_)));
    if refused || fields.entry("grpc").is_some() || ["http", "tcp"].iter().any(meant) {
        return;
    }
    let finding = Diagnostic::error(place, "`health` of a service needs `http` or `tcp = true`");
    fields.cx.reports.add(finding.help("add a path, such as http = \"/healthz\"").echo(Echo::Missing));
}

/// What stands in the request line of a probe (RFC 9112, section 3.2.1).
fn check_target(cx: &Context<'_>, path: &Placed<String>) {
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
    let message = format!("the path \"{text}\" of a probe {problem}");
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
