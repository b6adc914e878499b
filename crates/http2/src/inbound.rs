//! Heads and trailers as they come: the fields of HTTP/2 to the text of HTTP/1.1.
//!
//! Invariants: the text goes through the strict parser of HTTP/1 afterwards, so here is refused only what the text could
//! hide or turn into something else (RFC 9113, section 8): a byte that ends a line, white space that a parser would
//! strip, fields that speak of one connection, two names for one host, a target that is no path. Every field that is
//! written came in; what is added is the framing that the body will have. What is written is bounded: text that is longer
//! than its bound is cut, and so never ends; trailers like that are malformed.

use isobar_http1::{HeaderId, Method, is_token, parse_length, reason_phrase};

use crate::Malformed;
use crate::malformed::{check_name, check_value};

/// The form that a body takes in HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyForm {
    /// There is none.
    None,
    /// As it is: the length says where it ends.
    Plain,
    /// In chunks of our making, and trailers.
    Chunked,
}

/// Room that a text begins with: that of most heads.
const HEAD_ROOM: usize = 512;

/// What a block of fields is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    /// The answer to a request of this method.
    Response {
        to_head: bool,
        /// What the endpoint's success says, where a tunnel was asked for.
        tunnel: Option<[u8; PROOF_LEN]>,
    },
    Trailers,
}

/// Bytes of the text that proves the knowledge of a WebSocket's key.
pub(crate) const PROOF_LEN: usize = 28;

/// Stands for the key of a WebSocket until there is one (RFC 6455, section 4.1): 16 bytes as text.
pub(crate) const KEY: [u8; 24] = *b"AAAAAAAAAAAAAAAAAAAAAA==";

/// A head that became text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Translated {
    pub(crate) form: BodyForm,
    /// Bytes that DATA must come to in all.
    pub(crate) length: Option<u64>,
    pub(crate) method: Method,
    /// Another head follows.
    pub(crate) is_informational: bool,
    /// A tunnel is asked for, or stands; the place of [`KEY`] in a request's text.
    pub(crate) tunnel: Option<usize>,
}

/// What the fields of one block are gathered in; kept from block to block for its memory.
#[derive(Debug, Default)]
pub(crate) struct Pseudo {
    bytes: Vec<u8>,
    /// The ends of what came, in `bytes`.
    values: [Option<(usize, usize)>; N_PSEUDO],
    cookies: Vec<u8>,
}

const METHOD: usize = 0;
const SCHEME: usize = 1;
const AUTHORITY: usize = 2;
const PATH: usize = 3;
const PROTOCOL: usize = 4;
const STATUS: usize = 5;
const N_PSEUDO: usize = 6;

impl Pseudo {
    fn clear(&mut self) {
        self.bytes.clear();
        self.cookies.clear();
        self.values = [None; N_PSEUDO];
    }

    fn get(&self, place: usize) -> Option<&[u8]> {
        self.values[place].map(|(start, end)| &self.bytes[start..end])
    }

    fn is(&self, place: usize) -> bool {
        self.values[place].is_some()
    }
}

/// One block on its way to text; see the module's page.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one block")]
pub(crate) struct Inbound<'a> {
    kind: Kind,
    /// Nothing follows the block.
    ended: bool,
    pseudo: &'a mut Pseudo,
    out: &'a mut Vec<u8>,
    /// `out` gets no longer than this.
    out_max: usize,
    /// The first line is written: no pseudo-field may follow.
    begun: bool,
    length: Option<u64>,
    has_host: bool,
    announces_trailers: bool,
    malformed: Option<Malformed>,
}

impl<'a> Inbound<'a> {
    pub(crate) fn new(
        kind: Kind,
        ended: bool,
        pseudo: &'a mut Pseudo,
        out: &'a mut Vec<u8>,
        bytes_max: usize,
    ) -> Self {
        pseudo.clear();
        out.reserve(HEAD_ROOM);
        let out_max = out.len().saturating_add(bytes_max);
        Self {
            kind,
            ended,
            pseudo,
            out,
            out_max,
            begun: kind == Kind::Trailers,
            length: None,
            has_host: false,
            announces_trailers: false,
            malformed: None,
        }
    }

    /// Takes the next field.
    pub(crate) fn field(&mut self, name: &[u8], value: &[u8]) {
        // What is past its bound or wrong already needs no more of it; who unpacks much from little costs nothing here.
        let is_full = self.out.len().max(self.pseudo.cookies.len()) > self.out_max;
        if self.malformed.is_some() || is_full {
            return;
        }
        let taken = match name {
            [b':', name @ ..] => self.pseudo_field(name, value),
            _ => self.regular_field(name, value),
        };
        self.malformed = taken.err();
    }

    fn pseudo_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        let of_request = self.kind == Kind::Request;
        let place = match name {
            b"method" if of_request => METHOD,
            b"scheme" if of_request => SCHEME,
            b"authority" if of_request => AUTHORITY,
            b"path" if of_request => PATH,
            b"protocol" if of_request => PROTOCOL,
            b"status" if !of_request => STATUS,
            _ => return Err(Malformed::PseudoField),
        };
        if self.begun || self.pseudo.is(place) {
            return Err(Malformed::PseudoField);
        }
        let start = self.pseudo.bytes.len();
        self.pseudo.bytes.extend_from_slice(value);
        self.pseudo.values[place] = Some((start, self.pseudo.bytes.len()));
        Ok(())
    }

    fn regular_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        if !self.begun {
            self.begin()?;
        }
        check_name(name)?;
        check_value(value)?;
        match HeaderId::of(name) {
            HeaderId::Connection
            | HeaderId::TransferEncoding
            | HeaderId::Upgrade
            | HeaderId::KeepAlive
            | HeaderId::ProxyConnection => return Err(Malformed::ConnectionField),
            HeaderId::Te if !value.eq_ignore_ascii_case(b"trailers") => {
                return Err(Malformed::ConnectionField);
            }
            HeaderId::Host if self.kind == Kind::Request => return self.host(value),
            HeaderId::ContentLength if self.kind != Kind::Trailers => return self.length(value),
            HeaderId::Cookie if self.kind == Kind::Request => {
                self.cookie(value);
                return Ok(());
            }
            // Without a meaning here (RFC 8441, section 5); ours stands in their places.
            HeaderId::SecWebSocketKey if self.pseudo.is(PROTOCOL) => return Ok(()),
            HeaderId::SecWebSocketAccept if self.tunnel_proof().is_some() => return Ok(()),
            HeaderId::Trailer => self.announces_trailers = true,
            _ => {}
        }
        line(name, value, self.out);
        Ok(())
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Malformed> {
        if std::mem::replace(&mut self.has_host, true) {
            return Err(Malformed::TwoHosts);
        }
        match self.pseudo.get(AUTHORITY) {
            Some(authority) if authority == value => {}
            Some(_) => return Err(Malformed::TwoHosts),
            None => line(b"host", value, self.out),
        }
        Ok(())
    }

    /// Section 8.2.3: what was split for the sake of compression is one field again.
    fn cookie(&mut self, value: &[u8]) {
        let cookies = &mut self.pseudo.cookies;
        if !cookies.is_empty() {
            cookies.extend_from_slice(b"; ");
        }
        cookies.extend_from_slice(value);
    }

    fn length(&mut self, value: &[u8]) -> Result<(), Malformed> {
        let length = parse_length(value).ok_or(Malformed::Length)?;
        if self.length.replace(length).is_some() {
            return Err(Malformed::Length);
        }
        Ok(())
    }

    /// The proof by which a success is the answer that a tunnel stands.
    fn tunnel_proof(&self) -> Option<[u8; PROOF_LEN]> {
        match self.kind {
            Kind::Response { tunnel, .. }
                if self.pseudo.get(STATUS).is_some_and(|status| status[0] == b'2') =>
            {
                tunnel
            }
            _ => None,
        }
    }

    /// Writes the first line, since every pseudo-field has come.
    fn begin(&mut self) -> Result<(), Malformed> {
        self.begun = true;
        match self.kind {
            Kind::Request => self.begin_request(),
            Kind::Response { .. } => self.begin_response(),
            Kind::Trailers => Ok(()),
        }
    }

    fn begin_request(&mut self) -> Result<(), Malformed> {
        let (pseudo, out) = (&*self.pseudo, &mut *self.out);
        let method = pseudo.get(METHOD).ok_or(Malformed::PseudoField)?;
        if !is_token(method) {
            return Err(Malformed::PseudoField);
        }
        let authority = pseudo.get(AUTHORITY);
        if let Some(authority) = authority {
            if memchr::memchr(b'@', authority).is_some() {
                return Err(Malformed::UserInformation);
            }
            check_value(authority)?;
        }
        let is_connect = method == b"CONNECT";
        let target = if is_connect && !pseudo.is(PROTOCOL) {
            // The parser of HTTP/1 says what becomes of it.
            if pseudo.is(PATH) || pseudo.is(SCHEME) {
                return Err(Malformed::PseudoField);
            }
            authority.ok_or(Malformed::PseudoField)?
        } else {
            if !pseudo.is(SCHEME) || (pseudo.is(PROTOCOL) && !is_connect) {
                return Err(Malformed::PseudoField);
            }
            let path = pseudo.get(PATH).ok_or(Malformed::PseudoField)?;
            let is_path = path.first() == Some(&b'/') || (path == b"*" && method == b"OPTIONS");
            if is_path { path } else { return Err(Malformed::Path) }
        };
        // A blank would end the target in the request line.
        if target.iter().any(|&byte| byte <= b' ' || byte == 0x7F) {
            return Err(Malformed::Path);
        }
        out.extend_from_slice(if is_connect && pseudo.is(PROTOCOL) { b"GET" } else { method });
        out.push(b' ');
        out.extend_from_slice(target);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        if let Some(authority) = authority {
            line(b"host", authority, out);
        }
        Ok(())
    }

    fn begin_response(&mut self) -> Result<(), Malformed> {
        let status = match self.pseudo.get(STATUS) {
            Some(&[a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9']) => [a, b, c],
            Some(_) => return Err(Malformed::Status),
            None => return Err(Malformed::PseudoField),
        };
        // Section 8.6: nothing is switched to in HTTP/2.
        if status == *b"101" {
            return Err(Malformed::Status);
        }
        if self.tunnel_proof().is_some() {
            self.out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
            return Ok(());
        }
        self.out.extend_from_slice(b"HTTP/1.1 ");
        self.out.extend_from_slice(&status);
        self.out.push(b' ');
        self.out.extend_from_slice(reason_phrase(number(status)).as_bytes());
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Ends the block.
    pub(crate) fn finish(mut self) -> Result<Translated, Malformed> {
        if let Some(malformed) = self.malformed {
            return Err(malformed);
        }
        if !self.begun {
            self.begin()?;
        }
        let translated = match self.kind {
            Kind::Request => self.finish_request()?,
            Kind::Response { to_head, .. } => self.finish_response(to_head)?,
            Kind::Trailers => Translated {
                form: BodyForm::None,
                length: None,
                method: Method::Other,
                is_informational: false,
                tunnel: None,
            },
        };
        self.out.extend_from_slice(b"\r\n");
        if self.out.len() > self.out_max {
            if self.kind == Kind::Trailers {
                return Err(Malformed::Trailers);
            }
            self.out.truncate(self.out_max);
        }
        Ok(translated)
    }

    /// For a message that has not ended with its head. Only chunks can be followed by trailers, so announced ones count
    /// for more than a length.
    fn open_form(&self) -> BodyForm {
        if self.length.is_some() && !self.announces_trailers { BodyForm::Plain } else { BodyForm::Chunked }
    }

    fn finish_request(&mut self) -> Result<Translated, Malformed> {
        let method_name = self.pseudo.get(METHOD).ok_or(Malformed::PseudoField)?;
        let method = Method::of(method_name);
        // RFC 9110, section 8.6: methods that mean something by a body tell that there is none.
        let tells_length = matches!(method_name, b"POST" | b"PUT" | b"PATCH");
        if !self.pseudo.cookies.is_empty() {
            line(b"cookie", &self.pseudo.cookies, self.out);
        }
        if self.pseudo.is(PROTOCOL) {
            return self.finish_tunnel();
        }
        let form = if self.ended { BodyForm::None } else { self.open_form() };
        match (form, self.length) {
            (BodyForm::Chunked, _) => self.out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            // Behind it would come the next request, or nothing.
            (BodyForm::None, Some(1..)) => return Err(Malformed::Length),
            (_, Some(length)) => self.put_length(length),
            (_, None) if tells_length => self.put_length(0),
            (_, None) => {}
        }
        Ok(Translated { form, length: self.length, method, is_informational: false, tunnel: None })
    }

    /// A tunnel is asked for by an upgrade; what comes behind the head is the tunnel's, whatever it is.
    fn finish_tunnel(&mut self) -> Result<Translated, Malformed> {
        let protocol = self.pseudo.get(PROTOCOL).unwrap_or_default();
        if !is_token(protocol) || self.length.is_some() {
            return Err(Malformed::Tunnel);
        }
        line(b"connection", b"upgrade", self.out);
        line(b"upgrade", protocol, self.out);
        line(b"sec-websocket-key", &KEY, self.out);
        let tunnel = Some(self.out.len() - b"\r\n".len() - KEY.len());
        let form = BodyForm::Plain;
        Ok(Translated { form, length: None, method: Method::Get, is_informational: false, tunnel })
    }

    fn finish_response(&mut self, to_head: bool) -> Result<Translated, Malformed> {
        let method = Method::Other;
        if let Some(proof) = self.tunnel_proof() {
            line(b"connection", b"upgrade", self.out);
            line(b"upgrade", b"websocket", self.out);
            line(b"sec-websocket-accept", &proof, self.out);
            let (form, tunnel) = (BodyForm::Plain, Some(0));
            return Ok(Translated { form, length: None, method, is_informational: false, tunnel });
        }
        let status = self.pseudo.get(STATUS).ok_or(Malformed::PseudoField)?;
        let is_informational = status[0] == b'1';
        let bodiless = to_head || is_informational || matches!(status, b"204" | b"304");
        let form = if self.ended || bodiless { BodyForm::None } else { self.open_form() };
        if is_informational && self.ended {
            return Err(Malformed::Status);
        }
        match (form, self.length) {
            (BodyForm::Chunked, _) => self.out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            (BodyForm::None, Some(1..)) if !bodiless => return Err(Malformed::Length),
            (_, Some(length)) => self.put_length(length),
            (BodyForm::None, None) if !bodiless => self.put_length(0),
            (_, None) => {}
        }
        let length = if bodiless { Some(0) } else { self.length };
        Ok(Translated { form, length, method, is_informational, tunnel: None })
    }

    fn put_length(&mut self, length: u64) {
        self.out.extend_from_slice(b"content-length: ");
        put_decimal(length, self.out);
        self.out.extend_from_slice(b"\r\n");
    }
}

fn number(digits: [u8; 3]) -> u16 {
    digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
}

/// Appends a number as text.
pub(crate) fn put_decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

fn line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
