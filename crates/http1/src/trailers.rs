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
    /// Takes bytes of the section, up to its last one: how many, and whether that was there.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), Reject> {
        if self.lines.capacity() == 0 {
            self.lines.reserve(ROOM);
        }
        // One byte past the bound shows that it is passed.
        let bytes = &bytes[..bytes.len().min(TRAILER_BYTES_MAX + 1 - self.n_bytes)];
        let (mut at, mut copied) = (0, 0);
        while at < bytes.len() {
            at += self.scan.run(&bytes[at..]);
            let Some(&byte) = bytes.get(at) else { break };
            let event = self.scan.step(byte, N_TRAILERS_MAX)?;
            at += 1;
            if event == FieldEvent::Nothing || self.n_bytes + at > TRAILER_BYTES_MAX {
                continue;
            }
            self.lines.extend_from_slice(&bytes[copied..at]);
            copied = at;
            if event == FieldEvent::Section {
                self.lines.truncate(self.line_start);
                return Ok((at, true));
            }
            self.finish_line();
        }
        self.n_bytes += bytes.len();
        if self.n_bytes > TRAILER_BYTES_MAX {
            return Err(Reject::TrailersTooLarge);
        }
        self.lines.extend_from_slice(&bytes[copied..]);
        Ok((bytes.len(), false))
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

/// No name that is looked for as a whole is longer.
const NAME_MAX: usize = 64;

fn is_forbidden(name: &[u8]) -> bool {
    // As a gateway would read it that makes variables of field names. Of a longer name the beginning is enough.
    let mut start = [0; NAME_MAX];
    let start = &mut start[..name.len().min(NAME_MAX)];
    for (place, &byte) in start.iter_mut().zip(name) {
        *place = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    }
    if start.len() == name.len() {
        match HeaderId::of(start) {
            // How a gRPC call ended is known at its end.
            HeaderId::GrpcStatus => return false,
            HeaderId::Other if FORBIDDEN.contains(&&*start) => return true,
            HeaderId::Other => {}
            _ => return true,
        }
    }
    [&b"x-forwarded-"[..], b"x-isobar-", b"sec-", b"access-control-"]
        .iter()
        .any(|prefix| start.starts_with(prefix))
}
