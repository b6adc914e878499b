//! Admission: the checks between a parsed head and an action.

use isobar_core::RequestView;
use isobar_http1::{Framing, RequestHead, TargetForm, authority_host, normalize_path};

use crate::caller::{Caller, rule_about_ours};
use crate::plan::ListenerPlan;
use crate::refusal::Refusal;
use crate::scratch::Scratch;

/// A request as routing sees it.
struct Seen<'a> {
    request: &'a RequestHead,
    head: &'a [u8],
    path: &'a [u8],
    caller: Option<&'a Caller>,
}

impl RequestView for Seen<'_> {
    fn method(&self) -> &[u8] {
        self.request.method_name.of(self.head)
    }

    fn host(&self) -> &[u8] {
        authority_host(self.request.authority.of(self.head))
    }

    fn path(&self) -> &[u8] {
        self.path
    }

    fn header_matches(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        if let Some(answer) = rule_about_ours(self.caller, name, test) {
            return answer;
        }
        self.request.fields.iter().any(|field| {
            field.name.of(self.head).eq_ignore_ascii_case(name.as_bytes()) && test(field.value.of(self.head))
        })
    }
}

/// Finds the route of the request; routing and forwarding use the same path, left in `scratch.path` where it differs
/// from the one received.
pub(super) fn admit(
    listener: &ListenerPlan,
    caller: Option<&Caller>,
    scratch: &mut Scratch,
    head_len: usize,
) -> Result<u32, Refusal> {
    let head = &scratch.down.filled()[..head_len];
    let request = &scratch.request;
    let received = request.path.of(head);
    scratch.path.clear();
    let mut path = received;
    if listener.normalize_path && request.form != TargetForm::Asterisk {
        let path_changed = normalize_path(received, &mut scratch.path).map_err(Refusal::Rejected)?;
        if path_changed {
            path = &scratch.path;
        }
    }
    if path.is_empty() {
        path = b"/";
    }
    if let Framing::Length(n) = request.framing
        && n > listener.body_max
    {
        return Err(Refusal::BodyTooLarge);
    }
    listener.table.find(&Seen { request, head, path, caller }).ok_or(Refusal::NoRoute)
}
