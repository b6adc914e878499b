//! Blocks to fields (RFC 7541 section 6).
//!
//! # What always holds
//! - A field of either table is shown without a copy, a literal one likewise unless it is in Huffman code.
//! - After an error nothing more can be decoded: the tables of the two ends may differ.

use super::dynamic_table::DynamicTable;
use super::static_table::STATIC;
use super::{HpackError, TABLE_DEFAULT, huffman, integer};

/// What is kept of the memory for decoded strings between blocks: enough for those of ordinary heads, and little
/// enough for a connection that does nothing.
const SCRATCH_KEPT: usize = 1024;

/// The receiving end of one direction of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: DynamicTable,
    /// What a size update may ask for.
    table_max: usize,
    scratch: Scratch,
}

/// Strings of the present field that have no place of their own, the name first.
#[derive(Debug, Default)]
struct Scratch {
    /// As long as it ever had to be, so that room in it is not cleared for every string.
    bytes: Vec<u8>,
    len: usize,
}

impl Scratch {
    /// Room for `n` more bytes.
    fn room(&mut self, n: usize) -> &mut [u8] {
        let end = self.len + n;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.len..end]
    }
}

impl Decoder {
    /// `table_max` is what the peer was told by `SETTINGS_HEADER_TABLE_SIZE`. The table starts with no more than
    /// [`TABLE_DEFAULT`], as the peer's does; a smaller maximum must be known to the peer before its first block.
    pub fn new(table_max: usize) -> Self {
        Self {
            table: DynamicTable::new(table_max.min(TABLE_DEFAULT)),
            table_max,
            scratch: Scratch::default(),
        }
    }

    /// Decodes one complete block. Every field is shown in order, name and value, and lives only during the call.
    pub fn decode(&mut self, block: &[u8], mut show: impl FnMut(&[u8], &[u8])) -> Result<(), HpackError> {
        let mut rest = self.take_updates(block)?;
        while let Some(&first) = rest.first() {
            let (name, value) = if first >= 0x80 {
                let index = integer::decode(&mut rest, 7)?;
                self.indexed(index)?
            } else {
                self.literal(first, &mut rest)?
            };
            show(name, value);
        }
        if self.scratch.bytes.capacity() > SCRATCH_KEPT {
            self.scratch = Scratch::default();
        }
        Ok(())
    }

    /// Size updates stand before the first field (section 4.2). Returns what follows them.
    fn take_updates<'a>(&mut self, block: &'a [u8]) -> Result<&'a [u8], HpackError> {
        let mut rest = block;
        while rest.first().is_some_and(|first| first & 0xe0 == 0x20) {
            let max = integer::decode(&mut rest, 5)?;
            if max > self.table_max {
                return Err(HpackError::UpdateTooLarge);
            }
            self.table.set_max(max);
        }
        Ok(rest)
    }

    #[inline]
    fn indexed(&self, index: usize) -> Result<(&[u8], &[u8]), HpackError> {
        let place = index.checked_sub(1).ok_or(HpackError::IndexZero)?;
        match STATIC.get(place) {
            Some(field) => Ok(*field),
            None => self.table.field(place - STATIC.len()).ok_or(HpackError::IndexUnknown),
        }
    }

    /// Reads the literal field that begins with `first`, and adds it to the table if it says so.
    fn literal<'own, 'block: 'own>(
        &'own mut self,
        first: u8,
        rest: &mut &'block [u8],
    ) -> Result<(&'own [u8], &'own [u8]), HpackError> {
        let is_added = first & 0xc0 == 0x40;
        if first & 0xe0 == 0x20 {
            return Err(HpackError::UpdateMisplaced);
        }
        let index = integer::decode(rest, if is_added { 6 } else { 4 })?;
        self.scratch.len = 0;
        let name = match (index.checked_sub(1), index.checked_sub(STATIC.len() + 1)) {
            (None, _) => take_string(rest, &mut self.scratch)?,
            (Some(place), None) => STATIC.get(place).map(|field| field.0),
            (Some(_), Some(age)) => {
                let known = self.table.field(age).ok_or(HpackError::IndexUnknown)?;
                // A copy, because its entry may go when this one comes (section 4.4).
                self.scratch.room(known.0.len()).copy_from_slice(known.0);
                self.scratch.len = known.0.len();
                None
            }
        };
        let name_len = self.scratch.len;
        let value = take_string(rest, &mut self.scratch)?;
        let (decoded_name, decoded_value) = self.scratch.bytes[..self.scratch.len].split_at(name_len);
        let (name, value) = (name.unwrap_or(decoded_name), value.unwrap_or(decoded_value));
        if is_added {
            self.table.insert(name, value);
        }
        Ok((name, value))
    }
}

/// Takes a string off `rest`. One in Huffman code is appended to `scratch`, and `None` is returned.
#[inline]
fn take_string<'a>(rest: &mut &'a [u8], scratch: &mut Scratch) -> Result<Option<&'a [u8]>, HpackError> {
    let is_huffman = rest.first().is_some_and(|first| first & 0x80 != 0);
    let len = integer::decode(rest, 7)?;
    let (string, behind) = rest.split_at_checked(len).ok_or(HpackError::Truncated)?;
    *rest = behind;
    if is_huffman {
        scratch.len += huffman::decode(string, scratch.room(huffman::decoded_len_max(len)))?;
        Ok(None)
    } else {
        Ok(Some(string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_string_in_huffman_code_leaves_no_memory_behind() {
        let mut decoder = Decoder::new(0);
        // A length of 2000, and eight zeros ("0" is five bits of 0) for every five bytes.
        let block = [&[0x00, 0x01, b'x', 0xff, 0xd1, 0x0e][..], &[0; 2000]].concat();
        let mut shown = Vec::new();
        assert_eq!(decoder.decode(&block, |_, value| shown = value.to_vec()), Ok(()));
        assert_eq!(shown, [b'0'; 3200]);
        assert!(decoder.scratch.bytes.capacity() <= SCRATCH_KEPT);
    }

    #[test]
    fn nothing_is_allocated_before_the_first_literal() {
        let mut decoder = Decoder::new(4096);
        let mut n = 0;
        assert_eq!(decoder.decode(&[0x82, 0x86, 0x84], |_, _| n += 1), Ok(()));
        assert_eq!((n, decoder.scratch.bytes.capacity()), (3, 0));
    }
}
