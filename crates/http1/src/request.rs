//! Request heads: parsed once, in place.
//!
//! A head is accepted only if every reader along the way must frame and route it the same. The index keeps its capacity
//! between requests, so parsing allocates nothing once it has grown.

use crate::field::{self, Field};
use crate::scan::StartLine;
use crate::survey::Survey;
use crate::target::Target;
use crate::tokenize::{self, RequestLine};
use crate::{
    Framing, HeadLimits, HeadProgress, HeaderId, Method, Reject, Span, TargetForm, Version, is_authority,
};

/// A request head as an index of the buffer it was parsed from. Its content means something only after
/// [`RequestHead::parse`] gave `Ok(Some(_))`, and only together with that buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    /// The method, if it is a known one.
    pub method: Method,
    /// The method as it was spelled.
    pub method_name: Span,
    /// The whole request target.
    pub target: Span,
    /// The protocol version.
    pub version: Version,
    /// Every field line in order; filled by parsing only.
    pub fields: Vec<Field>,
    /// How the body ends. Never [`Framing::UntilClose`].
    pub framing: Framing,
    /// Whether the sender lets the connection persist behind this request.
    pub keep_alive: bool,
    /// The sender waits for a 100 before it sends the body: HTTP/1.1, `Expect: 100-continue`, and there is a body.
    /// Otherwise an `Expect` is marked as never forwarded.
    pub expects_continue: bool,
    /// The value of `Upgrade` if `Connection` names it, the version is 1.1 and it asks for exactly one protocol.
    /// Otherwise `Upgrade` is merely hop-by-hop.
    pub upgrade: Option<Span>,
    /// The value of `Host`, or the authority of an absolute target. Empty only in HTTP/1.0 without `Host`.
    pub authority: Span,
    /// The path of the target; `*` for `OPTIONS *`. Empty where an absolute target has none, which means `/`.
    pub path: Span,
    /// The query with its `?`; empty if there is none.
    pub query: Span,
    /// The form of the target.
    pub form: TargetForm,
    present: u64,
}

impl RequestHead {
    /// An empty head.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses from the start of `buf`. `Ok(None)`: incomplete; call again with the same bytes and more behind them.
    /// `Ok(Some(n))`: the head is complete and n bytes long. Empty lines before the request line, at most a few,
    /// belong to it (RFC 9112 section 2.2).
    ///
    /// `progress` starts as its default with each head. A broken head is refused at its first wrong byte, so possibly
    /// long before it is complete.
    pub fn parse(
        &mut self,
        buf: &[u8],
        progress: &mut HeadProgress,
        limits: &HeadLimits,
    ) -> Result<Option<usize>, Reject> {
        self.fields.clear();
        if progress.is_fresh()
            && let Some((line, len)) = tokenize::request(limits.window(buf), 0, limits, &mut self.fields)
        {
            self.settle(buf, line)?;
            return Ok(Some(len));
        }
        let Some(len) = progress.advance(buf, limits, StartLine::Request)? else { return Ok(None) };
        self.fields.clear();
        let start = buf.iter().take_while(|&&b| b == b'\r' || b == b'\n').count();
        let (line, _) =
            tokenize::request(&buf[..len], start, limits, &mut self.fields).ok_or(Reject::BadRequestLine)?;
        self.settle(buf, line)?;
        Ok(Some(len))
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
    fn settle(&mut self, buf: &[u8], line: RequestLine) -> Result<(), Reject> {
        self.method_name = line.method;
        self.method = Method::of(line.method.of(buf));
        self.target = line.target;
        self.version = line.version;
        if self.method == Method::Connect {
            return Err(Reject::ConnectNotAllowed);
        }
        let target = Target::split(buf, line.target, self.method)?;
        (self.form, self.path, self.query) = (target.form, target.path, target.query);
        let survey = Survey::of(buf, &mut self.fields)?;
        self.present = survey.present;
        self.framing = survey.framing(self.version)?.unwrap_or(Framing::None);
        self.authority = self.settle_authority(buf, &survey, target.authority)?;
        self.keep_alive = survey.keep_alive(self.version);
        self.upgrade = survey.upgrade(buf, self.version);
        self.settle_expect(&survey)
    }

    /// RFC 9112 section 3.2: exactly one `Host` in HTTP/1.1, at most one in 1.0, and equal to the authority of an
    /// absolute target.
    fn settle_authority(&self, buf: &[u8], survey: &Survey, of_target: Span) -> Result<Span, Reject> {
        let Some(host) = survey.host else {
            return if self.version == Version::Http11 { Err(Reject::NoHost) } else { Ok(of_target) };
        };
        if survey.n_hosts > 1 {
            return Err(Reject::RepeatedHost);
        }
        if !is_authority(host.of(buf)) {
            return Err(Reject::BadHost);
        }
        if self.form == TargetForm::Absolute && !of_target.of(buf).eq_ignore_ascii_case(host.of(buf)) {
            return Err(Reject::HostDiffersFromTarget);
        }
        Ok(host)
    }

    /// An expectation that nobody waits for must not go on: the answer to it would be one too many.
    fn settle_expect(&mut self, survey: &Survey) -> Result<(), Reject> {
        self.expects_continue = false;
        if survey.n_expects == 0 {
            return Ok(());
        }
        if survey.n_expects > 1 || !survey.expects_only_continue {
            return Err(Reject::BadExpect);
        }
        let has_body = !matches!(self.framing, Framing::None | Framing::Length(0));
        self.expects_continue = has_body && self.version == Version::Http11;
        for field in &mut self.fields {
            field.hop_by_hop |= field.id == HeaderId::Expect && !self.expects_continue;
        }
        Ok(())
    }
}
