//! The running configuration as one text: the main file and what it included, merged, for those who ask what is running.
//!
//! Invariants: where nothing had to be hidden, loading the text from the main file's folder gives the same settings;
//! variables stay as they are written, for their values may be secrets; comments are lost. Only for texts that were
//! accepted: values of kinds that no key takes are left out.

use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::diagnose::Reports;
use crate::environment::{Environment, substitute};
use crate::place::Sources;
use crate::{rebase, secrets};

/// Merges every file of an accepted configuration.
pub(crate) fn merge(sources: &Sources, environment: Environment<'_>) -> String {
    let folder = |path: &Path| path.parent().unwrap_or(Path::new("")).to_owned();
    let home = sources.paths().next().map(folder).unwrap_or_default();
    let mut whole = Table::new();
    for (id, source) in sources.iter() {
        let (root, _) = DeTable::parse_recoverable(&source.text);
        let mut part = Value::Table(table(root.get_ref()));
        let start = sources.clamp(id, 0..0);
        // What a text becomes; findings about it were reported when it was read.
        let expand = |text: &str| substitute(text, &start, sources, environment, &Reports::default());
        rebase::rebase(&mut part, &folder(&source.path), &home, &expand);
        secrets::redact(&mut part);
        if let Value::Table(part) = part {
            part.into_iter().for_each(|(key, value)| add(&mut whole, key, value));
        }
    }
    whole.remove("include");
    // Every kind of value that `value` makes can be written.
    toml::to_string(&whole).unwrap_or_default()
}

/// Lists go on, tables get more keys; a second value of another kind was refused.
fn add(whole: &mut Table, key: String, value: Value) {
    match (whole.get_mut(&key), value) {
        (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
        (Some(Value::Table(table)), Value::Table(more)) => table.extend(more),
        (Some(_), _) => {}
        (None, value) => {
            whole.insert(key, value);
        }
    }
}

/// Keys in the order in which settings are read: by where they were first written.
fn table(table: &DeTable<'_>) -> Table {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut written = Table::new();
    for (key, found) in entries {
        if let Some(value) = value(found.get_ref()) {
            written.insert(key.get_ref().clone().into_owned(), value);
        }
    }
    written
}

fn value(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Integer(number) => {
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()?)
        }
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Array(list) => {
            Value::Array(list.iter().filter_map(|value| self::value(value.get_ref())).collect())
        }
        DeValue::Table(table) => Value::Table(self::table(table)),
        DeValue::Float(number) => Value::Float(number.as_str().parse().ok()?),
        DeValue::Datetime(_) => return None,
    })
}

/// Hands every text at `path` to `edit`, with the last key on the way to it. `*` stands for every key of a table; a list
/// on the way stands for each of its elements.
pub(crate) fn visit(value: &mut Value, path: &[&str], edit: &mut dyn FnMut(&str, &mut String)) {
    visit_from("", value, path, edit);
}

fn visit_from(key: &str, value: &mut Value, path: &[&str], edit: &mut dyn FnMut(&str, &mut String)) {
    match (value, path) {
        (Value::Array(list), _) => list.iter_mut().for_each(|value| visit_from(key, value, path, edit)),
        (Value::String(text), []) => edit(key, text),
        (Value::Table(table), [wanted, rest @ ..]) => {
            for (key, value) in table.iter_mut().filter(|(key, _)| *wanted == "*" || key == wanted) {
                visit_from(key, value, rest, edit);
            }
        }
        _ => {}
    }
}
