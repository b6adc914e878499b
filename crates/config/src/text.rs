//! Readers of texts that several tables share: names, addresses, paths of requests, header names and values.

use std::path::Path;

use crate::address::{AddressError, UNIX_PATH_MAX};
use crate::diagnose::Diagnostic;
use crate::fields::{Context, Fields};
use crate::place::{Place, Placed};
use crate::settings::AddressText;
use crate::spec::Default;

/// Bytes of a name: it is repeated in every log line and metric.
const NAME_MAX: usize = 100;

/// The folder of the file a place lies in: what relative paths are relative to.
pub(crate) fn parent<'a>(cx: &Context<'a>, place: &Place) -> &'a Path {
    cx.sources.file(place.file).path.parent().unwrap_or(Path::new(""))
}

/// An address to listen on; the default of the key where it is absent, a harmless one where it is wrong.
pub(crate) fn listen_address(fields: &Fields<'_>, name: &str) -> AddressText {
    let fallback = || match fields.spec.key(name).map(|key| key.default) {
        Some(Default::Value(text)) => text.parse().ok(),
        _ => None,
    };
    let written = fields.text(name).and_then(|text| address(fields.cx, &text, AddressText::parse_listen));
    written.or_else(fallback).unwrap_or(AddressText::Tcp { host: String::new(), port: 0 })
}

/// An address of an endpoint: with a host and a port that can be connected to.
pub(crate) fn endpoint_address(cx: &Context<'_>, text: &Placed<String>) -> Option<AddressText> {
    let found = address(cx, text, str::parse)?;
    let finding = match &found {
        AddressText::Tcp { host, port } if host.is_empty() => {
            let message = format!("the endpoint \"{}\" has no host", text.value);
            Diagnostic::error(&text.place, message)
                .help(format!("write \"127.0.0.1:{port}\" for this machine"))
        }
        AddressText::Tcp { port: 0, .. } => {
            let message = format!("the endpoint \"{}\" has port 0, which nothing listens on", text.value);
            Diagnostic::error(&text.place, message).help("write the port that it listens on, from 1 to 65535")
        }
        _ => return Some(found),
    };
    cx.reports.add(finding);
    None
}

fn address(
    cx: &Context<'_>,
    text: &Placed<String>,
    parse: impl FnOnce(&str) -> Result<AddressText, AddressError>,
) -> Option<AddressText> {
    match parse(&text.value) {
        Ok(address) => {
            let address = address.relative_to(parent(cx, &text.place));
            if let AddressText::Unix(path) = &address
                && let Some(finding) = socket_path_too_long(path, &text.place)
            {
                cx.reports.add(finding);
            }
            Some(address)
        }
        Err(error) => {
            let message = format!("\"{}\" is not an address: {error}", text.value);
            cx.reports.add(Diagnostic::error(&text.place, message).help(error.hint));
            None
        }
    }
}

/// The folder of the file counts as well once a relative path is joined to it.
fn socket_path_too_long(path: &Path, place: &Place) -> Option<Diagnostic> {
    let len = path.as_os_str().len();
    (len > UNIX_PATH_MAX).then(|| {
        let message = format!(
            "the socket path {} has {len} bytes, at most {UNIX_PATH_MAX} are possible",
            path.display()
        );
        Diagnostic::error(place, message).help("choose a shorter path, or an absolute one")
    })
}

/// A name that can stand in a URL, a log line and a metric as it is.
pub(crate) fn check_name(cx: &Context<'_>, name: &Placed<String>, what: &str) {
    if let Some(problem) = name_problem(&name.value) {
        let finding = Diagnostic::error(&name.place, format!("the name of {what} {problem}"));
        cx.reports.add(finding.help("a name has letters, digits, `.`, `_` and `-`"));
    }
}

/// What keeps a text from being a name, to be put behind the name of the thing; `None` where it is one.
pub fn name_problem(text: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() {
        Some("is empty".to_owned())
    } else if text.len() > NAME_MAX {
        Some(format!("has {} bytes, at most {NAME_MAX} are allowed", text.len()))
    } else {
        text.chars().find(|&c| !legal(c)).map(|c| format!("\"{text}\" contains {c:?}"))
    }
}

/// A name for people: any printable text of bounded length.
pub(crate) fn check_label(cx: &Context<'_>, name: &Placed<String>, what: &str) {
    if let Some(problem) = label_problem(&name.value) {
        cx.reports.add(Diagnostic::error(&name.place, format!("{what} {problem}")));
    }
}

/// What keeps a text from being a label, such as an endpoint's id, to be put behind the name of the thing.
pub fn label_problem(text: &str) -> Option<String> {
    let bad = text.is_empty() || text.len() > NAME_MAX || text.chars().any(char::is_control);
    bad.then(|| format!("must have 1 to {NAME_MAX} bytes and no control characters"))
}
