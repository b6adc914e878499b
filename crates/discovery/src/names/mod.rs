//! Host names to addresses, again and again: a feed of endpoints as written becomes a feed of endpoints to connect to.
//!
//! ```text
//! Feed<EndpointSettings> --> NameTable (decides what to ask when) <-- answers -- Lookup
//!                               `--> Feed<Found>: literals as they are, one endpoint per address of a name
//! ```
//!
//! Invariants: the order is that of the written endpoints, and of the addresses within a name; a failed look-up keeps
//! what the name had; without a name to resolve there is no timer; at most [`LOOKUPS_MAX`] questions are under way.
//!
//! Limits: the time to live of a DNS record is not known, names are asked for at an interval.

mod expand;
mod lookup;
mod resolve;
mod table;

use std::sync::Arc;
use std::time::Duration;

use isobar_config::EndpointSettings;
use isobar_core::Endpoint;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use lookup::{Lookup, SystemLookup};
pub use resolve::{ResolveError, ResolveErrors, resolve};

use crate::feed::{Feed, FeedWriter, ProblemLog, Reading, SourceState};
use expand::{Target, literal, named, names_of, target};
use lookup::{Answer, LOOKUPS_MAX, ask};
use table::NameTable;

/// How long an answer is used before its name is asked for again: as often as a deployment behind a DNS name may move,
/// and rarely enough for any resolver.
pub const RERESOLVE_INTERVAL: Duration = Duration::from_secs(5);

/// How long a change that brings new names is held back for their first answers: without it, a name in the place of
/// another would leave the service without endpoints while it is asked for. Longer would delay what the change removes.
const NEW_NAMES_PATIENCE: Duration = Duration::from_secs(1);

/// An endpoint that can be connected to, and how sure its absence would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Whether it came out of an answer of a resolver: answers can be short for reasons of their own, so that its loss
    /// is inferred; the loss of any other endpoint was written by somebody.
    pub inferred: bool,
}

/// Follows a feed of endpoints as written and resolves their host names every `every` (say [`RERESOLVE_INTERVAL`]).
///
/// When this returns, each name of the feed's first state was asked for once. A name that never resolved contributes
/// no endpoint and a problem; whether that ends a start is the caller's choice (see [`resolve`]). `seed` spreads the
/// moments of asking; `service` is for the log. Must be called on a tokio runtime with time; the task ends when every
/// receiver is gone.
pub async fn names<L: Lookup>(
    written: Feed<EndpointSettings>,
    lookup: Arc<L>,
    every: Duration,
    seed: u64,
    service: &str,
) -> Feed<Found> {
    let (writer, mut feed) = FeedWriter::new();
    let mut follower = Follower {
        written,
        taken: SourceState::default(),
        written_open: true,
        lookup,
        table: NameTable::new(every, seed),
        questions: JoinSet::new(),
        held_until: None,
        writer,
        log: ProblemLog::new(format!("names of service {service}")),
    };
    follower.take_written();
    while follower.table.has_unanswered() {
        follower.step().await;
    }
    follower.tell();
    feed.mark_unchanged();
    tokio::spawn(follower.run());
    feed
}

struct Follower<L> {
    written: Feed<EndpointSettings>,
    /// What was taken from `written` last: the table knows its names, and not those of a newer state.
    taken: SourceState<EndpointSettings>,
    /// Whether `written` can still change.
    written_open: bool,
    lookup: Arc<L>,
    table: NameTable,
    questions: JoinSet<(String, Answer)>,
    /// Until when news are held back, so that new names can be answered.
    held_until: Option<Instant>,
    writer: FeedWriter<Found>,
    log: ProblemLog,
}

impl<L: Lookup> Follower<L> {
    async fn run(mut self) {
        let writer = self.writer.clone();
        loop {
            tokio::select! {
                () = writer.closed() => return,
                () = self.step() => self.tell(),
            }
        }
    }

    /// Asks for what is due, then waits for one thing to happen and takes it in.
    async fn step(&mut self) {
        let now = Instant::now();
        while self.questions.len() < LOOKUPS_MAX
            && let Some(name) = self.table.poll_question(now)
        {
            let lookup = Arc::clone(&self.lookup);
            self.questions.spawn(async move {
                let answer = ask(lookup, name.clone()).await;
                (name, answer)
            });
        }
        // A name that is due while there is no room for its question waits for an answer, not for the clock.
        let due = if self.questions.len() < LOOKUPS_MAX { self.table.poll_timeout() } else { None };
        let wake = [due, self.held_until].into_iter().flatten().min();
        tokio::select! {
            changed = self.written.changed(), if self.written_open => match changed {
                Ok(()) => self.take_written(),
                Err(_) => self.written_open = false,
            },
            Some(answered) = self.questions.join_next() => if let Ok((name, answer)) = answered {
                self.table.handle_answer(&name, answer, Instant::now());
            },
            () = sleep_until(wake) => {}
        }
        if self.held_until.is_some_and(|until| until <= Instant::now()) {
            self.held_until = None;
        }
    }

    fn take_written(&mut self) {
        self.taken = self.written.borrow_and_update().clone();
        let now = Instant::now();
        self.table.handle_names(names_of(&*self.taken.endpoints), now);
        if self.table.has_unanswered() {
            self.held_until.get_or_insert(now + NEW_NAMES_PATIENCE);
        }
    }

    fn tell(&mut self) {
        if self.held_until.is_some() && self.table.has_unanswered() {
            return;
        }
        self.held_until = None;
        let failed = self.table.problem();
        self.log.note(failed.as_deref());
        let problem = match (&self.taken.problem, failed) {
            (Some(source), Some(failed)) => Some(format!("{source}; {failed}")),
            (Some(source), None) => Some(source.to_string()),
            (None, failed) => failed,
        };
        // A list that names somebody, of whom nobody is found, is a failure and does not say that there is nobody.
        let says = |found: &Vec<Found>| !found.is_empty() || self.taken.endpoints.is_empty();
        let endpoints = (self.taken.revision > 0).then(|| self.expand()).filter(says);
        self.writer.tell_of(self.taken.revision, Reading { endpoints, problem });
    }

    fn expand(&self) -> Vec<Found> {
        let mut found = Vec::with_capacity(self.taken.endpoints.len());
        for written in &*self.taken.endpoints {
            match target(written) {
                Target::Literal(address) => {
                    found.push(Found { endpoint: literal(written, address), inferred: false });
                }
                Target::Name { host, port } => {
                    let endpoints = named(written, host, port, self.table.addresses(host));
                    found.extend(endpoints.map(|endpoint| Found { endpoint, inferred: true }));
                }
            }
        }
        found
    }
}

/// Waits for a moment; for ever where there is none.
async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
