//! Reads `retry` of a route: when a failed attempt is repeated.

use std::time::Duration;

use crate::diagnose::Diagnostic;
use crate::document::Value;
use crate::fields::Fields;
use crate::mistakes::{choose, text_of};
use crate::settings::RetrySettings;
use crate::spec::Kind;

/// Reads it from its route; `timeout` is the bound on the whole request.
pub(crate) fn retry(route: &Fields<'_>, timeout: Option<Duration>) -> RetrySettings {
    let fields = route.table("retry");
    let cx = fields.cx;
    let on = retry_conditions(&fields);
    let per_try_timeout = fields.maybe_duration("per_try_timeout");
    let has = |name| on.contains(&name);
    let place = fields.node("per_try_timeout").map(|node| &node.place);
    if let (Some(place), Some(each), Some(whole)) = (place, per_try_timeout, timeout)
        && each >= whole
    {
        let finding =
            Diagnostic::warning(place, "`per_try_timeout` is never reached: `timeout` is not longer");
        cx.reports
            .add(finding.help("make it shorter than `timeout`, so that time for another attempt is left"));
    }
    if let (true, None, Some(node)) = (has("timeout"), per_try_timeout, fields.node("on")) {
        let finding = Diagnostic::warning(&node.place, "\"timeout\" has no effect without `per_try_timeout`");
        cx.reports.add(finding.help("add per_try_timeout = \"5s\" or the like"));
    }
    RetrySettings {
        attempts: fields.integer("attempts") as u32,
        on_connect_failure: has("connect-failure"),
        on_reset: has("reset"),
        on_timeout: has("timeout"),
        per_try_timeout,
    }
}

fn retry_conditions(fields: &Fields<'_>) -> Vec<&'static str> {
    let cx = fields.cx;
    let Some((node, key)) = fields.node("on").zip(fields.spec.key("on")) else {
        return vec!["connect-failure", "reset"];
    };
    let Kind::OneOrMany(element @ Kind::Choice(choices)) = &key.kind else { return Vec::new() };
    let nodes = match &node.value {
        Value::List(nodes) => nodes.iter().collect(),
        _ => vec![node],
    };
    let mut chosen = Vec::new();
    for node in nodes {
        let status = match &node.value {
            Value::Integer(Some(number)) => (100..1000).contains(number).then(|| number.to_string()),
            Value::Text(text) if text.len() == 3 && text.parse::<u16>().is_ok() => Some(text.clone()),
            _ => None,
        };
        if let Some(status) = status {
            let message = format!("retrying on the status {status} is not available in this version");
            let help =
                "use connect-failure, reset and timeout; answers with a status are passed on as they are";
            cx.reports.add(Diagnostic::error(&node.place, message).help(help));
        } else if let Some(text) = text_of(cx, node, element, "retry.on") {
            chosen.extend(choose(cx, choices, &text, "retry.on"));
        }
    }
    chosen
}
