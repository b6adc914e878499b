//! What must hold for any input whatever: the bodies of the fuzz targets, and of the test that replays their seeds.
//!
//! Each law panics where it is broken. None says which inputs are accepted; that is the corpus's part.
#![allow(dead_code, clippy::unwrap_used)]

use crate::models::{naive_chunked, naive_path};
use crate::support::{End, Kind, Message, Stream, read_by, read_cut, read_whole};
use isobar_http1::{Framing, HeaderId, Method, Reject, normalize_path};

/// A stream of pipelined requests.
pub(crate) fn request(input: &[u8]) {
    let stream = read_every_way(Kind::Request, input);
    for message in &stream.messages {
        assert!(message.framing != Framing::UntilClose);
        let again = reread(message);
        assert_eq!(again.framing, message.framing, "a forwarded head means the same");
        assert_eq!(again.start_line, message.start_line);
        assert_eq!(again.body, message.body);
    }
    if let Some(first) = stream.messages.first() {
        assert_httparse_agrees(first, input);
    }
}

/// A stream of responses.
pub(crate) fn response(input: &[u8]) {
    for method in [Method::Get, Method::Head] {
        let stream = read_every_way(Kind::Response(method), input);
        for message in &stream.messages {
            let has_body = !message.body.is_empty();
            assert!(!has_body || method == Method::Get);
            assert!(message.framing != Framing::UntilClose || !message.keep_alive);
        }
    }
}

/// A chunked body and what follows it.
pub(crate) fn chunked(input: &[u8]) {
    let stream = read_every_way(Kind::Chunked, input);
    if let Some(first) = stream.messages.first() {
        let (payload, len) = naive_chunked(input).expect("accepted, so the model accepts it");
        assert_eq!(first.body, payload);
        let next = read_whole(Kind::Request, &input[len..]);
        assert_eq!(next.messages, stream.messages[1..], "the body ends where the model says");
        assert!(first.trailers.is_empty() || first.trailers.ends_with(b"\r\n"));
    } else {
        // The model knows no bounds, so it may take more; what is cut short it must not take.
        assert!(stream.end != End::Rejected(Reject::Truncated) || naive_chunked(input).is_none());
    }
}

/// The path of a target.
pub(crate) fn normalize(input: &[u8]) {
    let mut out = Vec::new();
    let Ok(is_changed) = normalize_path(input, &mut out) else { return };
    assert_eq!(is_changed, !out.is_empty());
    let normal = if is_changed { out } else { input.to_vec() };
    if input.first() == Some(&b'/') {
        assert_eq!(normal, naive_path(input));
    }
    assert_eq!(normalize_path(&normal, &mut Vec::new()), Ok(false), "the normal form is its own");
}

/// Reads the input whole, byte by byte, and cut by its own bytes; all must come to the same.
fn read_every_way(kind: Kind, input: &[u8]) -> Stream {
    let whole = read_whole(kind, input);
    assert_eq!(read_by(kind, input, 1), whole);
    let cuts: Vec<usize> = input.iter().rev().take(16).map(|&b| usize::from(b)).collect();
    assert_eq!(read_cut(kind, input, &cuts), whole);
    whole
}

/// Writes a request as a proxy would forward it, and reads that.
fn reread(message: &Message) -> Message {
    let [method, target, authority, ..] = &message.start_line[..] else { panic!("a request line") };
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    let has_authority = !authority.is_empty();
    if !has_authority {
        bytes = format!("{method} {target} HTTP/1.0\r\n").into_bytes();
    }
    for (name, value, id, is_dropped) in &message.fields {
        if !is_dropped && *id != HeaderId::Host {
            bytes.extend([name.as_slice(), b": ", value, b"\r\n"].concat());
        }
    }
    if message.framing == Framing::Chunked {
        bytes.extend(format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", message.body.len()).as_bytes());
    } else {
        bytes.extend(b"\r\n");
    }
    bytes.extend(&message.body);
    if message.framing == Framing::Chunked {
        bytes.extend(if message.body.is_empty() { &b"\r\n"[..] } else { b"\r\n0\r\n\r\n" });
    }
    let mut again = read_whole(Kind::Request, &bytes);
    assert_eq!((again.messages.len(), again.end), (1, End::Clean), "{}", bytes.escape_ascii());
    again.messages.remove(0)
}

/// `httparse` accepts more than the codec, and must read what both accept the same.
fn assert_httparse_agrees(message: &Message, input: &[u8]) {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(input) {
        // It knows no minor version above 1.
        Err(httparse::Error::Version) => return,
        result => assert!(result.expect("accepted, so httparse accepts it").is_complete()),
    }
    assert_eq!(parsed.method.unwrap(), message.start_line[0]);
    assert_eq!(parsed.path.unwrap(), message.start_line[1]);
    let theirs: Vec<(&[u8], &[u8])> = parsed.headers.iter().map(|h| (h.name.as_bytes(), h.value)).collect();
    let ours: Vec<(&[u8], &[u8])> =
        message.fields.iter().map(|(name, value, ..)| (&name[..], &value[..])).collect();
    assert_eq!(ours, theirs);
}
