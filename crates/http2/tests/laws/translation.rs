//! What must hold of every message that comes by HTTP/2: as text it is one message of HTTP/1.1 or nothing, and that text
//! says in HTTP/2 again what it came from.
//!
//! An input is lines that end with the byte 0xFE, since a field of HTTP/2 can carry CR, LF and NUL to where they must be
//! refused. The first line is letters, `e`: the message ends with its head. For a request follow method, authority (empty:
//! none) and path, with `t` for a tunnel; for an answer the status, with `h` for one to HEAD; then names and values in
//! turn. With the letter `r` these are all, pseudo-fields among them.

use isobar_http1::{
    BodyDecoder, BodyStep, Field, Framing, HeadLimits, HeadProgress, Method, RequestHead, ResponseHead,
    parse_length,
};
use isobar_http2::hpack::{Decoder, Encoder};
use isobar_http2::{Bounds, Connection, Key, Read, Reason, flag, kind};

use super::wire;

const LIMITS: HeadLimits = HeadLimits { head_bytes: 1 << 20, target_bytes: 1 << 20, n_headers: 10_000 };

const BOUNDS: Bounds = Bounds { head_bytes: 1 << 20, continuations_max: 1000, ..wire::BOUNDS };

/// What ends a line of an input.
const END: u8 = 0xFE;

/// Longer bodies are told of, but not sent.
const BODY_MAX: u64 = 1000;

/// What speaks of one connection and has no place in HTTP/2 (RFC 9113, section 8.2.2).
const OF_CONNECTION: [&[u8]; 5] =
    [b"connection", b"transfer-encoding", b"upgrade", b"keep-alive", b"proxy-connection"];

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A message as its sender means it.
struct Sent {
    letters: Vec<u8>,
    fields: Fields,
}

impl Sent {
    fn of(input: &[u8], pseudo: impl Fn(&mut Vec<&[u8]>, bool) -> Option<Fields>) -> Option<Self> {
        let mut lines: Vec<&[u8]> =
            input.strip_suffix(&[END]).unwrap_or(input).split(|&byte| byte == END).collect();
        let letters = lines.remove(0).to_vec();
        let mut fields = Fields::new();
        if !letters.contains(&b'r') {
            fields = pseudo(&mut lines, letters.contains(&b't'))?;
        }
        for pair in lines.chunks(2) {
            fields.push((pair[0].to_vec(), pair.get(1).copied().unwrap_or_default().to_vec()));
        }
        Some(Self { letters, fields })
    }

    fn request(input: &[u8]) -> Option<Self> {
        Self::of(input, |lines, tunnels| {
            if lines.len() < 3 {
                return None;
            }
            let mut fields =
                vec![(b":method".to_vec(), lines[0].to_vec()), (b":scheme".to_vec(), b"http".to_vec())];
            if tunnels {
                fields.push((b":protocol".to_vec(), b"websocket".to_vec()));
            }
            if !lines[1].is_empty() {
                fields.push((b":authority".to_vec(), lines[1].to_vec()));
            }
            fields.push((b":path".to_vec(), lines[2].to_vec()));
            lines.drain(..3);
            Some(fields)
        })
    }

    fn response(input: &[u8]) -> Option<Self> {
        Self::of(input, |lines, _| {
            let status = (!lines.is_empty()).then(|| lines.remove(0))?;
            Some(vec![(b":status".to_vec(), status.to_vec())])
        })
    }

    fn ends(&self) -> bool {
        self.letters.contains(&b'e')
    }

    fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |field| field.0 == name).map(|field| &field.1[..])
    }

    fn value<'a>(&'a self, name: &'a [u8]) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// Fields that must be in the text as they came and where they came.
    fn plain(&self, apart: &[&[u8]]) -> Fields {
        let is_plain = |name: &[u8]| !name.starts_with(b":") && !apart.contains(&name);
        self.fields.iter().filter(|field| is_plain(&field.0)).cloned().collect()
    }

    fn block(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        let mut block = Vec::new();
        encoder.begin(&mut block);
        self.fields.iter().for_each(|(name, value)| encoder.encode(name, value, &mut block));
        block
    }

    fn frames(&self) -> Vec<u8> {
        let ends = if self.ends() { flag::END_STREAM } else { 0 };
        wire::split_headers(1, ends, &self.block())
    }
}

fn owned(fields: &[Field], text: &[u8]) -> Fields {
    fields.iter().map(|field| (field.name.of(text).to_vec(), field.value.of(text).to_vec())).collect()
}

fn without(fields: &Fields, apart: &[&[u8]]) -> Fields {
    fields.iter().filter(|field| !apart.contains(&&field.0[..])).cloned().collect()
}

fn values<'a>(fields: &'a Fields, name: &'a [u8]) -> Vec<&'a [u8]> {
    fields.iter().filter(|field| field.0 == name).map(|field| &field.1[..]).collect()
}

/// Reads what is there; `None` where the stream broke off.
fn read(connection: &mut Connection, key: Key) -> Option<Vec<u8>> {
    let (text, read) = wire::read_by(connection, key, 4096);
    (!matches!(read, Read::Broken(_))).then_some(text)
}

/// The body that the framing tells of is the one that is read, or the message breaks off. It is as long as was told, which
/// counts where chunks took the length's place as well.
fn body(connection: &mut Connection, key: Key, framing: Framing, told: Option<&[u8]>) {
    let n = told.and_then(parse_length).unwrap_or(3);
    let payload = vec![b'x'; n.min(BODY_MAX) as usize];
    wire::receive(connection, &wire::data(1, flag::END_STREAM, &payload));
    let (text, read) = wire::read_by(connection, key, 4096);
    if n > BODY_MAX {
        assert!(matches!(read, Read::Broken(_)), "a body that is short is no body: {read:?}");
        return;
    }
    assert_eq!(read, Read::End);
    let mut decoder = BodyDecoder::new(framing);
    let (mut rest, mut came) = (&text[..], Vec::new());
    loop {
        match decoder.decode(rest).expect("what is read is a body") {
            BodyStep::Data { start, end } => {
                came.extend_from_slice(&rest[start..end]);
                rest = &rest[end..];
            }
            BodyStep::NeedMore { consumed } | BodyStep::Done { consumed } => {
                rest = &rest[consumed..];
                break;
            }
        }
    }
    assert_eq!(decoder.end_of_stream(), Ok(()), "a whole body");
    assert!(rest.is_empty(), "one body, and nothing behind it");
    assert_eq!(came, payload);
}

/// The message that `connection` has to send: its fields, and whether it ends with them.
fn said(connection: &Connection) -> (Fields, bool) {
    let frames = wire::frames(connection.output());
    let mut block = Vec::new();
    let mut of_message = frames.iter().filter(|frame| frame.stream == 1);
    let first = of_message.next().expect("a head was sent");
    assert_eq!(first.kind, kind::HEADERS);
    block.extend_from_slice(&first.payload);
    block
        .extend(of_message.filter(|frame| frame.kind == kind::CONTINUATION).flat_map(|frame| &frame.payload));
    let mut fields = Fields::new();
    Decoder::new(4096)
        .decode(&block, |name, value| fields.push((name.to_vec(), value.to_vec())))
        .expect("what is encoded can be decoded");
    for (name, _) in &fields {
        assert!(!OF_CONNECTION.contains(&&name[..]), "it has no place in HTTP/2");
        assert!(!name.iter().any(u8::is_ascii_uppercase), "names are in lower case");
    }
    (fields, first.has(flag::END_STREAM))
}

/// What becomes of a request of HTTP/2: the text that the parser of HTTP/1 accepted, or `None` where it was refused.
///
/// # Panics
/// A law is broken.
pub(crate) fn request(input: &[u8]) -> Option<Vec<u8>> {
    let sent = Sent::request(input)?;
    let mut server = wire::server(BOUNDS);
    wire::receive(&mut server, &sent.frames());
    let Some((key, tunnels)) = server.accept() else {
        let (n, _) = server.take_malformed().expect("what is refused is counted");
        assert_eq!((n, server.end(), server.n_streams()), (1, None, 0), "it costs its own stream alone");
        let said = wire::sent(&mut server);
        let (kind, reason) = (said[0].kind, Reason(said[0].number(0)));
        assert_eq!((said.len(), kind, reason), (1, kind::RST_STREAM, Reason::PROTOCOL_ERROR));
        return None;
    };
    let text = read(&mut server, key)?;
    let mut head = RequestHead::new();
    // Refused by the one parser that every request passes.
    let head_len = head.parse(&text, &mut HeadProgress::default(), &LIMITS).ok()?;
    assert_eq!(head_len, Some(text.len()), "one head, and nothing behind it");
    let lengths: Vec<_> = sent.values(b"content-length").collect();
    let can_be_plain = !lengths.is_empty() && sent.value(b"trailer").is_none();
    match head.framing {
        Framing::None if tunnels => {}
        Framing::None | Framing::Length(0) if sent.ends() => {}
        Framing::Length(_) => assert!(!sent.ends() && can_be_plain, "a length that did not come"),
        Framing::Chunked => assert!(!sent.ends() && !can_be_plain, "chunks without a body"),
        Framing::None | Framing::UntilClose => panic!("a body that nobody would see"),
    }
    fields_of_request(&sent, &head, &text, tunnels);
    request_again(&sent, &head, &text);
    if !sent.ends() {
        let framing = if tunnels { Framing::UntilClose } else { head.framing };
        body(&mut server, key, framing, sent.value(b"content-length"));
    }
    Some(text)
}

/// Every field came in, and nothing is added but what is ours.
fn fields_of_request(sent: &Sent, head: &RequestHead, text: &[u8], tunnels: bool) {
    if tunnels {
        assert_eq!(head.method_name.of(text), b"GET");
    } else {
        assert_eq!(Some(head.method_name.of(text)), sent.value(b":method"));
    }
    assert_eq!(Some(head.target.of(text)), sent.value(b":path"));
    let fields = owned(&head.fields, text);
    let host = sent.value(b":authority").or(sent.value(b"host"));
    assert_eq!(values(&fields, b"host"), Vec::from_iter(host));
    let cookies: Vec<_> = sent.values(b"cookie").filter(|cookie| !cookie.is_empty()).collect();
    if !cookies.is_empty() {
        let joined = sent.values(b"cookie").collect::<Vec<_>>().join(&b"; "[..]);
        let one = values(&fields, b"cookie");
        assert!(one.len() == 1 && joined.trim_ascii().ends_with(one[0]), "the cookies that came, as one");
    }
    let codings = values(&fields, b"transfer-encoding");
    assert_eq!(codings, if head.framing == Framing::Chunked { vec![&b"chunked"[..]] } else { Vec::new() });
    for length in values(&fields, b"content-length") {
        assert!(Some(length) == sent.value(b"content-length") || (length == b"0" && sent.ends()));
    }
    let protocol = Vec::from_iter(sent.value(b":protocol"));
    assert_eq!(values(&fields, b"upgrade"), protocol);
    assert_eq!(values(&fields, b"connection"), vec![&b"upgrade"[..]; protocol.len()]);
    let mut apart =
        vec![&b"host"[..], b"cookie", b"content-length", b"transfer-encoding", b"upgrade", b"connection"];
    apart.extend(tunnels.then_some(&b"sec-websocket-key"[..]));
    assert_eq!(without(&fields, &apart), sent.plain(&apart), "what came came in, and nothing else");
}

/// The text says in HTTP/2 again what it came from.
fn request_again(sent: &Sent, head: &RequestHead, text: &[u8]) {
    let mut client = wire::client(BOUNDS, &[]);
    let key = client.open().expect("a free stream");
    assert_eq!(client.write(key, text, b""), Ok(text.len()), "what was parsed can be said");
    let is_tunnel = sent.value(b":protocol").is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"));
    let (fields, ends) = said(&client);
    assert_eq!(ends, !is_tunnel && matches!(head.framing, Framing::None | Framing::Length(0)));
    assert_eq!(client.take_asked(key).is_some(), is_tunnel);
    let method = if is_tunnel { &b"CONNECT"[..] } else { head.method_name.of(text) };
    assert_eq!(values(&fields, b":method"), [method]);
    assert_eq!(values(&fields, b":authority"), [head.authority.of(text)]);
    assert_eq!(values(&fields, b":path"), [head.target.of(text)]);
    assert_eq!(values(&fields, b":protocol").len(), usize::from(is_tunnel));
    assert_eq!(values(&fields, b"te"), [b"trailers"]);
    let mut apart = vec![&b"host"[..], b"te", b"cookie", b"content-length"];
    apart.extend(sent.value(b":protocol").map(|_| &b"sec-websocket-key"[..]));
    let regular: Fields = fields.into_iter().filter(|field| !field.0.starts_with(b":")).collect();
    assert_eq!(without(&regular, &apart), sent.plain(&apart), "it says what it came from");
}

/// As [`request`], for an endpoint's answer.
///
/// # Panics
/// A law is broken.
pub(crate) fn response(input: &[u8]) -> Option<Vec<u8>> {
    let sent = Sent::response(input)?;
    let to_head = sent.letters.contains(&b'h');
    let method = if to_head { Method::Head } else { Method::Get };
    let mut client = wire::client(BOUNDS, &[]);
    let asked =
        if to_head { "HEAD / HTTP/1.1\r\nhost: h\r\n\r\n" } else { "GET / HTTP/1.1\r\nhost: h\r\n\r\n" };
    let key = wire::ask(&mut client, asked);
    wire::receive(&mut client, &sent.frames());
    assert_eq!(client.end(), None, "it costs its own stream alone");
    let text = read(&mut client, key)?;
    let mut head = ResponseHead::new();
    let head_len = head.parse(&text, &mut HeadProgress::default(), &LIMITS, method).ok()?;
    assert_eq!(head_len, Some(text.len()), "one head, and nothing behind it");
    assert_eq!(sent.value(b":status"), Some(head.status.to_string().as_bytes()));
    assert_ne!(head.framing, Framing::UntilClose, "its end is known");
    let fields = owned(&head.fields, &text);
    assert_eq!(values(&fields, b"transfer-encoding").len(), usize::from(head.framing == Framing::Chunked));
    for length in values(&fields, b"content-length") {
        assert!(Some(length) == sent.value(b"content-length") || (length == b"0" && sent.ends()));
    }
    let apart = [&b"content-length"[..], b"transfer-encoding"];
    assert_eq!(without(&fields, &apart), sent.plain(&apart), "what came came in, and nothing else");
    response_again(&sent, &head, &text, to_head);
    if !sent.ends() && !matches!(head.framing, Framing::None) {
        body(&mut client, key, head.framing, sent.value(b"content-length"));
    }
    Some(text)
}

fn response_again(sent: &Sent, head: &ResponseHead, text: &[u8], to_head: bool) {
    let mut server = wire::server(BOUNDS);
    let asked = [(":method", if to_head { "HEAD" } else { "GET" }), wire::GET[1], wire::GET[2], wire::GET[3]];
    wire::receive(&mut server, &wire::headers(1, flag::END_STREAM, &asked));
    let (key, _) = server.accept().expect("a request");
    assert_eq!(server.write(key, text, b""), Ok(text.len()), "what was parsed can be said");
    let (fields, ends) = said(&server);
    let has_end = matches!(head.framing, Framing::None | Framing::Length(0));
    assert_eq!(ends, has_end && !head.is_informational());
    assert_eq!(Some(values(&fields, b":status")[0]), sent.value(b":status"));
    let apart = [&b":status"[..], b"te", b"content-length"];
    assert_eq!(without(&fields, &apart), sent.plain(&apart), "it says what it came from");
}
