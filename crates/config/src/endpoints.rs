//! Reads `endpoints`, of a service and of a discovered file.
//!
//! Invariants of what comes out: identities are unique, every address can be connected to.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use crate::diagnose::{Diagnostic, Diagnostics, Reports};
use crate::document::{Node, Value, parse};
use crate::fields::{Context, Fields};
use crate::include::{FILE_BYTES_MAX, NoFiles, too_long};
use crate::keys::DISCOVERED;
use crate::load::drop_echoes;
use crate::mistakes::{check_required, text_of, wrong_kind};
use crate::place::{Place, Sources};
use crate::service_settings::EndpointSettings;
use crate::spec::Kind;
use crate::text::{check_label, check_name, endpoint_address};

/// Endpoints of one service that are written out: above it they come from a generator, which should feed discovery.
pub(crate) const ENDPOINTS_MAX: usize = 10_000;
/// Endpoints of one discovered file, which a program writes: ten times the largest service that is planned for, at about
/// a hundred bytes each still below the bound on its bytes.
pub(crate) const DISCOVERED_MAX: usize = 100_000;

/// Reads a discovered file: `endpoints` and nothing else, in the form that a service has it; an empty list is a sound one.
///
/// # Errors
/// Every error at once; a text of more than [`FILE_BYTES_MAX`] bytes is one.
pub fn read_endpoints(
    path: &Path,
    text: String,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Vec<EndpointSettings>, Diagnostics> {
    let reports = Reports::default();
    let mut sources = Sources::default();
    if text.len() > FILE_BYTES_MAX {
        reports.add(Diagnostic::without_place(format!("{}: {}", path.display(), too_long(&text))));
        return Err(reports.into_diagnostics(sources));
    }
    let file = sources.add(path, text);
    let (table, syntax_errors) = parse(&sources, file, env, &reports);
    let cx = Context {
        sources: &sources,
        reports: &reports,
        files: &NoFiles,
        secret_files: RefCell::default(),
        service_mentions: RefCell::default(),
        listener_mentions: RefCell::default(),
    };
    let whole = sources.clamp(file, 0..0);
    let fields = Fields::of_table(&cx, &DISCOVERED, &table, &whole);
    check_required(&cx, &DISCOVERED, &table, &whole);
    let endpoints = read(&fields, "this file", DISCOVERED_MAX);
    if !reports.has_errors() {
        return Ok(endpoints);
    }
    let mut findings = reports.into_diagnostics(sources);
    drop_echoes(&mut findings, &syntax_errors);
    Err(findings)
}

/// Reads the key of a table; `owner` is how a message calls whose endpoints they are.
pub(crate) fn read(fields: &Fields<'_>, owner: &str, max: usize) -> Vec<EndpointSettings> {
    let cx = fields.cx;
    let Some((entry, key)) = fields.entry("endpoints").zip(fields.spec.key("endpoints")) else {
        return Vec::new();
    };
    let (Value::List(nodes), Kind::List(kind)) = (&entry.node.value, &key.kind) else {
        wrong_kind(cx, &entry.node, &key.kind, "`endpoints`");
        return Vec::new();
    };
    if nodes.len() > max {
        let message = format!("{owner} has {} endpoints, at most {max} are possible", nodes.len());
        cx.reports.add(Diagnostic::error(&entry.key_place, message));
        return Vec::new();
    }
    let read: Vec<(EndpointSettings, &Place)> = nodes
        .iter()
        .filter_map(|node| endpoint(cx, kind, node).map(|endpoint| (endpoint, &node.place)))
        .collect();
    check_identities(cx, &read);
    read.into_iter().map(|(endpoint, _)| endpoint).collect()
}

fn endpoint(cx: &Context<'_>, kind: &'static Kind, node: &Node) -> Option<EndpointSettings> {
    let Kind::ShortOrTable(_, spec) = kind else { return None };
    let fields = match &node.value {
        Value::Table(_) => Fields::open(cx, spec, node)?,
        _ => Fields::absent(cx, spec),
    };
    let written = match &node.value {
        Value::Table(_) => fields.text("address"),
        _ => text_of(cx, node, kind, "endpoints"),
    };
    let id = fields.text("id");
    if let Some(id) = &id {
        check_label(cx, id, "the id of an endpoint");
    }
    let zone = fields.text("zone");
    if let Some(zone) = &zone {
        check_name(cx, zone, "a zone");
    }
    let hash_key = fields.text("hash_key");
    if let Some(key) = &hash_key {
        check_label(cx, key, "the hash key of an endpoint");
    }
    let (weight, priority) = (fields.integer("weight") as u32, fields.integer("priority") as u32);
    let address = endpoint_address(cx, &written?)?;
    let [id, zone, hash_key] = [id, zone, hash_key].map(|text| text.map(|text| text.value));
    Some(EndpointSettings { address, id, weight, priority, zone, hash_key })
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
