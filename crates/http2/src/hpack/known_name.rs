//! What the encoder knows about names: where they stand in the static table, and whether their values come again.
//!
//! A name is found by its digest in a table without collisions, which is made when this is compiled.

use super::digest::Digest;
use super::static_table::STATIC;

/// Whether a value deserves a place in the dynamic table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// Likely to be said again on this connection.
    Repeats,
    /// Says something of one message, one resource, one moment or one caller: it would push out what repeats.
    Changes,
    /// Must not be guessed from the sizes of blocks: never in a table, here or anywhere on its way (RFC 7541 section 7.1.3).
    Secret,
}

/// Names whose values seldom repeat.
const CHANGES: [&[u8]; 21] = [
    b":path",
    b"age",
    b"content-length",
    b"content-range",
    b"date",
    b"etag",
    b"expires",
    b"forwarded",
    b"grpc-timeout",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"last-modified",
    b"location",
    b"range",
    b"traceparent",
    b"tracestate",
    b"x-forwarded-for",
    b"x-real-ip",
    b"x-request-id",
];

/// Names whose values let somebody in.
const SECRET: [&[u8]; 4] = [b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"];

/// A name that the encoder knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownName {
    name: &'static [u8],
    digest: Digest,
    /// Of its first field in the static table, from 1 on; 0 if it is not there.
    pub(super) index: u8,
    /// Its fields in the static table.
    n_values: u8,
    pub(super) usage: Usage,
}

impl KnownName {
    /// What is known about `name`, whose digest is given.
    #[inline]
    pub(super) fn find(name: &[u8], digest: &Digest) -> Option<&'static Self> {
        let known = &KNOWN[usize::from(PLACES[place(digest, SEED)])];
        (known.digest == *digest && (digest.is_exact() || known.name == name)).then_some(known)
    }

    /// The index of the static field that has this name and the value whose digest is given.
    #[inline]
    pub(super) fn index_with(&self, value: &Digest) -> Option<usize> {
        let from = usize::from(self.index).checked_sub(1)?;
        let values = VALUES.get(from..from + usize::from(self.n_values))?;
        values.iter().position(|one| one == value).map(|at| from + 1 + at)
    }
}

/// The values of the static table, each of which its digest determines.
static VALUES: [Digest; STATIC.len()] = values();

const fn values() -> [Digest; STATIC.len()] {
    let mut values = [Digest::of(b""); STATIC.len()];
    let mut at = 0;
    while at < STATIC.len() {
        values[at] = Digest::of(STATIC[at].1);
        assert!(values[at].is_exact(), "too long for its digest to determine it");
        at += 1;
    }
    values
}

/// Few enough to be read often, and enough that a seed without collisions is soon found.
const N_PLACES: usize = 512;

const N_KNOWN: usize = n_known();

static KNOWN: [KnownName; N_KNOWN] = known();

/// Which known name a digest may stand for.
static PLACES: [u8; N_PLACES] = match places(SEED) {
    Some(places) => places,
    None => panic!("the seed was found to have no collisions"),
};

const SEED: u64 = seed();

#[inline]
const fn place(digest: &Digest, seed: u64) -> usize {
    digest.mix(seed) as usize % N_PLACES
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

const fn is_among(name: &[u8], names: &[&[u8]]) -> bool {
    let mut at = 0;
    while at < names.len() {
        if is_same(names[at], name) {
            return true;
        }
        at += 1;
    }
    false
}

/// Whether the static field at `at`, from 0 on, is the first of its name.
const fn is_first(at: usize) -> bool {
    at == 0 || !is_same(STATIC[at].0, STATIC[at - 1].0)
}

const fn is_static(name: &[u8]) -> bool {
    let mut at = 0;
    while at < STATIC.len() {
        if is_same(STATIC[at].0, name) {
            return true;
        }
        at += 1;
    }
    false
}

const fn n_known() -> usize {
    let mut n = 0;
    let mut at = 0;
    while at < STATIC.len() {
        n += is_first(at) as usize;
        at += 1;
    }
    at = 0;
    while at < CHANGES.len() {
        n += !is_static(CHANGES[at]) as usize;
        at += 1;
    }
    n
}

const fn known() -> [KnownName; N_KNOWN] {
    let nothing =
        KnownName { name: b"", digest: Digest::of_ends(b""), index: 0, n_values: 0, usage: Usage::Changes };
    let mut known = [nothing; N_KNOWN];
    let mut n = 0;
    let mut at = 0;
    while at < STATIC.len() {
        let name = STATIC[at].0;
        if is_first(at) {
            let usage = if is_among(name, &SECRET) {
                Usage::Secret
            } else if is_among(name, &CHANGES) {
                Usage::Changes
            } else {
                Usage::Repeats
            };
            known[n] =
                KnownName { name, digest: Digest::of_ends(name), index: at as u8 + 1, n_values: 0, usage };
            n += 1;
        }
        known[n - 1].n_values += 1;
        at += 1;
    }
    at = 0;
    while at < CHANGES.len() {
        let name = CHANGES[at];
        if !is_static(name) {
            known[n] = KnownName { name, digest: Digest::of_ends(name), ..nothing };
            n += 1;
        }
        at += 1;
    }
    known
}

/// Where each known name is found, unless two would be found in one place. An empty place leads to the first name,
/// which is then seen to be another.
const fn places(seed: u64) -> Option<[u8; N_PLACES]> {
    let mut places = [u8::MAX; N_PLACES];
    let mut n = 0;
    while n < N_KNOWN {
        let place = place(&KNOWN[n].digest, seed);
        if places[place] != u8::MAX {
            return None;
        }
        places[place] = n as u8;
        n += 1;
    }
    n = 0;
    while n < N_PLACES {
        if places[n] == u8::MAX {
            places[n] = 0;
        }
        n += 1;
    }
    Some(places)
}

const fn seed() -> u64 {
    let mut seed = 1;
    while places(seed).is_none() {
        // An odd multiple of a large odd number, so that all its bits change.
        seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 2;
    }
    seed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_static_field_is_found_under_the_first_index_that_has_it() {
        for (at, (name, value)) in STATIC.iter().enumerate() {
            let found = KnownName::find(name, &Digest::of_ends(name)).expect("a known name");
            assert_eq!(found.index_with(&Digest::of(value)), Some(at + 1));
            assert_eq!(STATIC[usize::from(found.index) - 1].0, *name);
            assert_eq!(found.index_with(&Digest::of(b"no value of the table")), None);
        }
    }

    #[test]
    fn a_name_that_differs_in_any_byte_or_in_length_is_another() {
        for known in &KNOWN {
            for at in 0..known.name.len() {
                let mut other = known.name.to_vec();
                other[at] ^= 1;
                let found = KnownName::find(&other, &Digest::of_ends(&other));
                assert!(found.is_none_or(|found| found.name == other), "{found:?}");
                assert!(
                    KnownName::find(&other[..at], &Digest::of_ends(&other[..at]))
                        .is_none_or(|found| found.name == &other[..at])
                );
            }
        }
        assert!(KnownName::find(b"", &Digest::of_ends(b"")).is_none());
        assert!(KnownName::find(b"x-unknown", &Digest::of_ends(b"x-unknown")).is_none());
    }

    #[test]
    fn secrets_and_what_changes_are_known_as_such() {
        for (names, usage) in [(&CHANGES[..], Usage::Changes), (&SECRET, Usage::Secret)] {
            for name in names {
                assert_eq!(KnownName::find(name, &Digest::of_ends(name)).expect("a known name").usage, usage);
            }
        }
        assert_eq!(
            KnownName::find(b"user-agent", &Digest::of_ends(b"user-agent")).expect("a known name").usage,
            Usage::Repeats
        );
    }
}
