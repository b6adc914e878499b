//! Subsets: the part of a large service that one proxy uses, so that not every proxy is connected to every endpoint.
//!
//! Each endpoint has a number that follows from its id and the proxy's name; the highest are the subset. Source: gRFC A68
//! ("Random subsetting"), with a name in place of a seed that is drawn at the start, so that a restart changes nothing.
//! Invariants: it is taken from all endpoints, whatever their health, so that a death moves no connection; one endpoint more
//! or less changes it by one endpoint at most; nothing depends on the endpoints' order. Limit: weights do not count, beyond
//! that an endpoint without any is not in it.

use crate::placement::{mix, xxh64};
use crate::{Member, MemberIndex};

/// How much of a service this proxy uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subset {
    size: usize,
    seed: u64,
}

impl Subset {
    /// A subset of `size` endpoints, at least one, for the proxy of this name.
    pub fn new(size: usize, instance: &str) -> Self {
        Self { size: size.max(1), seed: xxh64(instance.as_bytes(), 0) }
    }

    /// Its members among these, by their places.
    pub(crate) fn choose<'a>(
        &self,
        all: impl Iterator<Item = (MemberIndex, &'a Member)>,
    ) -> Vec<MemberIndex> {
        let mut ranked: Vec<(u64, &str, MemberIndex)> = all
            .map(|(index, member)| {
                let id = &*member.endpoint.id;
                (mix(xxh64(id.as_bytes(), 0) ^ self.seed), id, index)
            })
            .collect();
        if ranked.len() > self.size {
            ranked.select_nth_unstable_by(self.size, |left, right| right.cmp(left));
            ranked.truncate(self.size);
        }
        let mut chosen: Vec<MemberIndex> = ranked.into_iter().map(|(_, _, index)| index).collect();
        chosen.sort_unstable();
        chosen
    }
}
