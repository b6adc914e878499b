//! The findings that every table shares: unknown and unavailable keys, values of the wrong kind, choices that do not exist.
//!
//! A finding names the key as it is written, says what was expected with an example, and offers the nearest right name.

use crate::diagnose::{Diagnostic, Echo};
use crate::document::{Entry, Node, Table, Value};
use crate::fields::Context;
use crate::place::{Place, Placed};
use crate::spec::{Availability, Choice, Default, Kind, TableSpec, available};
use crate::suggest::nearest;

/// Reports a key that the table does not know, or that this version does not obey.
pub(crate) fn check_key(cx: &Context<'_>, spec: &'static TableSpec, entry: &Entry) {
    match spec.key(&entry.key).map(|key| key.availability) {
        Some(Availability::Now) => {}
        Some(Availability::Later(instead)) => {
            let message = format!("`{}` in {} is not available in this version", entry.key, spec.what);
            cx.reports.add(Diagnostic::error(&entry.key_place, message).help(instead));
        }
        None => {
            let message = format!("unknown key `{}` in {}", entry.key, spec.what);
            let all: Vec<_> = spec.available().collect();
            let help = match meant(cx, spec, entry) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known keys are {}", quoted(&all)),
            };
            cx.reports.add(Diagnostic::error(&entry.key_place, message).help(help).echo(Echo::Misplaced));
        }
    }
}

/// The key that an unknown one was probably meant to be.
fn meant(cx: &Context<'_>, spec: &'static TableSpec, entry: &Entry) -> Option<&'static str> {
    if cx.reports.is_full() || spec.key(&entry.key).is_some() {
        return None;
    }
    nearest(&entry.key, spec.available())
}

/// Whether an unknown key of the table was probably meant to be this one.
pub(crate) fn is_misspelt(cx: &Context<'_>, spec: &'static TableSpec, table: &Table, name: &str) -> bool {
    table.entries.iter().any(|entry| meant(cx, spec, entry) == Some(name))
}

/// Reports every required key that is missing, unless an unknown one was meant to be it.
pub(crate) fn check_required(cx: &Context<'_>, spec: &'static TableSpec, table: &Table, place: &Place) {
    for key in spec.keys.iter().filter(|key| key.default == Default::Required) {
        if table.entry(key.name).is_none() && !is_misspelt(cx, spec, table, key.name) {
            let message = format!("{} needs `{}`", spec.what, key.name);
            let help = format!("add {}, such as {} = {}", key.kind.form(), key.name, key.kind.example());
            cx.reports.add(Diagnostic::error(place, message).help(help).echo(Echo::Missing));
        }
    }
}

/// A string value, or a finding.
pub(crate) fn text_of(cx: &Context<'_>, node: &Node, kind: &Kind, label: &str) -> Option<Placed<String>> {
    if let Value::Text(text) = &node.value {
        return Some(Placed { value: text.clone(), place: node.place.clone() });
    }
    wrong_kind(cx, node, kind, &format!("`{label}`"));
    None
}

/// The strings of a list; a string alone where the kind allows it.
pub(crate) fn texts_of(cx: &Context<'_>, node: &Node, kind: &Kind, label: &str) -> Vec<Placed<String>> {
    match (&node.value, kind) {
        (Value::List(nodes), Kind::List(element) | Kind::OneOrMany(element)) => {
            nodes.iter().filter_map(|node| text_of(cx, node, element, label)).collect()
        }
        (Value::Text(_), Kind::OneOrMany(element)) => text_of(cx, node, element, label).into_iter().collect(),
        _ => {
            wrong_kind(cx, node, kind, &format!("`{label}`"));
            Vec::new()
        }
    }
}

/// The available choice of that name, or a finding.
pub(crate) fn choose(
    cx: &Context<'_>,
    choices: &'static [Choice],
    text: &Placed<String>,
    label: &str,
) -> Option<&'static str> {
    let choice = choices.iter().find(|choice| choice.name == text.value);
    let finding = match choice.map(|choice| (choice.name, choice.availability)) {
        Some((name, Availability::Now)) => return Some(name),
        Some((name, Availability::Later(instead))) => {
            let message = format!("`{label} = \"{name}\"` is not available in this version");
            Diagnostic::error(&text.place, message).help(instead)
        }
        None => {
            let names: Vec<_> = available(choices).collect();
            let message =
                format!("`{label}` is \"{}\", but must be {}", text.value, Kind::Choice(choices).expected());
            let finding = Diagnostic::error(&text.place, message);
            match nearest(&text.value, names) {
                Some(near) => finding.help(format!("did you mean \"{near}\"?")),
                None => finding,
            }
        }
    };
    cx.reports.add(finding);
    None
}

/// Reports a value of the wrong kind, with what was expected and how this value might be meant.
pub(crate) fn wrong_kind(cx: &Context<'_>, node: &Node, kind: &Kind, subject: &str) {
    if matches!(node.value, Value::Broken) {
        return;
    }
    let message = format!("{subject} must be {}, not {}", kind.expected(), node.kind());
    let finding = Diagnostic::error(&node.place, message);
    let written = cx.sources.text(&node.place);
    let help = match (&node.value, kind) {
        (Value::Integer(Some(_)), Kind::Duration(_)) => {
            format!("give it a unit and quotes: \"{written}s\" or \"{written}ms\"")
        }
        (Value::Integer(Some(number)), kind) if let Some(address) = kind.example_with_port(*number) => {
            format!("write \"{address}\"")
        }
        (Value::Integer(_) | Value::Float(_) | Value::Flag(_), kind) if kind.takes_text() => {
            format!("put it in quotes: \"{written}\"")
        }
        (Value::Text(text), Kind::Integer(_)) if text.parse::<u64>().is_ok() => {
            format!("write {text} without quotes")
        }
        (Value::Text(_), Kind::List(_)) => format!("put it in brackets: [{written}]"),
        (Value::Table(_), Kind::Tables(spec)) => format!("write [[{}]] with two brackets", spec.title),
        _ => return cx.reports.add(finding),
    };
    cx.reports.add(finding.help(help));
}

pub(crate) fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
