//! Watching files: when any of them may have changed, whatever way it was saved.
//!
//! ```text
//! inotify events of the folders on the way --> quiet for 50 ms --> survey (watches renewed) --> changed()
//! poll: survey, fingerprint differs ----------^
//! ```
//!
//! Written in place, truncated and written, renamed over, deleted and made anew, swapped by a link, the folder replaced
//! or made later: each changes an entry that [`trace`] visits. The poll is for file systems that tell the kernel nothing,
//! and for a system that is out of watches.
//!
//! Invariants: a change made after [`FileWatch::new`] is notified, also while nobody waits; many changes in quick succession
//! are one notification; reading a watched file is no change. Limits: a notification says that something may have
//! changed, not what: whoever reads compares contents.

mod kernel;
mod survey;
mod trace;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tracing::warn;

use kernel::{Events, Interests};
use survey::{Survey, survey};

/// Silence after which a save counts as done: editors and copies write in several steps, each within milliseconds of
/// the last.
const QUIET: Duration = Duration::from_millis(50);

/// The longest wait for silence: a file that is written without a pause must still take effect within a second.
const UNQUIET_MAX: Duration = Duration::from_millis(250);

/// How often files are looked at although the kernel told nothing.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The same where the kernel cannot tell: a change still takes effect within a second.
const POLL_INTERVAL_ALONE: Duration = Duration::from_millis(500);

/// Changes that are waited out.
#[derive(Debug, Clone, Copy)]
struct Stir {
    first: Instant,
    last: Instant,
}

impl Stir {
    fn settles_at(self) -> Instant {
        (self.last + QUIET).min(self.first + UNQUIET_MAX)
    }
}

/// A watch over some files, and over the entries of folders.
///
/// It watches while it lives. Dropped, it leaves nothing behind. Each takes one inotify instance, of which a user has
/// 128 by default (`fs.inotify.max_user_instances`); one that gets none polls.
#[derive(Debug)]
pub struct FileWatch {
    paths: Arc<[PathBuf]>,
    /// `None` where the kernel has no instance left to give.
    events: Option<Events>,
    interests: Interests,
    fingerprint: u64,
    /// A look that is under way; kept here so that a dropped `changed()` does not lose what it finds.
    survey: Option<JoinHandle<Survey>>,
    stir: Option<Stir>,
    next_poll: Instant,
    /// How often the poll looks while the kernel tells of changes.
    poll_interval: Duration,
    /// Whether a hindrance has been logged.
    hindrance_told: bool,
}

impl FileWatch {
    /// Watches these files and, where a path leads to a folder, its entries; none of them needs to exist.
    ///
    /// Relative paths start at the present working folder. Everything that changes once this has returned is notified.
    pub async fn new(paths: Vec<PathBuf>) -> Self {
        match Events::open() {
            Ok(events) => Self::start(paths, Some(events)).await,
            Err(error) => {
                let mut watch = Self::start(paths, None).await;
                watch.tell_hindrance(&format!("cannot watch files: {error}"));
                watch
            }
        }
    }

    async fn start(paths: Vec<PathBuf>, events: Option<Events>) -> Self {
        // It fails for an empty path only, and then for good: nothing is ever there.
        let paths = paths.into_iter().map(|path| std::path::absolute(&path).unwrap_or(path)).collect();
        let mut watch = Self {
            paths,
            events,
            interests: Interests::default(),
            fingerprint: 0,
            survey: None,
            stir: None,
            next_poll: Instant::now(),
            poll_interval: POLL_INTERVAL,
            hindrance_told: false,
        };
        let first = watch.look().await;
        watch.take_in(first);
        // The first look has nothing to compare with.
        watch.stir = None;
        watch
    }

    /// Waits until any of the watched files may have changed since the last notification.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the next call notifies of the same changes.
    pub async fn changed(&mut self) {
        loop {
            if let Some(survey) = &mut self.survey {
                let surveyed = survey.await;
                self.survey = None;
                if self.take_in(surveyed) {
                    return;
                }
            }
            let due = self.stir.map_or(self.next_poll, Stir::settles_at);
            tokio::select! {
                stirred = stirred(self.events.as_ref(), &self.interests) => match stirred {
                    Ok(()) => self.note_stir(),
                    Err(error) => {
                        self.tell_hindrance(&format!("the kernel's file events are broken: {error}"));
                        self.events = None;
                        self.note_stir();
                    }
                },
                () = tokio::time::sleep_until(due) => self.survey = Some(self.look()),
            }
        }
    }

    /// Starts a look on the blocking pool.
    fn look(&self) -> JoinHandle<Survey> {
        let paths = Arc::clone(&self.paths);
        let inotify = self.events.as_ref().map(Events::inotify);
        let former = self.interests.numbers();
        tokio::task::spawn_blocking(move || survey(inotify.as_deref(), &paths, &former))
    }

    /// Takes over what a look found; whether that is to be notified.
    fn take_in(&mut self, surveyed: Result<Survey, JoinError>) -> bool {
        let now = Instant::now();
        let stirred = self.stir.take().is_some();
        let Ok(Survey { interests, fingerprint, hindrance }) = surveyed else {
            // The runtime is going down, or the look panicked: the next one tells.
            self.next_poll = now + self.poll_interval;
            return stirred;
        };
        let alone = hindrance.is_some() || self.events.is_none();
        self.next_poll = now + if alone { POLL_INTERVAL_ALONE } else { self.poll_interval };
        if let Some(hindrance) = hindrance {
            self.tell_hindrance(&hindrance);
        }
        self.interests = interests;
        let differs = std::mem::replace(&mut self.fingerprint, fingerprint) != fingerprint;
        if differs && !stirred {
            // Seen by the poll alone: the one who writes may be in the middle of it.
            self.note_stir();
        }
        stirred
    }

    fn note_stir(&mut self) {
        let now = Instant::now();
        self.stir.get_or_insert(Stir { first: now, last: now }).last = now;
    }

    fn tell_hindrance(&mut self, hindrance: &str) {
        if !std::mem::replace(&mut self.hindrance_told, true) {
            warn!(
                hindrance,
                "watched files are looked at every {} ms instead (see the sysctl settings fs.inotify.*)",
                POLL_INTERVAL_ALONE.as_millis()
            );
        }
    }
}

async fn stirred(events: Option<&Events>, interests: &Interests) -> std::io::Result<()> {
    match events {
        Some(events) => events.stirred(interests).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
