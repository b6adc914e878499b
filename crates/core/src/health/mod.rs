//! Active health checks of one cluster, as a machine: when to probe whom, and what the results mean.
//!
//! The shell asks [`Health::poll_action`] whom to probe now, reports each result once, and sleeps until
//! [`Health::poll_timeout`]. An endpoint with several probes is healthy when all of them say so.
//!
//! First probes of endpoints that arrive together are spread over a window that grows with their number, up to one
//! interval; each later one comes an interval after its predecessor's begin, drawn within a tenth of it. So ten thousand
//! endpoints never are probed at once, and those that failed together do not stay in step.
//!
//! Invariants: between an action and its result no other probe of the same kind goes to the same endpoint; a result
//! for an endpoint that is gone changes nothing; all work is O(log n). Limit: a result that the shell never reports
//! stops the probes of that endpoint.

mod tracker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::{Draw, Endpoint, Instant, Member};
use tracker::Tracker;

/// The part of the window of first probes that each new endpoint adds: 200 probes a second, which a small service
/// does not notice and a network takes from a large one.
const FIRST_PROBE_SPREAD: Duration = Duration::from_millis(5);

/// The share of an interval within which the next probe is drawn, as a divisor: a tenth to each side.
const JITTER_DIVISOR: u64 = 10;

/// What active checks say of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Verdict {
    /// No result yet, or no checks.
    #[default]
    Unknown,
    /// Checks pass.
    Healthy,
    /// Checks fail.
    Unhealthy,
}

/// When one kind of probe runs and how many results change a verdict. What it sends is the shell's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSettings {
    /// From the begin of a probe to that of the next.
    pub interval: Duration,
    /// The same while the endpoint is unhealthy or its verdict is about to change.
    pub failing_interval: Duration,
    /// Passes in a row that make an unhealthy endpoint healthy.
    pub healthy_after: u32,
    /// Failures in a row that make a healthy endpoint unhealthy.
    pub unhealthy_after: u32,
    /// The verdict before the first result.
    pub initial: Verdict,
}

/// A probe to send.
#[derive(Clone, Debug)]
pub struct ProbeDue {
    /// To whom.
    pub endpoint: Arc<Endpoint>,
    /// Which generation of it; given back with the result.
    pub generation: u64,
    /// Which of the probes; given back with the result.
    pub probe: usize,
}

/// What is known of an endpoint's health.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    pub(crate) verdict: Verdict,
    /// The verdict rests on a result, not on an assumption.
    pub(crate) is_known: bool,
    /// It worked at some time, or was assumed to: false from `initial = "unhealthy"` to its first healthy verdict.
    pub(crate) is_proven: bool,
    /// Why it is not healthy; empty where it is.
    pub(crate) reason: Arc<str>,
}

/// One endpoint under watch.
#[derive(Debug)]
struct Watched {
    endpoint: Arc<Endpoint>,
    trackers: Vec<Tracker>,
    /// When each probe is due; `None` while one is under way.
    due: Vec<Option<Instant>>,
    /// When the last one began.
    begun: Vec<Instant>,
    /// The last failure of each probe.
    reasons: Vec<Arc<str>>,
}

/// The active checks of one cluster.
#[derive(Debug)]
pub(crate) struct Health {
    settings: Vec<ProbeSettings>,
    watched: BTreeMap<u64, Watched>,
    schedule: BTreeSet<(Instant, u64, usize)>,
    draw: Draw,
}

impl Health {
    pub(crate) fn new(settings: Vec<ProbeSettings>, seed: u64) -> Self {
        Self { settings, watched: BTreeMap::new(), schedule: BTreeSet::new(), draw: Draw::new(seed) }
    }

    /// Changes what is probed. Verdicts stay as assumptions of the new probes, so a reload takes nobody out.
    pub(crate) fn set_settings(&mut self, settings: Vec<ProbeSettings>, now: Instant) {
        if settings == self.settings {
            return;
        }
        self.settings = settings;
        self.schedule.clear();
        let before = std::mem::take(&mut self.watched);
        let n_new = before.len();
        for (generation, old) in before {
            let standing = old.standing();
            self.watch(generation, old.endpoint, n_new, now);
            let Some(watched) = self.watched.get_mut(&generation) else { continue };
            for tracker in &mut watched.trackers {
                // What serves unprobed goes on serving, also where new ones are now assumed to be unhealthy.
                if standing.verdict != Verdict::Unknown || tracker.verdict == Verdict::Unhealthy {
                    *tracker = Tracker::new(standing.verdict);
                    tracker.is_known = standing.is_known;
                    tracker.is_proven = standing.is_proven;
                }
            }
            if standing.verdict != Verdict::Unknown {
                watched.reasons.fill(standing.reason.clone());
            }
        }
    }

    /// Watches exactly these members from now on.
    pub(crate) fn watch_only(&mut self, members: &[Member], now: Instant) {
        let present: BTreeSet<u64> = members.iter().map(|member| member.live.generation()).collect();
        let schedule = &mut self.schedule;
        self.watched.retain(|generation, watched| {
            let stays = present.contains(generation);
            if !stays {
                for (probe, due) in watched.due.iter().enumerate() {
                    due.map(|at| schedule.remove(&(at, *generation, probe)));
                }
            }
            stays
        });
        let n_new = members.len() - self.watched.len();
        for member in members {
            let generation = member.live.generation();
            match self.watched.get_mut(&generation) {
                // Weight or metadata may have changed; the shell reads only the address, yet shows the rest.
                Some(watched) => watched.endpoint = member.endpoint.clone(),
                None => self.watch(generation, member.endpoint.clone(), n_new, now),
            }
        }
    }

    /// What is probed is described otherwise now: weight or metadata, which the shell shows.
    pub(crate) fn set_endpoint(&mut self, generation: u64, endpoint: &Arc<Endpoint>) {
        if let Some(watched) = self.watched.get_mut(&generation) {
            watched.endpoint = Arc::clone(endpoint);
        }
    }

    fn watch(&mut self, generation: u64, endpoint: Arc<Endpoint>, n_new: usize, now: Instant) {
        let mut watched = Watched {
            endpoint,
            trackers: self.settings.iter().map(|settings| Tracker::new(settings.initial)).collect(),
            due: Vec::with_capacity(self.settings.len()),
            begun: vec![now; self.settings.len()],
            reasons: vec!["".into(); self.settings.len()],
        };
        for (probe, settings) in self.settings.iter().enumerate() {
            let spread = FIRST_PROBE_SPREAD.saturating_mul(u32::try_from(n_new).unwrap_or(u32::MAX));
            let at = now.after(within(spread.min(settings.interval), &mut self.draw));
            self.schedule.insert((at, generation, probe));
            watched.due.push(Some(at));
        }
        self.watched.insert(generation, watched);
    }

    /// When the next probe is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.first().map(|(at, ..)| *at)
    }

    /// The next probe that is due by `now`; its result is owed.
    pub(crate) fn poll_action(&mut self, now: Instant) -> Option<ProbeDue> {
        let (at, generation, probe) = *self.schedule.first()?;
        if at > now {
            return None;
        }
        self.schedule.pop_first();
        let watched = self.watched.get_mut(&generation)?;
        watched.due[probe] = None;
        watched.begun[probe] = now;
        Some(ProbeDue { endpoint: watched.endpoint.clone(), generation, probe })
    }

    /// Takes the result of a probe; true when the endpoint's standing changed.
    pub(crate) fn handle_result(
        &mut self,
        generation: u64,
        probe: usize,
        result: Result<(), Arc<str>>,
        now: Instant,
    ) -> bool {
        let (Some(watched), Some(settings)) = (self.watched.get_mut(&generation), self.settings.get(probe))
        else {
            return false;
        };
        if watched.due[probe].is_some() {
            // Of a probe under other settings; the present ones have a probe of their own on the way.
            return false;
        }
        let before = watched.standing();
        watched.trackers[probe].take(result.is_ok(), settings);
        if let Err(reason) = result {
            watched.reasons[probe] = reason;
        }
        let changed =
            watched.standing().verdict != before.verdict || watched.standing().is_known != before.is_known;
        let begun = watched.begun[probe];
        self.reschedule(generation, probe, begun, now);
        changed
    }

    /// Takes that a probe came to nothing that speaks for or against the endpoint.
    pub(crate) fn handle_silence(&mut self, generation: u64, probe: usize, now: Instant) {
        let Some(watched) = self.watched.get(&generation) else { return };
        if watched.due.get(probe).is_some_and(Option::is_none) {
            let begun = watched.begun[probe];
            self.reschedule(generation, probe, begun, now);
        }
    }

    /// Declares an endpoint unhealthy without a probe; the next one comes soon. True when its standing changed.
    pub(crate) fn condemn(&mut self, generation: u64, reason: Arc<str>, now: Instant) -> bool {
        let Some(watched) = self.watched.get_mut(&generation) else { return false };
        if watched.trackers.is_empty() || watched.standing().verdict == Verdict::Unhealthy {
            return false;
        }
        watched.trackers[0].condemn();
        watched.reasons[0] = reason;
        if watched.due[0].is_some() {
            self.reschedule(generation, 0, now, now);
        }
        true
    }

    /// Plans the next probe: an interval after `from`, but not before `now`.
    fn reschedule(&mut self, generation: u64, probe: usize, from: Instant, now: Instant) {
        let (Some(watched), Some(settings)) = (self.watched.get_mut(&generation), self.settings.get(probe))
        else {
            return;
        };
        let pressing = watched.trackers[probe].is_pressing();
        let interval = if pressing { settings.failing_interval } else { settings.interval };
        let at = from.after(jittered(interval, &mut self.draw)).max(now);
        if let Some(before) = watched.due[probe].replace(at) {
            self.schedule.remove(&(before, generation, probe));
        }
        self.schedule.insert((at, generation, probe));
    }

    /// What is known of the endpoint of this generation.
    pub(crate) fn standing(&self, generation: u64) -> Standing {
        self.watched.get(&generation).map_or_else(Standing::unwatched, Watched::standing)
    }
}

impl Standing {
    fn unwatched() -> Self {
        Self { verdict: Verdict::Unknown, is_known: false, is_proven: true, reason: Arc::default() }
    }
}

impl Watched {
    fn standing(&self) -> Standing {
        let is_known = self.trackers.iter().all(|tracker| tracker.is_known);
        let is_proven = self.trackers.iter().all(|tracker| tracker.is_proven);
        let unhealthy = self.trackers.iter().position(|tracker| tracker.verdict == Verdict::Unhealthy);
        if let Some(probe) = unhealthy {
            let reason = if self.trackers[probe].is_known {
                self.reasons[probe].clone()
            } else {
                "not probed yet".into()
            };
            return Standing {
                verdict: Verdict::Unhealthy,
                is_known: self.trackers[probe].is_known,
                is_proven,
                reason,
            };
        }
        let healthy = self.trackers.iter().all(|tracker| tracker.verdict == Verdict::Healthy);
        let verdict = if healthy && !self.trackers.is_empty() { Verdict::Healthy } else { Verdict::Unknown };
        Standing { verdict, is_known, is_proven, reason: Arc::default() }
    }
}

/// Uniform between zero and `bound`.
fn within(bound: Duration, draw: &mut Draw) -> Duration {
    Duration::from_nanos(draw.below_wide(u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX)))
}

/// Uniform between nine tenths and eleven tenths of `interval`.
fn jittered(interval: Duration, draw: &mut Draw) -> Duration {
    let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX / 2).min(u64::MAX / 2);
    let slack = nanos / JITTER_DIVISOR;
    Duration::from_nanos(nanos - slack + draw.below_wide(2 * slack + 1))
}

#[cfg(test)]
mod tests;
