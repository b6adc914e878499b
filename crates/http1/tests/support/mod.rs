//! A connection without I/O: feeds a byte stream to the codec in pieces and collects what comes out.
//!
//! Used by the tests and by the fuzz targets. It keeps unconsumed bytes in one buffer, as a real connection does, so the
//! same bytes are offered again until the codec consumes them.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub, missing_docs)]

use isobar_http1::{
    BodyDecoder, BodyStep, Field, Framing, HeadLimits, HeadProgress, HeaderId, Method, Reject, RequestHead,
    ResponseHead, Span, normalize_path,
};

/// The defaults of a listener.
pub const LIMITS: HeadLimits = HeadLimits { head_bytes: 32 * 1024, target_bytes: 8 * 1024, n_headers: 100 };

/// Which heads are in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    /// Responses to requests of this method.
    Response(Method),
    /// The body of a request, its head being understood; then requests.
    Chunked,
}

/// One message, everything in it owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub start_line: Vec<String>,
    pub fields: Vec<(Vec<u8>, Vec<u8>, HeaderId, bool)>,
    pub framing: Framing,
    pub keep_alive: bool,
    pub notes: String,
    pub body: Vec<u8>,
    pub trailers: Vec<u8>,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Behind a message.
    Clean,
    /// Inside a head.
    Incomplete,
    /// A rule was broken. `usize` bytes had arrived, so it says how early that was noticed.
    Rejected(Reject),
}

/// The messages of a stream and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    pub messages: Vec<Message>,
    pub end: End,
}

impl Stream {
    /// The words of the corpus index.
    pub fn verdict(&self) -> String {
        let mut words: Vec<String> =
            self.messages.iter().map(|message| framing_word(message.framing)).collect();
        match self.end {
            End::Clean => {}
            End::Incomplete => words.push("incomplete".to_owned()),
            End::Rejected(reject) => words.push(reject.name().to_owned()),
        }
        words.join(" ")
    }
}

fn framing_word(framing: Framing) -> String {
    match framing {
        Framing::None => "none".to_owned(),
        Framing::Length(len) => format!("length={len}"),
        Framing::Chunked => "chunked".to_owned(),
        Framing::UntilClose => "until-close".to_owned(),
    }
}

/// Reads `input` in one piece.
pub fn read_whole(kind: Kind, input: &[u8]) -> Stream {
    read(kind, [input])
}

/// Reads `input` in pieces of `n` bytes.
pub fn read_by(kind: Kind, input: &[u8], n: usize) -> Stream {
    read(kind, input.chunks(n))
}

/// Reads `input` cut at `cuts`, taken modulo what is left.
pub fn read_cut(kind: Kind, input: &[u8], cuts: &[usize]) -> Stream {
    let mut pieces = Vec::new();
    let mut rest = input;
    for cut in cuts {
        let (piece, behind) = rest.split_at(cut % (rest.len() + 1));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    read(kind, pieces)
}

fn read<'a>(kind: Kind, pieces: impl IntoIterator<Item = &'a [u8]>) -> Stream {
    let mut connection = Connection::new(kind);
    let result = pieces.into_iter().try_for_each(|piece| {
        connection.buf.extend_from_slice(piece);
        connection.advance()
    });
    let result = result.and_then(|()| connection.finish());
    let end = match result {
        Ok(end) => end,
        Err(reject) => End::Rejected(reject),
    };
    Stream { messages: connection.messages, end }
}

struct Connection {
    kind: Kind,
    buf: Vec<u8>,
    progress: HeadProgress,
    request: RequestHead,
    response: ResponseHead,
    /// The message being read and what decodes its body.
    body: Option<(Message, BodyDecoder)>,
    messages: Vec<Message>,
}

impl Connection {
    fn new(kind: Kind) -> Self {
        let mut connection = Self {
            kind,
            buf: Vec::new(),
            progress: HeadProgress::default(),
            request: RequestHead::new(),
            response: ResponseHead::new(),
            body: None,
            messages: Vec::new(),
        };
        if kind == Kind::Chunked {
            let understood = Message {
                start_line: Vec::new(),
                fields: Vec::new(),
                framing: Framing::Chunked,
                keep_alive: true,
                notes: String::new(),
                body: Vec::new(),
                trailers: Vec::new(),
            };
            connection.body = Some((understood, BodyDecoder::new(Framing::Chunked)));
        }
        connection
    }

    fn advance(&mut self) -> Result<(), Reject> {
        loop {
            if self.body.is_none() && !self.read_head()? {
                return Ok(());
            }
            if !self.read_body()? {
                return Ok(());
            }
        }
    }

    fn read_head(&mut self) -> Result<bool, Reject> {
        if self.buf.is_empty() {
            return Ok(false);
        }
        let parsed = match self.kind {
            Kind::Response(method) => self.response.parse(&self.buf, &mut self.progress, &LIMITS, method)?,
            _ => self.request.parse(&self.buf, &mut self.progress, &LIMITS)?,
        };
        let Some(len) = parsed else { return Ok(false) };
        self.progress = HeadProgress::default();
        let message = match self.kind {
            Kind::Response(_) => self.describe_response(),
            _ => self.describe_request()?,
        };
        let decoder = BodyDecoder::new(message.framing);
        self.body = Some((message, decoder));
        self.buf.drain(..len);
        Ok(true)
    }

    fn read_body(&mut self) -> Result<bool, Reject> {
        let Some((message, decoder)) = &mut self.body else { return Ok(true) };
        loop {
            match decoder.decode(&self.buf)? {
                BodyStep::NeedMore { consumed } => {
                    self.buf.drain(..consumed);
                    return Ok(false);
                }
                BodyStep::Data { start, end } => {
                    assert!(start < end, "payload is never empty");
                    message.body.extend_from_slice(&self.buf[start..end]);
                    self.buf.drain(..end);
                }
                BodyStep::Done { consumed } => {
                    assert!(decoder.is_done());
                    self.buf.drain(..consumed);
                    break;
                }
            }
        }
        self.finish_message();
        Ok(true)
    }

    fn finish_message(&mut self) {
        if let Some((mut message, decoder)) = self.body.take() {
            message.trailers = decoder.trailers().to_vec();
            self.messages.push(message);
        }
    }

    fn finish(&mut self) -> Result<End, Reject> {
        if let Some((_, decoder)) = &mut self.body {
            decoder.end_of_stream()?;
            self.finish_message();
        }
        Ok(if self.buf.is_empty() { End::Clean } else { End::Incomplete })
    }

    /// Routing uses the normal form of the path, so that is decided here as well.
    fn describe_request(&self) -> Result<Message, Reject> {
        let (head, buf) = (&self.request, &self.buf);
        let mut normal = Vec::new();
        if !normalize_path(head.path.of(buf), &mut normal)? {
            normal = head.path.of(buf).to_vec();
        }
        let text = |span: Span| String::from_utf8_lossy(span.of(buf)).into_owned();
        let parts = [head.method_name, head.target, head.authority, head.path, head.query];
        Ok(Message {
            start_line: parts
                .map(text)
                .into_iter()
                .chain([String::from_utf8_lossy(&normal).into_owned()])
                .collect(),
            fields: describe_fields(&head.fields, buf),
            framing: head.framing,
            keep_alive: head.keep_alive,
            notes: format!(
                "{:?} {:?} {:?} {:?} {}",
                head.method,
                head.version,
                head.form,
                head.upgrade.map(text),
                head.expects_continue
            ),
            body: Vec::new(),
            trailers: Vec::new(),
        })
    }

    fn describe_response(&self) -> Message {
        let (head, buf) = (&self.response, &self.buf);
        let text = |span: Span| String::from_utf8_lossy(span.of(buf)).into_owned();
        Message {
            start_line: vec![head.status.to_string(), text(head.reason)],
            fields: describe_fields(&head.fields, buf),
            framing: head.framing,
            keep_alive: head.keep_alive,
            notes: format!("{:?} {:?}", head.version, head.upgrade.map(text)),
            body: Vec::new(),
            trailers: Vec::new(),
        }
    }
}

fn describe_fields(fields: &[Field], buf: &[u8]) -> Vec<(Vec<u8>, Vec<u8>, HeaderId, bool)> {
    fields
        .iter()
        .map(|field| (field.name.of(buf).to_vec(), field.value.of(buf).to_vec(), field.id, field.hop_by_hop))
        .collect()
}

/// One line of the corpus index.
#[derive(Clone, Debug)]
pub struct Case {
    pub file: String,
    pub kind: Kind,
    pub verdict: String,
    pub bytes: Vec<u8>,
}

/// Every case of the corpus.
pub fn corpus() -> Vec<Case> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
    let index = std::fs::read_to_string(format!("{root}/index.tsv")).unwrap();
    index
        .lines()
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [file, kind, verdict, _status] = columns[..] else { panic!("four columns: {line}") };
            let kind = match kind {
                "request" => Kind::Request,
                "response" => Kind::Response(Method::Get),
                "response-to-head" => Kind::Response(Method::Head),
                "chunked" => Kind::Chunked,
                other => panic!("no such kind: {other}"),
            };
            let bytes = std::fs::read(format!("{root}/{file}")).unwrap();
            Case { file: file.to_owned(), kind, verdict: verdict.to_owned(), bytes }
        })
        .collect()
}
