//! Sticky sessions: which endpoint a value that a caller brings back stands for.
//!
//! A value is the SipHash-2-4 (Aumasson and Bernstein, 2012) of the endpoint's id under a secret key: it tells nothing of
//! the endpoint, stays the same over restarts and on every proxy with that key, and whoever makes one up meets an eligible
//! endpoint or none. Invariants: only an eligible member is found; nothing depends on the members' order but which of two
//! ids of one value is found, which 64 bits make a matter of no interest. Limit: values of all eligible members are computed
//! and sorted for each snapshot, some 40 ns each.

use std::fmt;

use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128 as _, SipHasher24 as SipHasher128};

use crate::{Endpoint, Member, MemberIndex};

/// Tells keys from secrets and keys from names apart: neither gives a key of the other kind.
const FROM_SECRET: &[u8] = b"isobar sticky secret";
const FROM_SERVICE: &[u8] = b"isobar sticky service";

/// What the values of a service follow from; not shown to anybody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StickyKey([u8; 16]);

impl StickyKey {
    /// The key that follows from a secret of any length.
    pub fn of_secret(secret: &str) -> Self {
        Self::derive(FROM_SECRET, secret)
    }

    /// The key of a service without a secret: whoever knows an endpoint's id can compute its value.
    pub fn of_service(name: &str) -> Self {
        Self::derive(FROM_SERVICE, name)
    }

    fn derive(kind: &[u8], text: &str) -> Self {
        let mut hasher = SipHasher128::new();
        std::hash::Hasher::write(&mut hasher, kind);
        std::hash::Hasher::write(&mut hasher, text.as_bytes());
        Self(hasher.finish128().as_bytes())
    }

    /// The value that stands for an endpoint.
    pub fn value(&self, endpoint: &Endpoint) -> StickyValue {
        StickyValue(SipHasher24::new_with_key(&self.0).hash(endpoint.id.as_bytes()))
    }
}

impl fmt::Debug for StickyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StickyKey(..)")
    }
}

/// What stands for an endpoint in a caller's hands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StickyValue(u64);

/// Digits of a value as text.
const DIGITS: usize = 16;

impl StickyValue {
    /// Reads what [`Self::digits`] writes; anything else is none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != DIGITS {
            return None;
        }
        let digit = |byte: &u8| match byte {
            b'0'..=b'9' => Some(u64::from(byte - b'0')),
            b'a'..=b'f' => Some(u64::from(byte - b'a') + 10),
            _ => None,
        };
        text.iter().try_fold(0, |value, byte| Some(value << 4 | digit(byte)?)).map(Self)
    }

    /// Sixteen hexadecimal digits in lower case.
    pub fn digits(self) -> [u8; DIGITS] {
        std::array::from_fn(|place| {
            let nibble = self.0 >> (4 * (DIGITS - 1 - place)) & 15;
            b"0123456789abcdef"[nibble as usize]
        })
    }
}

/// The eligible members of a snapshot by their values.
#[derive(Debug)]
pub struct Stickiness {
    key: StickyKey,
    /// By value.
    holders: Box<[(StickyValue, MemberIndex)]>,
}

impl Stickiness {
    pub(crate) fn new(key: StickyKey, members: &[Member]) -> Self {
        let eligible = (0..).zip(members).filter(|(_, member)| member.is_eligible);
        let mut holders: Vec<_> =
            eligible.map(|(place, member)| (key.value(&member.endpoint), MemberIndex(place))).collect();
        holders.sort_unstable();
        Self { key, holders: holders.into() }
    }

    /// The eligible member that a value stands for.
    pub fn holder(&self, value: StickyValue) -> Option<MemberIndex> {
        let found = self.holders.binary_search_by_key(&value, |(value, _)| *value).ok()?;
        Some(self.holders[found].1)
    }

    /// The value that stands for an endpoint, eligible or not.
    pub fn value(&self, endpoint: &Endpoint) -> StickyValue {
        self.key.value(endpoint)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_siphash_2_4_and_stay_for_ever() {
        // The reference vector of the paper's appendix A: the key 00..0f and the input 00..0e.
        let key = StickyKey(std::array::from_fn(|byte| byte as u8));
        let input: String = (0..15_u8).map(char::from).collect();
        assert_eq!(key.value(&endpoint(&input)), StickyValue(0xa129_ca61_49be_45e5));
        // Golden: another derivation would move every caller once.
        let digits =
            |key: StickyKey| String::from_utf8(key.value(&endpoint("cart-1")).digits().to_vec()).unwrap();
        let golden = [digits(StickyKey::of_service("cart")), digits(StickyKey::of_secret("cart"))];
        assert_eq!(golden, ["4fed1fb10fb9ef17", "241da4c75b85bf69"]);
    }

    fn endpoint(id: &str) -> Endpoint {
        Endpoint {
            id: id.into(),
            address: crate::Address::Tcp("127.0.0.1:1".parse().unwrap()),
            weight: 1,
            priority: 0,
            zone: None,
            host: None,
            hash_key: None,
            metadata: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", StickyKey::of_secret("s3cret")), "StickyKey(..)");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_else(value: u64, garbage in prop::collection::vec(any::<u8>(), 0..20)) {
            let value = StickyValue(value);
            prop_assert_eq!(StickyValue::parse(&value.digits()), Some(value));
            match StickyValue::parse(&garbage) {
                Some(read) => prop_assert_eq!(&read.digits()[..], &garbage[..]),
                None => prop_assert!(garbage.len() != DIGITS || garbage.iter().any(|byte| !b"0123456789abcdef".contains(byte))),
            }
        }
    }
}
