//! Heads on their way out: the received bytes are copied in runs, minus what must not pass, plus what we add.
//!
//! Invariants: nothing hop-by-hop and nothing named in Connection is forwarded; the framing sent is the framing that
//! the body will have; forwarding headers of callers that are not trusted never reach an endpoint.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use isobar_config::PathRewrite;
use isobar_core::{Draw, Endpoint};
use isobar_http1::{Field, Framing, HeaderId, RequestHead, ResponseHead, Version};

use crate::plan::{EditPlan, RoutePlan};
use crate::record::RequestId;

/// Copies the field lines for which `keep` holds; lines that stand together are copied together.
fn copy_fields(head: &[u8], fields: &[Field], out: &mut Vec<u8>, mut keep: impl FnMut(&Field) -> bool) {
    // The empty line ends the head.
    let end_of_fields = head.len() - 2;
    let mut run: Option<usize> = None;
    for field in fields {
        let start = field.name.start as usize;
        match (keep(field), run) {
            (true, None) => run = Some(start),
            (false, Some(from)) => {
                out.extend_from_slice(&head[from..start]);
                run = None;
            }
            _ => {}
        }
    }
    if let Some(from) = run {
        out.extend_from_slice(&head[from..end_of_fields]);
    }
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts, each said by one line of the head")]
/// What a forwarded request head depends on besides the head received.
pub(crate) struct RequestFacts<'a> {
    pub(crate) route: &'a RoutePlan,
    /// The normalised path where it differs from the one received.
    pub(crate) path: Option<&'a [u8]>,
    /// The caller's address.
    pub(crate) client: Option<IpAddr>,
    /// The caller speaks TLS.
    pub(crate) https: bool,
    /// The caller speaks HTTP/2.
    pub(crate) http2: bool,
    /// Header lines about its certificate.
    pub(crate) certificate: &'a [u8],
    /// The caller is one of `trusted_proxies`.
    pub(crate) trusted: bool,
    pub(crate) endpoint: &'a Endpoint,
    /// The Upgrade passes.
    pub(crate) upgrade: bool,
    pub(crate) request_id: &'a RequestId,
    /// What is left of the time of a gRPC call that has a deadline.
    pub(crate) grpc_timeout: Option<Duration>,
}

/// Appends the request head for the endpoint.
pub(crate) fn write_request(request: &RequestHead, head: &[u8], facts: &RequestFacts<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(request.method_name.of(head));
    out.push(b' ');
    write_target(request, head, facts, out);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_host(request, head, facts, out);
    let keep_host = facts.route.host.is_none();
    let edits = &facts.route.request_edits;
    copy_fields(head, &request.fields, out, |field| {
        !field.hop_by_hop
            && match field.id {
                HeaderId::Host => keep_host,
                HeaderId::XForwardedFor
                | HeaderId::XForwardedProto
                | HeaderId::XForwardedHost
                | HeaderId::XForwardedPort
                | HeaderId::XRealIp
                | HeaderId::Forwarded => facts.trusted && field.id != HeaderId::XForwardedFor,
                HeaderId::GrpcTimeout => facts.grpc_timeout.is_none(),
                _ => true,
            }
            && !edits.drops(field.name.of(head))
    });
    write_forwarding(request, head, facts, out);
    if facts.upgrade
        && let Some(upgrade) = request.upgrade
    {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
        out.extend_from_slice(upgrade.of(head));
        out.extend_from_slice(b"\r\n");
    }
    if request.framing == Framing::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if let Some(timeout) = facts.grpc_timeout {
        out.extend_from_slice(b"grpc-timeout: ");
        isobar_grpc::write_timeout(timeout, out);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(&edits.lines);
    out.extend_from_slice(b"\r\n");
}

fn write_target(request: &RequestHead, head: &[u8], facts: &RequestFacts<'_>, out: &mut Vec<u8>) {
    let received = facts.path.unwrap_or_else(|| request.path.of(head));
    match &facts.route.path {
        PathRewrite::Keep => out.extend_from_slice(received),
        PathRewrite::Replace(path) => out.extend_from_slice(path.as_bytes()),
        PathRewrite::StripPrefix(prefix) => {
            let rest = strip_prefix(received, prefix.as_bytes());
            if rest.first() != Some(&b'/') {
                out.push(b'/');
            }
            out.extend_from_slice(rest);
        }
    }
    if out.last() == Some(&b' ') {
        // An absolute-form target may have no path.
        out.push(b'/');
    }
    out.extend_from_slice(request.query.of(head));
}

/// `path` without `prefix`, where that is a run of whole segments; otherwise all of it.
fn strip_prefix<'a>(path: &'a [u8], prefix: &[u8]) -> &'a [u8] {
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    match path.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest[0] == b'/' => rest,
        _ => path,
    }
}

/// Appends a Host where the copied fields will not have one.
fn write_host(request: &RequestHead, head: &[u8], facts: &RequestFacts<'_>, out: &mut Vec<u8>) {
    let has_host = request.find(HeaderId::Host, head).is_some();
    let host: &[u8] = match &facts.route.host {
        Some(host) => host.as_bytes(),
        None if has_host => return,
        None if !request.authority.is_empty() => request.authority.of(head),
        None => {
            // HTTP/1.0 without Host: HTTP/1.1 demands one, and the endpoint's address is what it would be called by.
            let mut text = String::new();
            let written = match &facts.endpoint.address {
                isobar_core::Address::Tcp(address) => write!(text, "{address}"),
                isobar_core::Address::Unix(_) => write!(text, "localhost"),
            };
            debug_assert!(written.is_ok(), "writing to memory cannot fail");
            out.extend_from_slice(b"host: ");
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b"\r\n");
            return;
        }
    };
    out.extend_from_slice(b"host: ");
    out.extend_from_slice(host);
    out.extend_from_slice(b"\r\n");
}

/// Appends x-forwarded-for, -proto, -host, via and x-request-id.
fn write_forwarding(request: &RequestHead, head: &[u8], facts: &RequestFacts<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"x-forwarded-for: ");
    if facts.trusted {
        for earlier in request.fields_named(HeaderId::XForwardedFor, head) {
            out.extend_from_slice(earlier);
            out.extend_from_slice(b", ");
        }
    }
    match facts.client {
        Some(client) => write_ip(client, out),
        None => out.extend_from_slice(b"unknown"),
    }
    out.extend_from_slice(b"\r\n");
    if !(facts.trusted && request.find(HeaderId::XForwardedProto, head).is_some()) {
        let proto: &[u8] =
            if facts.https { b"x-forwarded-proto: https\r\n" } else { b"x-forwarded-proto: http\r\n" };
        out.extend_from_slice(proto);
    }
    let has_host = facts.trusted && request.find(HeaderId::XForwardedHost, head).is_some();
    if !has_host && !request.authority.is_empty() {
        out.extend_from_slice(b"x-forwarded-host: ");
        out.extend_from_slice(request.authority.of(head));
        out.extend_from_slice(b"\r\n");
    }
    let via: &[u8] = match request.version {
        _ if facts.http2 => b"via: 2.0 isobar\r\n",
        Version::Http11 => b"via: 1.1 isobar\r\n",
        Version::Http10 => b"via: 1.0 isobar\r\n",
    };
    out.extend_from_slice(via);
    out.extend_from_slice(facts.certificate);
    if let RequestId::Made(id) = facts.request_id {
        out.extend_from_slice(b"x-request-id: ");
        out.extend_from_slice(id);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(v4) => {
            let mut digits = itoa::Buffer::new();
            for (index, octet) in v4.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(digits.format(octet).as_bytes());
            }
        }
        IpAddr::V6(v6) => out.extend_from_slice(v6.to_string().as_bytes()),
    }
}

/// 32 hexadecimal digits.
pub(crate) fn make_request_id(draw: &mut Draw) -> RequestId {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut id = [0; 32];
    for half in id.chunks_exact_mut(16) {
        let mut bits = draw.next_u64();
        for digit in half {
            *digit = HEX[(bits & 15) as usize];
            bits >>= 4;
        }
    }
    RequestId::Made(id)
}

/// How a response goes to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResponseShape {
    /// The body is sent in chunks.
    pub(crate) chunked: bool,
    /// The connection is kept for another request.
    pub(crate) keep_alive: bool,
    /// Only closing the connection ends the body.
    pub(crate) until_close: bool,
}

impl ResponseShape {
    /// The shape for a caller that may have `keep_alive`.
    pub(crate) fn choose(response: &ResponseHead, request: &RequestHead, keep_alive: bool) -> Self {
        let unbounded = matches!(response.framing, Framing::Chunked | Framing::UntilClose);
        let chunked = unbounded && request.version == Version::Http11;
        let until_close = unbounded && !chunked;
        Self { chunked, until_close, keep_alive: keep_alive && !until_close }
    }
}

/// Appends the response head for the caller.
pub(crate) fn write_response(
    response: &ResponseHead,
    head: &[u8],
    shape: ResponseShape,
    request: &RequestHead,
    edits: &EditPlan,
    out: &mut Vec<u8>,
) {
    write_received_status(response, head, out);
    // RFC 9110, section 8.6: no Content-Length in 1xx and 204.
    let no_length = response.status == 204 || response.status < 200;
    copy_fields(head, &response.fields, out, |field| {
        let unwanted = no_length && field.id == HeaderId::ContentLength;
        !field.hop_by_hop && !unwanted && !edits.drops(field.name.of(head))
    });
    if response.status == 101
        && let Some(upgrade) = response.upgrade
    {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
        out.extend_from_slice(upgrade.of(head));
        out.extend_from_slice(b"\r\n");
    } else {
        if shape.chunked {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        if !shape.keep_alive {
            out.extend_from_slice(b"connection: close\r\n");
        } else if request.version == Version::Http10 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
    }
    out.extend_from_slice(&edits.lines);
}

/// Appends an informational response whole.
pub(crate) fn write_informational(response: &ResponseHead, head: &[u8], out: &mut Vec<u8>) {
    write_received_status(response, head, out);
    copy_fields(head, &response.fields, out, |field| {
        !field.hop_by_hop && field.id != HeaderId::ContentLength
    });
    out.extend_from_slice(b"\r\n");
}

fn write_received_status(response: &ResponseHead, head: &[u8], out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(digits.format(response.status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(response.reason.of(head));
    out.extend_from_slice(b"\r\n");
}

/// Appends the headers that tell where an answer came from, and ends the head.
pub(crate) fn end_response(debug: Option<(&Endpoint, u32)>, out: &mut Vec<u8>) {
    if let Some((endpoint, n_attempts)) = debug {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(b"x-isobar-endpoint: ");
        // Ids come from configuration and discovery: a control byte in one must not become a header of its own.
        out.extend(endpoint.id.bytes().map(|byte| if (b' '..=b'~').contains(&byte) { byte } else { b'?' }));
        out.extend_from_slice(b"\r\nx-isobar-attempts: ");
        out.extend_from_slice(digits.format(n_attempts).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeMap;

    use isobar_config::RetrySettings;
    use isobar_core::Address;
    use isobar_http1::{HeadLimits, HeadProgress};

    use super::*;
    use crate::plan::ActionPlan;

    const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, target_bytes: 1024, n_headers: 50 };

    fn route(path: PathRewrite) -> RoutePlan {
        RoutePlan {
            name: "r".into(),
            action: ActionPlan::Forward { split: None, branches: Vec::new() },
            path,
            host: None,
            request_edits: EditPlan::default(),
            response_edits: EditPlan::default(),
            timeout: None,
            retry: RetrySettings::default(),
            upgrades: Vec::new(),
        }
    }

    fn forwarded(text: &str, route: &RoutePlan, trusted: bool) -> String {
        let mut request = RequestHead::new();
        let n = request.parse(text.as_bytes(), &mut HeadProgress::default(), &LIMITS).unwrap().unwrap();
        let endpoint = Endpoint {
            id: "e".into(),
            address: Address::Tcp("127.0.0.1:9".parse().unwrap()),
            weight: 1,
            priority: 0,
            zone: None,
            host: None,
            hash_key: None,
            metadata: BTreeMap::new(),
        };
        let facts = RequestFacts {
            route,
            path: None,
            client: Some([192, 0, 2, 7].into()),
            https: false,
            http2: false,
            certificate: b"",
            trusted,
            endpoint: &endpoint,
            upgrade: false,
            request_id: &RequestId::Received,
            grpc_timeout: None,
        };
        let mut out = Vec::new();
        write_request(&request, &text.as_bytes()[..n], &facts, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_meant_for_one_connection_is_forwarded() {
        let text = "GET /a?b HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Mine\r\nKeep-Alive: 5\r\nX-Mine: 1\r\n\
                    Accept: */*\r\nTE: trailers\r\nX-Isobar-Error: fake\r\n\r\n";
        let out = forwarded(text, &route(PathRewrite::Keep), false);
        assert_eq!(
            out,
            "GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nx-forwarded-for: 192.0.2.7\r\nx-forwarded-proto: http\r\n\
             x-forwarded-host: h\r\nvia: 1.1 isobar\r\n\r\n"
        );
    }

    #[test]
    fn forwarding_headers_are_believed_from_trusted_callers_only() {
        let text = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nForwarded: for=x\r\n\
                    X-Forwarded-Proto: https\r\nX-Forwarded-For: 2.2.2.2\r\n\r\n";
        let untrusted = forwarded(text, &route(PathRewrite::Keep), false);
        assert!(
            untrusted.contains("x-forwarded-for: 192.0.2.7\r\n") && !untrusted.contains("1.1.1.1"),
            "{untrusted}"
        );
        assert!(!untrusted.contains("Forwarded: for") && untrusted.contains("x-forwarded-proto: http\r\n"));
        let trusted = forwarded(text, &route(PathRewrite::Keep), true);
        assert!(trusted.contains("x-forwarded-for: 1.1.1.1, 2.2.2.2, 192.0.2.7\r\n"), "{trusted}");
        assert!(trusted.contains("Forwarded: for=x\r\nX-Forwarded-Proto: https\r\n"), "{trusted}");
    }

    #[test]
    fn a_prefix_is_stripped_by_whole_segments_and_leaves_a_path() {
        let cart = || route(PathRewrite::StripPrefix("/cart".to_owned()));
        for (path, expected) in
            [("/cart/x?q", "/x?q"), ("/cart", "/"), ("/cart?q", "/?q"), ("/carts", "/carts"), ("/cart/", "/")]
        {
            let out = forwarded(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"), &cart(), false);
            assert!(out.starts_with(&format!("GET {expected} HTTP/1.1\r\n")), "{path}: {out}");
        }
    }

    #[test]
    fn an_absolute_target_is_forwarded_in_origin_form() {
        let text = "GET http://h?q HTTP/1.1\r\nHost: h\r\n\r\n";
        let out = forwarded(text, &route(PathRewrite::Keep), false);
        assert!(out.starts_with("GET /?q HTTP/1.1\r\nHost: h\r\n"), "{out}");
    }

    #[test]
    fn a_request_of_http_1_0_without_host_gets_one() {
        let out = forwarded("GET / HTTP/1.0\r\n\r\n", &route(PathRewrite::Keep), false);
        assert!(out.starts_with("GET / HTTP/1.1\r\nhost: 127.0.0.1:9\r\n"), "{out}");
        assert!(out.contains("via: 1.0 isobar\r\n"));
    }
}
