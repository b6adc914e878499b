//! Reads `rewrite` of a route: what the endpoint sees instead of what the caller sent.

use isobar_core::{HostPattern, PathRule};

use crate::diagnose::Diagnostic;
use crate::fields::{Context, Fields};
use crate::place::Placed;
use crate::route_match::check_path;
use crate::settings::{PathRewrite, Rewrite};

/// Reads it; `matched` is the path that the route takes.
pub(crate) fn rewrite(fields: &Fields<'_>, matched: &PathRule) -> Rewrite {
    let cx = fields.cx;
    let (strip, path) = (fields.text("strip_prefix"), fields.text("path"));
    if let (Some(strip), Some(path)) = (&strip, &path) {
        let finding = Diagnostic::error(&path.place, "`rewrite` has both `strip_prefix` and `path`");
        cx.reports.add(finding.related(&strip.place, "first").help("keep one of them"));
    }
    if let Some(path) = &path {
        check_path(cx, path);
    }
    if let Some(strip) = strip.as_ref().filter(|strip| check_path(cx, strip)) {
        check_strip(cx, strip, matched);
    }
    let host = fields.text("host");
    if let Some(host) = &host {
        check_authority(cx, "rewrite.host", host, "the caller's Host is kept");
    }
    let strip = strip.map(|strip| strip.value.trim_end_matches('/').to_owned());
    let path = match (strip.filter(|strip| !strip.is_empty()), path) {
        (Some(strip), _) => PathRewrite::StripPrefix(strip),
        (None, Some(path)) => PathRewrite::Replace(path.value),
        (None, None) => PathRewrite::Keep,
    };
    Rewrite { path, host: host.map(|host| host.value) }
}

fn check_strip(cx: &Context<'_>, strip: &Placed<String>, matched: &PathRule) {
    let prefix = strip.value.trim_end_matches('/');
    if prefix.is_empty() {
        cx.reports.add(
            Diagnostic::warning(&strip.place, "stripping \"/\" changes nothing").help("leave the key out"),
        );
        return;
    }
    let (PathRule::Prefix(path) | PathRule::Exact(path)) = matched else { return };
    let rest = path.strip_prefix(prefix);
    if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        let message = format!("\"{}\" is never at the front: this route takes \"{path}\"", strip.value);
        cx.reports.add(
            Diagnostic::warning(&strip.place, message).help("paths without the prefix are kept as they are"),
        );
    }
}

/// A Host to send: a name or an address, with a port where needed.
pub(crate) fn check_authority(cx: &Context<'_>, label: &str, host: &Placed<String>, otherwise: &str) {
    let name = match host.value.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && port.parse::<u16>().is_ok() => name,
        _ => &host.value,
    };
    if name.contains('*') || HostPattern::parse(name).is_err() {
        let message = format!("`{label}` is \"{}\", which cannot be a Host", host.value);
        let help = format!("write a name such as \"cart.internal:8080\"; without the key {otherwise}");
        cx.reports.add(Diagnostic::error(&host.place, message).help(help));
    }
}
