//! `GET` and `PUT /api/v1/config`: what runs, and another configuration in its place.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::body::{self, CONFIGURATION_BYTES_MAX};
use super::refusal::{self, Refusal};
use super::{Subjects, moment};
use crate::configuration::ConfigurationReport;

/// What runs: TOML with comments at its head, or JSON for those who ask for it.
pub(super) async fn show(State(subjects): State<Subjects>, headers: HeaderMap) -> Response {
    let report = subjects.configuration.report();
    if accepts(&headers, "application/json") {
        return refusal::json(StatusCode::OK, &as_json(&report));
    }
    ([(header::CONTENT_TYPE, "application/toml; charset=utf-8")], as_toml(&report)).into_response()
}

/// Puts a configuration in force as a whole, until the next load from its file.
pub(super) async fn put(State(subjects): State<Subjects>, request: Request) -> Result<Response, Refusal> {
    let text = body::read(request, CONFIGURATION_BYTES_MAX).await?;
    let text = String::from_utf8(text).map_err(|error| {
        let message = format!("the configuration is not UTF-8 text: {}", error.utf8_error());
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "configuration-refused", message)
    })?;
    match Arc::clone(&subjects.configuration).put(text).await {
        Ok(report) => Ok(refusal::json(StatusCode::OK, &as_json(&report))),
        Err(found) => Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "configuration-refused", found)),
    }
}

/// Whether a request names this media type among those that it takes.
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).filter_map(|one| one.split(';').next());
    names.map(str::trim).any(|name| name.eq_ignore_ascii_case(media_type))
}

fn as_json(report: &ConfigurationReport) -> Value {
    let refused = report.refused.as_ref().map(
        |refused| json!({ "at": moment::text(refused.at), "from": refused.from, "reason": refused.reason }),
    );
    json!({
        "revision": report.revision,
        "applied_at": moment::text(report.applied_at),
        "from": report.from,
        "document": &*report.document,
        "refused": refused,
    })
}

fn as_toml(report: &ConfigurationReport) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# revision {}", report.revision);
    let _ = writeln!(text, "# applied {}", moment::text(report.applied_at));
    let _ = writeln!(text, "# from {}", as_comment(&report.from));
    if let Some(refused) = &report.refused {
        let begin = format!("# refused {} from {}", moment::text(refused.at), as_comment(&refused.from));
        for line in refused.reason.lines() {
            let _ = writeln!(text, "{begin}: {}", as_comment(line));
        }
    }
    text.push('\n');
    text.push_str(&report.document);
    text
}

/// TOML allows no control character in a comment but the tab (TOML 1.0, "Comment").
fn as_comment(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::configuration::RefusedConfiguration;
    use std::time::UNIX_EPOCH;

    #[test]
    fn what_is_shown_stays_toml_whatever_was_refused() {
        let report = ConfigurationReport {
            revision: 3,
            applied_at: UNIX_EPOCH,
            from: "a\nb.toml".to_owned(),
            document: "[runtime]\nworkers = 2\n".into(),
            refused: Some(RefusedConfiguration {
                at: UNIX_EPOCH,
                from: "c.toml".to_owned(),
                reason: "first\u{1b}[31m\nsecond".to_owned(),
            }),
        };
        let text = as_toml(&report);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[..5],
            [
                "# revision 3",
                "# applied 1970-01-01T00:00:00.000Z",
                "# from a b.toml",
                "# refused 1970-01-01T00:00:00.000Z from c.toml: first [31m",
                "# refused 1970-01-01T00:00:00.000Z from c.toml: second",
            ]
        );
        assert!(text.ends_with("\n\n[runtime]\nworkers = 2\n"));
    }

    #[test]
    fn a_media_type_is_accepted_when_it_is_named() {
        let named = |value: &str| {
            accepts(&[(header::ACCEPT, value.parse().unwrap())].into_iter().collect(), "application/json")
        };
        assert!(named("application/json") && named("text/html, Application/JSON;q=0.9"));
        assert!(!named("*/*") && !named("application/jsonl") && !named(""));
    }
}
