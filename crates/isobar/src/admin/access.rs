//! Who may call the admin interface: the names it answers to, pages of browsers, the token.
//!
//! Invariants: liveness, readiness and metrics are open to everybody, everything else passes all three tests. A web page
//! reaches this machine under a name of its own (DNS rebinding), which is no name of ours, or with an `Origin` of its
//! own, which may not change anything.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::{Authority, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use isobar_config::AdminSettings;

use super::refusal::Refusal;
use super::token::{Token, TokenError};
use super::{Subjects, host};

/// Paths that anybody may ask for: they carry no name, address or setting that is secret, and probes use any Host.
pub(super) const OPEN_PATHS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Who may call.
#[derive(Debug, Default)]
pub(crate) struct Access {
    token: Option<Token>,
    /// Names in lower case besides the loopback ones.
    hosts: Vec<String>,
}

impl Access {
    /// What the settings ask for; the token is read now and not again.
    ///
    /// # Errors
    /// The token file gives no token.
    pub(crate) fn read(settings: &AdminSettings) -> Result<Self, TokenError> {
        let token = settings.token_file.as_deref().map(Token::read).transpose()?;
        Ok(Self { token, hosts: settings.hosts.clone() })
    }

    fn check(&self, request: &Request) -> Result<(), Refusal> {
        if !self.is_for_us(request) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "host-not-allowed",
                "ask with a loopback Host (localhost, 127.0.0.1 or [::1]), or add the name to `hosts` of [admin]",
            ));
        }
        if !request.method().is_safe() && self.is_from_foreign_page(request) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "origin-not-allowed",
                "a web page of another host may change nothing here; add its host to `hosts` of [admin]",
            ));
        }
        if self.token.as_ref().is_some_and(|token| !token.is_shown(request.headers())) {
            let message = if request.headers().contains_key(AUTHORIZATION) {
                "the `authorization` that was sent is not `Bearer` with the token of `token_file`, as it was when the \
                 proxy started; commands take it from ISOBAR_ADMIN_TOKEN"
            } else {
                "send the token of `token_file` as `authorization: Bearer TOKEN`; commands take it from ISOBAR_ADMIN_TOKEN"
            };
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "token-required", message));
        }
        Ok(())
    }

    /// Whether every name that the request gives its receiver (the Host field, and the target where it is absolute) is
    /// one of ours. A request without a Host, or with several, gives none that could be trusted.
    fn is_for_us(&self, request: &Request) -> bool {
        let mut fields = request.headers().get_all(HOST).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return false;
        };
        let named = Authority::try_from(field.as_bytes());
        named.is_ok_and(|authority| self.is_ours(authority.host()))
            && request.uri().host().is_none_or(|host| self.is_ours(host))
    }

    /// Whether a browser says that a page of another host sends this; a page without a host of its own says `null`.
    fn is_from_foreign_page(&self, request: &Request) -> bool {
        request.headers().get_all(ORIGIN).iter().any(|origin| {
            let origin = Uri::try_from(origin.as_bytes()).ok();
            let is_page = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
            !origin.filter(is_page).and_then(|uri| uri.host().map(|host| self.is_ours(host))).unwrap_or(false)
        })
    }

    fn is_ours(&self, name: &str) -> bool {
        host::is_loopback_name(name) || self.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name))
    }
}

/// Lets through what the subjects' access allows.
pub(super) async fn guard(State(subjects): State<Subjects>, request: Request, next: Next) -> Response {
    if !OPEN_PATHS.contains(&request.uri().path())
        && let Err(refusal) = subjects.access.check(&request)
    {
        return refusal.into_response();
    }
    next.run(request).await
}
