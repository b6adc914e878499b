//! Response heads: the same strictness towards endpoints as towards callers.
//!
//! The framing depends on the request's method as well (RFC 9112 section 6.3).

use crate::field::{self, Field};
use crate::scan::StartLine;
use crate::survey::Survey;
use crate::tokenize::{self, StatusLine};
use crate::{Framing, HeadLimits, HeadProgress, HeaderId, Method, Reject, Span, Version};

/// A response head as an index of the buffer it was parsed from. Its content means something only after
/// [`ResponseHead::parse`] gave `Ok(Some(_))`, and only together with that buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status, 100 to 999.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: Span,
    /// The protocol version.
    pub version: Version,
    /// Every field line in order; filled by parsing only.
    pub fields: Vec<Field>,
    /// How the body ends, given the request's method.
    pub framing: Framing,
    /// Whether the connection can carry another request behind this response.
    pub keep_alive: bool,
    /// The value of `Upgrade` if `Connection` names it, the version is 1.1 and it gives exactly one protocol.
    pub upgrade: Option<Span>,
    present: u64,
}

impl ResponseHead {
    /// An empty head.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses from the start of `buf`, like [`crate::RequestHead::parse`]; empty lines before the status line are not
    /// accepted. `request_method` is that of the request being answered.
    pub fn parse(
        &mut self,
        buf: &[u8],
        progress: &mut HeadProgress,
        limits: &HeadLimits,
        request_method: Method,
    ) -> Result<Option<usize>, Reject> {
        self.fields.clear();
        if progress.is_fresh()
            && let Some((line, len)) = tokenize::response(limits.window(buf), limits, &mut self.fields)
        {
            self.settle(buf, line, request_method)?;
            return Ok(Some(len));
        }
        let Some(len) = progress.advance(buf, limits, StartLine::Response)? else { return Ok(None) };
        self.fields.clear();
        let (line, _) =
            tokenize::response(&buf[..len], limits, &mut self.fields).ok_or(Reject::BadStatusLine)?;
        self.settle(buf, line, request_method)?;
        Ok(Some(len))
    }

    /// Whether another response to the same request follows: 1xx except 101.
    pub fn is_informational(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// The first value of this name.
    #[inline]
    pub fn find<'a>(&self, id: HeaderId, buf: &'a [u8]) -> Option<&'a [u8]> {
        if self.present & id.bit() == 0 { None } else { field::find(&self.fields, id, buf) }
    }

    /// Every value of this name, in order.
    pub fn fields_named<'a>(
        &'a self,
        id: HeaderId,
        buf: &'a [u8],
    ) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        field::named(&self.fields, id, buf)
    }

    /// Decides what the head means, now that its syntax is known to be right.
    fn settle(&mut self, buf: &[u8], line: StatusLine, request_method: Method) -> Result<(), Reject> {
        (self.status, self.reason, self.version) = (line.status, line.reason, line.version);
        let survey = Survey::of(buf, &mut self.fields)?;
        self.present = survey.present;
        let stated = survey.framing(self.version)?;
        self.keep_alive = survey.keep_alive(self.version);
        self.upgrade = survey.upgrade(buf, self.version);
        if self.status < 200 || self.status == 204 {
            self.settle_bodiless(stated);
        } else if self.status == 304 || request_method == Method::Head {
            // The length is that of the body there would be; it goes on.
            self.framing = Framing::None;
        } else if let Some(framing) = stated {
            self.framing = framing;
        } else {
            self.framing = Framing::UntilClose;
            self.keep_alive = false;
        }
        Ok(())
    }

    /// 1xx and 204 have no body whatever their fields say, and must not have such fields (RFC 9110 section 8.6). They do
    /// not go on, and behind a body that was announced nobody can tell what the next byte belongs to.
    fn settle_bodiless(&mut self, stated: Option<Framing>) {
        self.framing = Framing::None;
        self.keep_alive &= matches!(stated, None | Some(Framing::Length(0)));
        for field in &mut self.fields {
            field.hop_by_hop |= field.id == HeaderId::ContentLength;
        }
    }
}
