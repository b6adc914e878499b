//! Checks that every name that is used exists, and finds what is never used.

use std::collections::BTreeSet;

use crate::diagnose::{Diagnostic, Echo};
use crate::document::Value;
use crate::fields::{Context, Fields};
use crate::place::Placed;
use crate::settings::{ListenerSettings, RouteSettings, Settings};
use crate::suggest::nearest;

/// Reports unknown names as errors, unused services and listeners that answer nothing as warnings.
pub(crate) fn check(cx: &Context<'_>, settings: &Settings, roots: &[Fields<'_>]) {
    let services: BTreeSet<&str> = settings.services.iter().map(|service| service.name.as_str()).collect();
    let listeners: BTreeSet<&str> =
        settings.listeners.iter().map(|listener| listener.name.as_str()).collect();
    let mentions = cx.service_mentions.borrow();
    for mention in mentions.iter() {
        let define = format!("define it: [services.{}] with endpoints = [\"127.0.0.1:9001\"]", mention.value);
        check_name(cx, mention, "service", &services, &define);
    }
    for mention in cx.listener_mentions.borrow().iter() {
        check_name(cx, mention, "listener", &listeners, "listeners are named by `name` in [[listeners]]");
    }
    drop(mentions);
    if !cx.reports.has_errors() {
        check_unused(cx, settings, roots);
    }
}

/// Finds services that nothing uses and listeners that answer nothing. Only asked when all else is right, for a slip in
/// one name leaves another one unused.
fn check_unused(cx: &Context<'_>, settings: &Settings, roots: &[Fields<'_>]) {
    let mentions = cx.service_mentions.borrow();
    let mentioned: BTreeSet<&str> = mentions.iter().map(|mention| mention.value.as_str()).collect();
    for entry in roots.iter().filter_map(|root| root.node("services")).flat_map(|node| match &node.value {
        Value::Table(table) => table.entries.as_slice(),
        _ => &[],
    }) {
        if !mentioned.contains(entry.key.as_str()) {
            let finding =
                Diagnostic::warning(&entry.key_place, format!("no route or listener uses \"{}\"", entry.key));
            cx.reports.add(finding.help("name it as the `service` of a listener or a route, or remove it"));
        }
    }
    let tables =
        roots.iter().filter_map(|root| root.entry("listeners")).flat_map(|entry| match &entry.node.value {
            Value::List(nodes) => nodes.as_slice(),
            _ => &[],
        });
    for (node, listener) in tables.zip(&settings.listeners) {
        if listener.service.is_none() && !settings.routes.iter().any(|route| serves(route, listener)) {
            let message = format!("the listener \"{}\" answers every request with 404", listener.name);
            let finding = Diagnostic::warning(&node.place, message).echo(Echo::Missing);
            cx.reports.add(finding.help("give it a `service`, or write a route"));
        }
    }
}

fn serves(route: &RouteSettings, listener: &ListenerSettings) -> bool {
    route.listeners.is_empty() || route.listeners.contains(&listener.name)
}

fn check_name(
    cx: &Context<'_>,
    mention: &Placed<String>,
    what: &str,
    known: &BTreeSet<&str>,
    otherwise: &str,
) {
    if known.contains(mention.value.as_str()) {
        return;
    }
    let finding = Diagnostic::error(&mention.place, format!("there is no {what} \"{}\"", mention.value))
        .echo(Echo::Missing);
    let near = if cx.reports.is_full() { None } else { nearest(&mention.value, known.iter().copied()) };
    let help = match near {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => otherwise.to_owned(),
    };
    cx.reports.add(finding.help(help));
}
