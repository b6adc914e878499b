//! A change of an endpoint as JSON text, checked by the bounds that the configuration has.
//!
//! Invariant: an unknown field is an error, for it may be a known one misspelt.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use isobar_config::{AddressText, PRIORITY_MAX, WEIGHT_MAX, label_problem, name_problem};
use isobar_core::{Address, Edit, Endpoint};
use serde_json::{Map, Value};

use super::refusal::Refusal;

/// Bytes of an id: those that are made of what the configuration has are a host name (253), a slash and an address with
/// its port (47), or `unix:` and a path (108).
const ID_BYTES_MAX: usize = 320;

/// What replaces an endpoint or adds it: `{"address": "127.0.0.1:9001", "weight": 2, "priority": 0, "zone": "a"}`, and a `hash_key`.
pub(super) fn put(id: &str, body: &[u8]) -> Result<Edit, Refusal> {
    check_id(id)?;
    let fields = Fields::parse(body, &["address", "weight", "priority", "zone", "hash_key"])?;
    let address = fields.text("address")?.ok_or_else(|| bad("`address` is missing: write \"IP:PORT\""))?;
    let zone = fields.text("zone")?;
    if let Some(problem) = zone.and_then(name_problem) {
        return Err(bad(format!("the name of a zone {problem}")));
    }
    let hash_key = fields.text("hash_key")?;
    if let Some(problem) = hash_key.and_then(label_problem) {
        return Err(bad(format!("the hash key of an endpoint {problem}")));
    }
    Ok(Edit::Put(Endpoint {
        id: id.into(),
        address: parse_address(address)?,
        weight: fields.number("weight", WEIGHT_MAX)?.unwrap_or(1),
        priority: fields.number("priority", PRIORITY_MAX)?.unwrap_or(0),
        zone: zone.map(Arc::from),
        host: None,
        hash_key: hash_key.map(Arc::from),
        metadata: BTreeMap::new(),
    }))
}

/// What changes an endpoint: `{"weight": 3}`, `{"draining": true}`, or both.
pub(super) fn patch(id: &str, body: &[u8]) -> Result<Edit, Refusal> {
    check_id(id)?;
    let fields = Fields::parse(body, &["weight", "draining"])?;
    let (weight, draining) = (fields.number("weight", WEIGHT_MAX)?, fields.flag("draining")?);
    if weight.is_none() && draining.is_none() {
        return Err(bad("nothing to change: give `weight`, `draining` or both"));
    }
    Ok(Edit::Patch { id: id.into(), weight, draining })
}

/// An id that an endpoint can have.
pub(super) fn check_id(id: &str) -> Result<(), Refusal> {
    let problem = if id.is_empty() {
        "is empty"
    } else if id.len() > ID_BYTES_MAX {
        "is longer than any can be"
    } else if id.chars().any(char::is_control) {
        "contains a control character"
    } else {
        return Ok(());
    };
    Err(bad(format!("the id of an endpoint {problem}")))
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "bad-change", message)
}

fn parse_address(text: &str) -> Result<Address, Refusal> {
    let address: AddressText = text.parse().map_err(|error: isobar_config::AddressError| {
        bad(format!("\"{text}\" is not an address: {error}; {}", error.hint))
    })?;
    match address {
        AddressText::Unix(path) if path.is_absolute() => Ok(Address::Unix(Path::new(&path).into())),
        AddressText::Unix(_) => {
            Err(bad("the path of a unix socket must be absolute: \"unix:/run/cart.sock\""))
        }
        AddressText::Tcp { port: 0, .. } => Err(bad("nothing listens on port 0: give one from 1 to 65535")),
        AddressText::Tcp { host, port } => match host.parse::<IpAddr>() {
            Ok(ip) => Ok(Address::Tcp(SocketAddr::new(ip, port))),
            Err(_) => Err(bad(format!(
                "\"{text}\" has no IP address: host names stand in the configuration or in a discovered file, \
                 where they are resolved again and again"
            ))),
        },
    }
}

/// The fields of an object.
struct Fields(Map<String, Value>);

impl Fields {
    fn parse(body: &[u8], known: &[&str]) -> Result<Self, Refusal> {
        let names = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let no_json = |message| Refusal::new(StatusCode::BAD_REQUEST, "bad-json", message);
        if body.trim_ascii().is_empty() {
            return Err(no_json(format!("the body is empty; send a JSON object with some of {names}")));
        }
        // The reader's own message ends in the line and the column.
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| no_json(format!("the body is not JSON: {error}")))?;
        let Value::Object(fields) = value else {
            return Err(bad(format!("the body must be a JSON object with some of {names}")));
        };
        match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(bad(format!("unknown field `{}`; there are {names}", name.escape_debug()))),
            None => Ok(Self(fields)),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Refusal> {
        self.read(name, Value::as_str, "a string")
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        self.read(name, Value::as_bool, "true or false")
    }

    fn number(&self, name: &str, max: u32) -> Result<Option<u32>, Refusal> {
        let within = |value: &Value| value.as_u64()?.try_into().ok().filter(|number: &u32| *number <= max);
        self.read(name, within, &format!("a whole number from 0 to {max}"))
    }

    fn read<'a, T>(
        &'a self,
        name: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
        form: &str,
    ) -> Result<Option<T>, Refusal> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| bad(format!("`{name}` must be {form}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_put_leaves_out_is_as_in_the_configuration() {
        let Edit::Put(endpoint) = put("web/a", br#"{"address": "[::1]:80"}"#).unwrap() else { panic!() };
        assert_eq!((&*endpoint.id, endpoint.weight, endpoint.priority), ("web/a", 1, 0));
        assert_eq!((endpoint.address.to_string(), endpoint.zone), ("[::1]:80".to_owned(), None));
        let full = br#"{"address": "unix:/run/a.sock", "weight": 1000000, "priority": 127, "zone": "b",
            "hash_key": "10.0.0.2:80"}"#;
        let Edit::Put(endpoint) = put("a", full).unwrap() else { panic!() };
        assert_eq!((endpoint.weight, endpoint.priority), (1_000_000, 127));
        assert_eq!(endpoint.hash_key.as_deref(), Some("10.0.0.2:80"));
        assert_eq!(
            (endpoint.address.to_string(), endpoint.zone.as_deref()),
            ("unix:/run/a.sock".into(), Some("b"))
        );
    }

    #[test]
    fn a_put_that_means_nothing_says_why() {
        for (body, part) in [
            ("{}", "`address` is missing"),
            (r#"{"address": 1}"#, "`address` must be a string"),
            (r#"{"address": null}"#, "`address` must be a string"),
            (r#"{"address": "cart.internal:80"}"#, "host names"),
            (r#"{"address": "127.0.0.1"}"#, "port is missing"),
            (r#"{"address": ":80"}"#, "no IP address"),
            (r#"{"address": "127.0.0.1:0"}"#, "port 0"),
            (r#"{"address": "unix:a.sock"}"#, "absolute"),
            (r#"{"address": "127.0.0.1:80", "weight": 1000001}"#, "0 to 1000000"),
            (r#"{"address": "127.0.0.1:80", "weight": -1}"#, "0 to 1000000"),
            (r#"{"address": "127.0.0.1:80", "weight": 1.5}"#, "0 to 1000000"),
            (r#"{"address": "127.0.0.1:80", "priority": 128}"#, "0 to 127"),
            (r#"{"address": "127.0.0.1:80", "zone": "a b"}"#, "zone"),
            (
                r#"{"address": "127.0.0.1:80", "wieght": 1}"#,
                "`address`, `weight`, `priority`, `zone`, `hash_key`",
            ),
            (r#"{"address": "127.0.0.1:80", "hash_key": ""}"#, "hash key"),
            ("[]", "object"),
        ] {
            let refusal = format!("{:?}", put("a", body.as_bytes()).unwrap_err());
            assert!(refusal.contains(part) && refusal.contains("bad-change"), "{body}: {refusal}");
        }
    }

    #[test]
    fn an_empty_patch_and_one_of_other_fields_are_refused() {
        for (body, part) in [
            ("{}", "nothing to change"),
            (r#"{"draining": "yes"}"#, "true or false"),
            (r#"{"address": "127.0.0.1:80"}"#, "`weight`, `draining`"),
        ] {
            let refusal = format!("{:?}", patch("a", body.as_bytes()).unwrap_err());
            assert!(refusal.contains(part), "{body}: {refusal}");
        }
        let both = Edit::Patch { id: "a".into(), weight: Some(0), draining: Some(true) };
        assert_eq!(patch("a", br#"{"weight": 0, "draining": true}"#), Ok(both));
    }

    #[test]
    fn text_that_is_no_json_is_told_with_its_place_and_never_panics() {
        let refusal = format!("{:?}", patch("a", b"{\n  \"weight\": x}").unwrap_err());
        assert!(refusal.contains("bad-json") && refusal.contains("line 2 column 13"), "{refusal}");
        let deep = "[".repeat(60_000);
        for body in [b"".as_slice(), b"\xff\xfe", b"{", b"{\"weight\": 1} x", deep.as_bytes()] {
            assert!(format!("{:?}", patch("a", body).unwrap_err()).contains("bad-json"));
        }
    }

    #[test]
    fn an_id_that_no_endpoint_can_have_is_refused() {
        for id in ["", "a\nb", &"x".repeat(ID_BYTES_MAX + 1)] {
            assert!(put(id, br#"{"address": "127.0.0.1:80"}"#).is_err(), "{id:?}");
            assert!(patch(id, br#"{"weight": 1}"#).is_err(), "{id:?}");
        }
    }
}
