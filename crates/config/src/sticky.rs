//! Reads `sticky` of a service, and the secret that it names.
//!
//! Invariants of what comes out: the cookie's name is a token; the key follows from a secret of some length, or from the
//! service's name.

use std::collections::HashMap;

use isobar_core::StickyKey;

use crate::diagnose::Diagnostic;
use crate::fields::{Context, Fields};
use crate::headers::is_token;
use crate::place::{Place, Placed};
use crate::service_settings::{ServiceSettings, StickySettings};
use crate::text::parent;

/// Characters of a secret at least: less is guessed.
const SECRET_LEN_MIN: usize = 16;

/// The cookie of the service `name`.
pub(crate) fn read(name: &str, service: &Fields<'_>) -> Option<StickySettings> {
    let fields = service.optional_table("sticky")?;
    let cookie = fields.text("cookie");
    if let Some(cookie) = cookie.as_ref().filter(|cookie| !is_token(&cookie.value)) {
        let message = format!("`sticky.cookie` is \"{}\", which cannot be a cookie's name", cookie.value);
        let help = "write letters, digits, `-` and `_`, without blanks";
        fields.cx.reports.add(Diagnostic::error(&cookie.place, message).help(help));
    }
    let secret = fields.text("key_file").map(|file| secret(fields.cx, &file));
    Some(StickySettings {
        cookie: cookie.map_or_else(|| "isobar".to_owned(), |cookie| cookie.value),
        ttl: fields.maybe_duration("ttl"),
        key: secret.map_or_else(|| StickyKey::of_service(name), |secret| StickyKey::of_secret(secret.trim())),
    })
}

/// The text of the file; empty where something is wrong with it, which is reported.
fn secret(cx: &Context<'_>, file: &Placed<String>) -> String {
    let path = parent(cx, &file.place).join(&file.value);
    cx.secret_files.borrow_mut().push(path.clone());
    let problem = match cx.files.read(&path) {
        Ok(secret) if secret.trim().chars().count() >= SECRET_LEN_MIN => return secret,
        Ok(_) => format!("holds less than {SECRET_LEN_MIN} characters"),
        Err(error) => format!("cannot be read: {error}"),
    };
    let message = format!("`sticky.key_file`: {} {problem}", path.display());
    let help = "write a secret into it, such as the output of `openssl rand -hex 32`, or leave the key out";
    cx.reports.add(Diagnostic::error(&file.place, message).help(help));
    String::new()
}

/// Names of cookies, and where each was first seen.
pub(crate) type SeenCookies = HashMap<String, Place>;

/// Warns of a name that another service uses: a caller of both would lose each one's cookie to the other.
pub(crate) fn check_name(seen: &mut SeenCookies, service: &ServiceSettings, fields: &Fields<'_>) {
    let (Some(sticky), Some(entry)) = (&service.sticky, fields.entry("sticky")) else { return };
    let Some(first) = seen.insert(sticky.cookie.clone(), entry.key_place.clone()) else { return };
    let message =
        format!("the service \"{}\" uses the cookie \"{}\" of another", service.name, sticky.cookie);
    let help = "give it another `cookie`, unless no host leads to both: a caller would lose one to the other";
    fields
        .cx
        .reports
        .add(Diagnostic::warning(&entry.key_place, message).related(&first, "the other").help(help));
}
