//! Strings in Huffman code (RFC 7541 section 5.2 and appendix B), decoded.
//!
//! The code is canonical: shorter codes come first, codes of one length in the order of their symbols. So the lengths
//! say everything, and the tables here are made of them when this is compiled.
//!
//! # Limits
//! Only decoding. Our encoder sends strings plainly, which is a copy. Coding them would cost a step for each byte here
//! and another at the peer (decoding takes some 3 ns a byte, see `examples/hpack_cost.rs`), to save a quarter of the
//! bytes of the few strings that a table does not save whole.

use super::HpackError;

/// Symbols: all bytes, and the end of a string.
const N_SYMBOLS: usize = 257;
/// The last symbol, which no string may contain.
const END: usize = 256;
/// Bits of the longest code.
const LEN_MAX: usize = 30;
/// Bits of the shortest code: a string grows by 8/5 at most.
const LEN_MIN: usize = 5;
/// Codes up to this length are found at once; they are those of nearly all bytes in heads.
const SHORT_MAX: usize = 8;

/// Bits of the code of each symbol.
#[rustfmt::skip]
const LENGTHS: [u8; N_SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// A symbol with a short code, by the next byte of the input; a length of 0 stands for all longer codes.
static SHORT: [Short; 1 << SHORT_MAX] = short_codes();

/// The symbols in the order of their codes.
static BY_CODE: [u16; N_SYMBOLS] = symbols_by_code();

/// For each length, its codes.
static RANGES: [Range; LEN_MAX + 1] = ranges();

#[derive(Clone, Copy)]
struct Short {
    symbol: u8,
    len: u8,
}

/// The codes of one length. All are moved left to fill 32 bits, so that the next bits of the input compare with them.
#[derive(Clone, Copy)]
struct Range {
    /// The first code of this length.
    from: u64,
    /// The first code that is longer.
    to: u64,
    /// Where the symbol of `from` stands in [`BY_CODE`].
    place: usize,
}

const fn symbols_by_code() -> [u16; N_SYMBOLS] {
    let mut symbols = [0; N_SYMBOLS];
    let mut n = 0;
    let mut len = LEN_MIN;
    while len <= LEN_MAX {
        let mut symbol = 0;
        while symbol < N_SYMBOLS {
            if LENGTHS[symbol] as usize == len {
                symbols[n] = symbol as u16;
                n += 1;
            }
            symbol += 1;
        }
        len += 1;
    }
    assert!(n == N_SYMBOLS, "a length is out of its bounds");
    symbols
}

const fn ranges() -> [Range; LEN_MAX + 1] {
    let mut ranges = [Range { from: 0, to: 0, place: 0 }; LEN_MAX + 1];
    let symbols = symbols_by_code();
    let mut code = 0;
    let mut n = 0;
    let mut len = 1;
    while len <= LEN_MAX {
        let (from, place) = (code, n);
        while n < N_SYMBOLS && LENGTHS[symbols[n] as usize] as usize == len {
            code += 1 << (32 - len);
            n += 1;
        }
        ranges[len] = Range { from, to: code, place };
        len += 1;
    }
    assert!(code == 1 << 32, "the code is not complete");
    ranges
}

const fn short_codes() -> [Short; 1 << SHORT_MAX] {
    let mut table = [Short { symbol: 0, len: 0 }; 1 << SHORT_MAX];
    let symbols = symbols_by_code();
    let mut next = 0;
    let mut n = 0;
    while LENGTHS[symbols[n] as usize] as usize <= SHORT_MAX {
        let symbol = symbols[n];
        let len = LENGTHS[symbol as usize];
        let until = next + (1 << (SHORT_MAX - len as usize));
        while next < until {
            table[next] = Short { symbol: symbol as u8, len };
            next += 1;
        }
        n += 1;
    }
    table
}

/// The symbol of a long code, `top` being the next 32 bits.
fn long_symbol(top: u64) -> (usize, usize) {
    let mut len = SHORT_MAX + 1;
    while top >= RANGES[len].to {
        len += 1;
    }
    let range = RANGES[len];
    let place = range.place + ((top - range.from) >> (32 - len)) as usize;
    (usize::from(BY_CODE[place]), len)
}

/// Bits that a word read at any place holds, all of whose bytes are input.
const WORD_BITS: usize = 57;
/// Short codes that a word holds in any case.
const BATCH: usize = WORD_BITS / SHORT_MAX;

/// The input from the bit at `place` on, if eight bytes are left.
#[inline]
fn word_at(coded: &[u8], place: usize) -> Option<u64> {
    let word = coded.get(place / 8..)?.first_chunk()?;
    Some(u64::from_be_bytes(*word) << (place % 8))
}

/// Bytes that `coded_len` bytes of Huffman code stand for at most.
pub(super) fn decoded_len_max(coded_len: usize) -> usize {
    coded_len * 8 / LEN_MIN
}

/// Writes what `coded` stands for to the front of `room`, which has [`decoded_len_max`] bytes. Returns how many.
pub(super) fn decode(coded: &[u8], room: &mut [u8]) -> Result<usize, HpackError> {
    // Symbols that were decoded, and bits that stood for them.
    let (mut n, mut place) = (0, 0);
    while let Some(mut word) = word_at(coded, place)
        && let Some(batch) = room[n..].first_chunk_mut::<BATCH>()
    {
        let mut n_short = 0;
        for symbol in batch {
            let short = SHORT[(word >> (64 - SHORT_MAX)) as usize];
            if short.len == 0 {
                break;
            }
            *symbol = short.symbol;
            word <<= short.len;
            place += usize::from(short.len);
            n_short += 1;
        }
        n += n_short;
        if n_short < BATCH {
            let Some(word) = word_at(coded, place) else { break };
            let (symbol, len) = long_symbol(word >> 32);
            if symbol == END {
                return Err(HpackError::EndInString);
            }
            room[n] = symbol as u8;
            n += 1;
            place += len;
        }
    }
    Ok(n + decode_end(&coded[place / 8..], place % 8, &mut room[n..])?)
}

/// Decodes the last bytes, fewer than eight, from the bit at `place` on, and checks the padding.
fn decode_end(coded: &[u8], mut place: usize, room: &mut [u8]) -> Result<usize, HpackError> {
    // Behind the end the padding goes on, so that it is found to be a code that does not end.
    let mut padded = [0xff; 16];
    for (byte, from) in padded.iter_mut().zip(coded) {
        *byte = *from;
    }
    let n_bits = 8 * coded.len();
    let mut n = 0;
    loop {
        let word = word_at(&padded, place).unwrap_or(u64::MAX);
        let left = n_bits - place;
        // No code of less than a byte is all ones.
        if left < 8 && word.leading_ones() as usize >= left {
            return Ok(n);
        }
        let short = SHORT[(word >> (64 - SHORT_MAX)) as usize];
        let (symbol, len) = match short.len {
            0 => long_symbol(word >> 32),
            len => (usize::from(short.symbol), usize::from(len)),
        };
        if len > left {
            return Err(HpackError::BadPadding);
        }
        if symbol == END {
            return Err(HpackError::EndInString);
        }
        room[n] = symbol as u8;
        n += 1;
        place += len;
    }
}
