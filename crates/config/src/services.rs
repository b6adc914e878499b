//! Reads `[services.NAME]`.
//!
//! Invariants of what comes out: names are unique, as are the identities of a service's endpoints and its sources; a
//! service says where its endpoints come from.

use std::collections::HashMap;

use crate::diagnose::{Diagnostic, Echo};
use crate::document::{Entry, Value};
use crate::endpoints::ENDPOINTS_MAX;
use crate::fields::{Context, Fields};
use crate::keys::SERVICE;
use crate::mistakes::{is_misspelt, wrong_kind};
use crate::place::Placed;
use crate::service_settings::{DiscoverySettings, EndpointSettings, PoolSettings, ServiceSettings};
use crate::settings::RuntimeSettings;
use crate::spec::Kind;
use crate::text::{check_name, parent};
use crate::{division, endpoints, health, policy, sticky, tls, weights};

/// Sources of one service: each is a file that is watched.
const SOURCES_MAX: usize = 16;

/// Reads the services of every file.
pub(crate) fn read<'a>(
    cx: &'a Context<'a>,
    roots: &[Fields<'a>],
    runtime: &RuntimeSettings,
) -> Vec<ServiceSettings> {
    let mut seen: HashMap<&str, &Entry> = HashMap::new();
    let mut cookies = sticky::SeenCookies::new();
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
                let service = service(entry.key.clone(), &fields, runtime);
                sticky::check_name(&mut cookies, &service, &fields);
                services.push(service);
            } else {
                services.push(service(entry.key.clone(), &Fields::absent(cx, &SERVICE), runtime));
            }
        }
    }
    services
}

/// Reads one; an absent table gives the defaults and no endpoints.
pub(crate) fn service(name: String, fields: &Fields<'_>, runtime: &RuntimeSettings) -> ServiceSettings {
    let http2 = fields.choice("protocol") == "h2";
    check_requests_bound(fields);
    check_sources(fields);
    let endpoints = endpoints::read(fields, &format!("the service \"{name}\""), ENDPOINTS_MAX);
    check_traffic(&name, fields, &endpoints);
    let policy = policy::read(fields);
    let weights = weights::read(fields, policy.settings.kind);
    ServiceSettings {
        policy: policy.settings,
        hash_key: policy.hash_key,
        load_probe: policy.load_probe,
        weights,
        endpoints,
        discovery: discovery(fields),
        health: health::read(fields, http2),
        min_healthy_percent: fields.integer("min_healthy_percent") as u8,
        connect_timeout: fields.duration("connect_timeout"),
        pool: pool(&fields.table("pool")),
        tls: tls::read_service(fields),
        http2,
        debug_headers: fields.flag("debug_headers"),
        sticky: sticky::read(&name, fields),
        zone_aware: division::read_zone_aware(fields, runtime),
        subset: division::read_subset(fields, runtime),
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

/// Whether there is a source of endpoints besides `endpoints`, sound or not.
fn is_discovered(fields: &Fields<'_>) -> bool {
    match fields.node("discovery").map(|node| &node.value) {
        Some(Value::List(nodes)) => !nodes.is_empty(),
        other => other.is_some(),
    }
}

fn check_sources(fields: &Fields<'_>) {
    let (Some(table), Some(place)) = (fields.table, &fields.place) else { return };
    let meant = |name: &&str| is_misspelt(fields.cx, fields.spec, table, name);
    if fields.entry("endpoints").is_none()
        && !is_discovered(fields)
        && !["endpoints", "discovery"].iter().any(meant)
    {
        let finding = Diagnostic::error(place, "a service needs `endpoints` or `discovery`");
        let help =
            "add a list, such as endpoints = [\"127.0.0.1:9001\"], or discovery = { file = \"cart.toml\" }";
        fields.cx.reports.add(finding.help(help).echo(Echo::Missing));
    }
}

/// Warns of a service that can take no request.
fn check_traffic(name: &str, fields: &Fields<'_>, endpoints: &[EndpointSettings]) {
    let Some(entry) = fields.entry("endpoints").filter(|_| !is_discovered(fields)) else { return };
    let Value::List(nodes) = &entry.node.value else { return };
    let finding = if nodes.is_empty() {
        Diagnostic::warning(&entry.node.place, format!("the service \"{name}\" has no endpoint"))
    } else if endpoints.len() == nodes.len() && endpoints.iter().all(|endpoint| endpoint.weight == 0) {
        let message = format!("every endpoint of the service \"{name}\" has weight 0");
        Diagnostic::warning(&entry.key_place, message)
    } else {
        return;
    };
    fields.cx.reports.add(finding.help("every request to it is answered 503"));
}

fn discovery(fields: &Fields<'_>) -> Vec<DiscoverySettings> {
    let cx = fields.cx;
    let tables = fields.tables("discovery");
    if let Some(entry) = fields.entry("discovery").filter(|_| tables.len() > SOURCES_MAX) {
        let message = format!("`discovery` has {} tables, at most {SOURCES_MAX} are possible", tables.len());
        cx.reports.add(Diagnostic::error(&entry.key_place, message));
    }
    let mut seen = HashMap::new();
    let mut sources = Vec::new();
    for table in tables.iter().take(SOURCES_MAX) {
        let Some(file) = table.text("file") else {
            check_file(table);
            continue;
        };
        if file.value.is_empty() {
            let finding = Diagnostic::error(&file.place, "`discovery.file` is empty");
            cx.reports.add(finding.help("write the path of a file, such as \"cart.toml\""));
        }
        let path = parent(cx, &file.place).join(&file.value);
        if let Some(first) = seen.insert(path.clone(), file.place.clone()) {
            let message = format!("the file \"{}\" is discovered twice", file.value);
            let finding = Diagnostic::error(&file.place, message).related(&first, "first");
            cx.reports.add(finding.help("remove one of them"));
        }
        sources.push(DiscoverySettings::File(path));
    }
    sources
}

/// A source without a file, unless what it was meant to be has a finding already.
fn check_file(fields: &Fields<'_>) {
    let (Some(table), Some(place)) = (fields.table, &fields.place) else { return };
    let told = table.entries.iter().any(|entry| fields.spec.key(&entry.key).is_some());
    if !told && !is_misspelt(fields.cx, fields.spec, table, "file") {
        let finding = Diagnostic::error(place, "`discovery` of a service needs `file`");
        fields.cx.reports.add(finding.help("add a path, such as file = \"cart.toml\"").echo(Echo::Missing));
    }
}

fn pool(fields: &Fields<'_>) -> PoolSettings {
    PoolSettings {
        idle: fields.integer("idle") as usize,
        idle_timeout: fields.duration("idle_timeout"),
        max_age: fields.duration("max_age"),
        max_connections_per_endpoint: fields.integer("max_connections_per_endpoint") as usize,
    }
}
