//! `GET /metrics`: `OpenMetrics` 1.0 for those who ask for it, else the text format that came before it.
//!
//! Everything is rendered as `OpenMetrics`; the older format is a translation of its lines. Limits: it translates the
//! types that are rendered here (counter, gauge, histogram, info), and help texts without quotes or backslashes.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::Subjects;
use super::config::accepts;
use super::refusal::Refusal;

/// `OpenMetrics` 1.0, section "Overall Structure".
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The Prometheus text format; Prometheus's documentation, "Exposition formats".
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders every family.
pub(super) async fn show(State(subjects): State<Subjects>, headers: HeaderMap) -> Response {
    let is_open = accepts(&headers, "application/openmetrics-text");
    // Large clusters make this milliseconds of work, which must not hold up a probe on a runtime of two threads.
    let rendered = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        (subjects.metrics)(&mut text);
        if !is_open {
            return classic(&text);
        }
        text.push_str("# EOF\n");
        text
    })
    .await;
    let Ok(text) = rendered else { return Refusal::defect("the metrics").into_response() };
    let content_type = if is_open { OPENMETRICS } else { CLASSIC };
    ([(header::CONTENT_TYPE, content_type), (header::VARY, "accept")], text).into_response()
}

/// Translates whole families without the end mark. In the older format a family is named as its samples are, there is
/// no type `info`, and there are no units.
fn classic(open: &str) -> String {
    let mut out = String::with_capacity(open.len());
    let (mut family, mut suffix) = ("", "");
    for line in open.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("UNIT"), ..) => {}
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let kind = if kind == "info" { "gauge" } else { kind };
                (family, suffix) = (name, suffix_of(line));
                push(&mut out, &["# TYPE ", name, suffix, " ", kind]);
            }
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                let suffix = if name == family { suffix } else { "" };
                push(&mut out, &["# HELP ", name, suffix, " ", help]);
            }
            _ => push(&mut out, &[line]),
        }
    }
    out
}

/// What the samples of a family add to its name, by the line that tells its type.
fn suffix_of(line: &str) -> &'static str {
    if line.ends_with(" counter") {
        "_total"
    } else if line.ends_with(" info") {
        "_info"
    } else {
        ""
    }
}

fn push(out: &mut String, parts: &[&str]) {
    out.extend(parts.iter().copied());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_a_family_as_its_samples() {
        let open = "# TYPE a counter\n# HELP a Some text.\na_total{x=\"# TYPE b\"} 1\n\
                    # TYPE c_seconds histogram\n# UNIT c_seconds seconds\n# HELP c_seconds More.\n\
                    c_seconds_bucket{le=\"+Inf\"} 1\nc_seconds_count 1\nc_seconds_sum 3.5\n\
                    # TYPE d info\n# HELP d What.\nd_info{v=\"1\"} 1\n# TYPE e gauge\n# HELP e Gauge.\ne 2\n";
        let classic_text = "# TYPE a_total counter\n# HELP a_total Some text.\na_total{x=\"# TYPE b\"} 1\n\
                            # TYPE c_seconds histogram\n# HELP c_seconds More.\n\
                            c_seconds_bucket{le=\"+Inf\"} 1\nc_seconds_count 1\nc_seconds_sum 3.5\n\
                            # TYPE d_info gauge\n# HELP d_info What.\nd_info{v=\"1\"} 1\n\
                            # TYPE e gauge\n# HELP e Gauge.\ne 2\n";
        assert_eq!(classic(open), classic_text);
    }
}
