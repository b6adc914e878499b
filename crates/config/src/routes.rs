//! Reads `[[routes]]`.
//!
//! Invariants of what comes out: names are unique, each route does exactly one thing, and what a route says about
//! forwarding is only kept on routes that forward.

use isobar_core::{HostPattern, PathRule, RouteMatch};

use crate::diagnose::Diagnostic;
use crate::document::{Node, Value};
use crate::fields::{Context, Fields, choose, text_of};
use crate::headers::{edits, is_token};
use crate::place::Placed;
use crate::route_match::check_path;
use crate::settings::{HeaderEdits, PathRewrite, RetrySettings, Rewrite, RouteAction, RouteSettings};
use crate::spec::Kind;
use crate::text::check_label;
use crate::{actions, route_match};

/// Routes of one process: a table is compiled per listener, and a search for routes that are never reached compares
/// each with those before it.
const ROUTES_MAX: usize = 10_000;

/// Keys that say how a request is forwarded.
const FORWARDING: [&str; 5] = ["rewrite", "request_headers", "timeout", "retry", "upgrades"];

/// Reads the routes of every file, in the order of files.
pub(crate) fn read<'a>(cx: &'a Context<'a>, roots: &[Fields<'a>]) -> Vec<RouteSettings> {
    let tables: Vec<Fields<'a>> = roots.iter().flat_map(|root| root.tables("routes")).collect();
    if let Some(place) = tables.get(ROUTES_MAX).and_then(|fields| fields.place.as_ref()) {
        cx.reports.add(Diagnostic::error(place, format!("there are more than {ROUTES_MAX} routes")));
    }
    let mut routes: Vec<RouteSettings> = tables.iter().take(ROUTES_MAX).map(route).collect();
    check_names(cx, &tables, &mut routes);
    crate::shadow::check(cx, &tables, &routes);
    routes
}

fn route(fields: &Fields<'_>) -> RouteSettings {
    let cx = fields.cx;
    let listeners = fields.texts("listeners");
    cx.listener_mentions.borrow_mut().extend(listeners.iter().cloned());
    if let Some(Node { value: Value::List(nodes), place }) = fields.node("listeners")
        && nodes.is_empty()
    {
        let finding = Diagnostic::error(place, "`listeners = []` serves no listener");
        cx.reports.add(finding.help("leave the key out to serve every listener"));
    }
    let matches = route_match::read(fields);
    let name = fields.text("name");
    if let Some(name) = &name {
        check_label(cx, name, "the name of a route");
    }
    let action = actions::read(fields);
    check_forwarding(fields, &action);
    let timeout = fields.maybe_duration("timeout");
    RouteSettings {
        name: name.map_or_else(|| default_name(&matches), |name| name.value),
        listeners: listeners.into_iter().map(|name| name.value).collect(),
        rewrite: rewrite(&fields.table("rewrite"), &matches.path),
        matches,
        action,
        request_headers: header_edits(fields, "request_headers"),
        response_headers: header_edits(fields, "response_headers"),
        retry: retry(fields, timeout),
        timeout,
        upgrades: upgrades(fields),
    }
}

/// Host and path joined; `*` for neither.
fn default_name(matches: &RouteMatch) -> String {
    let hosts: Vec<String> = matches
        .hosts
        .iter()
        .map(|host| match host {
            HostPattern::Exact(host) => host.clone(),
            HostPattern::Suffix(suffix) => format!("*{suffix}"),
        })
        .collect();
    let path = match &matches.path {
        PathRule::Any => "",
        PathRule::Prefix(path) | PathRule::Exact(path) => path.as_str(),
        PathRule::Regex(pattern) => pattern.as_str(),
    };
    let name = format!("{}{path}", hosts.join(","));
    if name.is_empty() { "*".to_owned() } else { name }
}

/// Written names must differ; a name made from host and path gets a number when it is taken.
fn check_names(cx: &Context<'_>, tables: &[Fields<'_>], routes: &mut [RouteSettings]) {
    let mut taken = std::collections::HashMap::new();
    for (fields, route) in tables.iter().zip(routes.iter()) {
        let Some(node) = fields.node("name") else { continue };
        if let Some(first) = taken.insert(route.name.clone(), &node.place) {
            let finding = Diagnostic::error(&node.place, format!("two routes are called \"{}\"", route.name));
            cx.reports.add(finding.related(first, "first").help("give one of them another name"));
        }
    }
    let mut taken: std::collections::HashSet<String> = taken.into_keys().collect();
    for (fields, route) in tables.iter().zip(routes) {
        if fields.node("name").is_some() {
            continue;
        }
        let plain = route.name.clone();
        let mut number = 1;
        while !taken.insert(route.name.clone()) {
            number += 1;
            route.name = format!("{plain}#{number}");
        }
    }
}

fn check_forwarding(fields: &Fields<'_>, action: &RouteAction) {
    let answers = match action {
        RouteAction::Forward(_) => return,
        RouteAction::Redirect { .. } => "redirect",
        RouteAction::Respond { .. } => "respond",
    };
    for entry in FORWARDING.iter().filter_map(|name| fields.entry(name)) {
        let message = format!("`{}` has no effect on a route with `{answers}`", entry.key);
        let finding = Diagnostic::error(&entry.key_place, message);
        fields.cx.reports.add(finding.help("nothing is forwarded there: leave the key out"));
    }
}

fn header_edits(fields: &Fields<'_>, name: &str) -> HeaderEdits {
    edits(&fields.table(name))
}

fn rewrite(fields: &Fields<'_>, matched: &PathRule) -> Rewrite {
    let cx = fields.cx;
    let (strip, path) = (fields.text("strip_prefix"), fields.text("path"));
    if let (Some(strip), Some(path)) = (&strip, &path) {
        let finding = Diagnostic::error(&path.place, "`rewrite` has both `strip_prefix` and `path`");
        cx.reports.add(finding.related(&strip.place, "first").help("keep one of them"));
    }
    for text in [&strip, &path].into_iter().flatten() {
        check_path(cx, text);
    }
    if let Some(strip) = &strip {
        check_strip(cx, strip, matched);
    }
    let host = fields.text("host");
    if let Some(host) = &host {
        check_authority(cx, host);
    }
    let path = match (strip, path) {
        (Some(strip), _) => PathRewrite::StripPrefix(strip.value),
        (None, Some(path)) => PathRewrite::Replace(path.value),
        (None, None) => PathRewrite::Keep,
    };
    Rewrite { path, host: host.map(|host| host.value) }
}

fn check_strip(cx: &Context<'_>, strip: &Placed<String>, matched: &PathRule) {
    let prefix = strip.value.trim_end_matches('/');
    if prefix.is_empty() {
        cx.reports.add(
            Diagnostic::warning(&strip.place, "stripping \"/\" changes nothing").help("leave the key out"),
        );
        return;
    }
    let (PathRule::Prefix(path) | PathRule::Exact(path)) = matched else { return };
    let rest = path.strip_prefix(prefix);
    if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        let message = format!("\"{}\" is never at the front: this route takes \"{path}\"", strip.value);
        cx.reports.add(
            Diagnostic::warning(&strip.place, message).help("paths without the prefix are kept as they are"),
        );
    }
}

fn check_authority(cx: &Context<'_>, host: &Placed<String>) {
    let name = match host.value.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && port.parse::<u16>().is_ok() => name,
        _ => &host.value,
    };
    let wildcard = name.contains('*');
    if let Some(problem) = isobar_core::HostPattern::parse(name).err().filter(|_| !wildcard) {
        let finding = Diagnostic::error(&host.place, format!("`rewrite.host` cannot be a Host: {problem}"));
        cx.reports.add(finding.help("write a name such as \"cart.internal\" or \"cart.internal:8080\""));
    } else if wildcard {
        let finding = Diagnostic::error(
            &host.place,
            format!("`rewrite.host` is \"{}\", which names no host", host.value),
        );
        cx.reports.add(finding.help("write one name; without the key the caller's Host is kept"));
    }
}

fn retry(route: &Fields<'_>, timeout: Option<std::time::Duration>) -> RetrySettings {
    let fields = route.table("retry");
    let cx = fields.cx;
    let on = retry_conditions(&fields);
    let per_try_timeout = fields.maybe_duration("per_try_timeout");
    let has = |name| on.iter().any(|on| *on == name);
    let place = fields.node("per_try_timeout").map(|node| &node.place);
    if let (Some(place), Some(each), Some(whole)) = (place, per_try_timeout, timeout)
        && each >= whole
    {
        let finding =
            Diagnostic::warning(place, "`per_try_timeout` is never reached: `timeout` is not longer");
        cx.reports
            .add(finding.help("make it shorter than `timeout`, so that time for another attempt is left"));
    }
    if let (true, None, Some(node)) = (has("timeout"), per_try_timeout, fields.node("on")) {
        let finding = Diagnostic::warning(&node.place, "\"timeout\" has no effect without `per_try_timeout`");
        cx.reports.add(finding.help("add per_try_timeout = \"5s\" or the like"));
    }
    RetrySettings {
        attempts: fields.integer("attempts") as u32,
        on_connect_failure: has("connect-failure"),
        on_reset: has("reset"),
        on_timeout: has("timeout"),
        per_try_timeout,
    }
}

fn retry_conditions(fields: &Fields<'_>) -> Vec<&'static str> {
    let cx = fields.cx;
    let Some((node, key)) = fields.node("on").zip(fields.spec.key("on")) else {
        return vec!["connect-failure", "reset"];
    };
    let Kind::OneOrMany(element @ Kind::Choice(choices)) = &key.kind else { return Vec::new() };
    let nodes = match &node.value {
        Value::List(nodes) => nodes.iter().collect(),
        _ => vec![node],
    };
    let mut chosen = Vec::new();
    for node in nodes {
        let status = match &node.value {
            Value::Integer(Some(number)) => (100..1000).contains(number).then(|| number.to_string()),
            Value::Text(text) if text.len() == 3 && text.parse::<u16>().is_ok() => Some(text.clone()),
            _ => None,
        };
        if let Some(status) = status {
            let message = format!("retrying on the status {status} is not available in this version");
            let help =
                "use connect-failure, reset and timeout; answers with a status are passed on as they are";
            cx.reports.add(Diagnostic::error(&node.place, message).help(help));
        } else if let Some(text) = text_of(cx, node, element, "retry.on") {
            chosen.extend(choose(cx, choices, &text, "retry.on"));
        }
    }
    chosen
}

fn upgrades(fields: &Fields<'_>) -> Vec<String> {
    if fields.node("upgrades").is_none() {
        return vec!["websocket".to_owned()];
    }
    let texts = fields.texts("upgrades");
    for text in &texts {
        let lower = text.value.to_ascii_lowercase();
        let (problem, help) = if lower == "h2c" {
            ("is never tunnelled", "requests inside such a tunnel would pass every route and check unseen")
        } else if is_token(lower.strip_suffix("/13").unwrap_or(&lower)) {
            continue;
        } else {
            ("cannot be a protocol's name", "write one such as \"websocket\"")
        };
        let finding =
            Diagnostic::error(&text.place, format!("`upgrades` names \"{}\", which {problem}", text.value));
        fields.cx.reports.add(finding.help(help));
    }
    texts.into_iter().map(|text| text.value.to_ascii_lowercase()).collect()
}
