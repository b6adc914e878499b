//! A decoder of HPACK that is written to be read: each sentence of RFC 7541 once, everything copied.

pub(crate) mod huffman;

use isobar_http2::hpack::{Decoder, HpackError};

/// Name and value.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// The receiving end, with all it was shown.
pub(crate) struct NaiveDecoder {
    /// The newest first.
    pub(crate) table: Vec<Field>,
    max: usize,
    allowed: usize,
}

impl NaiveDecoder {
    pub(crate) fn new(allowed: usize) -> Self {
        Self { table: Vec::new(), max: allowed.min(4096), allowed }
    }

    /// The fields before the first error, and that.
    pub(crate) fn decode(&mut self, block: &[u8]) -> (Vec<Field>, Result<(), HpackError>) {
        let (mut fields, mut rest) = (Vec::new(), block);
        while !rest.is_empty() {
            match self.step(&mut rest, fields.is_empty()) {
                Ok(Some(field)) => fields.push(field),
                Ok(None) => {}
                Err(error) => return (fields, Err(error)),
            }
        }
        (fields, Ok(()))
    }

    fn step(&mut self, rest: &mut &[u8], may_update: bool) -> Result<Option<Field>, HpackError> {
        match rest[0] {
            0x80.. => {
                let index = integer(rest, 7)?;
                Ok(Some(self.at(index)?))
            }
            0x40..0x80 => {
                let field = self.literal(rest, 6)?;
                self.table.insert(0, field.clone());
                self.evict();
                Ok(Some(field))
            }
            0x20..0x40 if !may_update => Err(HpackError::UpdateMisplaced),
            0x20..0x40 => {
                self.max = integer(rest, 5)?;
                if self.max > self.allowed {
                    return Err(HpackError::UpdateTooLarge);
                }
                self.evict();
                Ok(None)
            }
            _ => Ok(Some(self.literal(rest, 4)?)),
        }
    }

    fn literal(&self, rest: &mut &[u8], prefix: u32) -> Result<Field, HpackError> {
        let index = integer(rest, prefix)?;
        let name = if index == 0 { string(rest)? } else { self.at(index)?.0 };
        Ok((name, string(rest)?))
    }

    fn at(&self, index: usize) -> Result<Field, HpackError> {
        match index {
            0 => Err(HpackError::IndexZero),
            1..62 => Ok(static_field(index)),
            _ => self.table.get(index - 62).cloned().ok_or(HpackError::IndexUnknown),
        }
    }

    fn evict(&mut self) {
        let size =
            |table: &[Field]| table.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>();
        while size(&self.table) > self.max {
            self.table.pop();
        }
    }
}

/// From the library: its static table is compared with the RFC's elsewhere.
pub(crate) fn static_field(index: usize) -> Field {
    let mut found = None;
    let block = [0x80 | u8::try_from(index).expect("an index of the static table")];
    Decoder::new(0)
        .decode(&block, |name, value| found = Some((name.to_vec(), value.to_vec())))
        .expect("every index of the static table stands for a field");
    found.expect("a field was shown")
}

fn byte(rest: &mut &[u8]) -> Result<u8, HpackError> {
    let (first, behind) = rest.split_first().ok_or(HpackError::Truncated)?;
    *rest = behind;
    Ok(*first)
}

fn integer(rest: &mut &[u8], prefix: u32) -> Result<usize, HpackError> {
    let full = 2_usize.pow(prefix) - 1;
    let mut value = usize::from(byte(rest)?) % (full + 1);
    if value < full {
        return Ok(value);
    }
    for power in 0..4 {
        let next = usize::from(byte(rest)?);
        value += next % 128 * 128_usize.pow(power);
        if next < 128 {
            return Ok(value);
        }
    }
    Err(HpackError::IntegerTooLong)
}

fn string(rest: &mut &[u8]) -> Result<Vec<u8>, HpackError> {
    let is_coded = rest.first().is_some_and(|first| *first >= 128);
    let len = integer(rest, 7)?;
    let (string, behind) = rest.split_at_checked(len).ok_or(HpackError::Truncated)?;
    *rest = behind;
    if !is_coded {
        return Ok(string.to_vec());
    }
    match huffman::decoded(string) {
        (text, Some(true)) => Ok(text),
        (_, Some(false)) => Err(HpackError::BadPadding),
        (_, None) => Err(HpackError::EndInString),
    }
}
