//! Finds routes that no request can reach, because an earlier one takes every request that they would.
//!
//! Limit: only what is plain from the conditions is found (regular expressions count as covering their equals alone),
//! and only one earlier route at a time is held against a later one: there are no false warnings.

use isobar_core::{HostPattern, PathRule, RouteMatch};

use crate::diagnose::Diagnostic;
use crate::fields::{Context, Fields};
use crate::settings::RouteSettings;

/// Routes that are held against all earlier ones: the work grows with the square of their number.
const COMPARED_MAX: usize = 3000;

/// Warns of every route that an earlier one covers.
pub(crate) fn check(cx: &Context<'_>, tables: &[Fields<'_>], routes: &[RouteSettings]) {
    for (index, later) in routes.iter().enumerate().take(COMPARED_MAX) {
        let covering = routes[..index].iter().position(|earlier| covers(earlier, later));
        let Some(earlier) = covering else { continue };
        let (Some(place), Some(first)) = (&tables[index].place, &tables[earlier].place) else { continue };
        let message = format!("no request reaches the route \"{}\"", later.name);
        let finding = Diagnostic::warning(place, message)
            .related(first, format!("\"{}\" takes them all", routes[earlier].name))
            .help("the first match wins: put the narrower route first, or remove it");
        cx.reports.add(finding);
    }
}

fn covers(earlier: &RouteSettings, later: &RouteSettings) -> bool {
    let listeners = earlier.listeners.is_empty()
        || (!later.listeners.is_empty()
            && later.listeners.iter().all(|name| earlier.listeners.contains(name)));
    listeners && matches_cover(&earlier.matches, &later.matches)
}

fn matches_cover(earlier: &RouteMatch, later: &RouteMatch) -> bool {
    paths_cover(&earlier.path, &later.path)
        && earlier.headers.iter().all(|rule| later.headers.contains(rule))
        && any_or_all(&earlier.methods, &later.methods, |a, b| a == b)
        && any_or_all(&earlier.hosts, &later.hosts, host_covers)
}

/// An empty list demands nothing; else every demand of the later must be met by one of the earlier.
fn any_or_all<T>(earlier: &[T], later: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    earlier.is_empty()
        || (!later.is_empty()
            && later.iter().all(|later| earlier.iter().any(|earlier| covers(earlier, later))))
}

fn host_covers(earlier: &HostPattern, later: &HostPattern) -> bool {
    match (earlier, later) {
        (HostPattern::Exact(a), HostPattern::Exact(b)) => a == b,
        (HostPattern::Suffix(a), HostPattern::Exact(b) | HostPattern::Suffix(b)) => {
            earlier == later || (b.len() > a.len() && b.ends_with(a.as_str()))
        }
        (HostPattern::Exact(_), HostPattern::Suffix(_)) => false,
    }
}

fn paths_cover(earlier: &PathRule, later: &PathRule) -> bool {
    match (earlier, later) {
        (PathRule::Any, _) => true,
        (PathRule::Prefix(a), PathRule::Prefix(b) | PathRule::Exact(b)) => {
            let a = a.trim_end_matches('/');
            b.strip_prefix(a).is_some_and(|rest| a.is_empty() || rest.is_empty() || rest.starts_with('/'))
        }
        (PathRule::Prefix(a), PathRule::Any | PathRule::Regex(_)) => a.trim_end_matches('/').is_empty(),
        (PathRule::Exact(a), PathRule::Exact(b)) => a == b,
        (PathRule::Regex(a), PathRule::Regex(b)) => a == b,
        _ => false,
    }
}
