//! What is remembered of one exchange for metrics and the access log.

use std::io::Write as _;
use std::time::Duration;

use isobar_config::LogFormat;
use isobar_core::{Instant, MemberIndex};
use isobar_grpc::Status;
use isobar_http1::{HeaderId, Version};

use crate::clock;
use crate::connection::Connection;
use crate::generation::Terms;
use crate::grpc::GrpcCall;
use crate::refusal::ErrorCode;
use crate::scratch::Scratch;
use crate::view::View;

/// Facts of one exchange.
pub(crate) struct Record {
    pub(crate) arrived: Instant,
    pub(crate) status: u16,
    pub(crate) error: Option<ErrorCode>,
    /// The rule of HTTP that a refused message broke.
    pub(crate) rule: Option<&'static str>,
    /// Position of the route in the plan, once one matched.
    pub(crate) route: Option<u32>,
    /// Position of the service in the plan, once one was chosen.
    pub(crate) service: Option<usize>,
    /// Where the request is counted; the listener's unrouted series until a route matched.
    pub(crate) series: Option<usize>,
    /// Hash of the request's key, where its service places by one and the request has it.
    pub(crate) key: Option<u64>,
    /// Where the last attempt went.
    pub(crate) endpoint: Option<(View, MemberIndex)>,
    pub(crate) n_attempts: u32,
    /// Why the last attempt was repeated.
    pub(crate) retried_for: Option<&'static str>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Making the last connection; zero for a reused one.
    pub(crate) connect: Duration,
    /// From arrival to the response's head.
    pub(crate) first_byte: Option<Duration>,
    pub(crate) request_id: RequestId,
    /// Where the request is a gRPC call: what is known of it.
    pub(crate) grpc: Option<GrpcCall>,
}

/// The request's id: the caller's, or one made here.
pub(crate) enum RequestId {
    /// In the request's head.
    Received,
    Made([u8; 32]),
    /// The head was not understood.
    Absent,
}

impl Record {
    pub(crate) fn new(arrived: Instant) -> Self {
        Self {
            arrived,
            status: 0,
            error: None,
            rule: None,
            route: None,
            service: None,
            series: None,
            key: None,
            endpoint: None,
            n_attempts: 0,
            retried_for: None,
            bytes_in: 0,
            bytes_out: 0,
            connect: Duration::ZERO,
            first_byte: None,
            request_id: RequestId::Absent,
            grpc: None,
        }
    }

    /// Counts and logs an exchange whose head was understood.
    pub(crate) fn finish(&self, connection: &Connection, terms: &Terms, scratch: &Scratch, head_len: usize) {
        let total = self.count(terms);
        terms.generation.log(|out| {
            let head = &scratch.down.filled()[..head_len];
            self.line(connection, terms, Some((scratch, head)), total, out);
        });
    }

    /// Counts and logs a request whose head was not understood.
    pub(crate) fn finish_unparsed(&self, connection: &Connection, terms: &Terms) {
        let total = self.count(terms);
        terms.generation.log(|out| self.line(connection, terms, None, total, out));
    }

    /// Adds to the counters; returns the duration of the exchange.
    fn count(&self, terms: &Terms) -> Duration {
        let total = terms.worker().now().since(self.arrived);
        let metrics = &terms.generation.metrics;
        let series = self.series.unwrap_or(terms.listener().unrouted);
        let requests = &metrics.requests[series];
        match self.error {
            Some(code) => requests.refused[code as usize].add(1),
            None => requests.answered[usize::from(self.status / 100).min(5)].add(1),
        }
        if let Some(call) = self.grpc {
            let place = call.status(self.error).map_or(Status::N, |status| status as usize);
            requests.grpc[place].add(1);
        }
        if let Some(service) = self.service {
            metrics.services[service].total.record(total);
        }
        let listener = terms.listener_counters();
        listener.bytes_in.add(self.bytes_in);
        listener.bytes_out.add(self.bytes_out);
        total
    }

    fn line(
        &self,
        connection: &Connection,
        terms: &Terms,
        head: Option<(&Scratch, &[u8])>,
        total: Duration,
        out: &mut Vec<u8>,
    ) {
        let plan = terms.plan();
        let mut line = Line { json: plan.log_format == Some(LogFormat::Json), first: true, out };
        line.begin();
        line.number("time_us", clock::wall_micros(total));
        line.text("listener", terms.listener().name.as_bytes());
        line.client(connection);
        if let Some((scratch, head)) = head {
            let request = &scratch.request;
            line.text("method", request.method_name.of(head));
            line.text("host", request.authority.of(head));
            line.text("path", request.path.of(head));
            line.text("protocol", protocol(connection, request.version));
        }
        line.number("status", u64::from(self.status));
        if let Some(status) = self.grpc.and_then(|call| call.status(self.error)) {
            line.text("grpc_status", status.name().as_bytes());
        }
        line.number("bytes_in", self.bytes_in);
        line.number("bytes_out", self.bytes_out);
        if let Some(route) = self.route {
            line.text("route", plan.routes[route as usize].name.as_bytes());
        }
        if let Some(service) = self.service {
            line.text("service", plan.services[service].name.as_bytes());
        }
        if let Some(key) = self.key {
            line.show("key", format_args!("{key:016x}"));
        }
        if let Some((view, index)) = &self.endpoint {
            line.text("endpoint", view.member(*index).endpoint.id.as_bytes());
        }
        line.number("attempts", u64::from(self.n_attempts));
        line.number("connect_us", self.connect.as_micros() as u64);
        if let Some(first_byte) = self.first_byte {
            line.number("first_byte_us", first_byte.as_micros() as u64);
        }
        line.number("total_us", total.as_micros() as u64);
        if let Some(reason) = self.retried_for {
            line.text("retry", reason.as_bytes());
        }
        if let Some(code) = self.error {
            line.text("error", code.name().as_bytes());
        }
        if let Some(rule) = self.rule {
            line.text("rule", rule.as_bytes());
        }
        match (&self.request_id, head) {
            (RequestId::Made(id), _) => line.text("request_id", id),
            (RequestId::Received, Some((scratch, head))) => {
                let id = scratch.request.find(HeaderId::XRequestId, head);
                line.text("request_id", id.unwrap_or_default());
            }
            _ => {}
        }
        line.end();
    }
}

fn protocol(connection: &Connection, version: Version) -> &'static [u8] {
    match version {
        _ if connection.stream.is_http2() => b"HTTP/2",
        Version::Http11 => b"HTTP/1.1",
        Version::Http10 => b"HTTP/1.0",
    }
}

/// Writes one access log line, as JSON or as `key=value` text.
struct Line<'a> {
    json: bool,
    first: bool,
    out: &'a mut Vec<u8>,
}

impl Line<'_> {
    /// Who asks.
    fn client(&mut self, connection: &Connection) {
        match connection.peer {
            Some((ip, port)) => self.show("client", format_args!("{}", std::net::SocketAddr::new(ip, port))),
            None => self.text("client", b"unix"),
        }
        if let Some(caller) = &connection.caller {
            self.text("client_cert", caller.identity.subject.as_bytes());
            if let Some(name) = caller.identity.names.first() {
                self.text("client_cert_san", name.as_bytes());
            }
        }
    }

    fn begin(&mut self) {
        if self.json {
            self.out.push(b'{');
        }
    }

    fn end(&mut self) {
        if self.json {
            self.out.push(b'}');
        }
    }

    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(if self.json { b',' } else { b' ' });
        }
        if self.json {
            self.out.push(b'"');
            self.out.extend_from_slice(key.as_bytes());
            self.out.extend_from_slice(b"\":");
        } else {
            self.out.extend_from_slice(key.as_bytes());
            self.out.push(b'=');
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        let mut digits = itoa::Buffer::new();
        self.out.extend_from_slice(digits.format(value).as_bytes());
    }

    fn show(&mut self, key: &str, value: std::fmt::Arguments<'_>) {
        self.key(key);
        let written = if self.json { write!(self.out, "\"{value}\"") } else { write!(self.out, "{value}") };
        debug_assert!(written.is_ok(), "writing to memory cannot fail");
    }

    /// Text that may come from outside: quoted and escaped, so that nobody writes a line of his own.
    fn text(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\=".contains(byte);
        if !self.json && !value.is_empty() && value.iter().all(plain) {
            self.out.extend_from_slice(value);
            return;
        }
        self.out.push(b'"');
        for &byte in value {
            match byte {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                b' '..=b'~' => self.out.push(byte),
                // Bytes outside ASCII have no known encoding: shown as the code point of the same number.
                _ => {
                    const HEX: &[u8; 16] = b"0123456789abcdef";
                    let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                    self.out.extend_from_slice(b"\\u00");
                    self.out.extend_from_slice(&digits);
                }
            }
        }
        self.out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(json: bool, value: &[u8]) -> String {
        let mut out = Vec::new();
        let mut line = Line { json, first: true, out: &mut out };
        line.begin();
        line.text("k", value);
        line.end();
        String::from_utf8(out).unwrap_or_default()
    }

    #[test]
    fn text_from_outside_cannot_leave_its_quotes() {
        assert_eq!(written(true, b"a\"b\\c\n\xff"), "{\"k\":\"a\\\"b\\\\c\\u000a\\u00ff\"}");
        assert_eq!(written(false, b"a b=\"c\""), "k=\"a b=\\\"c\\\"\"");
        assert_eq!(written(false, b"/plain?x"), "k=/plain?x");
    }
}
