//! Live weights: what the load of endpoints makes of their configured weights, once every update period.
//!
//! Each endpoint has a factor of its configured weight. Readings come from load reports (`report`, `slot`, `reported`) or
//! from what answers are measured to be (`measured`); agents (`agent`, `agents`) give percentages beside them.
//! Weights among the readings are divided by their mean, so that what two kinds of readings say can stand side by side.
//!
//! Invariants: with fewer than two readings configured weights count alone; an endpoint without a reading counts as the
//! mean of the others; factors change all together, and only when one of them is off by [`TOLERANCE`], so an even
//! load makes no new snapshot; a configured weight of zero stays zero and no other becomes zero.
//! Limits: the mean is that of all endpoints of the service, whatever their priority or health.

mod agent;
mod agents;
mod measured;
mod report;
mod reported;
mod slot;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use agent::AgentLine;
pub(crate) use agents::Agents;
pub use agents::{AgentDue, AgentSettings};
pub use report::{LoadMetrics, LoadReport};
pub(crate) use slot::Slot;

use crate::{Instant, Live, Member};
use measured::Seen;
use report::Reading;
use reported::Heard;

/// One as a live weight: factors are told apart to a hundredth.
const SCALE: f64 = 100.0;

/// How much a factor in force may be off before all are renewed: what nobody would notice in a share.
const TOLERANCE: f64 = 0.02;

/// The least and the greatest factor by reports. The least keeps an endpoint in use, so that it can report that it
/// is well again; the greatest lets the largest configured weight times itself fit the 32 bits of a weight.
const REPORTED: (f64, f64) = (0.01, 40.0);

/// The same by measurement, which knows less of an endpoint than it does itself.
const MEASURED: (f64, f64) = (0.1, 10.0);

/// How much a measured factor may rise at an update; it may fall by as much (to four fifths). A new weight changes the
/// latencies that it came from, and must not overshoot.
const STEP: f64 = 1.25;

/// Where weights come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WeightSource {
    /// From the configuration alone.
    #[default]
    Configured,
    /// From what endpoints report of their load.
    Reported {
        /// How long reports are only listened to before they count.
        blackout: Duration,
        /// What an error counts for, in hundredths of a request's work.
        error_penalty_percent: u32,
    },
    /// From the latency and the failures of their answers.
    Measured,
}

/// The settings of weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WeightSettings {
    /// Where they come from.
    pub source: WeightSource,
    /// Time between two weighings; of no meaning for configured ones, as what follows.
    pub update: Duration,
    /// How long what was heard last of an endpoint counts.
    pub expiry: Duration,
    /// The agents beside endpoints, where there are any.
    pub agents: Option<AgentSettings>,
}

impl WeightSettings {
    /// Whether weights follow the load of endpoints.
    pub(crate) fn is_live(&self) -> bool {
        self.source != WeightSource::Configured
    }
}

/// One endpoint on the scales.
#[derive(Debug)]
struct Weighed {
    live: Arc<Live>,
    heard: Heard,
    seen: Seen,
    /// The factor in force.
    factor: f64,
}

/// Weighs the endpoints of one cluster.
#[derive(Debug)]
pub(crate) struct Weigher {
    settings: WeightSettings,
    endpoints: BTreeMap<u64, Weighed>,
    due: Option<Instant>,
}

impl Weigher {
    pub(crate) fn new(settings: WeightSettings) -> Self {
        Self { settings, endpoints: BTreeMap::new(), due: None }
    }

    /// Takes over other settings; factors start over where weights come from elsewhere now. The next weighing stays planned
    /// where its period is the same, so that reloads which come faster than weighings do not put them off for ever.
    pub(crate) fn set_settings(&mut self, settings: WeightSettings, members: &[Member], now: Instant) {
        let source = std::mem::discriminant(&self.settings.source);
        let moves = std::mem::discriminant(&settings.source) != source;
        if moves {
            self.endpoints.clear();
        }
        if moves || settings.update != self.settings.update {
            self.due = None;
        }
        self.settings = settings;
        self.watch_only(members, now);
    }

    /// Weighs exactly these members from now on.
    pub(crate) fn watch_only(&mut self, members: &[Member], now: Instant) {
        let measures = self.settings.source == WeightSource::Measured;
        for member in members {
            member.live.set_measured(measures);
        }
        if !self.settings.is_live() {
            self.endpoints.clear();
            return;
        }
        self.due.get_or_insert(now.after(self.settings.update));
        let mut before = std::mem::take(&mut self.endpoints);
        let weighed = |member: &Member| {
            let live = &member.live;
            let fresh =
                || Weighed { live: live.clone(), heard: Heard::of(live), seen: Seen::of(live), factor: 1.0 };
            (live.generation(), before.remove(&live.generation()).unwrap_or_else(fresh))
        };
        self.endpoints = members.iter().map(weighed).collect();
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Weighs where it is time to; true when factors changed.
    pub(crate) fn weigh(&mut self, now: Instant) -> bool {
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        self.due = Some(now.after(self.settings.update));
        let factors = self.factors(now);
        let is_off =
            |weighed: &Weighed, factor: &f64| (factor - weighed.factor).abs() > weighed.factor * TOLERANCE;
        let changed = self.endpoints.values().zip(&factors).any(|(weighed, factor)| is_off(weighed, factor));
        if changed {
            for (weighed, factor) in self.endpoints.values_mut().zip(factors) {
                weighed.factor = factor;
            }
        }
        changed
    }

    /// What follows from the readings, in the order of the endpoints.
    fn factors(&mut self, now: Instant) -> Vec<f64> {
        let expiry = self.settings.expiry;
        match self.settings.source {
            WeightSource::Configured => vec![1.0; self.endpoints.len()],
            WeightSource::Reported { blackout, .. } => {
                let endpoints = self.endpoints.values_mut();
                let readings: Vec<_> = endpoints
                    .map(|weighed| weighed.heard.read(&weighed.live, now, blackout, expiry))
                    .collect();
                relative(&readings).map(|factor| factor.clamp(REPORTED.0, REPORTED.1)).collect()
            }
            WeightSource::Measured => {
                for weighed in self.endpoints.values_mut() {
                    weighed.seen.update(&weighed.live, now, expiry);
                }
                let readings = measured::readings(self.endpoints.values().map(|weighed| &weighed.seen));
                let step = |(factor, weighed): (f64, &Weighed)| {
                    let bounded = factor.clamp(MEASURED.0, MEASURED.1);
                    bounded.clamp(weighed.factor / STEP, weighed.factor * STEP)
                };
                relative(&readings).zip(self.endpoints.values()).map(step).collect()
            }
        }
    }

    /// The weight of an endpoint as picks see it: its configured one, times its factor, times its agent's `percent`.
    pub(crate) fn weight(&self, generation: u64, configured: u32, percent: u32) -> u32 {
        if !self.settings.is_live() || configured == 0 {
            return configured;
        }
        let factor = self.endpoints.get(&generation).map_or(1.0, |weighed| weighed.factor);
        let weight = f64::from(configured) * SCALE * factor * f64::from(percent) / 100.0;
        // Above the range of the target a conversion takes the target's greatest number.
        (weight.round() as u32).max(1)
    }
}

/// Readings as factors around one: weights by their mean; the mean of all where there is none. All one where fewer than
/// two say something.
fn relative(readings: &[Option<Reading>]) -> impl Iterator<Item = f64> + use<> {
    let weights = readings.iter().flatten().filter_map(|reading| match reading {
        Reading::Weight(weight) => Some(f64::from(*weight)),
        Reading::Factor(_) => None,
    });
    let unit = mean(weights).filter(|mean| *mean > 0.0);
    let factor = |reading: &Reading| match reading {
        Reading::Weight(weight) => unit.map_or(1.0, |unit| f64::from(*weight) / unit),
        Reading::Factor(factor) => f64::from(*factor),
    };
    let factors: Vec<Option<f64>> = readings.iter().map(|reading| reading.as_ref().map(factor)).collect();
    let n_known = factors.iter().flatten().count();
    let mean = mean(factors.iter().flatten().copied()).filter(|_| n_known > 1);
    factors.into_iter().map(move |factor| mean.map_or(1.0, |mean| factor.unwrap_or(mean)))
}

fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = numbers.fold((0.0, 0_u32), |(sum, n), number| (sum + number, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests;
