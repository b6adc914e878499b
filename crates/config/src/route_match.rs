//! Reads the conditions of a route: host, path, methods, headers.

use isobar_core::{HeaderRule, HeaderTest, HostPattern, PathRule, Pattern, RouteMatch};

use crate::diagnose::Diagnostic;
use crate::document::Value;
use crate::fields::{Context, Fields};
use crate::headers::{check_name, check_value, is_token};
use crate::mistakes::{text_of, wrong_kind};
use crate::place::{Place, Placed};
use crate::spec::Kind;

/// Methods that people write in lower case by mistake.
const COMMON_METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];

/// Hosts, methods or header conditions of one route: a route is tried one condition after another.
const CONDITIONS_MAX: usize = 100;

/// Reads them all; one that is wrong is reported and left out.
pub(crate) fn read(fields: &Fields<'_>) -> RouteMatch {
    RouteMatch {
        hosts: hosts(fields),
        path: path(fields),
        methods: methods(fields),
        headers: headers(fields),
    }
}

fn hosts(fields: &Fields<'_>) -> Vec<HostPattern> {
    let cx = fields.cx;
    let texts = fields.texts("host");
    check_count(fields, "host", texts.len());
    let mut hosts = Vec::new();
    for text in texts {
        match HostPattern::parse(&text.value) {
            Ok(host) => hosts.push(host),
            Err(problem) => {
                let finding = Diagnostic::error(&text.place, format!("\"{}\" cannot be a host", text.value));
                let quoted = format!("\"{}\"", text.value);
                let reason = problem.strip_prefix(&quoted).unwrap_or(&problem);
                cx.reports
                    .add(finding.help(reason.trim_start_matches(" alone").trim_start_matches([':', ' '])));
            }
        }
    }
    hosts
}

fn path(fields: &Fields<'_>) -> PathRule {
    let cx = fields.cx;
    let (prefix, exact, regex) = (fields.text("path"), fields.text("path_exact"), fields.text("path_regex"));
    let given: Vec<&Placed<String>> = [&prefix, &exact, &regex].into_iter().flatten().collect();
    if let [first, second, ..] = given[..] {
        let message = "a route has one of `path`, `path_exact` and `path_regex`";
        cx.reports.add(
            Diagnostic::error(&second.place, message).related(&first.place, "first").help("keep one of them"),
        );
    }
    if let Some(prefix) = prefix {
        check_path(cx, &prefix);
        return PathRule::Prefix(prefix.value);
    }
    if let Some(exact) = exact {
        check_path(cx, &exact);
        return PathRule::Exact(exact.value);
    }
    regex.and_then(|regex| pattern(cx, &regex.value, &regex.place)).map_or(PathRule::Any, PathRule::Regex)
}

/// A path as requests have it: from the first slash to before the query, normalised. Tells whether it is one.
pub(crate) fn check_path(cx: &Context<'_>, path: &Placed<String>) -> bool {
    let text = &path.value;
    let dots = text.split('/').any(|segment| matches!(segment, "." | ".."));
    let (problem, help) = if !text.starts_with('/') {
        ("does not begin with \"/\"", format!("write \"/{text}\""))
    } else if let Some(at) = text.find(['?', '#']) {
        ("holds more than a path", format!("write \"{}\": a query is no part of the path", &text[..at]))
    } else if !text.chars().all(|c| c.is_ascii_graphic()) {
        let help = "write other characters percent-encoded in UTF-8, such as %20 for a space";
        ("holds a character that no request's path has", help.to_owned())
    } else if dots {
        (
            "has a dot segment, which requests have no more when they are routed",
            "write the resolved path".to_owned(),
        )
    } else if text.contains('*') {
        let help = "`path` matches everything below it by itself; use `path_regex` for patterns".to_owned();
        cx.reports
            .add(Diagnostic::warning(&path.place, format!("`*` in \"{text}\" stands for itself")).help(help));
        return true;
    } else {
        return true;
    };
    cx.reports.add(Diagnostic::error(&path.place, format!("the path \"{text}\" {problem}")).help(help));
    false
}

/// A regular expression, or a finding with the engine's reason.
fn pattern(cx: &Context<'_>, text: &str, place: &Place) -> Option<Pattern> {
    match Pattern::new(text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let reason = error.rsplit_once("error: ").map_or(error.as_str(), |(_, reason)| reason).trim();
            let message = format!("the regular expression \"{text}\" does not compile: {reason}");
            let help =
                "the syntax is that of https://docs.rs/regex; single quotes keep backslashes: '/item/\\d+'";
            cx.reports.add(Diagnostic::error(place, message).help(help));
            None
        }
    }
}

fn methods(fields: &Fields<'_>) -> Vec<String> {
    let texts = fields.texts("methods");
    check_count(fields, "methods", texts.len());
    for text in &texts {
        let upper = text.value.to_ascii_uppercase();
        let finding = if upper != text.value && COMMON_METHODS.contains(&upper.as_str()) {
            let message = format!("the method \"{}\" is not in capitals", text.value);
            Diagnostic::error(&text.place, message)
                .help(format!("write \"{upper}\": methods are told apart by case"))
        } else if upper == "CONNECT" {
            Diagnostic::error(&text.place, "CONNECT requests are not routed").help("they are answered 501")
        } else if is_token(&text.value) {
            continue;
        } else {
            let message = format!("\"{}\" cannot be a method", text.value);
            Diagnostic::error(&text.place, message).help("write one such as \"GET\"")
        };
        fields.cx.reports.add(finding);
    }
    texts.into_iter().map(|text| text.value).collect()
}

fn headers(fields: &Fields<'_>) -> Vec<HeaderRule> {
    let cx = fields.cx;
    let Some((node, key)) = fields.node("headers").zip(fields.spec.key("headers")) else { return Vec::new() };
    let (Value::Table(table), Kind::Map(element)) = (&node.value, &key.kind) else {
        wrong_kind(cx, node, &key.kind, "`headers`");
        return Vec::new();
    };
    check_count(fields, "headers", table.entries.len().max(1));
    let mut rules = Vec::new();
    for entry in &table.entries {
        let name = Placed { value: entry.key.to_ascii_lowercase(), place: entry.key_place.clone() };
        let Some(value) = text_of(cx, &entry.node, element, &format!("headers.{}", entry.key)) else {
            continue;
        };
        check_name(cx, &name);
        if let Some(test) = header_test(cx, &value) {
            rules.push(HeaderRule { name: name.value, test });
        }
    }
    rules
}

fn header_test(cx: &Context<'_>, value: &Placed<String>) -> Option<HeaderTest> {
    if value.value == "*" {
        return Some(HeaderTest::Present);
    }
    if let Some(regex) = value.value.strip_prefix('~') {
        return pattern(cx, regex, &value.place).map(HeaderTest::Regex);
    }
    check_value(cx, value);
    Some(HeaderTest::Exact(value.value.clone()))
}

/// A condition that is written must say something, and not too much.
fn check_count(fields: &Fields<'_>, name: &str, count: usize) {
    let Some(node) = fields.node(name) else { return };
    let finding = match &node.value {
        Value::List(nodes) if nodes.is_empty() => {
            Diagnostic::error(&node.place, format!("`{name} = []` matches no request"))
                .help("leave the key out to match every request")
        }
        _ if count > CONDITIONS_MAX => {
            let message = format!("`{name}` has {count} entries, at most {CONDITIONS_MAX} are possible");
            Diagnostic::error(&node.place, message).help("split the route, or use a pattern")
        }
        _ => return,
    };
    fields.cx.reports.add(finding);
}
