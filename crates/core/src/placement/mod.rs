//! Where a key belongs: tables that send each hash to a node, and move few of them when the nodes change.
//!
//! Invariants: a table is a function of names and weights alone; it holds every node of a weight above zero; `walk`
//! begins with the node that the hash belongs to and then names others, each the next that the hash would go to.

mod hashing;
mod maglev;
mod rendezvous;
mod ring;

pub(crate) use hashing::{mix, xxh64};
pub(crate) use maglev::Maglev;
pub(crate) use rendezvous::Rendezvous;
pub(crate) use ring::Ring;

/// Whose rules a table follows, so that a key's node is the same as there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Layout {
    /// Our own.
    #[default]
    Isobar,
    /// nginx's `hash ... consistent`, and Pingora's.
    Nginx,
    /// Envoy's ring hash and Maglev.
    Envoy,
    /// libketama's.
    Ketama,
    /// HAProxy's `hash-type consistent`.
    Haproxy,
}

impl Layout {
    /// Every layout, in the order of the variants.
    pub const ALL: [Self; 5] = [Self::Isobar, Self::Nginx, Self::Envoy, Self::Ketama, Self::Haproxy];

    /// What the configuration calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Isobar => "isobar",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Ketama => "ketama",
            Self::Haproxy => "haproxy",
        }
    }

    /// The hash of a request's key, which the tables of this layout look up.
    pub fn hash(self, key: &[u8]) -> u64 {
        match self {
            Self::Isobar | Self::Envoy => hashing::xxh64(key, 0),
            Self::Nginx => hashing::Crc32::default().feed(key).finish().into(),
            Self::Ketama => hashing::md5_words(key)[0].into(),
            Self::Haproxy => hashing::full_hash(hashing::sdbm(key)).into(),
        }
    }
}

/// By which function the points of Envoy's ring are placed; of no meaning to other tables, and to the hashes of keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum PointHash {
    /// XXH64.
    #[default]
    Xxhash,
    /// `MurmurHash2` 64A.
    Murmur2,
}

impl PointHash {
    /// Every function, in the order of the variants.
    pub const ALL: [Self; 2] = [Self::Xxhash, Self::Murmur2];

    /// What the configuration calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xxhash => "xxhash",
            Self::Murmur2 => "murmur2",
        }
    }

    fn hash(self, name: &[u8]) -> u64 {
        match self {
            Self::Xxhash => hashing::xxh64(name, 0),
            Self::Murmur2 => hashing::murmur2(name),
        }
    }
}

/// What a table places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'a> {
    /// What its places follow from.
    pub(crate) name: &'a str,
    /// Above zero.
    pub(crate) weight: u32,
}
