//! Messages at random: the text in which they are written, and what must be found in the text that is read.

use isobar_http1::{
    BodyDecoder, BodyStep, Field, Framing, HeadLimits, HeadProgress, Method, RequestHead, ResponseHead,
};

use crate::wire::noise::Noise;

const LIMITS: HeadLimits = HeadLimits { head_bytes: 1 << 20, target_bytes: 1 << 20, n_headers: 1000 };

type Fields = Vec<(String, String)>;

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Message {
    /// Method and target, or the status; of interim answers as well.
    pub(crate) first: String,
    /// Apart from those of framing and of the connection; of interim answers as well.
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
}

/// A message, and the text that says it.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) message: Message,
    pub(crate) text: Vec<u8>,
    /// The end is none of the text's: the body ends where the stream does.
    pub(crate) ends_with_stream: bool,
}

/// What is asked for, which both sides go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Ordinary,
    Head,
    Tunnel,
}

fn put_fields(fields: &Fields, text: &mut Vec<u8>) {
    for (name, value) in fields {
        text.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
}

fn fields(noise: &mut Noise) -> Fields {
    let n = noise.below(6);
    let field = |noise: &mut Noise| {
        let value: String = (0..noise.below(30)).map(|_| char::from(b'!' + noise.below(90) as u8)).collect();
        let long = if noise.one_in(30) { "v".repeat(noise.below(20_000)) } else { String::new() };
        (noise.pick(&["x-a", "x-b", "accept", "user-agent", "x-secret"]).to_owned(), value + &long)
    };
    (0..n).map(|_| field(noise)).collect()
}

fn body(noise: &mut Noise) -> Vec<u8> {
    let n = match noise.below(8) {
        0 => 0,
        1 => noise.below(300_000),
        2 => noise.below(70_000),
        _ => noise.below(2000),
    };
    let seed = noise.below(256);
    (0..n).map(|at| (at * 7 + seed) as u8).collect()
}

/// Puts the body as it is or in chunks, with trailers perhaps.
fn put_body(noise: &mut Noise, message: &mut Message, text: &mut Vec<u8>) {
    if noise.one_in(2) {
        text.extend_from_slice(format!("content-length: {}\r\n\r\n", message.body.len()).as_bytes());
        return text.extend_from_slice(&message.body);
    }
    text.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
    let mut rest = &message.body[..];
    while !rest.is_empty() {
        let longest = noise.pick(&[3, 100, 20_000, 400_000]);
        let (chunk, behind) = rest.split_at((1 + noise.below(longest)).min(rest.len()));
        text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        text.extend_from_slice(chunk);
        text.extend_from_slice(b"\r\n");
        rest = behind;
    }
    text.extend_from_slice(b"0\r\n");
    message.trailers = if noise.one_in(2) { fields(noise) } else { Fields::new() };
    message.trailers.retain(|(name, value)| name.starts_with("x-") && value.len() < 100);
    put_fields(&message.trailers, text);
    text.extend_from_slice(b"\r\n");
}

/// A request for `/n`.
pub(crate) fn request(noise: &mut Noise, n: usize) -> (Written, Asked) {
    let asked = noise.pick(&[Asked::Ordinary, Asked::Ordinary, Asked::Ordinary, Asked::Head, Asked::Tunnel]);
    let mut message = Message { fields: fields(noise), ..Message::default() };
    let method = match asked {
        Asked::Head => "HEAD",
        Asked::Tunnel => "GET",
        Asked::Ordinary => noise.pick(&["GET", "POST", "PUT", "PATCH", "DELETE"]),
    };
    message.first = format!("{method} /{n}");
    let mut text = format!("{} HTTP/1.1\r\nhost: h\r\n", message.first).into_bytes();
    put_fields(&message.fields, &mut text);
    if asked == Asked::Tunnel {
        text.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
        text.extend_from_slice(b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        message.body = body(noise);
        text.extend_from_slice(&message.body);
        return (Written { message, text, ends_with_stream: true }, asked);
    }
    if method.starts_with('P') {
        message.body = body(noise);
        put_body(noise, &mut message, &mut text);
    } else {
        text.extend_from_slice(b"\r\n");
    }
    (Written { message, text, ends_with_stream: false }, asked)
}

/// An answer to such a request.
pub(crate) fn response(noise: &mut Noise, asked: Asked) -> Written {
    let (mut text, mut message) = (Vec::new(), Message::default());
    for _ in 0..noise.pick(&[0, 0, 0, 1, 3]) {
        let interim = fields(noise);
        message.first.push_str("103 ");
        text.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\n");
        put_fields(&interim, &mut text);
        text.extend_from_slice(b"\r\n");
        message.fields.extend(interim);
    }
    let status = match asked {
        Asked::Tunnel => "101",
        Asked::Head | Asked::Ordinary => noise.pick(&["200", "200", "204", "304", "500"]),
    };
    message.first.push_str(status);
    let of_last = fields(noise);
    text.extend_from_slice(format!("HTTP/1.1 {status} x\r\n").as_bytes());
    put_fields(&of_last, &mut text);
    message.fields.extend(of_last);
    let has_body = asked == Asked::Ordinary && !matches!(status, "204" | "304");
    let mut ends_with_stream = asked == Asked::Tunnel;
    if asked == Asked::Tunnel {
        text.extend_from_slice(
            b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n",
        );
        message.body = body(noise);
        text.extend_from_slice(&message.body);
    } else if has_body && noise.one_in(4) {
        message.body = body(noise);
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(&message.body);
        ends_with_stream = true;
    } else if has_body {
        message.body = body(noise);
        put_body(noise, &mut message, &mut text);
    } else {
        text.extend_from_slice(if status == "200" { b"content-length: 5\r\n\r\n" } else { b"\r\n" });
    }
    Written { message, text, ends_with_stream }
}

fn plain(fields: &[Field], text: &[u8]) -> Fields {
    let ours = [
        "host",
        "te",
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
        "sec-websocket-key",
        "sec-websocket-accept",
    ];
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = fields.iter().map(|field| (lossy(field.name.of(text)), lossy(field.value.of(text))));
    fields.filter(|(name, _)| !ours.contains(&&name[..])).collect()
}

/// The body and trailers in `text`, which is all of them.
fn read_body(mut text: &[u8], framing: Framing, message: &mut Message) {
    let mut decoder = BodyDecoder::new(framing);
    loop {
        match decoder.decode(text).expect("a body") {
            BodyStep::Data { start, end } => {
                message.body.extend_from_slice(&text[start..end]);
                text = &text[end..];
            }
            BodyStep::NeedMore { consumed } | BodyStep::Done { consumed } => {
                text = &text[consumed..];
                break;
            }
        }
    }
    assert_eq!((text.len(), decoder.end_of_stream()), (0, Ok(())), "the whole body, and nothing behind it");
    for line in String::from_utf8_lossy(decoder.trailers()).lines() {
        let (name, value) = line.split_once(": ").expect("a line");
        message.trailers.push((name.to_owned(), value.to_owned()));
    }
}

/// What a request says whose text was read to its end.
pub(crate) fn read_request(text: &[u8]) -> Message {
    let mut head = RequestHead::new();
    let n = head.parse(text, &mut HeadProgress::default(), &LIMITS).expect("a head").expect("a whole head");
    let first = [head.method_name.of(text), b" ", head.target.of(text)].concat();
    let mut message = Message {
        first: String::from_utf8_lossy(&first).into_owned(),
        fields: plain(&head.fields, text),
        ..Message::default()
    };
    let framing = if head.upgrade.is_some() { Framing::UntilClose } else { head.framing };
    read_body(&text[n..], framing, &mut message);
    message
}

/// What an answer says whose text was read to its end.
pub(crate) fn read_response(mut text: &[u8], asked: Asked) -> Message {
    let mut message = Message::default();
    let method = if asked == Asked::Head { Method::Head } else { Method::Get };
    loop {
        let mut head = ResponseHead::new();
        let parsed = head.parse(text, &mut HeadProgress::default(), &LIMITS, method);
        let n = parsed.expect("a head").expect("a whole head");
        message.first.push_str(&head.status.to_string());
        message.fields.extend(plain(&head.fields, text));
        text = &text[n..];
        if !head.is_informational() {
            let framing = if head.status == 101 { Framing::UntilClose } else { head.framing };
            read_body(text, framing, &mut message);
            return message;
        }
        message.first.push(' ');
    }
}

/// The number in a request's target, where its first line has come.
pub(crate) fn number(text: &[u8]) -> Option<usize> {
    let line = text.split(|&byte| byte == b'\n').next().filter(|line| line.len() < text.len())?;
    String::from_utf8_lossy(line).split([' ', '/']).nth(2)?.parse().ok()
}
