//! Fields to blocks (RFC 7541 section 6), as cheaply as a peer understands them.
//!
//! What is likely to repeat goes into the dynamic table once and is one byte afterwards. A small index finds it there
//! by its digest; it forgets where too many fields share a place, and then a field is merely sent literally again.
//!
//! # What always holds
//! - A secret is never put into a table, and carries the mark that nobody else may either.
//! - The table is never larger than the peer allows, nor than [`TABLE_MAX`].
//! - A field that is found in a table is the same in every byte: a digest only says where to look.
//!
//! # Limits
//! Strings are sent plainly, never in Huffman code (`huffman.rs` says why). Names are referred to in the static table
//! only: a name of another kind costs its bytes whenever its value changes.

use super::digest::Digest;
use super::dynamic_table::{self, DynamicTable};
use super::known_name::{KnownName, Usage};
use super::static_table::STATIC;
use super::{TABLE_DEFAULT, integer};
use std::collections::VecDeque;

/// The largest table that is used, whatever the peer allows: room for the fields that really repeat, and little memory
/// for a connection that does nothing.
pub const TABLE_MAX: usize = TABLE_DEFAULT;

/// A field may take this part of the table: a larger one would push out several that are asked for more often.
const SHARE_MAX: usize = 4;

/// Places in the index: twice as many as the largest table has fields.
const N_SLOTS: usize = 256;

/// Places where a field may stand, from the one that its digest says.
const WINDOW: usize = 4;

/// Makes digests of values differ from those of names.
const NAME_SEED: u64 = 0x6a09_e667_f3bc_c909;
const VALUE_SEED: u64 = 0xbb67_ae85_84ca_a73b;

/// The sending end of one direction of a connection.
#[derive(Debug)]
pub struct Encoder {
    table: DynamicTable,
    /// Where inserted fields are; nothing until the first.
    slots: Option<Box<[Slot; N_SLOTS]>>,
    /// Of the fields in the table, the newest first: most can be told apart by these alone.
    digests: VecDeque<FieldDigest>,
    /// Fields inserted so far, wrapping.
    n_inserted: u16,
    /// What the next block begins with.
    update: Option<Update>,
}

/// A field that was inserted, perhaps gone since: what it says is only ever tried.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    tag: u16,
    /// Fields inserted up to and with it.
    serial: u16,
}

/// The digests of a field's name and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FieldDigest {
    name: Digest,
    value: Digest,
}

impl FieldDigest {
    /// Where to look for the field.
    #[inline]
    fn hash(&self) -> u64 {
        self.name.mix(NAME_SEED).rotate_left(32) ^ self.value.mix(VALUE_SEED)
    }
}

/// Changes of the maximum since the last block (section 4.2).
#[derive(Clone, Copy, Debug)]
struct Update {
    lowest: usize,
    last: usize,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// The peer's table is taken to be [`TABLE_DEFAULT`] until it says otherwise. Allocates nothing.
    pub fn new() -> Self {
        Self {
            table: DynamicTable::new(TABLE_MAX),
            slots: None,
            digests: VecDeque::new(),
            n_inserted: 0,
            update: None,
        }
    }

    /// The peer's `SETTINGS_HEADER_TABLE_SIZE`, in bytes. It is followed from the next block on.
    pub fn set_table_max(&mut self, max: usize) {
        let last = max.min(TABLE_MAX);
        let lowest = self.update.map_or(last, |update| update.lowest.min(last));
        if self.update.is_some() || last != self.table.max() {
            self.update = Some(Update { lowest, last });
        }
    }

    /// Begins a block: says how large the table is from here on, if that changed. Comes before its first field.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        let Some(Update { lowest, last }) = self.update.take() else { return };
        if lowest < last {
            self.resize(lowest, out);
        }
        self.resize(last, out);
    }

    fn resize(&mut self, max: usize, out: &mut Vec<u8>) {
        self.table.set_max(max);
        self.digests.truncate(self.table.len());
        integer::encode(max, 5, 0x20, out);
    }

    /// Appends one field, its name in lower case already.
    pub fn encode(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let digest = FieldDigest { name: Digest::of_ends(name), value: Digest::of(value) };
        let (mut index, mut usage) = (0, Usage::Repeats);
        if let Some(known) = KnownName::find(name, &digest.name) {
            if let Some(whole) = known.index_with(&digest.value) {
                return integer::encode(whole, 7, 0x80, out);
            }
            (index, usage) = (usize::from(known.index), known.usage);
        }
        if usage == Usage::Repeats {
            match self.find(&digest, name, value) {
                Some(age) => return integer::encode(STATIC.len() + 1 + age, 7, 0x80, out),
                None if self.is_worth_a_place(name, value) => {
                    self.insert(digest, name, value);
                    integer::encode(index, 6, 0x40, out);
                    return put_strings(index, name, value, out);
                }
                None => {}
            }
        }
        integer::encode(index, 4, if usage == Usage::Secret { 0x10 } else { 0x00 }, out);
        put_strings(index, name, value, out);
    }

    fn is_worth_a_place(&self, name: &[u8], value: &[u8]) -> bool {
        dynamic_table::size_of(name, value) <= self.table.max() / SHARE_MAX
    }

    /// How many fields were inserted after the one that has this name and value.
    #[inline]
    fn find(&self, digest: &FieldDigest, name: &[u8], value: &[u8]) -> Option<usize> {
        let slots = self.slots.as_ref()?;
        let hash = digest.hash();
        (0..WINDOW).find_map(|step| {
            let slot = slots[place(hash, step)];
            if slot.tag != tag(hash) {
                return None;
            }
            let age = usize::from(self.n_inserted.wrapping_sub(slot.serial));
            let is_same = self.digests.get(age) == Some(digest)
                && (digest.name.is_exact() && digest.value.is_exact() || self.has(age, name, value));
            is_same.then_some(age)
        })
    }

    #[inline(never)]
    fn has(&self, age: usize, name: &[u8], value: &[u8]) -> bool {
        self.table.field(age) == Some((name, value))
    }

    /// Inserts a field, and lets the oldest that the index knows in its window go.
    #[inline(never)]
    fn insert(&mut self, digest: FieldDigest, name: &[u8], value: &[u8]) {
        self.table.insert(name, value);
        self.digests.truncate(self.table.len() - 1);
        self.digests.push_front(digest);
        let slots = self.slots.get_or_insert_with(|| Box::new([Slot::default(); N_SLOTS]));
        let (hash, n_inserted) = (digest.hash(), self.n_inserted);
        // Of several the first, which is tried first.
        let oldest = (0..WINDOW)
            .rev()
            .map(|step| place(hash, step))
            .max_by_key(|at| n_inserted.wrapping_sub(slots[*at].serial))
            .unwrap_or_default();
        self.n_inserted = n_inserted.wrapping_add(1);
        slots[oldest] = Slot { tag: tag(hash), serial: self.n_inserted };
    }
}

#[inline]
fn place(hash: u64, step: usize) -> usize {
    (hash as usize).wrapping_add(step) % N_SLOTS
}

#[inline]
fn tag(hash: u64) -> u16 {
    (hash >> 16) as u16
}

/// The strings of a literal field: the name only where `index` does not stand for it.
#[inline(never)]
fn put_strings(index: usize, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if index == 0 {
        put_string(name, out);
    }
    put_string(value, out);
}

#[inline]
fn put_string(bytes: &[u8], out: &mut Vec<u8>) {
    integer::encode(bytes.len(), 7, 0x00, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_stay_in_step_with_the_table_and_within_its_bound() {
        let (mut encoder, mut out) = (Encoder::new(), Vec::new());
        // More than the serial numbers of fields can count, most with the least size there is.
        for round in 0..70_000_u32 {
            if round % 1000 == 0 {
                encoder.set_table_max([4096, 0, 300][round as usize / 1000 % 3]);
            }
            out.clear();
            encoder.begin(&mut out);
            let (name, value) = (round.to_be_bytes(), [b'v'; 40]);
            let n_name = if round % 3 == 0 { 4 } else { 2 };
            encoder.encode(&name[4 - n_name..], &value[..round as usize % 7 * 6], &mut out);
            assert_eq!(encoder.digests.len(), encoder.table.len());
            assert!(encoder.digests.capacity() <= N_SLOTS / 2);
            for (age, digest) in encoder.digests.iter().enumerate().take(3) {
                let (name, value) = encoder.table.field(age).expect("as many as there are digests");
                assert_eq!(*digest, FieldDigest { name: Digest::of_ends(name), value: Digest::of(value) });
            }
        }
    }
}
