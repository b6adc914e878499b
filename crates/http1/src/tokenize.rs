//! From the bytes of a head to spans, in one pass, for a head that is whole and right.
//!
//! Anything else gives `None` without saying why: the scan is the judge. The two agree on which heads are right, so a head
//! that the scan found complete is cut here as well.
//!
//! `httparse` is not used: it takes much that this codec refuses (lone line feeds, bytes above 127 in targets), so its
//! work would be done again here, and the mix of its AVX2 with other code cost more than this whole pass where it was
//! measured. The tests hold the two against each other.

use crate::class::{is_space, target_run, token_run, value_run};
use crate::field::Field;
use crate::scan::METHOD_BYTES_MAX;
use crate::{HeadLimits, Span, Version};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestLine {
    pub(crate) method: Span,
    pub(crate) target: Span,
    pub(crate) version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatusLine {
    pub(crate) version: Version,
    pub(crate) status: u16,
    pub(crate) reason: Span,
}

/// A request head in `window` from `start` on, and where it ends. `fields` must be empty; it may hold anything after
/// `None`.
#[inline]
pub(crate) fn request(
    window: &[u8],
    start: usize,
    limits: &HeadLimits,
    fields: &mut Vec<Field>,
) -> Option<(RequestLine, usize)> {
    let mut cursor = Cursor { buf: window, at: start };
    if !window.get(start)?.is_ascii_uppercase() {
        return None;
    }
    let method = cursor.run(token_run)?;
    cursor.take(b" ")?;
    let target = cursor.run(target_run)?;
    cursor.take(b" ")?;
    if method.len() > METHOD_BYTES_MAX || target.is_empty() || target.len() > limits.target_bytes {
        return None;
    }
    let version = cursor.version()?;
    cursor.take(b"\r\n")?;
    cursor.fields(limits.n_headers, fields)?;
    Some((RequestLine { method, target, version }, cursor.at))
}

/// The same for a response.
#[inline]
pub(crate) fn response(
    window: &[u8],
    limits: &HeadLimits,
    fields: &mut Vec<Field>,
) -> Option<(StatusLine, usize)> {
    let mut cursor = Cursor { buf: window, at: 0 };
    let version = cursor.version()?;
    cursor.take(b" ")?;
    let status = cursor.status()?;
    let reason = match cursor.take(b" ") {
        Some(()) => cursor.run(value_run)?,
        None => Span::new(cursor.at, cursor.at),
    };
    cursor.take(b"\r\n")?;
    cursor.fields(limits.n_headers, fields)?;
    Some((StatusLine { version, status, reason }, cursor.at))
}

struct Cursor<'a> {
    buf: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    /// Consumes exactly these bytes.
    #[inline]
    fn take<const N: usize>(&mut self, expected: &[u8; N]) -> Option<()> {
        let found = self.buf.get(self.at..)?.first_chunk::<N>()?;
        (found == expected).then(|| self.at += N)
    }

    /// Consumes as many bytes as `class` says; they may be none.
    #[inline]
    fn run(&mut self, class: impl Fn(&[u8]) -> usize) -> Option<Span> {
        let start = self.at;
        self.at += class(self.buf.get(start..)?);
        Some(Span::new(start, self.at))
    }

    #[inline]
    fn version(&mut self) -> Option<Version> {
        self.take(b"HTTP/1.")?;
        let digit = *self.buf.get(self.at).filter(|digit| digit.is_ascii_digit())?;
        self.at += 1;
        Some(Version::of_minor(digit))
    }

    #[inline]
    fn status(&mut self) -> Option<u16> {
        let digits = *self.buf.get(self.at..)?.first_chunk::<3>()?;
        self.at += 3;
        let is_right = digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit);
        is_right.then(|| digits.iter().fold(0, |n, b| n * 10 + u16::from(b - b'0')))
    }

    /// Field lines and the empty line behind them.
    #[inline]
    fn fields(&mut self, n_max: usize, fields: &mut Vec<Field>) -> Option<()> {
        while *self.buf.get(self.at)? != b'\r' {
            let name = self.run(token_run)?;
            self.take(b":")?;
            while is_space(*self.buf.get(self.at)?) {
                self.at += 1;
            }
            let mut value = self.run(value_run)?;
            self.take(b"\r\n")?;
            while !value.is_empty() && is_space(self.buf[value.end as usize - 1]) {
                value.end -= 1;
            }
            if name.is_empty() || fields.len() == n_max {
                return None;
            }
            fields.push(Field::new(self.buf, name, value));
        }
        self.take(b"\r\n")
    }
}
