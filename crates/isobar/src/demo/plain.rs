//! The demo as plain lines, for output that is no terminal: a header, a line a second, and the summary.
//!
//! Invariant: pure; no line holds a character that controls a terminal.

use std::fmt::Write as _;

use super::picture::{Facts, Picture, Row, count, milliseconds, suggestions};

/// What runs, where, and what to try.
pub(super) fn header(facts: &Facts) -> String {
    let end = match facts.lasts {
        Some(lasts) => format!("for {} s", lasts.as_secs_f64()),
        None => "until Ctrl-C".to_owned(),
    };
    let mut text = format!(
        "isobar demo: sample instances, a proxy and {} requests/s, {end}\nproxy http://{}, admin interface http://{}\n",
        facts.rate, facts.proxy, facts.admin
    );
    for (command, what) in suggestions(facts) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {command}    {what}");
    }
    text
}

/// One line on the last seconds.
pub(super) fn line(picture: &Picture) -> String {
    let recent = &picture.recent;
    let mut text = format!(
        "{:>4} s  {:>4.0}/s  {} failed  p50 {} ms  p99 {} ms ",
        picture.now.as_secs(),
        recent.rate,
        picture.whole.failures,
        milliseconds(recent.p50),
        milliseconds(recent.p99)
    );
    for row in &picture.rows {
        let _ = write!(text, "  {} {:.0}%{}", row.id.escape_default(), row.share * 100.0, note(row));
    }
    text.push('\n');
    text
}

/// What is not as it should be, in parentheses.
fn note(row: &Row) -> String {
    let state = (!matches!(row.state.as_str(), "healthy" | "unknown")).then_some(row.state.as_str());
    let what = row.in_trouble.then_some(row.what.as_str());
    let notes: Vec<&str> = what.into_iter().chain(state).collect();
    if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) }
}

/// The whole run: requests, failures, and a table of the endpoints.
pub(super) fn summary(picture: &Picture) -> String {
    let whole = &picture.whole;
    let mut text = format!(
        "\n{} requests in {:.1} s, {} failed, p50 {} ms, p99 {} ms\n\n",
        whole.requests,
        picture.now.as_secs_f64(),
        whole.failures,
        milliseconds(whole.p50),
        milliseconds(whole.p99)
    );
    let longest = picture.rows.iter().map(|row| row.id.escape_default().count()).max().unwrap_or(0).max(8);
    let _ =
        writeln!(text, "{:longest$}  weight  requests  share  p50 ms  p99 ms  failed attempts", "endpoint");
    for row in &picture.rows {
        let _ = writeln!(
            text,
            "{:longest$}  {:>6}  {:>8}  {:>4.0}%  {:>6}  {:>6}  {:>15}",
            row.id.escape_default().to_string(),
            row.weight,
            row.whole.requests,
            row.whole_share * 100.0,
            milliseconds(row.whole.p50),
            milliseconds(row.whole.p99),
            count(row.failed_attempts)
        );
    }
    for (failure, n) in &picture.failures {
        let _ = writeln!(text, "failed: {n} x {failure}");
    }
    let attempts: u64 = picture.rows.iter().filter_map(|row| row.failed_attempts).sum();
    if attempts > 0 && whole.failures == 0 {
        text.push_str(
            "The proxy repeated every failed attempt at another endpoint: no caller saw one fail.\n",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::demo::picture::tests::picture;

    #[test]
    fn the_header_names_the_addresses_and_what_to_try() {
        let mut facts = picture().facts;
        let text = header(&facts);
        for part in ["http://127.0.0.1:8080", "http://127.0.0.1:9900", "200 requests/s", "for 30 s", "/die"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        facts.lasts = None;
        assert!(header(&facts).contains("until Ctrl-C"));
    }

    #[test]
    fn a_line_tells_every_share_and_who_is_in_trouble() {
        let text = line(&picture());
        assert_eq!(text.lines().count(), 1);
        for part in ["0 failed", "plain-1 7%", "plain-2 13% (killed)", "flapping 33% (fails now, unhealthy)"]
        {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn the_summary_has_every_endpoint_and_every_kind_of_failure() {
        let mut picture = picture();
        let text = summary(&picture);
        assert!(text.contains("150 requests in 1.0 s, 0 failed"), "{text}");
        assert!(text.contains("no caller saw one fail"), "{text}");
        for row in &picture.rows {
            let line = text.lines().find(|line| line.starts_with(&row.id)).unwrap();
            assert!(line.contains(&row.whole.requests.to_string()), "{line}");
        }
        picture.whole.failures = 2;
        picture.failures = vec![("status 503".to_owned(), 2)];
        let text = summary(&picture);
        assert!(text.contains("2 failed,") && text.contains("failed: 2 x status 503"), "{text}");
        assert!(!text.contains("no caller"), "{text}");
    }

    #[test]
    fn nothing_controls_a_terminal_whatever_an_endpoint_is_called() {
        let mut picture = picture();
        picture.rows[0].id = "\x1b[2Jevil\r\n".to_owned();
        for text in [header(&picture.facts), line(&picture), summary(&picture)] {
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        }
    }
}
