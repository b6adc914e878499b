//! Reads what divides the endpoints of a service for this proxy: `zone_aware` and `subset`.
//!
//! Invariants of what comes out: zones are preferred only where the proxy knows its own, which is one of `proxies` where
//! these are told; a subset belongs to a proxy with a name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use isobar_core::{Subset, ZoneAware};

use crate::diagnose::Diagnostic;
use crate::document::Value;
use crate::fields::{Context, Fields};
use crate::mistakes::wrong_kind;
use crate::place::Placed;
use crate::settings::RuntimeSettings;
use crate::spec::Kind;
use crate::text::check_name;

/// Where Linux tells the host's name; a container's own, inside of one.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// How the service prefers the proxy's own zone.
pub(crate) fn read_zone_aware(service: &Fields<'_>, runtime: &RuntimeSettings) -> Option<ZoneAware> {
    let fields = service.optional_table("zone_aware")?;
    let proxies = proxies(&fields);
    let entry = service.entry("zone_aware")?;
    let Some(zone) = &runtime.zone else {
        let finding = Diagnostic::error(&entry.key_place, "`zone_aware` needs the zone of this proxy");
        let help = "add it to [runtime], such as zone = \"a\" or zone = \"${ZONE}\"";
        service.cx.reports.add(finding.help(help));
        return None;
    };
    if !proxies.is_empty() && proxies.get(&**zone).is_none_or(|n| *n == 0) {
        let message = format!("`zone_aware.proxies` has none in \"{zone}\", where this proxy is");
        service.cx.reports.add(Diagnostic::error(&entry.key_place, message).help("count this one too"));
    }
    let min_endpoints = fields.integer("min_endpoints") as usize;
    Some(ZoneAware { zone: zone.as_str().into(), min_endpoints, proxies })
}

fn proxies(fields: &Fields<'_>) -> BTreeMap<Arc<str>, u32> {
    let (cx, mut proxies) = (fields.cx, BTreeMap::new());
    let (Some(node), Some(spec)) = (fields.node("proxies"), fields.spec.key("proxies")) else {
        return proxies;
    };
    let (Value::Table(table), Kind::Map(element)) = (&node.value, &spec.kind) else {
        wrong_kind(cx, node, &spec.kind, "`zone_aware.proxies`");
        return proxies;
    };
    let Kind::Integer(bounds) = element else { return proxies };
    for entry in &table.entries {
        let zone = Placed { value: entry.key.clone(), place: entry.key_place.clone() };
        check_name(cx, &zone, "a zone");
        let Value::Integer(n) = &entry.node.value else {
            wrong_kind(cx, &entry.node, element, &format!("`proxies.{}`", entry.key));
            continue;
        };
        match n.and_then(|n| u64::try_from(n).ok()).filter(|n| *n <= bounds.max) {
            Some(n) => {
                proxies.insert(zone.value.as_str().into(), n as u32);
            }
            None => fields.out_of_bounds("proxies", &entry.node, "0", &bounds.max.to_string(), bounds.above),
        }
    }
    proxies
}

/// The part of the service that this proxy uses.
pub(crate) fn read_subset(service: &Fields<'_>, runtime: &RuntimeSettings) -> Option<Subset> {
    let fields = service.optional_table("subset")?;
    let size = fields.integer("size") as usize;
    let instance = runtime.instance.clone().or_else(|| host_name(service.cx));
    let Some(instance) = instance else {
        let place = &service.entry("subset")?.key_place;
        let message = format!("`subset` needs a name for this proxy, and {HOST_NAME} gives none");
        let help = "add one to [runtime], such as instance = \"proxy-1\"; every proxy has its own";
        service.cx.reports.add(Diagnostic::error(place, message).help(help));
        return None;
    };
    Some(Subset::new(size, &instance))
}

fn host_name(cx: &Context<'_>) -> Option<String> {
    let text = cx.files.read(Path::new(HOST_NAME)).ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}
