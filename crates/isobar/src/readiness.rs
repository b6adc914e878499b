//! Whether this process wants new traffic: what `/readyz` answers.

use tokio::sync::watch;

/// The phases of the process, in order; a phase is never gone back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Not every part runs yet. Left for `Ready` when all do.
    Starting,
    /// Traffic is welcome. Left for `Draining` on SIGTERM or SIGINT.
    Ready,
    /// Requests in flight finish, new ones should go elsewhere. Ends with the process.
    Draining,
}

/// The current phase, shared by the main thread (which writes) and the admin interface (which reads).
#[derive(Debug)]
pub(crate) struct Readiness(watch::Sender<Phase>);

impl Readiness {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Phase::Starting))
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Moves on to a phase; an earlier one than the current is ignored.
    pub(crate) fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let moves = phase > *current;
            *current = phase.max(*current);
            moves
        });
    }

    /// Waits until the phase is this one or a later one.
    pub(crate) async fn reach(&self, phase: Phase) {
        // Fails only once the sender is gone, which this borrows.
        let _ = self.0.subscribe().wait_for(|current| *current >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_only_go_forward() {
        let readiness = Readiness::new();
        assert_eq!(readiness.phase(), Phase::Starting);
        readiness.enter(Phase::Ready);
        assert_eq!(readiness.phase(), Phase::Ready);
        readiness.enter(Phase::Draining);
        readiness.enter(Phase::Ready);
        assert_eq!(readiness.phase(), Phase::Draining);
    }

    #[tokio::test]
    async fn whoever_waits_for_a_phase_sees_it_or_a_later_one() {
        let readiness = Readiness::new();
        let waiting = readiness.reach(Phase::Ready);
        readiness.enter(Phase::Draining);
        waiting.await;
        readiness.reach(Phase::Draining).await;
    }
}
