//! A JSON Schema (draft 2020-12) of the configuration, made from the descriptions, for editors.
//!
//! Invariant: what [`crate::load`] accepts, the schema accepts; it is looser where a check needs more than one value
//! (references, clashes) or the insides of a text. A string with `${` may become anything, so it is always accepted.

use serde_json::{Map, Value, json};

use crate::reference_page::tables;
use crate::spec::{Availability, Bounds, Default, KeySpec, Kind, TableSpec, available};
use crate::units::{format_duration, format_size};

/// A string that holds a variable.
const VARIABLE: &str = "\\$\\{";

/// The schema of a configuration file.
pub fn schema() -> Value {
    let definitions: Map<String, Value> =
        tables().iter().skip(1).map(|section| (section.spec.title.to_owned(), table(section.spec))).collect();
    let mut root = table(&crate::keys::ROOT);
    if let Some(root) = root.as_object_mut() {
        // Listeners may all stand in included files.
        root.remove("required");
        root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("title".to_owned(), json!("Isobar configuration"));
        root.insert("$defs".to_owned(), Value::Object(definitions));
    }
    root
}

fn table(spec: &'static TableSpec) -> Value {
    let keys = || spec.keys.iter().filter(|key| key.availability == Availability::Now);
    let required: Vec<&str> =
        keys().filter(|key| key.default == Default::Required).map(|key| key.name).collect();
    let properties: Map<String, Value> = keys().map(|key| (key.name.to_owned(), property(key))).collect();
    json!({
        "type": "object",
        "description": spec.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &KeySpec) -> Value {
    let mut schema = kind(&key.kind);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), json!(description(key)));
        if let Default::Value(text) = key.default {
            schema.insert("default".to_owned(), default(&key.kind, text));
        }
    }
    schema
}

fn description(key: &KeySpec) -> String {
    match &key.kind {
        Kind::Duration(bounds) => {
            let (min, max) = (format_duration(bounds.min), format_duration(bounds.max));
            format!("{} {min} to {max}: {}.", key.doc, bounds.reasons())
        }
        Kind::Size(bounds) => {
            let (min, max) = (format_size(bounds.min), format_size(bounds.max));
            format!("{} {min} to {max}: {}.", key.doc, bounds.reasons())
        }
        _ => key.doc.to_owned(),
    }
}

/// Flags, numbers and lists are written in JSON as they are in TOML; all else is a string.
fn default(kind: &Kind, text: &str) -> Value {
    match kind {
        Kind::Flag | Kind::Integer(_) | Kind::List(_) | Kind::OneOrMany(_) => {
            serde_json::from_str(text).unwrap_or(Value::Null)
        }
        _ => json!(text),
    }
}

fn kind(kind: &Kind) -> Value {
    match kind {
        Kind::Text { example, .. } => json!({ "type": "string", "examples": [example] }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Integer(Bounds { min, max, .. }) => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        Kind::Number { bounds: Bounds { min, max, .. }, .. } => {
            json!({ "type": "number", "minimum": min, "maximum": max })
        }
        Kind::Duration(_) => {
            json!({ "type": "string", "pattern": format!("^[0-9]+(ms|s|m|h)$|{VARIABLE}"), "examples": ["5s"] })
        }
        Kind::Size(_) => json!({
            "type": "string",
            "pattern": format!("^[0-9]+(B|KiB|MiB|GiB|TiB)?$|{VARIABLE}"),
            "examples": ["64KiB"],
        }),
        Kind::Status => json!({ "anyOf": [
            { "type": "integer", "minimum": 200, "maximum": 599 },
            { "type": "string", "pattern": format!("^[2-5]xx$|{VARIABLE}") },
        ] }),
        Kind::Choice(choices) => {
            let names: Vec<&str> = available(choices).collect();
            json!({ "anyOf": [{ "enum": names }, { "type": "string", "pattern": VARIABLE }] })
        }
        Kind::List(element) => json!({ "type": "array", "items": self::kind(element) }),
        Kind::OneOrMany(element) => {
            let one = self::kind(element);
            json!({ "anyOf": [one, { "type": "array", "items": one }] })
        }
        Kind::Table(spec) => reference(spec),
        Kind::Tables(spec) => json!({ "type": "array", "items": reference(spec) }),
        Kind::Named(spec) => json!({ "type": "object", "additionalProperties": reference(spec) }),
        Kind::Map(element) => json!({ "type": "object", "additionalProperties": self::kind(element) }),
        Kind::ShortOrTable(short, spec) => json!({ "anyOf": [self::kind(short), reference(spec)] }),
        Kind::Reserved => json!({ "not": {} }),
    }
}

fn reference(spec: &TableSpec) -> Value {
    json!({ "$ref": format!("#/$defs/{}", spec.title) })
}
