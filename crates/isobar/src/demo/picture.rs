//! What there is to show at one moment: values only, so that both views are pure functions of it.

use std::net::SocketAddr;
use std::time::Duration;

use super::endpoints::EndpointRow;
use super::instances::Instance;
use super::ledger::{Ledger, Reading};
use super::nature::{NATURES, Nature};

/// The service's name.
pub(super) const SERVICE: &str = "demo";

/// Where the admin interface listens unless told otherwise; also where `isobar drain` and the others look.
pub(super) const ADMIN_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9900);

/// What stays the same over a run.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// What starts this program, as a word of a shell.
    pub(super) program: String,
    /// Where to ask the proxy.
    pub(super) proxy: SocketAddr,
    /// Where the admin interface listens.
    pub(super) admin: SocketAddr,
    /// Requests a second that are sent.
    pub(super) rate: u32,
    /// When it ends by itself.
    pub(super) lasts: Option<Duration>,
}

/// How a sample instance is, as the instance itself knows.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) nature: &'static Nature,
    pub(super) address: SocketAddr,
    pub(super) alive: bool,
    pub(super) failing: bool,
}

impl Condition {
    pub(super) fn of(instance: &Instance) -> Self {
        Self {
            nature: instance.nature,
            address: instance.address,
            alive: instance.is_alive(),
            failing: instance.is_failing(),
        }
    }
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) address: String,
    /// What it is, or what just happens to it.
    pub(super) what: String,
    /// Whether `what` tells of trouble.
    pub(super) in_trouble: bool,
    pub(super) state: String,
    pub(super) reason: String,
    pub(super) weight: u32,
    /// Its share of the requests of the last seconds, 0 to 1.
    pub(super) share: f64,
    pub(super) recent: Reading,
    pub(super) whole: Reading,
    /// Its share of all requests that were answered, 0 to 1.
    pub(super) whole_share: f64,
    /// Attempts at it that failed, as the proxy counts them: what reached no instance is known there alone.
    pub(super) failed_attempts: Option<u64>,
}

/// Everything at one moment.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    pub(super) facts: Facts,
    /// Since the start.
    pub(super) now: Duration,
    pub(super) rows: Vec<Row>,
    /// The row that keys act on.
    pub(super) selected: usize,
    pub(super) recent: Reading,
    pub(super) whole: Reading,
    /// How requests failed, as words and counts.
    pub(super) failures: Vec<(String, u64)>,
    /// What happened, the newest last.
    pub(super) events: Vec<String>,
}

/// The rows: endpoints in the proxy's order, then sample instances that it does not know any more.
pub(super) fn rows(
    endpoints: &[EndpointRow],
    conditions: &[Condition],
    ledger: &Ledger,
    now: Duration,
) -> Vec<Row> {
    let removed = conditions.iter().filter(|one| endpoints.iter().all(|row| row.id != one.nature.id));
    let removed = removed.map(|one| EndpointRow {
        id: one.nature.id.to_owned(),
        address: one.address.to_string(),
        weight: 0,
        state: "removed".to_owned(),
        reason: "the proxy has no such endpoint any more".to_owned(),
        failures: None,
    });
    let mut rows: Vec<Row> = endpoints
        .iter()
        .cloned()
        .chain(removed)
        .map(|endpoint| {
            let condition = conditions.iter().find(|one| one.nature.id == endpoint.id);
            row(endpoint, condition, ledger, now)
        })
        .collect();
    let recent: u64 = rows.iter().map(|row| row.recent.requests).sum();
    let whole: u64 = rows.iter().map(|row| row.whole.requests).sum();
    for row in &mut rows {
        row.share = share(row.recent.requests, recent);
        row.whole_share = share(row.whole.requests, whole);
    }
    rows
}

fn row(endpoint: EndpointRow, condition: Option<&Condition>, ledger: &Ledger, now: Duration) -> Row {
    let (what, in_trouble) = match condition {
        None => ("yours", false),
        Some(Condition { alive: false, .. }) => ("killed", true),
        Some(Condition { failing: true, .. }) => ("fails now", true),
        Some(condition) => (condition.nature.what, false),
    };
    Row {
        what: what.to_owned(),
        in_trouble,
        share: 0.0,
        recent: ledger.recent_of(&endpoint.id, now),
        whole: ledger.whole_of(&endpoint.id, now),
        whole_share: 0.0,
        failed_attempts: endpoint.failures,
        id: endpoint.id,
        address: endpoint.address,
        state: endpoint.state,
        reason: endpoint.reason,
        weight: endpoint.weight,
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Commands worth a try in another terminal, and what each does.
pub(super) fn suggestions(facts: &Facts) -> Vec<(String, &'static str)> {
    let admin =
        if facts.admin == ADMIN_DEFAULT { String::new() } else { format!(" --admin http://{}", facts.admin) };
    let (id, program) = (NATURES[0].id, &facts.program);
    vec![
        (format!("curl -i http://{}/", facts.proxy), "ask through the proxy"),
        (format!("curl http://{}/die", facts.proxy), "kill the instance that answers"),
        (format!("{program} drain {SERVICE} {id}{admin}"), "no new requests; undrain ends it"),
        (format!("{program} weight {SERVICE} {id} 5{admin}"), "give it more of the traffic"),
    ]
}

/// A count; a dash where there is none.
pub(super) fn count(n: Option<u64>) -> String {
    n.map_or("-".to_owned(), |n| n.to_string())
}

/// Milliseconds in at most five places; a dash where there are none.
pub(super) fn milliseconds(duration: Option<Duration>) -> String {
    let Some(duration) = duration else { return "-".to_owned() };
    let ms = duration.as_secs_f64() * 1e3;
    if ms < 9.95 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

#[cfg(test)]
#[path = "picture_tests.rs"]
pub(super) mod tests;
