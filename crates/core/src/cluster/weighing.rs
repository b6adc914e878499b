//! The cluster's part in live weights: agents are heard, and endpoints weighed when it is time to.
//!
//! Invariant: of agents a word about whether the endpoint works or takes requests counts at once; percentages count with
//! the next weighing, all together, so that ten thousand agents cost one pass over the members and not one each.

use super::{Cluster, ClusterEvent, EventKind};
use crate::weights::Agents;
use crate::{AgentDue, AgentLine, AgentSettings, Instant, Member};

impl Cluster {
    /// The next agent to ask, if one is due; its answer is owed to [`Self::handle_agent`].
    pub fn poll_agent(&mut self, now: Instant) -> Option<AgentDue> {
        self.agents.poll_action(now)
    }

    /// Takes what an agent that [`Self::poll_agent`] named said; `None` where nothing was understood.
    pub fn handle_agent(&mut self, due: &AgentDue, line: Option<&AgentLine>, now: Instant) {
        let change = self.agents.handle(due, line, now);
        if let Some(rests) = change.rests {
            let reason = self.agents.resting(due.generation).unwrap_or_default();
            let kind = if rests { EventKind::Draining } else { EventKind::Undrained };
            self.events.push_back(ClusterEvent::because(&due.endpoint.id, kind, reason));
        }
        if change.standing {
            self.judge(false);
        }
    }

    /// Takes over other settings of agents, and tells who takes requests again since what its agent said is forgotten. The
    /// members are to be judged afterwards.
    pub(super) fn set_agents(&mut self, settings: Option<AgentSettings>, now: Instant) {
        let rests = |agents: &Agents, member: &Member| agents.resting(member.live.generation()).is_some();
        let members = self.members.iter();
        let rested: Vec<Member> = members.filter(|member| rests(&self.agents, member)).cloned().collect();
        self.agents.set_settings(settings, &self.members, now);
        for member in rested.iter().filter(|member| !rests(&self.agents, member)) {
            self.events.push_back(ClusterEvent::of(&member.endpoint.id, EventKind::Undrained));
        }
    }

    /// Weighs the endpoints where it is time to.
    pub(super) fn weigh(&mut self, now: Instant) {
        let is_time = self.weigher.poll_timeout().is_some_and(|due| now >= due);
        if is_time && self.weigher.weigh(now) | self.agents.take_percent_change() {
            self.judge(false);
        }
    }
}
