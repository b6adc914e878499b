//! The task that owns one cluster: sources, edits, probes and time in, snapshots out.
//!
//! Invariants: the first snapshot is published before the handle exists, so no reader ever waits for one; after a
//! change the newest state is published within [`PUBLICATION_GAP`]; two publications are never closer than that; each
//! probe and question to an agent that the cluster asks for gets exactly one result.
//!
//! The task ends when every handle is gone; the snapshot it published last stays readable.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use isobar_config::{HealthSettings, InitialHealth, ServiceSettings};
use isobar_core::{
    AgentDue, AgentLine, Cluster, ClusterSettings, Edit, EditError, ProbeDue, ProbeSettings, Snapshot,
    Verdict,
};
use isobar_discovery::Lookup;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use crate::graveyard::Graveyard;
use crate::handle::{ClusterHandle, Shared};
use crate::journal::{Journal, Occasion};
use crate::probe::Prober;
use crate::sources::{FollowedFile, SourceContext, Sources, mixed};

/// Messages that may wait for an owner. An owner folds one in microseconds, so more than a few waiting means that
/// somebody sends faster than anything can use; he then waits for room.
pub const MAILBOX_LEN: usize = 16;

/// The least time between two publications: each makes every worker refresh its view, and a deployment that replaces
/// a thousand endpoints one by one should cost a hundred refreshes a second, not a thousand.
pub const PUBLICATION_GAP: Duration = Duration::from_millis(10);

/// How often replaced snapshots are looked at while some are still held.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What an owner is told.
pub(crate) enum Message {
    /// Other settings of the service, with the files that it did not follow before; answered when they are in force.
    Configure(Box<ServiceSettings>, Vec<FollowedFile>, oneshot::Sender<()>),
    /// A change by an operator; answered when it is published.
    Edit(Edit, oneshot::Sender<Result<(), EditError>>),
}

/// What every owner works with.
pub(crate) struct OwnerContext<L> {
    pub(crate) sources: SourceContext<L>,
    pub(crate) journal: Journal,
    pub(crate) prober: Prober,
    /// Workers that count for endpoints.
    pub(crate) n_shards: usize,
    pub(crate) seed: u64,
}

/// Reads the sources of a service once, publishes the first snapshot of its cluster and starts its owner on the current
/// runtime.
pub(crate) async fn spawn<L: Lookup>(settings: &ServiceSettings, context: &OwnerContext<L>) -> ClusterHandle {
    let service: Arc<str> = settings.name.as_str().into();
    let seed = mixed(context.seed, &service);
    let sources = Sources::follow(settings, &context.sources, seed).await;
    let mut cluster = Cluster::new(&service, decisive(settings), context.n_shards, seed);
    let rung = Arc::new(Notify::new());
    let bell = Arc::clone(&rung);
    cluster.bell().wakes(move || bell.notify_one());
    cluster.set_sources(sources.sets(), isobar_core::Instant(0));
    let published = Arc::new(ArcSwap::from_pointee(cluster.snapshot()));
    let shared = Arc::new(Shared::new(sources.reports()));
    let (sender, mailbox) = mpsc::channel(MAILBOX_LEN);
    let mut owner = Owner {
        service: Arc::clone(&service),
        cluster,
        sources,
        probes: settings.health.clone().into(),
        prober: context.prober.for_service(),
        under_way: JoinSet::new(),
        asked: HashMap::new(),
        journal: context.journal.clone(),
        published: Arc::clone(&published),
        graveyard: Graveyard::new(),
        shared: Arc::clone(&shared),
        configured: Vec::new(),
        waiting: Vec::new(),
        changed: false,
        origin: Instant::now(),
        next_publication: Instant::now() + PUBLICATION_GAP,
    };
    owner.tell_events(Occasion::Start);
    owner.cluster.take_change();
    tokio::spawn(owner.run(mailbox, rung));
    ClusterHandle { service, published, mailbox: sender, shared }
}

/// The part of the settings that the cluster decides by.
fn decisive(settings: &ServiceSettings) -> ClusterSettings {
    let probe = |health: &HealthSettings| ProbeSettings {
        interval: health.interval,
        failing_interval: health.failing_interval,
        healthy_after: health.healthy_after,
        unhealthy_after: health.unhealthy_after,
        initial: match health.initial {
            InitialHealth::Unknown => Verdict::Unknown,
            InitialHealth::Healthy => Verdict::Healthy,
            InitialHealth::Unhealthy => Verdict::Unhealthy,
        },
    };
    ClusterSettings {
        policy: settings.policy,
        probes: settings.health.iter().map(probe).collect(),
        min_healthy_percent: settings.min_healthy_percent,
        weights: settings.weights,
        sticky: settings.sticky.as_ref().map(|sticky| sticky.key),
        zone_aware: settings.zone_aware.clone(),
        subset: settings.subset,
    }
}

/// Somebody who waits for the next publication.
enum Waiting {
    Editor(oneshot::Sender<Result<(), EditError>>),
    Configurer(oneshot::Sender<()>),
}

/// Whom a task asks.
enum Asked {
    Probe(ProbeDue),
    Agent(AgentDue),
}

/// What it heard.
enum Heard {
    Probe(Result<(), String>),
    Agent(Option<AgentLine>),
}

struct Owner {
    service: Arc<str>,
    cluster: Cluster,
    sources: Sources,
    /// What the probes send, in the order of the cluster's.
    probes: Arc<[HealthSettings]>,
    prober: Prober,
    under_way: JoinSet<Heard>,
    asked: HashMap<Id, Asked>,
    journal: Journal,
    published: Arc<ArcSwap<Snapshot>>,
    graveyard: Graveyard<Snapshot>,
    shared: Arc<Shared>,
    /// Who waits for the endpoints of other settings to be found.
    configured: Vec<oneshot::Sender<()>>,
    waiting: Vec<Waiting>,
    /// Whether the cluster has changed since the last publication.
    changed: bool,
    /// The cluster's moment zero.
    origin: Instant,
    /// No publication before this.
    next_publication: Instant,
}

impl Owner {
    async fn run(mut self, mut mailbox: mpsc::Receiver<Message>, rung: Arc<Notify>) {
        let mut sweeps = tokio::time::interval(SWEEP_INTERVAL);
        sweeps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let news = self.sources.news();
        loop {
            self.act();
            let due = self.cluster.poll_timeout().map(|at| self.origin + Duration::from_nanos(at.0));
            tokio::select! {
                // Publication first: a source that never pauses must not put it off. Messages last: an operator can wait.
                biased;
                () = tokio::time::sleep_until(self.next_publication), if self.changed => self.publish(),
                () = rung.notified() => self.cluster.handle_bell(self.now()),
                Some(ended) = self.under_way.join_next_with_id() => self.handle_heard(ended),
                () = tokio::time::sleep_until(due.unwrap_or(self.origin)), if due.is_some() => {
                    self.cluster.handle_timeout(self.now());
                }
                () = news.notified() => self.handle_news(),
                _ = sweeps.tick(), if !self.graveyard.is_empty() => self.graveyard.sweep(),
                message = mailbox.recv() => match message {
                    Some(message) => self.handle_message(message),
                    None => break,
                },
            }
        }
    }

    fn now(&self) -> isobar_core::Instant {
        isobar_core::Instant(0).after(self.origin.elapsed())
    }

    /// Does what the cluster asks for.
    fn act(&mut self) {
        self.tell_events(Occasion::Update);
        self.changed |= self.cluster.take_change();
        self.shared.set_removed(self.cluster.removed());
        let now = self.now();
        while let Some(due) = self.cluster.poll_action(now) {
            let (prober, probes, endpoint) =
                (self.prober.clone(), Arc::clone(&self.probes), Arc::clone(&due.endpoint));
            let (probe, tls) = (due.probe, self.prober.tls(&self.service));
            let task = self.under_way.spawn(async move {
                Heard::Probe(match probes.get(probe) {
                    Some(settings) => prober.probe(settings, tls.as_ref(), &endpoint).await,
                    None => Err("no such probe".to_owned()),
                })
            });
            self.asked.insert(task.id(), Asked::Probe(due));
        }
        while let Some(due) = self.cluster.poll_agent(now) {
            let (prober, asked) = (self.prober.clone(), due.clone());
            let ask = async move { Heard::Agent(prober.ask_agent(&asked).await) };
            let task = self.under_way.spawn(ask);
            self.asked.insert(task.id(), Asked::Agent(due));
        }
    }

    fn tell_events(&mut self, occasion: Occasion) {
        while let Some(event) = self.cluster.poll_event() {
            self.journal.tell(&self.service, &event, &self.shared.events, occasion);
        }
    }

    fn handle_heard(&mut self, ended: Result<(Id, Heard), JoinError>) {
        let (id, heard) = match ended {
            Ok((id, heard)) => (id, Some(heard)),
            Err(error) => (error.id(), None),
        };
        match (self.asked.remove(&id), heard) {
            (Some(Asked::Probe(due)), heard) => {
                let result = match heard {
                    Some(Heard::Probe(result)) => result,
                    _ => Err("the probe broke off; see the log".to_owned()),
                };
                self.shared.count_probe(result.is_ok());
                self.cluster.handle_probe(&due, result.map_err(Into::into), self.now());
            }
            (Some(Asked::Agent(due)), heard) => {
                let line = heard.and_then(|heard| if let Heard::Agent(line) = heard { line } else { None });
                self.shared.count_agent(line.is_some());
                self.cluster.handle_agent(&due, line.as_ref(), self.now());
            }
            (None, _) => {}
        }
    }

    fn handle_news(&mut self) {
        if self.sources.settle() {
            self.waiting.extend(self.configured.drain(..).map(Waiting::Configurer));
        }
        self.cluster.set_sources(self.sources.sets(), self.now());
        self.answer_unless_changed();
    }

    fn handle_message(&mut self, message: Message) {
        match message {
            Message::Configure(settings, files, answer) => {
                self.probes = settings.health.clone().into();
                self.cluster.set_settings(decisive(&settings), self.now());
                self.sources.replace(&settings, files);
                self.shared.set_sources(self.sources.reports());
                self.configured.push(answer);
            }
            Message::Edit(edit, answer) => match self.cluster.edit(edit, self.now()) {
                Ok(()) => self.waiting.push(Waiting::Editor(answer)),
                // Whoever asked may have gone; the edit was refused all the same.
                Err(error) => drop(answer.send(Err(error))),
            },
        }
        self.answer_unless_changed();
    }

    /// Where nothing is to be published, what was asked for can be seen already.
    fn answer_unless_changed(&mut self) {
        self.changed |= self.cluster.take_change();
        if !self.changed {
            self.answer();
        }
    }

    fn publish(&mut self) {
        let replaced = self.published.swap(Arc::new(self.cluster.snapshot()));
        self.graveyard.bury(replaced);
        self.changed = false;
        self.next_publication = Instant::now() + PUBLICATION_GAP;
        self.answer();
    }

    /// Tells those who wait that what they asked for can be seen.
    fn answer(&mut self) {
        for waiting in self.waiting.drain(..) {
            // Whoever asked may have gone meanwhile.
            let _ = match waiting {
                Waiting::Editor(answer) => answer.send(Ok(())).is_ok(),
                Waiting::Configurer(answer) => answer.send(()).is_ok(),
            };
        }
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
pub(crate) mod tests;
