//! Reads `policy` of a service: its name and the options that belong to it.
//!
//! Invariants of what comes out: an option is set only for a policy that it means something to; a policy by key has a
//! key, the others have none; a table's size is prime; points are hashed otherwise under Envoy's layout alone.

use isobar_core::{Layout, PointHash, PolicyKind, PolicySettings};

use crate::diagnose::Diagnostic;
use crate::document::{Node, Value};
use crate::fields::{Context, Fields};
use crate::headers::is_token;
use crate::health::check_target;
use crate::keys::{POLICIES, TABLE_SIZE_MAX};
use crate::mistakes::{choose, text_of};
use crate::place::Placed;
use crate::service_settings::HashKey;
use crate::suggest::nearest;

/// How keys are written, in the order of the reference page.
const KEYS: [&str; 6] = ["client-ip", "header:NAME", "cookie:NAME", "query:NAME", "path", "host"];

/// Options, and the policies that each belongs to.
const OPTIONS: [(&str, &[PolicyKind]); 8] = [
    ("key", &[PolicyKind::RingHash, PolicyKind::Maglev, PolicyKind::Rendezvous]),
    ("layout", &[PolicyKind::RingHash, PolicyKind::Maglev]),
    ("hash", &[PolicyKind::RingHash]),
    ("bounded_load", &[PolicyKind::RingHash, PolicyKind::Maglev, PolicyKind::Rendezvous]),
    ("table_size", &[PolicyKind::Maglev]),
    ("decay", &[PolicyKind::PeakEwma, PolicyKind::Prequal]),
    ("choices", &[PolicyKind::P2c]),
    ("probe", &[PolicyKind::Prequal]),
];

/// The policy of a service, with what does not decide but belongs to it.
pub(crate) struct Policy {
    pub(crate) settings: PolicySettings,
    /// What it hashes, where it places by a key.
    pub(crate) hash_key: Option<HashKey>,
    /// The path that load probes ask for, where there are any.
    pub(crate) load_probe: Option<String>,
}

/// Reads the policy of a service.
pub(crate) fn read(service: &Fields<'_>) -> Policy {
    let cx = service.cx;
    let Some(node) = service.node("policy") else { return settled(PolicySettings::default(), None, None) };
    let Value::Table(_) = &node.value else {
        let name = service.spec.key("policy").and_then(|key| text_of(cx, node, &key.kind, "policy"));
        return settled(kind(cx, name).unwrap_or_default().into(), None, None);
    };
    let fields = service.table("policy");
    // Without a name that is known nothing can be said about what belongs to it.
    let Some(kind) = kind(cx, fields.text("name")) else {
        return settled(PolicySettings::default(), None, None);
    };
    check_options(&fields, kind);
    let mut settings = PolicySettings::from(kind);
    settings.layout = layout(&fields, kind);
    settings.point_hash = point_hash(&fields, &settings);
    settings.table_size = table_size(&fields);
    settings.decay = fields.duration("decay");
    settings.choices = fields.integer("choices") as u8;
    let load_probe = fields.text("probe");
    if let Some(path) = &load_probe {
        check_target(cx, path, "a load probe");
    }
    settings.load_probes = load_probe.is_some();
    settings.bounded_load_percent =
        fields.number("bounded_load").map(|factor| (factor * 100.0).round() as u32);
    if settings.layout == Layout::Haproxy {
        check_numbers(service);
    }
    let key = fields.text("key").and_then(|text| key(cx, &text));
    settled(settings, key, load_probe.map(|path| path.value))
}

fn settled(settings: PolicySettings, key: Option<HashKey>, load_probe: Option<String>) -> Policy {
    let hash_key = settings.kind.is_keyed().then(|| key.unwrap_or(HashKey::ClientIp));
    Policy { settings, hash_key, load_probe }
}

fn kind(cx: &Context<'_>, name: Option<Placed<String>>) -> Option<PolicyKind> {
    choose(cx, POLICIES, &name?, "policy").and_then(PolicyKind::from_name)
}

/// Reports options that mean nothing to the policy.
fn check_options(fields: &Fields<'_>, kind: PolicyKind) {
    for (option, kinds) in OPTIONS {
        let Some(entry) = fields.entry(option).filter(|_| !kinds.contains(&kind)) else { continue };
        let names: Vec<String> = kinds.iter().map(|kind| format!("\"{}\"", kind.name())).collect();
        let message = format!("`policy.{option}` means nothing to \"{}\"", kind.name());
        let help = format!("leave it out; it belongs to {}", names.join(", "));
        fields.cx.reports.add(Diagnostic::error(&entry.key_place, message).help(help));
    }
}

fn layout(fields: &Fields<'_>, kind: PolicyKind) -> Layout {
    let name = fields.choice("layout");
    let layout = Layout::ALL.into_iter().find(|layout| layout.name() == name).unwrap_or_default();
    if let Some(node) = fields.node("layout")
        && kind == PolicyKind::Maglev
        && !matches!(layout, Layout::Isobar | Layout::Envoy)
    {
        let message = format!("`policy.layout = \"{name}\"` is a layout of \"ring-hash\", not of \"maglev\"");
        let help = "\"maglev\" has the layouts \"isobar\" and \"envoy\"";
        fields.cx.reports.add(Diagnostic::error(&node.place, message).help(help));
    }
    layout
}

/// The function of a ring's points; reports one where the layout has no other.
fn point_hash(fields: &Fields<'_>, settings: &PolicySettings) -> PointHash {
    let name = fields.choice("hash");
    let layout = settings.layout;
    if let Some(entry) = fields.entry("hash")
        && settings.kind == PolicyKind::RingHash
        && layout != Layout::Envoy
    {
        let message = format!("`policy.hash` means nothing to the layout \"{}\"", layout.name());
        let help = "leave it out, or write `layout = \"envoy\"`: the other layouts have one function each";
        fields.cx.reports.add(Diagnostic::error(&entry.key_place, message).help(help));
    }
    PointHash::ALL.into_iter().find(|hash| hash.name() == name).unwrap_or_default()
}

fn table_size(fields: &Fields<'_>) -> u32 {
    let size = fields.integer("table_size") as u32;
    if let Some(node) = fields.node("table_size").filter(|_| !is_prime(size)) {
        let next = (size..TABLE_SIZE_MAX).find(|size| is_prime(*size)).unwrap_or(TABLE_SIZE_MAX);
        let message = format!("`policy.table_size` is {size}, but must be a prime");
        fields
            .cx
            .reports
            .add(Diagnostic::error(&node.place, message).help(format!("the next prime is {next}")));
    }
    size
}

fn is_prime(n: u32) -> bool {
    n > 1 && (2..=n.isqrt()).all(|divisor| !n.is_multiple_of(divisor))
}

/// Reports hash keys that HAProxy's layout cannot place.
fn check_numbers(service: &Fields<'_>) {
    let Some(Node { value: Value::List(endpoints), .. }) = service.node("endpoints") else { return };
    for endpoint in endpoints {
        let Value::Table(table) = &endpoint.value else { continue };
        let Some(Node { value: Value::Text(text), place }) = table.entry("hash_key").map(|entry| &entry.node)
        else {
            continue;
        };
        if !text.parse::<u32>().is_ok_and(|id| id > 0) {
            let message =
                format!("the hash key \"{text}\" is not a number, as the layout \"haproxy\" demands");
            let help = "write the server's `id`, or its place in the backend, counted from 1, such as \"3\"";
            service.cx.reports.add(Diagnostic::error(place, message).help(help));
        }
    }
}

fn key(cx: &Context<'_>, text: &Placed<String>) -> Option<HashKey> {
    match text.value.split_once(':') {
        Some(("header", name)) if is_token(name) => return Some(HashKey::Header(name.to_ascii_lowercase())),
        Some(("cookie", name)) if is_token(name) => return Some(HashKey::Cookie(name.to_owned())),
        Some(("query", name)) if is_parameter(name) => return Some(HashKey::Query(name.to_owned())),
        None if text.value == "client-ip" => return Some(HashKey::ClientIp),
        None if text.value == "path" => return Some(HashKey::Path),
        None if text.value == "host" => return Some(HashKey::Host),
        _ => {}
    }
    let (word, name) = text.value.split_once(':').unwrap_or((&text.value, ""));
    let with_name = KEYS.into_iter().find(|key| key.strip_suffix(":NAME") == Some(word));
    let help = match with_name {
        Some(_) if name.is_empty() => format!("say which: \"{word}:NAME\""),
        Some(_) => "write the name as it is sent, without blanks".to_owned(),
        None => {
            let words = KEYS.map(|key| key.strip_suffix(":NAME").unwrap_or(key));
            match nearest(word, words).and_then(|near| KEYS.into_iter().find(|key| key.starts_with(near))) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("write one of \"{}\"", KEYS.join("\", \"")),
            }
        }
    };
    let message = format!("`policy.key` is \"{}\", which is no part of a request", text.value);
    cx.reports.add(Diagnostic::error(&text.place, message).help(help));
    None
}

/// A name that can stand in a query as it is (RFC 3986, section 3.4, without what separates parameters).
fn is_parameter(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"&=#\"<>`".contains(&byte))
}
