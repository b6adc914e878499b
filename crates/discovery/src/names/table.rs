//! What is known about each host name and when it is asked for again; decides, and asks nobody itself.
//!
//! Invariants: a name keeps its last addresses until an answer brings others or nobody writes the name any more; a
//! failure takes nothing away; one question per name at a time; without names there is nothing to wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use isobar_core::Draw;
use tokio::time::Instant;

use super::lookup::Answer;

/// The wait after the first failure in a row; each further one doubles it. A resolver that restarts is back within
/// seconds, and asking a dead one every second helps nobody.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// The shortest time that an answer holds, whatever is asked for: less would keep a resolver busy and tell nothing new.
const EVERY_MIN: Duration = Duration::from_millis(100);

/// Spread of every wait, in thousandths either way: services that were started together must not ask together for ever.
const JITTER_PERMILLE: u32 = 100;

/// Failed names that a problem tells; the rest are counted. A line must stay readable when the resolver is down.
const FAILURES_SHOWN_MAX: usize = 3;

/// One host name.
#[derive(Debug)]
struct Name {
    /// In order, each once; empty while the name never had an answer.
    addresses: Vec<SocketAddr>,
    /// Why the latest answer was none.
    failure: Option<String>,
    /// Whether it was answered at all, if only with a failure.
    answered: bool,
    /// When it is asked for; `None` while a question is under way.
    due: Option<Instant>,
    /// The wait after the next failure.
    retry: Duration,
}

/// The host names of one service.
#[derive(Debug)]
pub(super) struct NameTable {
    names: BTreeMap<String, Name>,
    every: Duration,
    draw: Draw,
}

impl NameTable {
    /// A table without names; answers hold for `every` (at least [`EVERY_MIN`]), with a jitter that follows from `seed`.
    pub(super) fn new(every: Duration, seed: u64) -> Self {
        Self { names: BTreeMap::new(), every: every.max(EVERY_MIN), draw: Draw::new(seed) }
    }

    /// Keeps these names and no others; new ones are due at once.
    pub(super) fn handle_names(&mut self, mut names: BTreeSet<String>, now: Instant) {
        self.names.retain(|name, _| names.remove(name));
        for name in names {
            let fresh = Name {
                addresses: Vec::new(),
                failure: None,
                answered: false,
                due: Some(now),
                retry: RETRY_FIRST.min(self.every),
            };
            self.names.insert(name, fresh);
        }
    }

    /// When the next name is due; `None` where there is nothing to wait for but answers.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.names.values().filter_map(|name| name.due).min()
    }

    /// The name that has been due for longest, if one is; it then waits for its answer.
    pub(super) fn poll_question(&mut self, now: Instant) -> Option<String> {
        let due = self.names.iter_mut().filter(|(_, name)| name.due.is_some_and(|due| due <= now));
        let (text, name) = due.min_by_key(|(_, name)| name.due)?;
        name.due = None;
        Some(text.clone())
    }

    /// Takes an answer; one to a name that is not written any more changes nothing.
    pub(super) fn handle_answer(&mut self, text: &str, answer: Answer, now: Instant) {
        let Some(name) = self.names.get_mut(text) else { return };
        name.answered = true;
        let wait = match answer {
            Ok(mut addresses) => {
                addresses.sort_unstable();
                addresses.dedup();
                name.addresses = addresses;
                name.failure = None;
                name.retry = RETRY_FIRST.min(self.every);
                self.every
            }
            Err(failure) => {
                name.failure = Some(failure);
                let wait = name.retry;
                name.retry = (wait * 2).min(self.every);
                wait
            }
        };
        name.due = Some(now + jittered(wait, &mut self.draw));
    }

    /// The addresses of a name, in order; none while it never had an answer.
    pub(super) fn addresses(&self, text: &str) -> &[SocketAddr] {
        self.names.get(text).map_or(&[], |name| &name.addresses)
    }

    /// Whether a name waits for its very first answer.
    pub(super) fn has_unanswered(&self) -> bool {
        self.names.values().any(|name| !name.answered)
    }

    /// Which names have no fresh addresses, and why; `None` when all have.
    pub(super) fn problem(&self) -> Option<String> {
        let failed = self.names.iter().filter_map(|(text, name)| match &name.failure {
            Some(failure) => Some((text, failure.as_str())),
            None if !name.answered => Some((text, "no answer yet")),
            None => None,
        });
        let failed: Vec<_> = failed.collect();
        let shown: Vec<_> = failed
            .iter()
            .take(FAILURES_SHOWN_MAX)
            .map(|(text, failure)| format!("cannot resolve the name \"{text}\": {failure}"))
            .collect();
        match failed.len() {
            0 => None,
            n if n > FAILURES_SHOWN_MAX => {
                Some(format!("{}; and {} more names", shown.join("; "), n - FAILURES_SHOWN_MAX))
            }
            _ => Some(shown.join("; ")),
        }
    }
}

/// `wait`, up to [`JITTER_PERMILLE`] shorter or longer.
fn jittered(wait: Duration, draw: &mut Draw) -> Duration {
    let permille = 1000 - JITTER_PERMILLE + draw.below(2 * JITTER_PERMILLE + 1);
    wait * permille / 1000
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
