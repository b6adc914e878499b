//! What the fields of a head say about the message as a whole: its framing, its connection, its protocol switch.
//!
//! One pass over the index, the same for requests and responses. Fields are marked here that must not go on.
//! Sources: RFC 9112 section 6, RFC 9110 sections 7.6.1, 7.8, 8.6 and 10.1.1.

use crate::class::{is, is_token, trim};
use crate::field::Field;
use crate::framing::parse_length;
use crate::header_id::is_framing_lookalike;
use crate::{Framing, HeaderId, Reject, Span, Version};

/// Options in all `Connection` fields together. Clients send one or two; each costs a pass over the fields.
const CONNECTION_OPTIONS_MAX: usize = 32;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Survey {
    pub(crate) host: Option<Span>,
    pub(crate) n_hosts: usize,
    pub(crate) n_expects: usize,
    pub(crate) expects_only_continue: bool,
    length: Option<u64>,
    codings: Codings,
    options: Options,
    upgrade: Option<Span>,
    n_upgrades: usize,
    /// The set of ids that occur.
    pub(crate) present: u64,
}

/// All transfer codings of a message, as one list.
#[derive(Clone, Copy, Debug, Default)]
struct Codings {
    n_all: usize,
    n_chunked: usize,
    is_last_chunked: bool,
}

/// All options of `Connection`.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    n_all: usize,
    close: bool,
    /// The set of ids they are names of; [`HeaderId::Other`] for all names without an id.
    named: u64,
}

impl Survey {
    pub(crate) fn of(buf: &[u8], fields: &mut [Field]) -> Result<Self, Reject> {
        let mut survey = Self { expects_only_continue: true, ..Self::default() };
        for field in &mut *fields {
            survey.present |= field.id.bit();
            match field.id {
                HeaderId::Other if is_framing_lookalike(field.name.of(buf)) => {
                    return Err(Reject::LookalikeHeaderName);
                }
                HeaderId::Host => {
                    survey.n_hosts += 1;
                    survey.host = Some(field.value);
                }
                HeaderId::ContentLength => field.hop_by_hop |= survey.add_length(field.value.of(buf))?,
                HeaderId::TransferEncoding => survey.codings.add(field.value.of(buf))?,
                HeaderId::Connection => survey.options.add(field.value.of(buf))?,
                HeaderId::Upgrade => {
                    survey.n_upgrades += 1;
                    survey.upgrade = Some(field.value);
                }
                HeaderId::Expect => {
                    survey.n_expects += 1;
                    survey.expects_only_continue &= is(field.value.of(buf), b"100-continue");
                }
                _ => {}
            }
        }
        if survey.options.name_others() {
            mark_named(buf, fields);
        }
        Ok(survey)
    }

    pub(crate) fn has(&self, id: HeaderId) -> bool {
        self.present & id.bit() != 0
    }

    /// True if the same length was there before: the message goes on with one.
    fn add_length(&mut self, value: &[u8]) -> Result<bool, Reject> {
        let length = parse_length(value).ok_or(Reject::BadLength)?;
        match self.length.replace(length) {
            Some(other) if other != length => Err(Reject::DifferingLengths),
            before => Ok(before.is_some()),
        }
    }

    /// The framing that the fields ask for; `None` if they say nothing.
    pub(crate) fn framing(&self, version: Version) -> Result<Option<Framing>, Reject> {
        if !self.has(HeaderId::TransferEncoding) {
            return Ok(self.length.map(Framing::Length));
        }
        if self.length.is_some() {
            return Err(Reject::LengthAndCoding);
        }
        if version == Version::Http10 {
            return Err(Reject::CodingInHttp10);
        }
        self.codings.check().map(|()| Some(Framing::Chunked))
    }

    /// Whether the connection persists behind this message (RFC 9112 section 9.3).
    pub(crate) fn keep_alive(&self, version: Version) -> bool {
        !self.options.close && (version == Version::Http11 || self.options.name(HeaderId::KeepAlive))
    }

    /// The one protocol of `Upgrade`, if `Connection` names that field.
    pub(crate) fn upgrade(&self, buf: &[u8], version: Version) -> Option<Span> {
        let is_asked =
            self.options.name(HeaderId::Upgrade) && self.n_upgrades == 1 && version == Version::Http11;
        self.upgrade.filter(|value| is_asked && is_protocol(value.of(buf)))
    }
}

impl Codings {
    fn add(&mut self, value: &[u8]) -> Result<(), Reject> {
        for coding in value.split(|&b| b == b',').map(trim) {
            if !is_token(coding) {
                return Err(Reject::BadCoding);
            }
            self.is_last_chunked = is(coding, b"chunked");
            self.n_chunked += usize::from(self.is_last_chunked);
            self.n_all += 1;
        }
        Ok(())
    }

    fn check(self) -> Result<(), Reject> {
        if !self.is_last_chunked {
            Err(Reject::CodingNotChunkedLast)
        } else if self.n_chunked > 1 {
            Err(Reject::BadCoding)
        } else if self.n_all > 1 {
            Err(Reject::UnknownCoding)
        } else {
            Ok(())
        }
    }
}

impl Options {
    fn add(&mut self, value: &[u8]) -> Result<(), Reject> {
        for option in options(value) {
            self.n_all += 1;
            if !is_token(option) || self.n_all > CONNECTION_OPTIONS_MAX {
                return Err(Reject::BadConnection);
            }
            if is(option, b"close") {
                self.close = true;
                continue;
            }
            let id = HeaderId::of(option);
            if id.is_framing() {
                return Err(Reject::ConnectionNamesFraming);
            }
            self.named |= id.bit();
        }
        Ok(())
    }

    fn name(self, id: HeaderId) -> bool {
        self.named & id.bit() != 0
    }

    /// Whether fields may be named that would go on otherwise.
    fn name_others(self) -> bool {
        self.named & !(HeaderId::KeepAlive.bit() | HeaderId::Upgrade.bit() | HeaderId::Te.bit()) != 0
    }
}

/// The elements of a list; empty ones do not count (RFC 9110 section 5.6.1).
fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim).filter(|option| !option.is_empty())
}

/// Marks the fields that a `Connection` option names.
#[cold]
fn mark_named(buf: &[u8], fields: &mut [Field]) {
    for i in 0..fields.len() {
        if fields[i].id != HeaderId::Connection {
            continue;
        }
        for option in options(fields[i].value.of(buf)) {
            for field in &mut *fields {
                field.hop_by_hop |= field.name.of(buf).eq_ignore_ascii_case(option);
            }
        }
    }
}

/// `name` or `name/version` (RFC 9110 section 7.8).
fn is_protocol(value: &[u8]) -> bool {
    let mut parts = value.splitn(2, |&b| b == b'/');
    parts.all(is_token)
}
