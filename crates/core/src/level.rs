//! The eligible members of one priority, and the policy compiled for them.
//!
//! Invariants: a pick is one of them that the request has not tried, and is missing only where the request has tried all
//! of them; its work is bounded by the constants below.

use crate::policy::{Candidate, Facts, Policy};
use crate::{Draw, MemberIndex, PickRequest};

/// How often a candidate that was tried already is drawn again by the policy. Four: with half of the weight
/// tried, 31 of 32 picks still come from the policy itself.
const REDRAWS: u32 = 4;

/// How many members are looked at when the redraws are used up, unless more were tried. Enough to hold most
/// levels as a whole, where the choice is then exact by weight; few enough to stay under a microsecond.
const SCAN_WINDOW: usize = 64;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Level {
    /// The percentage of the requests that this level and those before it get.
    pub(crate) load_end: u8,
    pub(crate) candidates: Box<[Candidate]>,
    pub(crate) policy: Box<dyn Policy>,
}

impl Level {
    /// The policy's choice, else that of a few redraws, else that of a bounded scan; `None` only when the
    /// request has tried all of the level.
    pub(crate) fn pick(
        &self,
        facts: &Facts<'_>,
        request: &PickRequest<'_>,
        draw: &mut Draw,
    ) -> Option<MemberIndex> {
        let choice = self.policy.choose(facts, request, draw);
        if !request.tried.contains(&choice) {
            return Some(choice);
        }
        for _ in 0..REDRAWS {
            // A fresh number in place of the ticket: the ticket would only lead to the same candidate.
            let again = PickRequest { ticket: draw.next_u64(), ..*request };
            let choice = self.policy.choose(facts, &again, draw);
            if !request.tried.contains(&choice) {
                return Some(choice);
            }
        }
        scan(&self.candidates, request.tried, draw)
    }
}

/// Draws by weight among the untried of a window that begins at a random place.
///
/// The window is one longer than the tried are many, so it holds an untried candidate if there is one.
fn scan(candidates: &[Candidate], tried: &[MemberIndex], draw: &mut Draw) -> Option<MemberIndex> {
    let len = candidates.len();
    let window = len.min(SCAN_WINDOW.max(tried.len() + 1));
    let start = draw.below(len as u32) as usize;
    let mut chosen = None;
    let mut total = 0_u64;
    for candidate in candidates.iter().cycle().skip(start).take(window) {
        if tried.contains(&candidate.index) {
            continue;
        }
        let weight = u64::from(candidate.weight);
        total += weight;
        // Replacing the choice with chance weight / total leaves each with its share of the final total.
        if draw.below_wide(total) < weight {
            chosen = Some(candidate.index);
        }
    }
    chosen
}
