//! Answers of routes: `respond` and `redirect`.

use isobar_http1::{HeaderId, Method, Version, authority_host};

use super::{End, body_gone};
use crate::connection::Connection;
use crate::generation::Terms;
use crate::plan::RoutePlan;
use crate::record::Record;
use crate::refusal::write_status_line;
use crate::scratch::Scratch;

/// Whether the caller prefers JSON, and whether it asked for the head alone.
pub(super) fn wishes(scratch: &Scratch) -> (bool, bool) {
    let head = scratch.down.filled();
    let accepts = scratch.request.find(HeaderId::Accept, head).unwrap_or_default();
    let json = memchr::memmem::find(accepts, b"application/json").is_some();
    (json, scratch.request.method == Method::Head)
}

/// What a route answers itself.
pub(super) struct Answer<'a> {
    status: u16,
    /// Whole field lines.
    fields: Vec<u8>,
    body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// A fixed body.
    pub(super) fn respond(status: u16, body: &'a str) -> Self {
        let kind: &[u8] = if body.is_empty() { b"" } else { b"content-type: text/plain; charset=utf-8\r\n" };
        Self { status, fields: kind.to_vec(), body: body.as_bytes() }
    }

    /// A Location made from the template.
    pub(super) fn redirect(scratch: &Scratch, head_len: usize, to: &str, status: u16) -> Self {
        let mut location = Vec::new();
        write_location(scratch, head_len, to, &mut location);
        keep_on_this_host(to, &mut location);
        Self { status, fields: [b"location: ", location.as_slice(), b"\r\n"].concat(), body: b"" }
    }
}

/// Leaves `location` a single slash at its front, unless the template itself names another host.
///
/// A browser takes `//name/` for a host, so a caller's path must not be able to begin a Location that way.
fn keep_on_this_host(template: &str, location: &mut Vec<u8>) {
    let n_slashes = location.iter().take_while(|byte| matches!(byte, b'/' | b'\\')).count();
    if n_slashes > 1 && !template.starts_with("//") {
        location.splice(..n_slashes, [b'/']);
    }
}

/// Fills in `{host}`, `{path}` and `{query}`.
fn write_location(scratch: &Scratch, head_len: usize, template: &str, out: &mut Vec<u8>) {
    let head = &scratch.down.filled()[..head_len];
    let request = &scratch.request;
    let path = if scratch.path.is_empty() { request.path.of(head) } else { scratch.path.as_slice() };
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.extend_from_slice(&rest.as_bytes()[..open]);
        rest = &rest[open..];
        let (len, value) = if rest.starts_with("{host}") {
            ("{host}".len(), authority_host(request.authority.of(head)))
        } else if rest.starts_with("{path}") {
            ("{path}".len(), if path.is_empty() { b"/" } else { path })
        } else if rest.starts_with("{query}") {
            ("{query}".len(), request.query.of(head))
        } else {
            (1, &b"{"[..])
        };
        out.extend_from_slice(value);
        rest = &rest[len..];
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Sends an answer of the route.
pub(super) async fn answer(
    connection: &mut Connection,
    terms: &Terms,
    scratch: &mut Scratch,
    head_len: usize,
    route: &RoutePlan,
    answer: &Answer<'_>,
    record: &mut Record,
) -> End {
    let Answer { status, ref fields, body } = *answer;
    let message_end = body_gone::end_of_buffered_body(scratch, head_len);
    let keep_alive = message_end.is_some() && scratch.request.keep_alive && !connection.is_closing();
    let mut out = std::mem::take(&mut scratch.to_caller);
    out.clear();
    write_status_line(status, &mut out);
    out.extend_from_slice(b"date: ");
    out.extend_from_slice(httpdate::fmt_http_date(std::time::SystemTime::now()).as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(fields);
    if status != 204 && status != 304 {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(b"content-length: ");
        out.extend_from_slice(digits.format(body.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !keep_alive {
        out.extend_from_slice(b"connection: close\r\n");
    } else if scratch.request.version == Version::Http10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(&route.response_edits.lines);
    out.extend_from_slice(b"\r\n");
    if scratch.request.method != Method::Head && status != 204 && status != 304 {
        out.extend_from_slice(body);
    }
    record.status = status;
    let written = connection.write_all(&out, terms.listener().body_idle).await;
    record.bytes_out = if written { out.len() as u64 } else { 0 };
    scratch.to_caller = out;
    match message_end {
        _ if !written => End::Broken,
        Some(message_end) => End::Answered { message_end, keep_alive },
        None => End::Early,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_begin_a_location_on_another_host() {
        for (template, location, expected) in [
            ("{path}/", "//evil.test/x/", "/evil.test/x/"),
            ("{path}", "/\\evil.test", "/evil.test"),
            ("/{path}", "//x", "/x"),
            ("{path}", "/ok//x", "/ok//x"),
            ("//cdn.test{path}", "//cdn.test/x", "//cdn.test/x"),
            ("https://{host}{path}", "https://h//x", "https://h//x"),
        ] {
            let mut kept = location.as_bytes().to_vec();
            keep_on_this_host(template, &mut kept);
            assert_eq!(kept, expected.as_bytes(), "{template} {location}");
        }
    }
}
