//! Values that are not shown: those of headers whose names say that they carry a secret.
//!
//! Limit: only names tell. A secret in a path, a body or a header with a harmless name is shown.

use toml::Value;

use crate::merged::visit;

/// What stands in the place of a hidden value; a configuration that holds it is refused.
pub const REDACTED: &str = "<redacted>";

/// Parts of names of headers that carry secrets; `authorization`, `cookie` and `x-api-key` are among them.
const TELLING: [&str; 6] = ["auth", "cookie", "key", "password", "secret", "token"];

/// Where headers and their values stand.
const HEADERS: [&[&str]; 5] = [
    &["routes", "headers", "*"],
    &["routes", "request_headers", "set", "*"],
    &["routes", "request_headers", "add", "*"],
    &["routes", "response_headers", "set", "*"],
    &["routes", "response_headers", "add", "*"],
];

/// Hides them in a configuration.
pub(crate) fn redact(root: &mut Value) {
    for path in HEADERS {
        visit(root, path, &mut |name, text| {
            let name = name.to_ascii_lowercase();
            // `*` asks whether a header is there, which is no secret.
            if text != "*" && TELLING.iter().any(|part| name.contains(part)) {
                REDACTED.clone_into(text);
            }
        });
    }
}
