//! `prequal`: of the endpoints that told their load lately, the quickest of those that are not busy.
//!
//! The rules are those of the pool (see `load_pool`), which the caller of a pick owns. Each pick also names members to be
//! probed, drawn by weight; their reports come into the pool later. Without load probes, what this process sees of the
//! drawn members stands in for a report, and what endpoints tell in their answers comes in as well.
//!
//! Failures count as slow: what they cost is the least latency of a report, and whoever fails often comes last, so one that
//! fails fast attracts nothing, whatever it tells. With fewer than two usable reports, and in one pick of [`EXPLORED`], the rule is nearly that of
//! `p2c`: nobody starves, and one that tells nonsense is found out. Ties go to the older report. Limits: a pick looks at up
//! to sixteen members; levels share the pool, so a level that takes few picks is chosen from as `p2c` would.

use super::p2c::{Rival, Rivals, lesser};
use super::{Facts, Plan, Policy};
use crate::latency::Fade;
use crate::load_pool::{LoadPool, PROBES_PER_PICK};
use crate::{Draw, Instant, MemberIndex, PickRequest};

/// One in so many picks leaves reports aside: no more than the share of one endpoint among a hundred.
const EXPLORED: u32 = 100;

/// What failures cost of an endpoint that fails: a fifth of what one costs, so that a few among many that succeed do not
/// make one.
const FAILING_MICROS: f32 = 1e6;

#[derive(Debug)]
struct Prequal {
    rivals: Rivals,
    fade: Fade,
    /// Whether each member of the snapshot is one of this level.
    is_mine: Box<[bool]>,
    n_members: usize,
    probes: bool,
}

pub(super) fn compile(plan: &Plan<'_>) -> Box<dyn Policy> {
    let mut is_mine = vec![false; plan.members.len()];
    for candidate in plan.candidates {
        is_mine[candidate.index.0 as usize] = true;
    }
    Box::new(Prequal {
        rivals: Rivals::new(plan),
        fade: Fade::new(plan.settings.decay),
        is_mine: is_mine.into(),
        n_members: plan.candidates.len(),
        probes: plan.settings.load_probes,
    })
}

impl Policy for Prequal {
    fn choose(&self, facts: &Facts<'_>, request: &PickRequest<'_>, draw: &mut Draw) -> MemberIndex {
        if let Some(pool) = request.pool {
            let mut pool = pool.borrow_mut();
            self.ask(&mut pool, facts, request.now, draw);
            if draw.below(EXPLORED) != 0
                && let Some(index) = self.choose_from(&mut pool, facts, request, draw)
            {
                return index;
            }
        }
        self.choose_without(request.now, draw)
    }
}

impl Prequal {
    /// Draws members to hear of.
    fn ask(&self, pool: &mut LoadPool, facts: &Facts<'_>, now: Instant, draw: &mut Draw) {
        let affordable = pool.begin_pick(self.n_members, now);
        for n in 0..PROBES_PER_PICK {
            let index = self.rivals.draw_one(draw).index;
            if self.probes && n < affordable {
                pool.owe(index);
            } else {
                pool.stand_in(&facts.members[index.0 as usize], index, self.fade, now, draw);
            }
        }
    }

    /// As `p2c` does, but for one that failed of late.
    fn choose_without(&self, now: Instant, draw: &mut Draw) -> MemberIndex {
        let (first, second) = self.rivals.draw(draw);
        let is_failing = |rival: &Rival| rival.live.penalty_micros(now, self.fade) > FAILING_MICROS;
        match (is_failing(first), is_failing(second)) {
            (false, true) => first.index,
            (true, false) => second.index,
            (true, true) | (false, false) => lesser(first, second).index,
        }
    }

    fn choose_from(
        &self,
        pool: &mut LoadPool,
        facts: &Facts<'_>,
        request: &PickRequest<'_>,
        draw: &mut Draw,
    ) -> Option<MemberIndex> {
        let now = request.now;
        pool.sift(now, |entry| {
            let place = entry.index.0 as usize;
            let Some(live) = facts.members.get(place).map(|member| &member.live) else { return false };
            if !self.is_mine[place] || live.generation() != entry.generation {
                return false;
            }
            entry.renew(live);
            if entry.is_own {
                entry.latency = live.expected_micros(now, self.fade);
            }
            let penalty = live.penalty_micros(now, self.fade);
            entry.latency = entry.latency.max(penalty);
            entry.is_failing = penalty > FAILING_MICROS;
            true
        });
        pool.choose(|entry| !request.tried.contains(&entry.index), draw)
    }
}
