//! Reads what a route does with a request: exactly one of `service`, `split`, `redirect` and `respond`.

use crate::diagnose::{Diagnostic, Echo};
use crate::fields::Fields;
use crate::keys::BODY_MAX;
use crate::place::Placed;
use crate::settings::{RouteAction, SplitEntry};
use crate::suggest::nearest;

const ACTIONS: [&str; 4] = ["service", "split", "redirect", "respond"];
const PLACEHOLDERS: [&str; 3] = ["host", "path", "query"];
const REDIRECTS: [u64; 5] = [301, 302, 303, 307, 308];
/// Statuses whose responses have no body (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5).
const BODILESS: [u64; 3] = [204, 205, 304];

/// Entries of one split: above it somebody means to balance, which is the work of a service.
const SPLIT_MAX: usize = 100;

/// Reads it; a harmless answer where it is missing or wrong.
pub(crate) fn read(fields: &Fields<'_>) -> RouteAction {
    let cx = fields.cx;
    let given: Vec<_> = ACTIONS.iter().filter_map(|name| fields.entry(name)).collect();
    match given[..] {
        [] => {
            if let Some(place) = &fields.place {
                let finding =
                    Diagnostic::error(place, "this route does nothing with its requests").echo(Echo::Missing);
                cx.reports.add(finding.help("add one of `service`, `split`, `redirect` and `respond`"));
            }
        }
        [_] => {}
        [first, second, ..] => {
            let message = format!("this route has both `{}` and `{}`", first.key, second.key);
            let finding = Diagnostic::error(&second.key_place, message).related(&first.key_place, "first");
            cx.reports
                .add(finding.help("a route has exactly one of `service`, `split`, `redirect` and `respond`"));
        }
    }
    if let Some(redirect) = fields.optional_table("redirect") {
        return redirect_action(&redirect);
    }
    if let Some(respond) = fields.optional_table("respond") {
        return respond_action(&respond);
    }
    if let Some(service) = fields.text("service") {
        cx.service_mentions.borrow_mut().push(service.clone());
        return RouteAction::Forward(vec![SplitEntry { service: service.value, weight: 1 }]);
    }
    RouteAction::Forward(split(fields))
}

fn split(fields: &Fields<'_>) -> Vec<SplitEntry> {
    let cx = fields.cx;
    let tables = fields.tables("split");
    let mut entries: Vec<SplitEntry> = Vec::new();
    for table in &tables {
        let weight = table.integer("weight") as u32;
        let Some(service) = table.text("service") else { continue };
        if entries.iter().any(|entry| entry.service == service.value) {
            let finding =
                Diagnostic::error(&service.place, format!("`split` has \"{}\" twice", service.value));
            cx.reports.add(finding.help("add the weights up in one entry"));
        }
        cx.service_mentions.borrow_mut().push(service.clone());
        entries.push(SplitEntry { service: service.value, weight });
    }
    let Some(entry) = fields.entry("split") else { return entries };
    let finding = if tables.len() > SPLIT_MAX {
        Diagnostic::error(&entry.key_place, format!("`split` has more than {SPLIT_MAX} entries"))
    } else if entries.len() == tables.len() && entries.iter().all(|entry| entry.weight == 0) {
        Diagnostic::error(&entry.node.place, "no entry of `split` has a weight above 0")
            .help("give at least one a weight: split = [{ service = \"a\", weight = 95 }, { service = \"b\", weight = 5 }]")
    } else {
        return entries;
    };
    cx.reports.add(finding);
    entries
}

fn redirect_action(fields: &Fields<'_>) -> RouteAction {
    let cx = fields.cx;
    let status = fields.integer("status");
    if let Some(node) = fields.node("status").filter(|_| !REDIRECTS.contains(&status)) {
        let message = format!("`redirect.status` is {status}, which is not a redirect");
        cx.reports.add(Diagnostic::error(&node.place, message).help("use 301, 302, 303, 307 or 308"));
    }
    let to = fields.text("to");
    if let Some(to) = &to {
        check_template(fields, to);
    }
    RouteAction::Redirect { to: to.map(|to| to.value).unwrap_or_default(), status: status as u16 }
}

fn check_template(fields: &Fields<'_>, to: &Placed<String>) {
    let text = &to.value;
    let absolute = ["http://", "https://", "/", "{path}"].iter().any(|start| text.starts_with(start));
    let mut problems = Vec::new();
    if !absolute {
        let host = text.split('/').next().unwrap_or_default();
        let start = if host.contains('.') { "https://" } else { "/" };
        problems.push((", which is neither a URL nor a path".to_owned(), format!("write \"{start}{text}\"")));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let help = "write other characters percent-encoded, such as %20 for a space".to_owned();
        problems.push((", which holds a character that no URL has".to_owned(), help));
    }
    for part in text.split('{').skip(1) {
        let Some((name, _)) = part.split_once('}') else {
            problems.push((format!(", where `{{{part}` is not closed"), "close it with }".to_owned()));
            continue;
        };
        if PLACEHOLDERS.contains(&name) {
            continue;
        }
        let known = "{host}, {path} and {query} stand for those of the request; write %7B for a brace";
        let near = nearest(name, PLACEHOLDERS).map(|near| format!("did you mean `{{{near}}}`?"));
        problems.push((format!(", where `{{{name}}}` stands for nothing"), near.unwrap_or(known.to_owned())));
    }
    for (problem, help) in problems {
        let finding = Diagnostic::error(&to.place, format!("`redirect.to` is \"{text}\"{problem}"));
        fields.cx.reports.add(finding.help(help));
    }
}

fn respond_action(fields: &Fields<'_>) -> RouteAction {
    let cx = fields.cx;
    let status = fields.integer("status");
    let body = fields.text("body");
    if let Some(body) = body.as_ref().filter(|body| !body.value.is_empty()) {
        if BODILESS.contains(&status) {
            let message = format!("a response of status {status} has no body");
            cx.reports
                .add(Diagnostic::error(&body.place, message).help("leave `body` out, or use another status"));
        }
        if body.value.len() > BODY_MAX {
            let message =
                format!("`respond.body` has {} bytes, at most {BODY_MAX} are possible", body.value.len());
            cx.reports
                .add(Diagnostic::error(&body.place, message).help("serve longer answers from a service"));
        }
    }
    RouteAction::Respond { status: status as u16, body: body.map(|body| body.value).unwrap_or_default() }
}
