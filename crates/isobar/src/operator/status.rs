//! `isobar status`: services and endpoints as tables, what is wrong with their sources, and a refused configuration.

use std::fmt::Write as _;
use std::io;

use serde_json::{Value, json};

use super::client::{Client, Failure, path};
use super::printable;
use super::table::{Cell, Side, layout};
use crate::terminal;

/// Header of the endpoints' table.
const COLUMNS: [&str; 8] =
    ["ENDPOINT", "STATE", "WEIGHT/EFF", "IN FLIGHT", "REQUESTS", "FAILURES", "LATENCY", "REASON"];

const SIDES: [Side; 8] = {
    use Side::{Left, Right};
    [Left, Left, Right, Right, Right, Right, Right, Left]
};

const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const RED: &str = "\u{1b}[31m";

/// Asks for one service or all, and makes text of the answers.
pub(super) async fn show(
    client: &mut Client,
    service: Option<&str>,
    as_json: bool,
) -> Result<String, Failure> {
    let status = gather(client, service).await?;
    Ok(if as_json { format!("{status:#}\n") } else { render(&status, terminal::wants_colour(&io::stdout())) })
}

/// `{"services": [...], "configuration": {...}}`, each as the API has it, without the configuration's text.
async fn gather(client: &mut Client, service: Option<&str>) -> Result<Value, Failure> {
    let mut services = Vec::new();
    if let Some(name) = service {
        services.push(client.fetch(&path(&["services", name])).await?);
    } else {
        let listed = client.fetch(&path(&["services"])).await?;
        for name in list(&listed, "services").iter().filter_map(|service| service["name"].as_str()) {
            match client.fetch(&path(&["services", name])).await {
                // A reload took it away in between.
                Err(Failure::Refused { code, .. }) if code == "unknown-service" => {}
                shown => services.push(shown?),
            }
        }
    }
    let mut configuration = client.fetch(&path(&["config"])).await?;
    if let Some(fields) = configuration.as_object_mut() {
        fields.remove("document");
    }
    Ok(json!({ "services": services, "configuration": configuration }))
}

fn render(status: &Value, coloured: bool) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    for (at, service) in list(status, "services").iter().enumerate() {
        let (name, policy) = (text(service, "name"), text(service, "policy"));
        let space = if at > 0 { "\n" } else { "" };
        let _ = writeln!(out, "{space}{}  {}", printable(name), printable(policy));
        let endpoints = list(service, "endpoints");
        if endpoints.is_empty() {
            out.push_str("  no endpoints\n");
        } else {
            let head = COLUMNS.map(Cell::new);
            let rows: Vec<_> = std::iter::once(head)
                .chain(endpoints.iter().map(|endpoint| row(endpoint, coloured)))
                .collect();
            out.push_str(&layout(SIDES, &rows, "  "));
        }
        if service["fail_open"] == true {
            out.push_str("  health is ignored: too few endpoints are healthy\n");
        }
        let removed: Vec<_> =
            list(service, "removed").iter().filter_map(Value::as_str).map(printable).collect();
        if !removed.is_empty() {
            let _ = writeln!(out, "  removed by hand: {}", removed.join(", "));
        }
        for source in list(service, "sources") {
            out.push_str(&problem(source));
        }
    }
    let refused = &status["configuration"]["refused"];
    if refused.is_object() {
        let (from, at) = (printable(text(refused, "from")), printable(text(refused, "at")));
        let _ = writeln!(out, "\nthe configuration from {from} was refused at {at}; an earlier one runs:");
        for line in printable(text(refused, "reason")).lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
    out
}

fn row(endpoint: &Value, coloured: bool) -> [Cell; 8] {
    let state = text(endpoint, "state");
    let colour = match state {
        _ if !coloured => "",
        "healthy" => GREEN,
        "draining" => YELLOW,
        "unhealthy" => RED,
        _ => "",
    };
    let number = |name: &str| endpoint[name].as_u64().unwrap_or_default();
    let by_hand = if text(endpoint, "source") == "admin" { "set by hand" } else { "" };
    let reason = [text(endpoint, "reason"), by_hand].into_iter().filter(|part| !part.is_empty());
    let reason = reason.collect::<Vec<_>>().join("; ");
    let latency = endpoint["latency_ms"].as_f64().map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
    [
        Cell::new(text(endpoint, "id")),
        Cell::new(state).coloured(colour),
        format!("{}/{}", number("weight"), number("effective_weight")).into(),
        number("in_flight").to_string().into(),
        number("requests").to_string().into(),
        number("failures").to_string().into(),
        latency.into(),
        reason.into(),
    ]
}

/// A line on a source that could not be read; nothing for one that could.
fn problem(source: &Value) -> String {
    let Some(problem) = source["problem"].as_str() else { return String::new() };
    let since = source["updated_age_seconds"].as_f64();
    let since = since.map_or("never read".to_owned(), |age| format!("last read {age:.0} s ago"));
    let line = format!("source {}: {problem} ({since})", text(source, "name"));
    format!("  {}\n", printable(&line).replace('\n', " "))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Value {
        json!({
            "services": [
                { "name": "web", "policy": "p2c", "endpoints": [
                    { "id": "127.0.0.1:9001", "state": "healthy", "weight": 3, "effective_weight": 3, "in_flight": 12,
                      "requests": 1000, "failures": 1, "latency_ms": 1.25, "reason": "" },
                    { "id": "b", "state": "unhealthy", "weight": 1, "effective_weight": 1, "in_flight": 0, "source": "admin",
                      "requests": 0, "failures": 0, "latency_ms": null, "reason": "connection refused" },
                ], "fail_open": true, "removed": ["c", "d"], "sources": [
                    { "name": "configuration", "endpoints": 2, "problem": null, "updated_age_seconds": 5.0 },
                    { "name": "web.toml", "endpoints": 0, "problem": "no such\nfile", "updated_age_seconds": null },
                ] },
                { "name": "empty", "policy": "random", "endpoints": [], "sources": [] },
            ],
            "configuration": { "refused": { "at": "2024-01-01T00:00:00.000Z", "from": "isobar.toml",
                "reason": "isobar.toml:1:1: bad\u{1b}[31m\nand more" } },
        })
    }

    #[test]
    fn a_status_tells_services_endpoints_and_what_is_wrong() {
        assert_eq!(
            render(&status(), false),
            "web  p2c\n\
             \x20 ENDPOINT        STATE      WEIGHT/EFF  IN FLIGHT  REQUESTS  FAILURES  LATENCY  REASON\n\
             \x20 127.0.0.1:9001  healthy           3/3         12      1000         1   1.2 ms\n\
             \x20 b               unhealthy         1/1          0         0         0        -  connection refused; set by hand\n\
             \x20 health is ignored: too few endpoints are healthy\n\
             \x20 removed by hand: c, d\n\
             \x20 source web.toml: no such file (never read)\n\
             \n\
             empty  random\n\
             \x20 no endpoints\n\
             \n\
             the configuration from isobar.toml was refused at 2024-01-01T00:00:00.000Z; an earlier one runs:\n\
             \x20 isobar.toml:1:1: bad?[31m\n\
             \x20 and more\n"
        );
    }

    #[test]
    fn colours_are_only_for_those_who_want_them_and_change_no_column() {
        let (plain, coloured) = (render(&status(), false), render(&status(), true));
        assert!(coloured.contains(RED) && coloured.contains(GREEN) && !plain.contains('\u{1b}'));
        let bare = [RED, GREEN, "\u{1b}[0m"].iter().fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(bare, plain);
    }

    #[test]
    fn an_answer_of_another_shape_does_no_harm() {
        for odd in [json!(null), json!({ "services": [1, null, { "endpoints": [{}] }] }), json!([])] {
            render(&odd, true);
        }
    }
}
