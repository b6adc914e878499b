//! Chunk lines: size, extensions and line end, read byte by byte; and the writing of one.
//!
//! Source: RFC 9112 section 7.1. Extensions are checked and dropped. White space is accepted only where their grammar has
//! it, so `5 \r\n` is refused.

use crate::Reject;
use crate::class::{is_space, is_token_byte, is_value_byte};
use crate::framing::LENGTH_MAX;

/// Hexadecimal digits of a size, leading zeros included: enough for any 64-bit number.
const SIZE_DIGITS_MAX: u8 = 16;

/// Bytes of extensions in one chunk line. Signatures and checksums, the only uses known, have under 100.
const EXTENSION_BYTES_MAX: u32 = 256;

/// Longest chunk head: 16 digits and a line end.
pub const CHUNK_HEAD_MAX: usize = 18;

/// Reads one chunk line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChunkLine {
    state: State,
    n_digits: u8,
    n_extension_bytes: u32,
    size: u64,
}

/// What the next byte may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    /// White space before a semicolon: nothing else may follow it.
    BeforeSemicolon,
    /// Behind a semicolon: the name, white space first.
    NameStart,
    Name,
    /// White space behind a name: an equals sign or a semicolon follows.
    NameEnd,
    /// Behind the equals sign: the value, white space first.
    ValueStart,
    Token,
    Quoted,
    /// Behind a backslash in a quoted string.
    Escaped,
    /// Behind the closing quote.
    QuotedEnd,
    Cr,
}

/// A complete chunk line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) size: u64,
    pub(crate) n_extension_bytes: u32,
}

impl ChunkLine {
    /// Takes bytes up to the end of the line. Gives how many that were, and the chunk if the line is complete.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<(usize, Option<Chunk>), Reject> {
        for (at, &byte) in bytes.iter().enumerate() {
            if let Some(chunk) = self.step(byte)? {
                return Ok((at + 1, Some(chunk)));
            }
        }
        Ok((bytes.len(), None))
    }

    fn step(&mut self, byte: u8) -> Result<Option<Chunk>, Reject> {
        match (self.state, byte) {
            (State::Size, b'\r') if self.n_digits > 0 => self.state = State::Cr,
            (State::Name | State::Token | State::QuotedEnd, b'\r') => self.state = State::Cr,
            (State::Cr, b'\n') => {
                return Ok(Some(Chunk { size: self.size, n_extension_bytes: self.n_extension_bytes }));
            }
            (State::Cr, _) => return Err(Reject::BareCr),
            (_, b'\n') => return Err(Reject::BareLf),
            (State::Size, b';' | b' ' | b'\t') if self.n_digits > 0 => self.step_extension(byte)?,
            (State::Size, byte) => self.step_size(byte)?,
            _ => self.step_extension(byte)?,
        }
        Ok(None)
    }

    fn step_size(&mut self, byte: u8) -> Result<(), Reject> {
        let digit = (byte as char).to_digit(16).ok_or(Reject::BadChunkSize)?;
        if self.n_digits == SIZE_DIGITS_MAX {
            return Err(Reject::ChunkSizeOverflow);
        }
        self.n_digits += 1;
        self.size = self.size << 4 | u64::from(digit);
        if self.size > LENGTH_MAX { Err(Reject::ChunkSizeOverflow) } else { Ok(()) }
    }

    /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`
    fn step_extension(&mut self, byte: u8) -> Result<(), Reject> {
        use State::{
            BeforeSemicolon, Escaped, Name, NameEnd, NameStart, Quoted, QuotedEnd, Size, Token, ValueStart,
        };
        self.state = match (self.state, byte) {
            (Size | BeforeSemicolon | Name | NameEnd | Token | QuotedEnd, b';') => NameStart,
            (Size | BeforeSemicolon | Token | QuotedEnd, b) if is_space(b) => BeforeSemicolon,
            (NameStart | ValueStart, b) if is_space(b) => self.state,
            (NameStart | Name, b) if is_token_byte(b) => Name,
            (Name | NameEnd, b'=') => ValueStart,
            (Name | NameEnd, b) if is_space(b) => NameEnd,
            (ValueStart | Token, b) if is_token_byte(b) => Token,
            (ValueStart, b'"') => Quoted,
            (Quoted, b'"') => QuotedEnd,
            (Quoted, b'\\') => Escaped,
            (Quoted | Escaped, b) if is_value_byte(b) => Quoted,
            _ => return Err(Reject::BadChunkExtension),
        };
        self.n_extension_bytes += 1;
        if self.n_extension_bytes > EXTENSION_BYTES_MAX { Err(Reject::ChunkExtensionTooLong) } else { Ok(()) }
    }
}

/// Writes the head of a chunk of `len` bytes, such as `1a2b\r\n`, to the start of `out`; returns its length.
///
/// With `len` zero this is the line of the last chunk.
pub fn chunk_head(len: usize, out: &mut [u8; CHUNK_HEAD_MAX]) -> usize {
    let n_digits = (usize::BITS - (len | 1).leading_zeros()).div_ceil(4) as usize;
    for (i, digit) in out[..n_digits].iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[len >> (4 * i) & 15];
    }
    out[n_digits..n_digits + 2].copy_from_slice(b"\r\n");
    n_digits + 2
}
