//! What load probes told: the pool that `prequal` chooses from.
//!
//! Wydrowski, Kleinberg, Rumble and Archer, "Load is not what you should balance: Introducing Prequal" (NSDI 2024, arXiv
//! 2312.10172), with its constants. A report says how many requests an endpoint has in flight, of all callers, and how
//! long it takes to answer. The caller of a pick owns the pool, one for each worker and cluster, as it owns its generator.
//!
//! Invariants: at most [`POOL_MAX`] reports, one an endpoint, none older than [`AGE_MAX`] when one is chosen; nothing
//! allocates after the pool was made. Limit: a report of a member that has another place in a newer snapshot is lost.

mod report;

use std::time::Duration;

pub use report::ProbeReport;

use crate::latency::Fade;
use crate::{Draw, Instant, Live, Member, MemberIndex, Snapshot};

/// Reports of a pool at most: the paper's `m`; more would be older, and older ones mislead.
const POOL_MAX: usize = 16;

/// With fewer members than sixteen times this the pool is smaller: one that holds most of them would always name the same
/// as the quickest, and all callers would go there at once.
const MEMBERS_PER_REPORT: usize = 4;

/// Reports of a pool at least, where there are so many members: one that is dropped leaves two to choose from.
const POOL_MIN: usize = 3;

/// Beyond it a report says more of the past than of the present (the paper's timeout).
const AGE_MAX: Duration = Duration::from_secs(1);

/// Load probes for each pick, where the budget allows: the paper's `r_probe`.
pub(crate) const PROBES_PER_PICK: u32 = 3;

/// Reports that are dropped for each that is gained: the paper's `r_remove` by its `r_probe`.
const REMOVED_PER_GAINED: f32 = 1.0 / 3.0;

/// How much faster reports are gained than used up: the paper's `delta`.
const SURPLUS: f32 = 1.0;

/// Uses of a report at most, also where too few are gained for the paper's formula: as often as it is aware of its own
/// use it may be used, but no more often than there are others.
const REUSE_MAX: f32 = 16.0;

/// The share of reports whose requests in flight count as few: the paper's `Q_RIF`, 2 to the power of -0.25.
const COLD_SHARE: f32 = 0.84;

/// Requests in flight that are remembered to know that share: those of some twenty picks.
const RECENT: usize = 64;

/// Load probes a second of one worker to one service: they may cost no more than requests do, and this many renew the
/// whole pool sixty times until a report is too old.
const PROBES_PER_SECOND: u64 = 1_000;

/// How far the average of what a pick gains moves with each pick.
const GAIN_STEP: f32 = 1.0 / 64.0;

/// A report in the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) index: MemberIndex,
    pub(crate) generation: u64,
    /// Requests in flight by weight.
    in_flight: f32,
    /// Those of other callers, as they were when it was told.
    elsewhere: f32,
    /// What one request adds to them.
    unit: f32,
    /// Microseconds.
    pub(crate) latency: f32,
    /// Too many attempts failed of late: others come first, however busy they are.
    pub(crate) is_failing: bool,
    /// It comes from what this process sees itself.
    pub(crate) is_own: bool,
    at: Instant,
    uses: u32,
}

/// See the module's page.
#[derive(Debug)]
pub struct LoadPool {
    /// Oldest first.
    entries: Vec<Entry>,
    recent: Recent,
    /// Members that are to be probed.
    due: Vec<MemberIndex>,
    /// Members of the level that was last chosen from.
    n_members: usize,
    /// Reports that a pick gains, on average; and since the last one.
    gain: f32,
    gained: u32,
    /// The next report to be dropped is the worst one, not the oldest.
    drops_worst: bool,
    /// Up to when load probes are paid for.
    paid_until: Instant,
}

impl Default for LoadPool {
    fn default() -> Self {
        Self {
            entries: Vec::with_capacity(POOL_MAX),
            recent: Recent { ring: [0.0; RECENT], sorted: [0.0; RECENT], len: 0, next: 0 },
            due: Vec::with_capacity(POOL_MAX),
            n_members: 0,
            gain: PROBES_PER_PICK as f32,
            gained: 0,
            drops_worst: false,
            paid_until: Instant(0),
        }
    }
}

impl LoadPool {
    /// The next member that a load probe is due to, if any; its report is owed to [`Self::learn`].
    pub fn take_due(&mut self) -> Option<MemberIndex> {
        self.due.pop()
    }

    /// Takes in what the member at `index` of this snapshot told.
    pub fn learn(
        &mut self,
        snapshot: &Snapshot,
        index: MemberIndex,
        report: ProbeReport,
        now: Instant,
        draw: &mut Draw,
    ) {
        // Another policy has no use for it.
        let (Some(member), Some(decay)) = (snapshot.members().get(index.0 as usize), snapshot.decay()) else {
            return;
        };
        let mut entry = Entry::own(member, index, Fade::new(decay), now);
        entry.is_own = report.is_empty();
        if let Some(in_flight) = report.in_flight {
            entry.elsewhere = (in_flight - member.live.in_flight() as f32).max(0.0);
            entry.renew(&member.live);
        }
        if let Some(latency) = report.latency {
            entry.latency = latency.as_secs_f32() * 1e6;
        }
        self.add(entry, draw);
    }

    /// Takes in what this process sees of a member, unless it has told more itself.
    pub(crate) fn stand_in(
        &mut self,
        member: &Member,
        index: MemberIndex,
        fade: Fade,
        now: Instant,
        draw: &mut Draw,
    ) {
        let generation = member.live.generation();
        if !self.entries.iter().any(|entry| entry.generation == generation && !entry.is_own) {
            self.add(Entry::own(member, index, fade, now), draw);
        }
    }

    /// Begins a pick among `n_members`: how many members may be probed for it.
    pub(crate) fn begin_pick(&mut self, n_members: usize, now: Instant) -> u32 {
        /// What one load probe costs of a second.
        const PRICE_NS: u64 = 1_000_000_000 / PROBES_PER_SECOND;
        self.n_members = n_members;
        self.gain += (self.gained as f32 - self.gain) * GAIN_STEP;
        self.gained = 0;
        // What was not spent is kept for as many as one pool holds.
        let saved = now.0.saturating_sub(PRICE_NS * POOL_MAX as u64);
        self.paid_until = self.paid_until.max(Instant(saved));
        let affordable = now.0.saturating_sub(self.paid_until.0) / PRICE_NS;
        let n = PROBES_PER_PICK.min(affordable as u32);
        self.paid_until.0 += u64::from(n) * PRICE_NS;
        n
    }

    /// Notes that a member is to be probed.
    pub(crate) fn owe(&mut self, index: MemberIndex) {
        if self.due.len() < POOL_MAX && !self.due.contains(&index) {
            self.due.push(index);
        }
    }

    fn add(&mut self, entry: Entry, draw: &mut Draw) {
        self.gained += 1;
        self.recent.add(entry.in_flight);
        if let Some(place) = self.entries.iter().position(|one| one.generation == entry.generation) {
            self.entries.remove(place);
        } else if self.entries.len() >= self.size() {
            self.entries.remove(0);
        }
        let reuse = reuse(self.size() as f32, self.n_members as f32, self.gain, self.removed_per_pick());
        self.entries.push(Entry { uses: round(reuse, draw), ..entry });
    }

    /// Reports of this pool at most.
    fn size(&self) -> usize {
        (self.n_members / MEMBERS_PER_REPORT).clamp(POOL_MIN, POOL_MAX)
    }

    fn removed_per_pick(&self) -> f32 {
        (self.gain * REMOVED_PER_GAINED).min(1.0)
    }

    /// Drops reports that are too old, and those that `keep` does not want; it may bring others up to date.
    pub(crate) fn sift(&mut self, now: Instant, mut keep: impl FnMut(&mut Entry) -> bool) {
        self.entries.retain_mut(|entry| now.since(entry.at) <= AGE_MAX && keep(entry));
    }

    /// Takes the best report of those that `may` be used, if there are two of them: of those with few requests in flight
    /// the quickest, else the one with the fewest. A use, and the picks, use reports up.
    pub(crate) fn choose(&mut self, may: impl Fn(&Entry) -> bool, draw: &mut Draw) -> Option<MemberIndex> {
        let bound = self.recent.bound();
        let usable = || (0..).zip(&self.entries).filter(|(_, entry)| may(entry));
        if usable().count() < 2 {
            return None;
        }
        let (place, _) = usable().min_by(|(_, a), (_, b)| a.rank(bound).total_order(b.rank(bound)))?;
        let entry = &mut self.entries[place];
        let index = entry.index;
        entry.uses = entry.uses.saturating_sub(1);
        if entry.uses == 0 {
            self.entries.remove(place);
        }
        for _ in 0..round(self.removed_per_pick(), draw) {
            self.remove_one(bound);
        }
        Some(index)
    }

    /// Drops the oldest and the worst in turns: the one since it knows least, the other since it would stay for ever.
    fn remove_one(&mut self, bound: f32) {
        self.drops_worst = !self.drops_worst;
        let ranked = (0..).zip(&self.entries);
        let worst = ranked.max_by(|(_, a), (_, b)| a.rank(bound).total_order(b.rank(bound)));
        if let Some((place, _)) = worst {
            self.entries.remove(if self.drops_worst { 0 } else { place });
        }
    }
}

/// How good an endpoint is: hot ones come after all cold ones, and failing ones after those.
#[derive(Clone, Copy)]
struct Rank {
    is_failing: bool,
    is_hot: bool,
    cost: f32,
}

impl Rank {
    fn total_order(self, other: Self) -> std::cmp::Ordering {
        let group = |rank: Self| (rank.is_failing, rank.is_hot);
        group(self).cmp(&group(other)).then(self.cost.total_cmp(&other.cost))
    }
}

impl Entry {
    /// What this process sees of a member.
    fn own(member: &Member, index: MemberIndex, fade: Fade, now: Instant) -> Self {
        let mut entry = Self {
            index,
            generation: member.live.generation(),
            in_flight: 0.0,
            elsewhere: 0.0,
            unit: 1.0 / member.endpoint.weight.max(1) as f32,
            latency: member.live.expected_micros(now, fade),
            is_failing: false,
            is_own: true,
            at: now,
            uses: 0,
        };
        entry.renew(&member.live);
        entry
    }

    /// Counts what this process has in flight now: the paper adds a request where a report is used, which this does as
    /// well, and it knows when the request has ended, and of the other workers.
    pub(crate) fn renew(&mut self, live: &Live) {
        self.in_flight = (live.in_flight() as f32 + self.elsewhere) * self.unit;
    }

    fn rank(&self, bound: f32) -> Rank {
        let is_hot = self.in_flight > bound;
        let cost = if is_hot { self.in_flight } else { self.latency };
        Rank { is_failing: self.is_failing, is_hot, cost }
    }
}

/// How often a report may be used, so that a pool of `m` for `n` endpoints neither runs dry nor ages (the paper's equation
/// 1), where a pick gains and loses so many.
fn reuse(m: f32, n: f32, gained: f32, removed: f32) -> f32 {
    let surplus = (1.0 - m / n) * gained - removed;
    if surplus > 0.0 { ((1.0 + SURPLUS) / surplus).clamp(1.0, REUSE_MAX) } else { REUSE_MAX }
}

/// One of the two whole numbers beside `value`, so that the mean is `value`.
fn round(value: f32, draw: &mut Draw) -> u32 {
    const PARTS: u32 = 1 << 24;
    let below = value.floor();
    below as u32 + u32::from((draw.below(PARTS) as f32) < (value - below) * PARTS as f32)
}

/// The last few reported numbers of requests in flight.
#[derive(Debug)]
struct Recent {
    /// In the order in which they came.
    ring: [f32; RECENT],
    sorted: [f32; RECENT],
    len: usize,
    next: usize,
}

impl Recent {
    fn add(&mut self, value: f32) {
        if self.len == RECENT {
            let place = self.place(self.ring[self.next]);
            self.sorted.copy_within(place + 1.., place);
            self.len -= 1;
        }
        let place = self.place(value);
        self.sorted.copy_within(place..self.len, place + 1);
        self.sorted[place] = value;
        self.ring[self.next] = value;
        self.len += 1;
        self.next = (self.next + 1) % RECENT;
    }

    /// Where a value stands among the sorted, or would.
    fn place(&self, value: f32) -> usize {
        self.sorted[..self.len].partition_point(|one| *one < value)
    }

    /// Above it a number of requests in flight is one of the greatest; there is none before the first report.
    fn bound(&self) -> f32 {
        let place = (COLD_SHARE * self.len.saturating_sub(1) as f32) as usize;
        if self.len == 0 { f32::INFINITY } else { self.sorted[place] }
    }
}

#[cfg(test)]
mod tests;
