//! Sticky cookies: a caller that brings one back goes to the endpoint that it stands for.
//!
//! Invariants: only an eligible endpoint that the request has not tried is taken; a caller is told of another endpoint only
//! by the answer of that one, and not where its own was merely at its maximum of connections; a value that stands for
//! nobody is as good as none. Nothing is allocated. The endpoint sees the cookie too, as it sees every other.

use isobar_core::{InFlight, MemberIndex, StickyValue};
use isobar_http1::{HeaderId, RequestHead};

use super::forward::Call;
use super::hash_key::cookie;
use crate::plan::ServicePlan;
use crate::view::View;

/// What the cookie of a request says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cookie {
    value: Option<StickyValue>,
    /// The endpoint that it stands for was at its maximum of connections.
    pub(super) holder_is_full: bool,
}

impl Cookie {
    /// The first cookie of the service's name; none where it has not the form of a value.
    pub(super) fn of(service: &ServicePlan, request: &RequestHead, head: &[u8]) -> Self {
        let Some(plan) = &service.sticky else { return Self::default() };
        let mut fields = request.fields_named(HeaderId::Cookie, head);
        let found = fields.find_map(|field| cookie(field, plan.cookie.as_bytes()));
        Self { value: found.and_then(StickyValue::parse), holder_is_full: false }
    }
}

impl Call<'_> {
    /// The endpoint that the caller's cookie stands for, if it may take this attempt.
    pub(super) fn holder(&self, view: &View, tried: &[MemberIndex]) -> Option<MemberIndex> {
        let holder = view.stickiness()?.holder(self.cookie.value?)?;
        (!tried.contains(&holder)).then_some(holder)
    }

    /// Appends a cookie for the endpoint that answers, where the caller has none that stands for it.
    pub(super) fn write_cookie(&self, guard: &InFlight<View>, out: &mut Vec<u8>) {
        let Some(plan) = &self.service.sticky else { return };
        let Some(stickiness) = guard.snapshot().stickiness() else { return };
        let value = stickiness.value(&guard.member().endpoint);
        if self.cookie.value == Some(value) || self.cookie.holder_is_full {
            return;
        }
        out.extend_from_slice(b"set-cookie: ");
        out.extend_from_slice(plan.cookie.as_bytes());
        out.push(b'=');
        out.extend_from_slice(&value.digits());
        out.extend_from_slice(&plan.attributes);
        if self.came_by_https() {
            out.extend_from_slice(b"; Secure");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Whether the caller speaks TLS, to us or to a proxy that is trusted to say so.
    fn came_by_https(&self) -> bool {
        let head = &self.scratch.down.filled()[..self.head_len];
        let said = self.scratch.request.find(HeaderId::XForwardedProto, head).filter(|_| self.trusted);
        said.map_or(self.connection.stream.is_tls(), |proto| proto.eq_ignore_ascii_case(b"https"))
    }
}
