//! Whether a connection in the clear begins with HTTP/2 (RFC 9113, section 3.4).

use isobar_http2::PREFACE;

/// What the first bytes of a connection say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preface {
    Absent,
    /// It may still become one.
    Begun,
    Complete,
}

/// Looks at the first bytes of a connection.
pub(crate) fn preface(bytes: &[u8]) -> Preface {
    if bytes.starts_with(PREFACE) {
        Preface::Complete
    } else if PREFACE.starts_with(bytes) {
        Preface::Begun
    } else {
        Preface::Absent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_begins_like_the_preface_is_no_preface() {
        for bytes in [&b"POST / "[..], b"PROPFIND /", b"PRI / HTTP/1.1", b"GET"] {
            assert_eq!(preface(bytes), Preface::Absent);
        }
    }

    #[test]
    fn a_preface_is_known_by_its_last_byte_and_not_before() {
        for n in 0..PREFACE.len() {
            assert_eq!(preface(&PREFACE[..n]), Preface::Begun);
        }
        assert_eq!(preface(&[PREFACE, b"\0\0"].concat()), Preface::Complete);
    }
}
