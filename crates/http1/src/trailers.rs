//! The trailer section of a chunked body: checked like the fields of a head, and thinned out.
//!
//! A trailer arrives when framing, routing and access are long decided, so fields that bear on those are dropped
//! (RFC 9110 section 6.5.1). What is left is kept as complete lines.

use crate::class::trim;
use crate::field_scan::{FieldEvent, FieldScan};
use crate::{HeaderId, Reject};

/// Bytes of a trailer section. gRPC and checksums need a few hundred.
const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Room that a section begins with: most have one or two lines.
const ROOM: usize = 128;

/// Fields of a trailer section.
const N_TRAILERS_MAX: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trailers {
    scan: FieldScan,
    n_bytes: usize,
    /// Accepted lines, and the one being read behind them.
    lines: Vec<u8>,
    /// Where the line being read starts.
    line_start: usize,
}

impl Trailers {
    /// Takes one byte of the section; true with its last one.
    pub(crate) fn step(&mut self, byte: u8) -> Result<bool, Reject> {
        self.n_bytes += 1;
        let event = self.scan.step(byte, N_TRAILERS_MAX)?;
        if self.n_bytes > TRAILER_BYTES_MAX {
            return Err(Reject::TrailersTooLarge);
        }
        if self.lines.capacity() == 0 {
            self.lines.reserve(ROOM);
        }
        self.lines.push(byte);
        match event {
            FieldEvent::Nothing => {}
            FieldEvent::Line => self.finish_line(),
            FieldEvent::Section => self.lines.truncate(self.line_start),
        }
        Ok(event == FieldEvent::Section)
    }

    /// Complete lines `name: value\r\n`.
    pub(crate) fn lines(&self) -> &[u8] {
        &self.lines[..self.line_start]
    }

    fn finish_line(&mut self) {
        let line = &self.lines[self.line_start..];
        let colon = line.iter().position(|&b| b == b':').unwrap_or(0);
        let (name, value) = (&line[..colon], trim(&line[colon + 1..line.len() - 2]));
        if is_forbidden(name) {
            self.lines.truncate(self.line_start);
        } else if line[colon + 1] != b' ' || line.len() != name.len() + value.len() + 4 {
            let line = [name, b": ", value, b"\r\n"].concat();
            self.lines.truncate(self.line_start);
            self.lines.extend_from_slice(&line);
        }
        self.line_start = self.lines.len();
    }
}

/// Names without an id that are forbidden too: controls, conditions, and what describes the content.
const FORBIDDEN: &[&[u8]] = &[
    b"accept-encoding",
    b"age",
    b"allow",
    b"authentication-info",
    b"clear-site-data",
    b"content-disposition",
    b"content-language",
    b"content-location",
    b"content-range",
    b"expires",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"max-forwards",
    b"pragma",
    b"proxy-authentication-info",
    b"range",
    b"set-cookie2",
    b"strict-transport-security",
    b"vary",
    b"warning",
    b"www-authenticate",
];

fn is_forbidden(name: &[u8]) -> bool {
    // As a gateway would read it that makes variables of field names.
    let name: Vec<u8> = name.iter().map(|b| if *b == b'_' { b'-' } else { b.to_ascii_lowercase() }).collect();
    // How a gRPC call ended is known at its end.
    !matches!(HeaderId::of(&name), HeaderId::Other | HeaderId::GrpcStatus)
        || FORBIDDEN.contains(&name.as_slice())
        || name.starts_with(b"x-forwarded-")
        || name.starts_with(b"sec-")
        || name.starts_with(b"access-control-")
}
