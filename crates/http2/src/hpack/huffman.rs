//! Strings in Huffman code (RFC 7541 section 5.2 and appendix B), decoded.
//!
//! The code is canonical: shorter codes come first, codes of one length in the order of their symbols. So the lengths
//! say everything, and the tables here are made of them when this is compiled.
//!
//! # Limits
//! Only decoding. Our encoder sends strings plainly: that is a copy, where coding them would cost a step for each byte
//! here and again at the peer, to save a quarter of the bytes of fields that are mostly sent once a connection.

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

/// Bits of the input that were not decoded yet.
struct Window {
    /// From the highest bit on. Below `n` bits it holds those that follow in the input, or nothing.
    bits: u64,
    n: u32,
}

impl Window {
    /// The next symbol, and the bits of its code; these may be more than there are.
    #[inline]
    fn symbol(&self) -> (usize, u32) {
        let short = SHORT[(self.bits >> (64 - SHORT_MAX)) as usize];
        if short.len != 0 {
            (usize::from(short.symbol), u32::from(short.len))
        } else {
            long_symbol(self.bits >> 32)
        }
    }

    #[inline]
    fn skip(&mut self, len: u32) {
        self.bits <<= len;
        self.n -= len;
    }
}

/// The symbol of a long code, `top` being the next 32 bits.
fn long_symbol(top: u64) -> (usize, u32) {
    let mut len = SHORT_MAX + 1;
    while top >= RANGES[len].to {
        len += 1;
    }
    let range = RANGES[len];
    let place = range.place + ((top - range.from) >> (32 - len)) as usize;
    (usize::from(BY_CODE[place]), len as u32)
}

/// Appends what `coded` stands for to `out`.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    out.reserve(coded.len() * 8 / LEN_MIN);
    let mut window = Window { bits: 0, n: 0 };
    let mut rest = coded;
    while let Some(word) = rest.first_chunk::<8>() {
        window.bits |= u64::from_be_bytes(*word) >> window.n;
        let taken = (63 - window.n) / 8;
        window.n += 8 * taken;
        rest = &rest[taken as usize..];
        while window.n >= LEN_MAX as u32 {
            let (symbol, len) = window.symbol();
            if symbol == END {
                return Err(HpackError::EndInString);
            }
            out.push(symbol as u8);
            window.skip(len);
        }
    }
    decode_end(window, rest, out)
}

/// Decodes the last bytes, and checks the padding.
fn decode_end(mut window: Window, mut rest: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    loop {
        while window.n <= 56
            && let Some((&byte, behind)) = rest.split_first()
        {
            window.bits |= u64::from(byte) << (56 - window.n);
            window.n += 8;
            rest = behind;
        }
        // Behind the end the padding goes on, so that it is found to be a code that does not end.
        let padding = u64::MAX.checked_shr(window.n).unwrap_or(0);
        window.bits |= if rest.is_empty() { padding } else { 0 };
        let (symbol, len) = window.symbol();
        if len > window.n {
            let is_padded = window.n < 8 && window.bits == u64::MAX;
            return if is_padded { Ok(()) } else { Err(HpackError::BadPadding) };
        }
        if symbol == END {
            return Err(HpackError::EndInString);
        }
        out.push(symbol as u8);
        window.skip(len);
    }
}
