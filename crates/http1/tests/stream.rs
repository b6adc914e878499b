//! Streams of messages: the same outcome for any split, what was written is read back, and agreement with models that
//! are too simple and slow to be used but easy to believe.
#![allow(clippy::unwrap_used)]

mod models;
mod support;

use isobar_http1::{Framing, Method, Reject};
use models::{ModelHead, naive_chunked, naive_request};
use proptest::prelude::*;
use support::{End, Kind, Message, read_by, read_cut, read_whole};

/// Pieces that requests are made of, and those that break them.
fn request_noise() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"GET / HTTP/1.1\r\n",
        b"GET /a?b HTTP/1.1\r\nHost: a\r\n",
        b"POST /a/../b HTTP/1.0\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n",
        b"GET http://a/x HTTP/1.1\r\n",
        b"GET ",
        b"/",
        b" HTTP/1.1",
        b"HTTP/1.",
        b"Host: a\r\n",
        b"host:b.c:80\r\n",
        b"X-A: b\r\n",
        b"Content-Length: 3\r\n",
        b"content-length:0\r\n",
        b"Content-Length: 03\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Connection: close, X-A\r\n",
        b"Connection: upgrade\r\nUpgrade: websocket\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b" ",
        b"\t",
        b":",
        b",",
        b"\0",
        b"\x7f",
        b"\xc3\xa9",
        b"abc",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..12).prop_map(|pieces| pieces.concat())
}

/// Whole request heads of which about half are right, with a byte put in somewhere now and then.
fn request_heads() -> impl Strategy<Value = Vec<u8>> {
    let starts = vec![
        "GET / HTTP/1.1",
        "POST /a?b HTTP/1.1",
        "PUT http://A/x HTTP/1.1",
        "OPTIONS * HTTP/1.7",
        "GET / HTTP/1.0",
    ];
    let lines = vec![
        "X:y",
        "X-Y: a\tb \t",
        "Accept: */*",
        "Content-Length: 0",
        "Content-Length: 5",
        "content-length:5",
        "Content-Length: 05",
        "Transfer-Encoding: chunked",
        "TRANSFER-ENCODING:CHUNKED ",
        "Transfer-Encoding: gzip",
        "Connection: close",
        "Connection: keep-alive",
        "Connection: x, te,,",
        "Connection: host",
        "Expect: 100-continue",
        "Expect: more",
        "Host: b",
    ];
    let put_in = prop::option::weighted(
        0.2,
        (any::<prop::sample::Index>(), prop::sample::select(b"\r\n\0 \t:,\x7f\xffa5".to_vec())),
    );
    let parts =
        (prop::sample::select(starts), prop::collection::vec(prop::sample::select(lines), 0..4), put_in);
    parts.prop_map(|(start, lines, put_in)| {
        let mut head = format!("{start}\r\nHost: a\r\n").into_bytes();
        for line in lines {
            head.extend([line.as_bytes(), b"\r\n"].concat());
        }
        head.extend(b"\r\n");
        if let Some((index, byte)) = put_in {
            head.insert(index.index(head.len()), byte);
        }
        head
    })
}

/// The same for responses.
fn response_noise() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200\r\n",
        b"HTTP/1.1 304 Not Modified\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 ",
        b"204 ",
        b"Content-Length: 3\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"X: y\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b" ",
        b"\0",
        b"abc",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..10).prop_map(|pieces| pieces.concat())
}

/// The same for chunked bodies.
fn chunked_noise() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"3\r\nabc\r\n",
        b"1\r\nx\r\n",
        b"0\r\n",
        b"0\r\n\r\n",
        b"\r\n",
        b"00",
        b"2",
        b"a",
        b"F",
        b"g",
        b";",
        b"=",
        b"\"",
        b"\\",
        b"x",
        b"=y",
        b";x=\"y\"",
        b" ",
        b"\t",
        b"\r",
        b"\n",
        b"ab",
        b"X: y\r\n",
        b"Host: z\r\n",
        b":",
        b"\0",
        b"\xff",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..12).prop_map(|pieces| pieces.concat())
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..40_usize, 0..8)
}

/// A well-formed request as a test would write it, and what must be read back.
#[derive(Clone, Debug)]
struct Written {
    bytes: Vec<u8>,
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    framing: Framing,
    body: Vec<u8>,
    trailers: String,
}

fn field() -> impl Strategy<Value = (String, String)> {
    ("X-[A-Za-z0-9!#$%&'*+.^_`|~-]{0,12}", "([!-~é]([ \t!-~é]{0,20}[!-~é])?)?")
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..80)
}

fn written() -> impl Strategy<Value = Written> {
    let parts = (
        "[A-Z][A-Z-]{0,8}".prop_filter("CONNECT is refused", |method| method != "CONNECT"),
        "/[a-zA-Z0-9_.~!$&'()*+,;=:@/-]{0,20}(\\?[a-z=&?/]{0,8})?",
        prop::collection::vec(field(), 0..6),
        0..3_u8,
        body(),
        prop::collection::vec(1..30_usize, 1..4),
        prop::collection::vec(("X-[a-z]{1,5}", "[!-~]{0,6}"), 0..3),
    );
    parts.prop_map(|(method, target, fields, framing, body, sizes, trailers)| {
        write(method, target, fields, framing, body, &sizes, &trailers)
    })
}

fn write(
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    framing: u8,
    body: Vec<u8>,
    sizes: &[usize],
    trailers: &[(String, String)],
) -> Written {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n").into_bytes();
    for (name, value) in &fields {
        bytes.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
    }
    let mut sent =
        Written { bytes, method, target, fields, framing: Framing::None, body, trailers: String::new() };
    match framing {
        0 => {
            sent.body.clear();
            sent.bytes.extend_from_slice(b"\r\n");
        }
        1 => {
            sent.framing = Framing::Length(sent.body.len() as u64);
            sent.bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", sent.body.len()).as_bytes());
            sent.bytes.extend_from_slice(&sent.body);
        }
        _ => {
            sent.framing = Framing::Chunked;
            sent.bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            let mut rest = sent.body.as_slice();
            let mut sizes = sizes.iter().cycle();
            while !rest.is_empty() {
                let (chunk, behind) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
                sent.bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                sent.bytes.extend_from_slice(chunk);
                sent.bytes.extend_from_slice(b"\r\n");
                rest = behind;
            }
            sent.bytes.extend_from_slice(b"0\r\n");
            for (name, value) in trailers {
                sent.trailers.extend([name, ": ", value, "\r\n"]);
            }
            sent.bytes.extend_from_slice(sent.trailers.as_bytes());
            sent.bytes.extend_from_slice(b"\r\n");
        }
    }
    sent
}

fn assert_read_back(message: &Message, sent: &Written) {
    assert_eq!((&message.start_line[0], &message.start_line[1]), (&sent.method, &sent.target));
    assert_eq!((message.framing, &message.body), (sent.framing, &sent.body));
    assert_eq!(message.trailers, sent.trailers.as_bytes());
    let own = message.fields.iter().filter(|(name, ..)| name.starts_with(b"X-"));
    let own: Vec<(&[u8], &[u8])> = own.map(|(name, value, ..)| (name.as_slice(), value.as_slice())).collect();
    let expected: Vec<(&[u8], &[u8])> =
        sent.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    assert_eq!(own, expected);
}

/// A head read by the codec must be read the same by the model, and by `httparse` where that knows the version.
fn assert_agrees(message: &Message, model: &ModelHead, head: &[u8]) {
    let found: Vec<(Vec<u8>, Vec<u8>)> =
        message.fields.iter().map(|(name, value, ..)| (name.clone(), value.clone())).collect();
    assert_eq!(found, model.fields);
    assert_eq!((message.framing, message.keep_alive), (model.framing, model.keep_alive));
    if model.version_digit > b'1' {
        return;
    }
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut headers);
    assert!(parsed.parse(head).unwrap().is_complete());
    assert_eq!(parsed.method, Some(message.start_line[0].as_str()));
    assert_eq!(parsed.path, Some(message.start_line[1].as_str()));
    let theirs: Vec<(Vec<u8>, Vec<u8>)> =
        parsed.headers.iter().map(|header| (header.name.into(), header.value.to_vec())).collect();
    assert_eq!(theirs, found);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_split_of_requests_gives_the_same(input in request_noise(), cuts in cuts()) {
        let whole = read_whole(Kind::Request, &input);
        prop_assert_eq!(&read_cut(Kind::Request, &input, &cuts), &whole);
        prop_assert_eq!(&read_by(Kind::Request, &input, 1), &whole);
    }

    #[test]
    fn any_split_of_responses_gives_the_same(input in response_noise(), cuts in cuts(), is_head in any::<bool>()) {
        let kind = Kind::Response(if is_head { Method::Head } else { Method::Get });
        let whole = read_whole(kind, &input);
        prop_assert_eq!(&read_cut(kind, &input, &cuts), &whole);
        prop_assert_eq!(&read_by(kind, &input, 1), &whole);
    }

    #[test]
    fn any_split_of_a_chunked_body_gives_the_same(input in chunked_noise(), cuts in cuts()) {
        let whole = read_whole(Kind::Chunked, &input);
        prop_assert_eq!(&read_cut(Kind::Chunked, &input, &cuts), &whole);
        prop_assert_eq!(&read_by(Kind::Chunked, &input, 1), &whole);
    }

    #[test]
    fn what_is_written_is_read_back(sent in prop::collection::vec(written(), 1..4), cuts in cuts()) {
        let bytes: Vec<u8> = sent.iter().flat_map(|written| written.bytes.clone()).collect();
        let stream = read_cut(Kind::Request, &bytes, &cuts);
        prop_assert_eq!(stream.end, End::Clean);
        prop_assert_eq!(stream.messages.len(), sent.len());
        for (message, written) in stream.messages.iter().zip(&sent) {
            assert_read_back(message, written);
        }
    }

    #[test]
    fn a_request_head_is_read_as_by_the_model(input in prop_oneof![request_noise(), request_heads()]) {
        // What may stand before a request line does not concern the model.
        let start = input.iter().take_while(|&&b| b == b'\r' || b == b'\n').count();
        let Some(len) = input[start..].windows(4).position(|end| end == b"\r\n\r\n") else { return Ok(()) };
        let head = &input[start..start + len + 4];
        let stream = read_whole(Kind::Request, head);
        let model = naive_request(head);
        match (&stream.messages.first(), &stream.end, &model) {
            (Some(message), _, Some(model)) => assert_agrees(message, model, head),
            // A body that was announced and is not there.
            (None, End::Rejected(Reject::Truncated), Some(_)) | (None, End::Rejected(_), None) => {}
            other => prop_assert!(false, "{:?}\n{}", other, head.escape_ascii()),
        }
    }

    #[test]
    fn a_chunked_body_is_decoded_as_by_the_model(input in chunked_noise()) {
        let stream = read_whole(Kind::Chunked, &input);
        match (stream.messages.first(), naive_chunked(&input)) {
            (Some(message), Some((payload, _))) => prop_assert_eq!(&message.body, &payload),
            (None, None) => {}
            other => prop_assert!(false, "{:?}\n{}", other, input.escape_ascii()),
        }
    }
}
