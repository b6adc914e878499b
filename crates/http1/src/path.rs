//! The one path that is both routed and forwarded.
//!
//! Dot segments are resolved as RFC 3986 section 5.2.4 says, written plainly or with `%2e`. Nothing else is rewritten:
//! repeated slashes, other escapes and malformed escapes stay. An encoded slash, backslash or NUL, and a plain
//! backslash, are refused, because the next reader may see a different path in them.

use crate::Reject;
use crate::class::plain_path_run;

/// Brings `path` (without its query) to normal form. `Ok(false)`: it has that form already and `out` is untouched.
/// `Ok(true)`: the normal form is in `out`, which is cleared first. A path that does not start with a slash, such as `*`,
/// is only checked.
pub fn normalize_path(path: &[u8], out: &mut Vec<u8>) -> Result<bool, Reject> {
    let mut has_dots = false;
    let mut at = plain_path_run(path);
    while at < path.len() {
        match &path[at..] {
            [b'%', b'0', b'0', ..] => return Err(Reject::EncodedNul),
            [b'%', b'2', b'f' | b'F', ..] => return Err(Reject::EncodedSlash),
            [b'\\', ..] | [b'%', b'5', b'c' | b'C', ..] => return Err(Reject::EncodedBackslash),
            [b'.', ..] | [b'%', b'2', b'e' | b'E', ..] => has_dots |= at > 0 && path[at - 1] == b'/',
            _ => {}
        }
        at += 1;
        at += plain_path_run(&path[at..]);
    }
    if !has_dots || path[0] != b'/' || !segments(path).any(|segment| n_dots(segment) > 0) {
        return Ok(false);
    }
    resolve(path, out);
    Ok(true)
}

/// The segments of a path behind its first slash.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path[1..].split(|&b| b == b'/')
}

/// 1 for `.`, 2 for `..`, in any spelling; 0 for any other segment.
fn n_dots(segment: &[u8]) -> usize {
    let mut rest = segment;
    for n in 0..=2 {
        rest = match rest {
            [] => return n,
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return 0,
        };
    }
    0
}

fn resolve(path: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut is_last_dots = false;
    for segment in segments(path) {
        let n = n_dots(segment);
        is_last_dots = n > 0;
        match n {
            0 => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
            1 => {}
            _ => out.truncate(out.iter().rposition(|&b| b == b'/').unwrap_or(0)),
        }
    }
    // "/a/." and "/a/.." name a directory.
    if is_last_dots {
        out.push(b'/');
    }
}
