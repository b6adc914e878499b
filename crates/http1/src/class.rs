//! Byte classes of the grammar, one table look-up each, and comparisons that ignore ASCII case.
//!
//! Sources: RFC 9110 section 5.6.2 (token), section 5.5 (field value), RFC 3986 section 2 and 3.2.2 (host).

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;
const HOST: u8 = 8;
const LOWER: u8 = 16;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        let mut class = 0;
        if b.is_ascii_alphanumeric() || is_one_of(b, b"!#$%&'*+-.^_`|~") {
            class |= TOKEN;
            if !b.is_ascii_uppercase() {
                class |= LOWER;
            }
        }
        if b == b'\t' || (b >= 0x20 && b != 0x7f) {
            class |= VALUE;
        }
        // Wider than RFC 3986, which has no place for `|`, `"`, `{` and the like: browsers send them in queries.
        // A fragment never belongs in a request.
        if b > 0x20 && b < 0x7f && b != b'#' {
            class |= TARGET;
        }
        // unreserved and sub-delims. Not the comma: "a,b" is what a hop makes of two Host fields.
        if b.is_ascii_alphanumeric() || is_one_of(b, b"-._~!$&'()*+;=") {
            class |= HOST;
        }
        table[i] = class;
        i += 1;
    }
    table
}

const fn is_one_of(b: u8, set: &[u8]) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == b {
            return true;
        }
        i += 1;
    }
    false
}

/// Whether `bytes` is a token: one or more of the characters of RFC 9110 section 5.6.2.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_token_byte(b))
}

/// Whether `bytes` is a token without letters in upper case, as HTTP/2 wants the names of fields.
pub fn is_lower_token(bytes: &[u8]) -> bool {
    // Without a branch for each byte: nearly every name is one.
    !bytes.is_empty() && bytes.iter().fold(LOWER, |common, &b| common & CLASSES[usize::from(b)]) != 0
}

/// Whether `bytes` may hold a control character: never false where one is.
///
/// Looks at eight bytes at a time, so it costs little where a table of classes is asked anyway before anything is refused.
#[inline]
pub fn may_hold_control(bytes: &[u8]) -> bool {
    const LOW: u64 = 0x2020_2020_2020_2020;
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let has = |word: u64| word.wrapping_sub(LOW) & !word & HIGH_BITS != 0;
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        // The last word overlaps the one before it, which costs less than a rest of single bytes.
        let (words, _) = bytes.as_chunks::<8>();
        return has(u64::from_ne_bytes(*first))
            || has(u64::from_ne_bytes(*last))
            || words.iter().any(|word| has(u64::from_ne_bytes(*word)));
    }
    bytes.iter().any(|&b| b < 0x20)
}

#[inline]
pub(crate) fn is_token_byte(b: u8) -> bool {
    CLASSES[usize::from(b)] & TOKEN != 0
}

/// HTAB, SP, visible characters and obs-text.
#[inline]
pub(crate) fn is_value_byte(b: u8) -> bool {
    CLASSES[usize::from(b)] & VALUE != 0
}

#[inline]
pub(crate) fn is_target_byte(b: u8) -> bool {
    CLASSES[usize::from(b)] & TARGET != 0
}

/// A character of a registered name, percent-encoding aside.
#[inline]
pub(crate) fn is_host_byte(b: u8) -> bool {
    CLASSES[usize::from(b)] & HOST != 0
}

/// Eight bytes looked at in one register.
const LANES: usize = 8;

/// `byte` in each of the eight.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; LANES])
}

/// The top bit of each byte of `word` that is below `bound`, itself at most 128. Bits above the lowest one that is set
/// may be wrong.
const fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(each(bound)) & !word & each(0x80)
}

/// The same for each byte that equals `byte`.
const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ each(byte), 1)
}

/// How many bytes at the start of `bytes` are of a class. `stops` marks, in a word of eight, bytes that may not be;
/// `is_in` decides those, and the last few.
#[inline]
fn run(bytes: &[u8], stops: impl Fn(u64) -> u64, is_in: impl Fn(u8) -> bool) -> usize {
    let mut at = 0;
    loop {
        while let Some(lanes) = bytes[at..].first_chunk::<LANES>() {
            let marks = stops(u64::from_le_bytes(*lanes));
            if marks != 0 {
                at += marks.trailing_zeros() as usize / 8;
                break;
            }
            at += LANES;
        }
        match bytes.get(at) {
            Some(&b) if is_in(b) => at += 1,
            _ => return at,
        }
    }
}

/// How many bytes at the start of `bytes` may stand in a field value.
#[inline]
pub(crate) fn value_run(bytes: &[u8]) -> usize {
    run(bytes, |word| below(word, 0x20) | equal(word, 0x7f), is_value_byte)
}

/// How many bytes at the start of `bytes` may stand in a request target.
#[inline]
pub(crate) fn target_run(bytes: &[u8]) -> usize {
    run(
        bytes,
        |word| below(word, 0x21) | equal(word, 0x7f) | equal(word, b'#') | word & each(0x80),
        is_target_byte,
    )
}

/// How many bytes at the start of `bytes` come before a question mark.
#[inline]
pub(crate) fn run_before_query(bytes: &[u8]) -> usize {
    run(bytes, |word| equal(word, b'?'), |b| b != b'?')
}

/// How many bytes at the start of `bytes` come before one that matters to a path's normal form: `%`, `\` or `.`.
#[inline]
pub(crate) fn plain_path_run(bytes: &[u8]) -> usize {
    let is_plain = |b| !matches!(b, b'%' | b'\\' | b'.');
    run(bytes, |word| equal(word, b'%') | equal(word, b'\\') | equal(word, b'.'), is_plain)
}

/// How many bytes at the start of `bytes` are those of a token.
#[inline]
pub(crate) fn token_run(bytes: &[u8]) -> usize {
    bytes.iter().position(|&b| !is_token_byte(b)).unwrap_or(bytes.len())
}

#[inline]
pub(crate) fn is_space(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

/// Whether `bytes` is `lower`, letters compared without case. `lower` is lower case and of a length known when
/// compiling, so that this becomes a few wide loads and compares.
#[inline]
pub(crate) fn is<const N: usize>(bytes: &[u8], lower: &[u8; N]) -> bool {
    let Ok(bytes) = <&[u8; N]>::try_from(bytes) else { return false };
    let mut difference = 0;
    let mut i = 0;
    while i < N {
        // Setting bit 5 makes upper case lower; where `lower` has no letter the byte must be the same.
        let fold = if lower[i].is_ascii_lowercase() { 0x20 } else { 0 };
        difference |= (bytes[i] | fold) ^ lower[i];
        i += 1;
    }
    difference == 0
}

/// `bytes` without spaces and tabs at both ends.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let Some(first) = bytes.iter().position(|&b| !is_space(b)) else { return &[] };
    let last = bytes.iter().rposition(|&b| !is_space(b)).map_or(first, |last| last + 1);
    &bytes[first..last]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_the_grammar_lists() {
        let listed: Vec<u8> = (0..=255).filter(|&b| is_token_byte(b)).collect();
        let expected = b"!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~";
        assert_eq!(listed, expected);
        assert!(!is_token(b"") && !is_token(b"a b") && is_token(b"a"));
    }

    #[test]
    fn a_value_has_no_control_but_the_tab() {
        let refused: Vec<u8> = (0..=255).filter(|&b| !is_value_byte(b)).collect();
        let expected: Vec<u8> = (0..9).chain(10..32).chain([127]).collect();
        assert_eq!(refused, expected);
    }

    #[test]
    fn comparison_ignores_the_case_of_letters_and_nothing_else() {
        assert!(is(b"Keep-ALIVE", b"keep-alive"));
        assert!(!is(b"Keep\rALIVE", b"keep-alive"));
        assert!(!is(b"keep-aliv", b"keep-alive"));
        for b in 0..=255_u8 {
            assert_eq!(is(&[b], b"k"), b.eq_ignore_ascii_case(&b'k'), "{b}");
            assert_eq!(is(&[b], b"-"), b == b'-', "{b}");
        }
    }

    #[test]
    fn trimming_takes_spaces_and_tabs_only() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t"), b"");
        assert_eq!(trim(b"\x0bx"), b"\x0bx");
    }
}
