//! The common shape of all sources: what a source says at present, and the two ends of the channel that carries it.
//!
//! Invariants: the endpoints of a state are a set that the source once said as a whole; the revision rises exactly when
//! they change; receivers are woken exactly when the endpoints, the problem or what they rest on changed.

use std::sync::Arc;
use std::time::SystemTime;

use isobar_config::EndpointSettings;
use tokio::sync::watch;
use tracing::{info, warn};

/// What a source says at present; the newest state only, so that a slow reader never piles up updates.
#[derive(Debug, Clone)]
pub struct SourceState<E> {
    /// The last good set, in the order of the source; empty before the first.
    pub endpoints: Arc<[E]>,
    /// Rises with every change of `endpoints`; 0: nothing is known yet, which is not the same as no endpoints.
    pub revision: u64,
    /// Why the latest reading failed, or which part of it did; `None` when it was good. The last good set stays.
    pub problem: Option<Arc<str>>,
    /// When `endpoints` was last read as it is, or changed.
    pub updated: Option<SystemTime>,
    /// The revision of the source that this one rests on, where it is made of another; else 0.
    pub written: u64,
}

impl<E> Default for SourceState<E> {
    /// Nothing is known yet.
    fn default() -> Self {
        Self { endpoints: Vec::new().into(), revision: 0, problem: None, updated: None, written: 0 }
    }
}

/// Where a source's state is read; a clone reads the same source. The state that a feed is made with counts as seen, so
/// that `changed` waits for the next one.
pub type Feed<E> = watch::Receiver<SourceState<E>>;

/// What one reading of a source brought.
#[derive(Debug)]
pub(crate) struct Reading<E> {
    /// The set as of this reading; `None` where the last one stays.
    pub(crate) endpoints: Option<Vec<E>>,
    /// What failed; with endpoints, the part that failed.
    pub(crate) problem: Option<String>,
}

/// The writing end of a feed.
#[derive(Debug, Clone)]
pub(crate) struct FeedWriter<E>(watch::Sender<SourceState<E>>);

impl<E: PartialEq> FeedWriter<E> {
    pub(crate) fn new() -> (Self, Feed<E>) {
        let (sender, feed) = watch::channel(SourceState::default());
        (Self(sender), feed)
    }

    /// Folds a reading into the state; wakes receivers only where it says something new.
    pub(crate) fn tell(&self, reading: Reading<E>) {
        self.tell_of(0, reading);
    }

    /// As `tell`, of a reading that rests on this revision of another source.
    pub(crate) fn tell_of(&self, written: u64, reading: Reading<E>) {
        let Reading { endpoints, problem } = reading;
        self.0.send_if_modified(|state| {
            let good = problem.is_none();
            let mut modified = state.problem.as_deref() != problem.as_deref() || state.written != written;
            state.written = written;
            state.problem = problem.map(Into::into);
            if let Some(endpoints) = endpoints {
                let changed = state.revision == 0 || *state.endpoints != *endpoints;
                if changed {
                    state.endpoints = endpoints.into();
                    state.revision += 1;
                    modified = true;
                }
                if changed || good {
                    state.updated = Some(SystemTime::now());
                }
            }
            modified
        });
    }

    /// Waits until every receiver is gone.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// Logs the problems of one source: each when it comes, and that there is none any more.
#[derive(Debug)]
pub(crate) struct ProblemLog {
    /// How the source is called in the log.
    source: String,
    last: Option<String>,
}

impl ProblemLog {
    pub(crate) fn new(source: String) -> Self {
        Self { source, last: None }
    }

    /// Takes note of the problem of a reading, or of its absence.
    pub(crate) fn note(&mut self, problem: Option<&str>) {
        if !self.is_news(problem) {
            return;
        }
        let source = &self.source;
        if let Some(problem) = problem {
            warn!(source, problem, "discovery failed: the last good endpoints stay in use");
        } else {
            info!(source, "discovery works again");
        }
    }

    /// Whether this differs from what was last noted.
    fn is_news(&mut self, problem: Option<&str>) -> bool {
        let news = self.last.as_deref() != problem;
        self.last = problem.map(ToOwned::to_owned);
        news
    }
}

/// The writing end of a feed whose endpoints are simply told, as those that stand in the configuration are.
#[derive(Debug)]
pub struct FixedList(FeedWriter<EndpointSettings>);

impl FixedList {
    /// Puts another list in the place of the present one; the revision that what rests on it will tell.
    pub fn replace(&self, endpoints: Vec<EndpointSettings>) -> u64 {
        self.0.tell(Reading { endpoints: Some(endpoints), problem: None });
        self.0.0.borrow().revision
    }
}

/// A feed of these endpoints, known at once, and the way to replace them.
pub fn fixed(endpoints: Vec<EndpointSettings>) -> (FixedList, Feed<EndpointSettings>) {
    let (writer, mut feed) = FeedWriter::new();
    let list = FixedList(writer);
    list.replace(endpoints);
    feed.mark_unchanged();
    (list, feed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(endpoints: Option<&[u32]>, problem: Option<&str>) -> Reading<u32> {
        Reading { endpoints: endpoints.map(<[u32]>::to_vec), problem: problem.map(ToOwned::to_owned) }
    }

    #[test]
    fn nothing_known_is_not_an_empty_set() {
        let (writer, feed) = FeedWriter::<u32>::new();
        writer.tell(read(None, Some("gone")));
        assert_eq!(feed.borrow().revision, 0);
        writer.tell(read(Some(&[]), None));
        assert_eq!(feed.borrow().revision, 1);
        assert!(feed.borrow().updated.is_some());
    }

    #[test]
    fn the_revision_rises_with_a_change_of_endpoints_and_with_nothing_else() {
        let (writer, feed) = FeedWriter::new();
        for (reading, revision) in [
            (read(Some(&[1]), None), 1),
            (read(Some(&[1]), None), 1),
            (read(None, Some("gone")), 1),
            (read(Some(&[1]), None), 1),
            (read(Some(&[2, 1]), None), 2),
            (read(Some(&[1, 2]), Some("half")), 3),
        ] {
            writer.tell(reading);
            assert_eq!(feed.borrow().revision, revision);
        }
    }

    #[test]
    fn receivers_wake_for_news_only() {
        let (writer, mut feed) = FeedWriter::new();
        for (reading, news) in [
            (read(Some(&[1]), None), true),
            (read(Some(&[1]), None), false),
            (read(None, Some("gone")), true),
            (read(None, Some("gone")), false),
            (read(None, Some("empty")), true),
            (read(Some(&[1]), None), true),
        ] {
            let what = format!("{reading:?}");
            writer.tell(reading);
            assert_eq!(feed.has_changed().unwrap(), news, "{what}");
            feed.borrow_and_update();
        }
    }

    #[test]
    fn a_problem_is_logged_when_it_comes_changes_and_ends() {
        let mut log = ProblemLog::new("test".to_owned());
        let readings = [None, Some("gone"), Some("gone"), Some("empty"), None, None, Some("gone")];
        let news: Vec<_> = readings.into_iter().filter(|problem| log.is_news(*problem)).collect();
        assert_eq!(news, [Some("gone"), Some("empty"), None, Some("gone")]);
    }

    #[test]
    fn a_problem_keeps_the_last_good_set_and_its_time() {
        let (writer, feed) = FeedWriter::new();
        writer.tell(read(Some(&[1, 2]), None));
        let before = feed.borrow().clone();
        writer.tell(read(None, Some("gone")));
        let after = feed.borrow();
        assert_eq!(*after.endpoints, [1, 2]);
        assert_eq!(after.problem.as_deref(), Some("gone"));
        assert_eq!((after.revision, after.updated), (before.revision, before.updated));
    }
}
