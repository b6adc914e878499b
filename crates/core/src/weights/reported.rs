//! How long a reported reading counts.
//!
//! After gRFC A58: a reading counts from `blackout` after the endpoint's first report, since what a fresh instance says of
//! its load has no calm yet, to `expiry` after its last one; the next report after that is a first one again. Invariant:
//! no clock is shared with whoever left the report: a moment is that of the weighing which found it, so it is late by up to
//! one update period.

use std::time::Duration;

use super::report::Reading;
use super::slot;
use crate::{Instant, Live};

/// What was heard of one endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// The slot's word as it was seen last.
    word: u64,
    last: Instant,
    /// When the reports that go on now began.
    since: Option<Instant>,
}

impl Heard {
    /// Nothing; what lies in the slot already is not news.
    pub(super) fn of(live: &Live) -> Self {
        Self { word: live.reading().word(), last: Instant::default(), since: None }
    }

    /// The reading that counts now.
    pub(super) fn read(
        &mut self,
        live: &Live,
        now: Instant,
        blackout: Duration,
        expiry: Duration,
    ) -> Option<Reading> {
        let word = live.reading().word();
        if word != self.word {
            (self.word, self.last) = (word, now);
            self.since.get_or_insert(now);
        } else if now.since(self.last) >= expiry {
            self.since = None;
        }
        self.since.filter(|since| now.since(*since) >= blackout).and_then(|_| slot::reading(word))
    }
}
