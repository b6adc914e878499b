//! Reads `[[routes]]`.
//!
//! Invariants of what comes out: names are unique, each route does exactly one thing, and what a route says about
//! forwarding is only kept on routes that forward.

use std::collections::{HashMap, HashSet};

use isobar_core::{HostPattern, PathRule, RouteMatch};

use crate::diagnose::Diagnostic;
use crate::document::{Node, Value};
use crate::fields::{Context, Fields};
use crate::headers::{edits, is_token};
use crate::retry::retry;
use crate::rewrite::rewrite;
use crate::settings::{RouteAction, RouteSettings};
use crate::text::check_label;
use crate::{actions, route_match, shadow};

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
    if !cx.reports.has_errors() {
        shadow::check(cx, &tables, &routes);
    }
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
        request_headers: edits(&fields.table("request_headers")),
        response_headers: edits(&fields.table("response_headers")),
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
    let mut taken = HashMap::new();
    for (fields, route) in tables.iter().zip(routes.iter()) {
        let Some(node) = fields.node("name") else { continue };
        if let Some(first) = taken.insert(route.name.clone(), &node.place) {
            let finding = Diagnostic::error(&node.place, format!("two routes are called \"{}\"", route.name));
            cx.reports.add(finding.related(first, "first").help("give one of them another name"));
        }
    }
    let mut taken: HashSet<String> = taken.into_keys().collect();
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

fn upgrades(fields: &Fields<'_>) -> Vec<String> {
    if fields.node("upgrades").is_none() {
        return vec!["websocket".to_owned()];
    }
    let texts = fields.texts("upgrades");
    for text in &texts {
        let lower = text.value.to_ascii_lowercase();
        let (problem, help) = if lower == "h2c" {
            ("is never tunnelled", "requests inside such a tunnel would pass every route and check unseen")
        } else if lower.split('/').all(is_token) {
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
