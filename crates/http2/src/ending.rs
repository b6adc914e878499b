//! How a connection ends: by leave, for a mistake, or because it is gone.

use crate::connection::{Connection, LEAVING, Leaving};
use crate::stream::Broken;
use crate::{Malformed, Reason, frame, settings};

impl Connection {
    /// Asks the peer to begin no more streams; those in progress go on.
    pub fn leave(&mut self) {
        if self.leaving == Leaving::No && self.end.is_none() {
            self.leaving = Leaving::Told;
            frame::put_goaway(settings::WINDOW_MAX, Reason::NO_ERROR, &mut self.out);
            frame::put_ping(LEAVING, 0, &mut self.out);
        }
    }

    /// After [`Self::leave`]: the peer has heard it, and nothing is in progress.
    pub fn has_left(&self) -> bool {
        matches!(self.leaving, Leaving::After(_)) && self.n_streams == 0
    }

    /// Ends the connection for this reason; every stream breaks off.
    pub fn fail(&mut self, reason: Reason) {
        if self.end.is_some() {
            return;
        }
        let last = if self.is_server() { self.newest } else { 0 };
        frame::put_goaway(last, reason, &mut self.out);
        self.break_off(reason, Some(reason));
    }

    /// The connection is gone, whoever ended it; every stream breaks off.
    pub fn lost(&mut self) {
        self.break_off(Reason::NO_ERROR, None);
    }

    fn break_off(&mut self, end: Reason, reason: Option<Reason>) {
        self.end.get_or_insert(end);
        for key in self.keys() {
            let is_new = self.accepted.contains(&key.0);
            let slot = self.slot(key);
            // What is complete in both directions is as good as if nothing had happened.
            if slot.broken.is_none() && !(slot.receiving.is_complete && slot.is_sent()) {
                slot.broken = Some(Broken { reason, is_unprocessed: slot.id == 0 });
            }
            if is_new {
                self.withdraw(key);
            } else {
                self.touch(key);
            }
        }
    }

    /// Why the connection is over, if it is.
    pub fn end(&self) -> Option<Reason> {
        self.end
    }

    /// Requests that were reset as malformed since this was asked, and what was wrong with the last.
    pub fn take_malformed(&mut self) -> Option<(u64, Malformed)> {
        let n = std::mem::take(&mut self.n_malformed);
        self.malformed.take().map(|malformed| (n, malformed))
    }
}
