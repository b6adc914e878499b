//! How the request path tells a cluster's owner that an endpoint crossed a threshold.
//!
//! Invariants: ringing is one load where it rang already and has not been answered; the owner answers before it looks,
//! so a crossing that comes while it looks rings again. Limit: the bell carries no message: whoever hears it looks at
//! every live record.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A bell that every live record of a cluster shares.
#[derive(Default)]
pub struct Bell {
    rung: AtomicBool,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Bell {
    /// Says whom a ring wakes; the first to say so is kept. Without one, the owner finds the ring when it looks.
    pub fn wakes(&self, owner: impl Fn() + Send + Sync + 'static) {
        // A second owner would be a second truth; the first stays.
        let _ = self.wake.set(Box::new(owner));
    }

    /// Wakes the owner unless a ring waits for an answer.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }

    /// Whether it rang since the last answer; from now on it rings anew.
    pub(crate) fn answer(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").field("rung", &self.rung).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn many_rings_wake_once_until_they_are_answered() {
        let (bell, woken) = (Bell::default(), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&woken);
        bell.wakes(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        (0..5).for_each(|_| bell.ring());
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        assert!(bell.answer() && !bell.answer());
        bell.ring();
        assert_eq!(woken.load(Ordering::Relaxed), 2);
    }
}
