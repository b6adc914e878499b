//! Reads `[services.NAME]`.
//!
//! Invariants of what comes out: names are unique, as are the identities of a service's endpoints.

use std::collections::HashMap;

use isobar_core::PolicyKind;

use crate::diagnose::Diagnostic;
use crate::document::{Entry, Node, Value};
use crate::fields::{Context, Fields};
use crate::keys::{POLICIES, SERVICE};
use crate::mistakes::{choose, text_of, wrong_kind};
use crate::place::{Place, Placed};
use crate::settings::{EndpointSettings, PoolSettings, ServiceSettings};
use crate::spec::Kind;
use crate::text::{check_label, check_name, endpoint_address};

/// Endpoints of one service that are written out: above it they come from a generator, which should feed discovery.
const ENDPOINTS_MAX: usize = 10_000;

/// Reads the services of every file.
pub(crate) fn read<'a>(cx: &'a Context<'a>, roots: &[Fields<'a>]) -> Vec<ServiceSettings> {
    let mut seen: HashMap<&str, &Entry> = HashMap::new();
    let mut services = Vec::new();
    for node in roots.iter().filter_map(|root| root.node("services")) {
        let Value::Table(table) = &node.value else {
            wrong_kind(cx, node, &Kind::Named(&SERVICE), "`services`");
            continue;
        };
        for entry in &table.entries {
            let name = Placed { value: entry.key.clone(), place: entry.key_place.clone() };
            check_name(cx, &name, "a service");
            if let Some(first) = seen.get(entry.key.as_str()) {
                let message = format!("the service \"{}\" is written twice", entry.key);
                let finding = Diagnostic::error(&entry.key_place, message).related(&first.key_place, "first");
                cx.reports.add(finding.help("give one of them another name"));
                continue;
            }
            seen.insert(&entry.key, entry);
            if let Some(fields) = Fields::open(cx, &SERVICE, &entry.node) {
                services.push(service(entry.key.clone(), &fields));
            } else {
                services.push(service(entry.key.clone(), &Fields::absent(cx, &SERVICE)));
            }
        }
    }
    services
}

/// Reads one; an absent table gives the defaults and no endpoints.
pub(crate) fn service(name: String, fields: &Fields<'_>) -> ServiceSettings {
    fields.choice("protocol");
    fields.table("weights").choice("from");
    check_requests_bound(fields);
    ServiceSettings {
        policy: policy(fields),
        endpoints: endpoints(&name, fields),
        connect_timeout: fields.duration("connect_timeout"),
        pool: pool(&fields.table("pool")),
        debug_headers: fields.flag("debug_headers"),
        name,
    }
}

fn check_requests_bound(fields: &Fields<'_>) {
    let bound = fields.integer("max_requests_per_endpoint");
    if let Some(node) = fields.node("max_requests_per_endpoint").filter(|_| bound > 0) {
        let message = format!("`max_requests_per_endpoint = {bound}` is not available in this version");
        let help = "leave the key out; `pool.max_connections_per_endpoint` bounds connections";
        fields.cx.reports.add(Diagnostic::error(&node.place, message).help(help));
    }
}

fn policy(fields: &Fields<'_>) -> PolicyKind {
    let cx = fields.cx;
    let name = match fields.node("policy") {
        Some(Node { value: Value::Table(_), .. }) => fields.table("policy").text("name"),
        Some(node) => match fields.spec.key("policy") {
            Some(key) => text_of(cx, node, &key.kind, "policy"),
            None => None,
        },
        None => None,
    };
    let chosen = name.and_then(|name| choose(cx, POLICIES, &name, "policy"));
    chosen.and_then(PolicyKind::from_name).unwrap_or_default()
}

fn pool(fields: &Fields<'_>) -> PoolSettings {
    PoolSettings {
        idle: fields.integer("idle") as usize,
        idle_timeout: fields.duration("idle_timeout"),
        max_age: fields.duration("max_age"),
        max_connections_per_endpoint: fields.integer("max_connections_per_endpoint") as usize,
    }
}

fn endpoints(service: &str, fields: &Fields<'_>) -> Vec<EndpointSettings> {
    let cx = fields.cx;
    let Some(entry) = fields.entry("endpoints") else { return Vec::new() };
    let Value::List(nodes) = &entry.node.value else {
        if let Some(key) = fields.spec.key("endpoints") {
            wrong_kind(cx, &entry.node, &key.kind, "`endpoints`");
        }
        return Vec::new();
    };
    if nodes.len() > ENDPOINTS_MAX {
        let message = format!(
            "the service \"{service}\" has {} endpoints, at most {ENDPOINTS_MAX} are possible",
            nodes.len()
        );
        cx.reports.add(Diagnostic::error(&entry.key_place, message));
        return Vec::new();
    }
    let read: Vec<(EndpointSettings, &Place)> = nodes
        .iter()
        .filter_map(|node| endpoint(fields, node).map(|endpoint| (endpoint, &node.place)))
        .collect();
    check_identities(cx, &read);
    if nodes.is_empty() {
        let finding =
            Diagnostic::warning(&entry.node.place, format!("the service \"{service}\" has no endpoint"));
        cx.reports.add(finding.help("every request to it is answered 503"));
    } else if read.len() == nodes.len() && read.iter().all(|(endpoint, _)| endpoint.weight == 0) {
        let message = format!("every endpoint of the service \"{service}\" has weight 0");
        let finding = Diagnostic::warning(&entry.key_place, message);
        cx.reports.add(finding.help("every request to it is answered 503"));
    }
    read.into_iter().map(|(endpoint, _)| endpoint).collect()
}

fn endpoint(parent: &Fields<'_>, node: &Node) -> Option<EndpointSettings> {
    let cx = parent.cx;
    let Some(Kind::List(element @ Kind::ShortOrTable(_, spec))) =
        parent.spec.key("endpoints").map(|key| &key.kind)
    else {
        return None;
    };
    let fields = match &node.value {
        Value::Table(_) => Fields::open(cx, spec, node)?,
        _ => Fields::absent(cx, spec),
    };
    let written = match &node.value {
        Value::Table(_) => fields.text("address"),
        _ => text_of(cx, node, element, "endpoints"),
    };
    let id = fields.text("id");
    if let Some(id) = &id {
        check_label(cx, id, "the id of an endpoint");
    }
    let zone = fields.text("zone");
    if let Some(zone) = &zone {
        check_name(cx, zone, "a zone");
    }
    let (weight, priority) = (fields.integer("weight") as u32, fields.integer("priority") as u32);
    let address = endpoint_address(cx, &written?)?;
    let (id, zone) = (id.map(|id| id.value), zone.map(|zone| zone.value));
    Some(EndpointSettings { address, id, weight, priority, zone })
}

fn check_identities(cx: &Context<'_>, read: &[(EndpointSettings, &Place)]) {
    let mut seen = HashMap::new();
    for (endpoint, place) in read {
        let id = endpoint.id.clone().unwrap_or_else(|| endpoint.address.to_string());
        if let Some(first) = seen.insert(id.clone(), *place) {
            let finding = Diagnostic::error(place, format!("two endpoints have the id \"{id}\""))
                .related(first, "first");
            cx.reports.add(
                finding.help("remove one, or give them different ids: { address = \"...\", id = \"...\" }"),
            );
        }
    }
}
