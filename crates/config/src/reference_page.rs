//! The reference page of the guide, made from the descriptions: every table, key, value, default and bound.

use std::fmt::Write as _;

use crate::spec::{Availability, Bounds, Default, KeySpec, Kind, TableSpec, available};
use crate::units::{format_duration, format_size};

const OPENING: &str = "# Configuration reference

<!-- Made from crates/config/src/keys; `ISOBAR_BLESS=1 cargo test -p isobar-config` rewrites it. -->

The file is [TOML](https://toml.io). `isobar check FILE` shows every mistake at once, with its place; `isobar check --schema`
prints a JSON Schema for editors.

- **Durations** are strings of a whole number and one unit: `\"250ms\"`, `\"5s\"`, `\"1m\"`, `\"1h\"`.
- **Sizes** are strings: `\"512B\"`, `\"64KiB\"`, `\"1MiB\"`, `\"1GiB\"`, or a plain number of bytes such as `\"0\"`.
- **Addresses** are strings: `\"HOST:PORT\"`, `\"[::1]:PORT\"`, `\"unix:/path\"`; to listen on every interface, `\":PORT\"`.
- **`${NAME}`** in any string value is replaced from the environment; a variable that is not set is an error. `$${` stands for
  a literal `${`.
- **Paths** are relative to the file that names them.
- An unknown key is an error.
";

/// The page, in Markdown.
pub fn reference() -> String {
    let mut page = OPENING.to_owned();
    for table in tables() {
        section(&mut page, &table);
    }
    page
}

/// A table, and how its heading is written.
pub(crate) struct Section {
    pub(crate) heading: String,
    pub(crate) spec: &'static TableSpec,
}

/// Every table once, each before those that stand in it.
pub(crate) fn tables() -> Vec<Section> {
    let root = &crate::keys::ROOT;
    let mut sections = vec![Section { heading: root.title.to_owned(), spec: root }];
    collect(root, &mut sections);
    sections
}

fn collect(spec: &'static TableSpec, sections: &mut Vec<Section>) {
    for key in spec.keys {
        let Some(inner) = inner_table(&key.kind) else { continue };
        if sections.iter().any(|section| section.spec.title == inner.title) {
            continue;
        }
        let heading = match key.kind {
            Kind::Tables(_) => format!("`[[{}]]`", inner.title),
            Kind::Table(_) if !inner.title.contains('.') => format!("`[{}]`", inner.title),
            Kind::Named(_) => format!("`[{}]`", inner.title),
            _ => format!("`{}`", inner.title),
        };
        sections.push(Section { heading, spec: inner });
        collect(inner, sections);
    }
}

fn inner_table(kind: &Kind) -> Option<&'static TableSpec> {
    match kind {
        Kind::Table(spec) | Kind::Tables(spec) | Kind::Named(spec) | Kind::ShortOrTable(_, spec) => {
            Some(spec)
        }
        Kind::List(kind) | Kind::OneOrMany(kind) | Kind::Map(kind) => inner_table(kind),
        _ => None,
    }
}

fn section(page: &mut String, table: &Section) {
    let Section { heading, spec } = table;
    let _ = writeln!(page, "\n## {heading}\n\n{}\n", spec.doc);
    page.push_str("| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
    for key in spec.keys.iter().filter(|key| key.availability == Availability::Now) {
        let why = bounds_reason(&key.kind).map(|why| format!(" Bounds: {why}.")).unwrap_or_default();
        let cells = [format!("`{}`", key.name), value(&key.kind), default(key), format!("{}{why}", key.doc)];
        let _ = writeln!(page, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    for line in later(spec) {
        let _ = write!(page, "\n{line}\n");
    }
}

/// What is known by name but refused in this version.
fn later(spec: &'static TableSpec) -> Vec<String> {
    let mut lines = Vec::new();
    let keys: Vec<String> = spec
        .keys
        .iter()
        .filter(|key| key.availability != Availability::Now)
        .map(|key| format!("`{}`", key.name))
        .collect();
    if !keys.is_empty() {
        lines.push(format!("Not available in this version, and refused by name: {}.", keys.join(", ")));
    }
    for key in spec.keys {
        let choices = later_choices(&key.kind);
        if !choices.is_empty() {
            lines.push(format!(
                "Values of `{}` not available in this version: {}.",
                key.name,
                choices.join(", ")
            ));
        }
    }
    lines
}

fn later_choices(kind: &Kind) -> Vec<String> {
    match kind {
        Kind::Choice(choices) => choices
            .iter()
            .filter(|choice| choice.availability != Availability::Now)
            .map(|choice| format!("`\"{}\"`", choice.name))
            .collect(),
        Kind::OneOrMany(kind) | Kind::ShortOrTable(kind, _) => later_choices(kind),
        _ => Vec::new(),
    }
}

fn value(kind: &Kind) -> String {
    match kind {
        Kind::Text { form, example } => format!("{form}, such as `\"{example}\"`"),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Integer(Bounds { min, max, .. }) => format!("whole number, {min} to {max}"),
        Kind::Number { bounds: Bounds { min, max, .. }, .. } => format!("number, {min} to {max}"),
        Kind::Duration(Bounds { min, max, .. }) => {
            format!("duration, {} to {}", format_duration(*min), format_duration(*max))
        }
        Kind::Size(Bounds { min, max, .. }) => {
            format!("size, {} to {}", format_size(*min), format_size(*max))
        }
        Kind::Status => "status from 200 to 599, or a class such as `\"2xx\"`".to_owned(),
        Kind::Choice(choices) => {
            available(choices).map(|name| format!("`\"{name}\"`")).collect::<Vec<_>>().join(", ")
        }
        Kind::List(kind) => format!("list of: {}", value(kind)),
        Kind::OneOrMany(kind) => format!("{}; or a list of these", value(kind)),
        Kind::Table(spec) => format!("table, see `{}`", spec.title),
        Kind::Tables(spec) => format!("tables, each under `[[{}]]`", spec.title),
        Kind::Named(spec) => format!("tables, each under `[{}]`", spec.title),
        Kind::Map(kind) => format!("table of names, each with {}", value(kind)),
        Kind::ShortOrTable(kind, spec) => format!("{}; or a table, see `{}`", value(kind), spec.title),
        Kind::Reserved => String::new(),
    }
}

fn default(key: &KeySpec) -> String {
    match key.default {
        Default::Required => "required".to_owned(),
        Default::Absent("") => "none".to_owned(),
        Default::Absent(then) => then.to_owned(),
        Default::Value(text) => match key.kind {
            Kind::Flag | Kind::Integer(_) | Kind::List(_) | Kind::OneOrMany(_) => format!("`{text}`"),
            _ => format!("`\"{text}\"`"),
        },
    }
}

fn bounds_reason(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Integer(bounds) | Kind::Size(bounds) => Some(bounds.reasons()),
        Kind::Number { bounds, .. } => Some(bounds.reasons()),
        Kind::Duration(bounds) => Some(bounds.reasons()),
        _ => None,
    }
}
