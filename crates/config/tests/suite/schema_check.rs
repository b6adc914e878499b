//! A validator for the part of JSON Schema that the configuration's schema is written in.
//!
//! A keyword that it does not know is a failure, so that the schema cannot grow past its check unseen.

use regex::Regex;
use serde_json::Value;

/// The first violation, with the path to it.
pub fn violation(root: &Value, schema: &Value, value: &Value, path: &str) -> Option<String> {
    let schema_keys = schema.as_object().unwrap();
    schema_keys.iter().find_map(|(keyword, rule)| {
        let failed = |what: String| Some(format!("{path}: {what}"));
        let inner = |schema: &Value, value: &Value, name: &str| {
            violation(root, schema, value, &format!("{path}/{name}"))
        };
        match keyword.as_str() {
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                violation(root, root["$defs"].get(name).unwrap(), value, path)
            }
            "type" => {
                (!has_type(value, rule.as_str().unwrap())).then(|| format!("{path}: no {rule}: {value}"))
            }
            "enum" => (!rule.as_array().unwrap().contains(value)).then(|| format!("{path}: not in {rule}")),
            "anyOf" => {
                let any =
                    rule.as_array().unwrap().iter().any(|schema| inner(schema, value, "anyOf").is_none());
                if any { None } else { failed(format!("none of {rule} fits {value}")) }
            }
            "pattern" => {
                let fits = value
                    .as_str()
                    .is_none_or(|text| Regex::new(rule.as_str().unwrap()).unwrap().is_match(text));
                if fits { None } else { failed(format!("{value} does not match {rule}")) }
            }
            "minimum" => {
                value.as_f64().filter(|n| *n < rule.as_f64().unwrap()).and_then(|n| failed(n.to_string()))
            }
            "maximum" => {
                value.as_f64().filter(|n| *n > rule.as_f64().unwrap()).and_then(|n| failed(n.to_string()))
            }
            "required" => {
                let missing = |key: &&Value| value.get(key.as_str().unwrap()).is_none();
                rule.as_array().unwrap().iter().find(missing).and_then(|key| failed(format!("needs {key}")))
            }
            "properties" => rule
                .as_object()
                .unwrap()
                .iter()
                .find_map(|(key, schema)| value.get(key).and_then(|value| inner(schema, value, key))),
            "additionalProperties" => {
                let known = schema.get("properties");
                let mut extra =
                    value.as_object()?.iter().filter(|(key, _)| known.is_none_or(|k| k.get(key).is_none()));
                match rule {
                    Value::Bool(false) => extra.next().and_then(|(key, _)| failed(format!("unknown {key}"))),
                    schema => extra.find_map(|(key, value)| inner(schema, value, key)),
                }
            }
            "items" => value.as_array()?.iter().find_map(|value| inner(rule, value, "items")),
            "$schema" | "$defs" | "title" | "description" | "default" | "examples" => None,
            other => failed(format!("the schema uses {other}, which this validator does not know")),
        }
    })
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => false,
    }
}
