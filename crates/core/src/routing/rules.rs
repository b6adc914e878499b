//! What a route demands of a request, and what it may ask of it.
//!
//! Invariant: an empty list demands nothing. Limit: paths are compared as they come, so the caller
//! normalises them before, and forwards the same.

use super::{HostPattern, Pattern};

/// A request as routing sees it.
pub trait RequestView {
    /// The method, as sent.
    fn method(&self) -> &[u8];
    /// The authority without its port, in any case.
    fn host(&self) -> &[u8];
    /// The normalised path without the query.
    fn path(&self) -> &[u8];
    /// Whether `test` accepts any value of the header `name`, which is in lower case.
    fn header_matches(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// What a request must be for a route to take it: all of these.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RouteMatch {
    /// One of these hosts, or any if empty.
    pub hosts: Vec<HostPattern>,
    /// This path.
    pub path: PathRule,
    /// One of these methods, in their own case, or any if empty.
    pub methods: Vec<String>,
    /// Every one of these headers.
    pub headers: Vec<HeaderRule>,
}

/// Which paths a route takes; compared byte by byte.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum PathRule {
    /// Every path.
    #[default]
    Any,
    /// Whole segments: `/cart` takes `/cart` and `/cart/x`, not `/carts`; a slash at its end means nothing,
    /// so `/` takes every path.
    Prefix(String),
    /// This path alone.
    Exact(String),
    /// Every path that the pattern matches as a whole.
    Regex(Pattern),
}

/// What one header must be.
#[derive(Clone, PartialEq, Debug)]
pub struct HeaderRule {
    /// Its name, in lower case.
    pub name: String,
    /// What one of its values must be.
    pub test: HeaderTest,
}

/// What a header's value must be.
#[derive(Clone, PartialEq, Debug)]
pub enum HeaderTest {
    /// Anything; the header is there.
    Present,
    /// These bytes.
    Exact(String),
    /// Whatever the pattern matches as a whole.
    Regex(Pattern),
}

impl RouteMatch {
    /// Whether path, method and headers fit; the host is the table's business.
    pub(crate) fn fits_beside_host(&self, request: &impl RequestView) -> bool {
        let method = request.method();
        (self.methods.is_empty() || self.methods.iter().any(|allowed| allowed.as_bytes() == method))
            && self.path.matches(request.path())
            && self.headers.iter().all(|rule| rule.matches(request))
    }
}

impl PathRule {
    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact.as_bytes() == path,
            Self::Prefix(prefix) => {
                let segments = whole_segments(prefix);
                path.strip_prefix(segments)
                    .is_some_and(|rest| segments.is_empty() || rest.is_empty() || rest[0] == b'/')
            }
            Self::Regex(pattern) => pattern.matches(path),
        }
    }
}

/// A prefix without the slashes at its end; empty for `/`.
pub(crate) fn whole_segments(prefix: &str) -> &[u8] {
    prefix.trim_end_matches('/').as_bytes()
}

impl HeaderRule {
    fn matches(&self, request: &impl RequestView) -> bool {
        match &self.test {
            HeaderTest::Present => request.header_matches(&self.name, &mut |_| true),
            HeaderTest::Exact(exact) => {
                request.header_matches(&self.name, &mut |value| value == exact.as_bytes())
            }
            HeaderTest::Regex(pattern) => {
                request.header_matches(&self.name, &mut |value| pattern.matches(value))
            }
        }
    }
}
