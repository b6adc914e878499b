//! The policies: one file each behind one small trait, and the table that names them.
//!
//! Invariants: a policy is compiled for the members of one priority level, at least one, each with a weight
//! above zero, and always answers one of them; it keeps no state that changes with a pick. Adding one takes
//! its file, a variant and one line of `TABLE`.

mod alias;
mod p2c;
mod random;
mod round_robin;

use std::fmt;

use crate::{Draw, Member, MemberIndex, PickRequest};

pub(crate) use alias::Alias;

/// A member that a policy may choose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) index: MemberIndex,
    /// Above zero.
    pub(crate) weight: u32,
}

/// What a policy may read of the present while it chooses.
pub(crate) struct Facts<'a> {
    /// All members of the snapshot, in its order.
    pub(crate) members: &'a [Member],
}

/// A strategy compiled for one level.
pub(crate) trait Policy: Send + Sync + fmt::Debug {
    /// Chooses a candidate: a function of its arguments and of what was compiled, without allocation.
    fn choose(&self, facts: &Facts<'_>, request: &PickRequest<'_>, draw: &mut Draw) -> MemberIndex;
}

/// Which strategy spreads the requests of a service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum PolicyKind {
    /// nginx's smooth weighted round robin.
    RoundRobin,
    /// By weight at random.
    Random,
    /// The less loaded of two drawn by weight.
    #[default]
    P2c,
}

struct Row {
    kind: PolicyKind,
    name: &'static str,
    compile: fn(&[Candidate]) -> Box<dyn Policy>,
}

const TABLE: [Row; 3] = [
    Row { kind: PolicyKind::RoundRobin, name: "round-robin", compile: round_robin::compile },
    Row { kind: PolicyKind::Random, name: "random", compile: random::compile },
    Row { kind: PolicyKind::P2c, name: "p2c", compile: p2c::compile },
];

impl PolicyKind {
    /// Every policy, in the order of their variants.
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [Self::RoundRobin; TABLE.len()];
        let mut place = 0;
        while place < TABLE.len() {
            assert!(TABLE[place].kind as usize == place, "TABLE follows the order of the variants");
            all[place] = TABLE[place].kind;
            place += 1;
        }
        all
    };

    /// The policy that the configuration calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.kind)
    }

    /// What the configuration calls it.
    pub fn name(self) -> &'static str {
        TABLE[self as usize].name
    }

    pub(crate) fn compile(self, candidates: &[Candidate]) -> Box<dyn Policy> {
        (TABLE[self as usize].compile)(candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_found_by_its_name() {
        for kind in PolicyKind::ALL {
            assert_eq!(PolicyKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(PolicyKind::from_name("least-loaded"), None);
    }

    #[test]
    fn the_default_is_p2c() {
        assert_eq!(PolicyKind::default().name(), "p2c");
    }
}
