//! From the bytes of a head to spans, in two ways that agree wherever both apply.
//!
//! *Fast*: `httparse` over a head that is whole in its first read. It takes what this codec refuses (lone line feeds,
//! lower-case methods, bytes above 127 in targets), so the rest is checked here, and whatever is not plainly right is
//! left to the scan. *By hand*: for a head that the scan has judged, whose lines need only be cut.

use crate::class::trim;
use crate::field::Field;
use crate::scan::{METHOD_BYTES_MAX, VERSION_LEN};
use crate::{HeadLimits, Span, Version};
use httparse::Status;
use memchr::memchr;
use std::mem::MaybeUninit;

/// Heads with more fields than this go through the scan. Browsers send 10 to 20; the array takes 2 KiB of stack.
const FAST_FIELDS_MAX: usize = 64;

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

/// `Some` only for a head that is complete and syntactically beyond doubt; with its length. `fields` must be empty and
/// may hold anything after `None`.
pub(crate) fn request_fast(
    window: &[u8],
    limits: &HeadLimits,
    fields: &mut Vec<Field>,
) -> Option<(RequestLine, usize)> {
    if !window.first()?.is_ascii_uppercase() {
        return None;
    }
    let mut headers = [const { MaybeUninit::uninit() }; FAST_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let Ok(Status::Complete(len)) = request.parse_with_uninit_headers(window, &mut headers) else {
        return None;
    };
    let (method, target) = (request.method?.as_bytes(), request.path?.as_bytes());
    let line = RequestLine {
        method: Span::within(window, method),
        target: Span::within(window, target),
        version: if request.version? == 0 { Version::Http10 } else { Version::Http11 },
    };
    let is_right = method.len() <= METHOD_BYTES_MAX
        && target.len() <= limits.target_bytes
        && request.headers.len() <= limits.n_headers
        && are_target_bytes(target)
        && index(&window[..len], request.headers, fields);
    is_right.then_some((line, len))
}

/// The same for a response.
pub(crate) fn response_fast(
    window: &[u8],
    limits: &HeadLimits,
    fields: &mut Vec<Field>,
) -> Option<(StatusLine, usize)> {
    if *window.first()? != b'H' {
        return None;
    }
    let mut headers = [const { MaybeUninit::uninit() }; FAST_FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        window,
        &mut headers,
    );
    let Ok(Status::Complete(len)) = parsed else { return None };
    if response.headers.len() > limits.n_headers || !index(&window[..len], response.headers, fields) {
        return None;
    }
    let (line, _) = status_line(window);
    (line.status >= 100).then_some((line, len))
}

/// Adds `headers` to `fields`. False unless every line of `head` ends with CR and LF.
fn index(head: &[u8], headers: &[httparse::Header<'_>], fields: &mut Vec<Field>) -> bool {
    let mut are_ended = head.ends_with(b"\r\n\r\n");
    fields.extend(headers.iter().map(|header| {
        let name = Span::within(head, header.name.as_bytes());
        // The line before this name ends with a line feed, as httparse saw to.
        are_ended &= head[name.start as usize - 2] == b'\r';
        Field::new(head, name, Span::within(head, header.value))
    }));
    are_ended
}

/// Without a branch per byte, so that it becomes wide instructions.
fn are_target_bytes(target: &[u8]) -> bool {
    !target.iter().fold(false, |is_wrong, &b| is_wrong | (b <= 0x20) | (b >= 0x7f) | (b == b'#'))
}

/// Cuts a request head that the scan found complete.
pub(crate) fn request_by_hand(head: &[u8], fields: &mut Vec<Field>) -> RequestLine {
    let start = head.iter().take_while(|&&b| b == b'\r' || b == b'\n').count();
    let method = Span::new(start, find(head, b' ', start));
    let target = Span::new(method.end as usize + 1, find(head, b' ', method.end as usize + 1));
    let version_end = target.end as usize + 1 + VERSION_LEN;
    fields_by_hand(head, version_end + 2, fields);
    RequestLine { method, target, version: Version::of_minor(head[version_end - 1]) }
}

/// Cuts a response head that the scan found complete.
pub(crate) fn response_by_hand(head: &[u8], fields: &mut Vec<Field>) -> StatusLine {
    let (line, line_end) = status_line(head);
    fields_by_hand(head, line_end, fields);
    line
}

/// The status line, known to be right, and where the next line starts. Cut by hand on both ways, because httparse drops a
/// reason with bytes above 127.
fn status_line(head: &[u8]) -> (StatusLine, usize) {
    let status = head[VERSION_LEN + 1..VERSION_LEN + 4].iter().fold(0, |n, b| n * 10 + u16::from(b - b'0'));
    let reason_end = find(head, b'\r', VERSION_LEN + 4);
    let reason = Span::new(reason_end.min(VERSION_LEN + 5), reason_end);
    (StatusLine { version: Version::of_minor(head[VERSION_LEN - 1]), status, reason }, reason_end + 2)
}

fn fields_by_hand(head: &[u8], start: usize, fields: &mut Vec<Field>) {
    let mut at = start;
    // The empty line has two bytes.
    while at + 2 < head.len() {
        let colon = find(head, b':', at);
        let end = find(head, b'\r', colon);
        let value = trim(&head[colon + 1..end]);
        let value = if value.is_empty() { Span::new(end, end) } else { Span::within(head, value) };
        fields.push(Field::new(head, Span::new(at, colon), value));
        at = end + 2;
    }
}

/// Where `byte` is next at or behind `from`.
fn find(head: &[u8], byte: u8, from: usize) -> usize {
    memchr(byte, &head[from..]).map_or(head.len(), |n| from + n)
}
