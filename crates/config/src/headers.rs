//! Header names and values, and the changes that a route makes to headers.
//!
//! Invariants of what comes out: names are tokens in lower case, values are legal, and nothing that frames a message or
//! belongs to one connection can be changed.

use crate::diagnose::Diagnostic;
use crate::document::Value;
use crate::fields::{Context, Fields};
use crate::mistakes::{text_of, texts_of, wrong_kind};
use crate::place::{Place, Placed};
use crate::settings::HeaderEdits;
use crate::spec::Kind;

/// Headers that frame a message or belong to one connection (RFC 9110, section 7.6.1; RFC 9112, section 6): the proxy
/// writes them itself.
const OWN: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
];

/// Changes of one kind in one route: each is made on every request.
const EDITS_MAX: usize = 100;
/// Bytes of a value: a quarter of the head that most servers accept.
const VALUE_MAX: usize = 8 << 10;

/// Reads `request_headers` or `response_headers`.
pub(crate) fn edits(fields: &Fields<'_>) -> HeaderEdits {
    let set = pairs(fields, "set");
    let add = pairs(fields, "add");
    let remove: Vec<Placed<String>> = fields.texts("remove");
    for name in &remove {
        let name = Placed { value: name.value.to_ascii_lowercase(), place: name.place.clone() };
        check_editable(fields.cx, &name);
        if let Some((place, ..)) = set.iter().find(|(_, set, _)| *set == name.value) {
            let finding =
                Diagnostic::error(&name.place, format!("\"{}\" is both set and removed", name.value));
            fields
                .cx
                .reports
                .add(finding.related(place, "set here").help("`set` alone replaces every field of the name"));
        }
    }
    let plain = |pairs: Vec<(Place, String, String)>| {
        pairs.into_iter().map(|(_, name, value)| (name, value)).collect()
    };
    let remove = remove.into_iter().map(|name| name.value.to_ascii_lowercase()).collect();
    HeaderEdits { set: plain(set), add: plain(add), remove }
}

fn pairs(fields: &Fields<'_>, key: &str) -> Vec<(Place, String, String)> {
    let cx = fields.cx;
    let Some((node, spec)) = fields.node(key).zip(fields.spec.key(key)) else { return Vec::new() };
    let (Value::Table(table), Kind::Map(element)) = (&node.value, &spec.kind) else {
        wrong_kind(cx, node, &spec.kind, &format!("`{key}`"));
        return Vec::new();
    };
    if table.entries.len() > EDITS_MAX {
        cx.reports.add(Diagnostic::error(&node.place, format!("`{key}` has more than {EDITS_MAX} headers")));
        return Vec::new();
    }
    let mut pairs: Vec<(Place, String, String)> = Vec::new();
    for entry in &table.entries {
        let name = Placed { value: entry.key.to_ascii_lowercase(), place: entry.key_place.clone() };
        check_editable(cx, &name);
        if let Some((first, ..)) = pairs.iter().find(|(_, earlier, _)| *earlier == name.value) {
            let finding = Diagnostic::error(&name.place, format!("`{key}` has \"{}\" twice", name.value));
            cx.reports.add(finding.related(first, "first").help("case does not tell header names apart"));
        }
        let label = format!("{key}.{}", entry.key);
        let values = match element {
            Kind::OneOrMany(_) => texts_of(cx, &entry.node, element, &label),
            _ => text_of(cx, &entry.node, element, &label).into_iter().collect(),
        };
        for value in values {
            check_value(cx, &value);
            pairs.push((name.place.clone(), name.value.clone(), value.value));
        }
    }
    pairs
}

fn check_editable(cx: &Context<'_>, name: &Placed<String>) {
    check_name(cx, name);
    let help = match name.value.as_str() {
        "host" => "use `rewrite = { host = \"...\" }`",
        own if OWN.contains(&own) => "the proxy writes it: it frames a message or belongs to one connection",
        own if own.starts_with("x-isobar-") => "names that begin with x-isobar- are the proxy's own",
        _ => return,
    };
    cx.reports
        .add(Diagnostic::error(&name.place, format!("\"{}\" cannot be changed", name.value)).help(help));
}

/// A header's name: a token (RFC 9110, section 5.6.2).
pub(crate) fn check_name(cx: &Context<'_>, name: &Placed<String>) {
    if !is_token(&name.value) || name.value.len() > VALUE_MAX {
        let message = format!("\"{}\" cannot be a header's name", name.value);
        cx.reports.add(
            Diagnostic::error(&name.place, message).help("write letters, digits and `-`, without a colon"),
        );
    }
}

/// A header's value: no control characters, no blanks at its ends (RFC 9110, section 5.5). The value is not shown, for it
/// may be a secret from the environment.
pub(crate) fn check_value(cx: &Context<'_>, value: &Placed<String>) {
    let text = &value.value;
    let problem = if text.chars().any(|c| c.is_control() && c != '\t') {
        "holds a control character, such as a line break"
    } else if text.trim_matches([' ', '\t']) != text {
        "begins or ends with a blank, which callers and endpoints never see"
    } else if text.len() > VALUE_MAX {
        "is longer than 8KiB"
    } else {
        return;
    };
    cx.reports.add(Diagnostic::error(&value.place, format!("this header value {problem}")));
}

/// Whether the text is a token (RFC 9110, section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(legal)
}
