//! Keys of `[[listeners]]`.

use std::time::Duration;

use super::tls::LISTENER_TLS;
use super::{DAY, LISTEN, NAME, SHORTEST};
use crate::spec::{Bounds, Choice, KeySpec, Kind, TableSpec};

pub(crate) static LISTENER: TableSpec = TableSpec {
    what: "a listener",
    title: "listeners",
    doc: "A place where requests come in.",
    keys: &[
        KeySpec::required("name", NAME, "Its name in routes, logs and metrics."),
        KeySpec::required(
            "listen",
            LISTEN,
            "Where it listens: `HOST:PORT`, `:PORT` for every interface, `[::1]:PORT`, `unix:/path`.",
        ),
        KeySpec::value(
            "protocol",
            Kind::Choice(&[
                Choice::now("http"),
                Choice::later("tcp", "use \"http\"; plain TCP is not carried"),
            ]),
            "http",
            "What its callers speak; `http` is HTTP/1.1, 1.0 and 2 (known by its first bytes, over TLS by ALPN).",
        ),
        KeySpec::absent("tls", Kind::Table(&LISTENER_TLS), "plain HTTP", "TLS with its callers."),
        KeySpec::value(
            "accept_proxy_protocol",
            Kind::Flag,
            "false",
            "Whether connections begin with a PROXY protocol header; only `false` is available in this version.",
        ),
        KeySpec::absent("timeouts", Kind::Table(&TIMEOUTS), "defaults", "Its time limits."),
        KeySpec::absent("limits", Kind::Table(&LIMITS), "defaults", "Its size limits."),
        KeySpec::absent(
            "service",
            NAME,
            "answer 404",
            "The service that takes every request that no route of this listener matched.",
        ),
        KeySpec::value(
            "normalize_path",
            Kind::Flag,
            "true",
            "Whether dot segments are resolved and encoded slashes refused before routing and forwarding.",
        ),
    ],
};

static TIMEOUTS: TableSpec = TableSpec {
    what: "`timeouts` of a listener",
    title: "listeners.timeouts",
    doc: "How long a listener waits for its callers.",
    keys: &[
        KeySpec::value(
            "head",
            Kind::Duration(Bounds {
                min: SHORTEST,
                max: Duration::from_hours(1),
                below: "callers over a network would run into it",
                above: "a caller that sends a head byte by byte holds a connection for this long",
            }),
            "10s",
            "From the first byte of a request head to its last; then 408.",
        ),
        KeySpec::value(
            "body_idle",
            Kind::Duration(Bounds {
                min: SHORTEST,
                max: DAY,
                below: "callers over a network would run into it",
                above: "it bounds a silence, not the whole body",
            }),
            "60s",
            "Longest silence within a body, in either direction.",
        ),
        KeySpec::value(
            "idle",
            Kind::Duration(Bounds {
                min: SHORTEST,
                max: DAY,
                below: "hardly any connection would see a second request",
                above: "no caller comes back to a connection after longer",
            }),
            "75s",
            "Longest wait for the next request on a kept connection.",
        ),
        KeySpec::value(
            "handshake",
            Kind::Duration(Bounds {
                min: SHORTEST,
                max: Duration::from_hours(1),
                below: "callers over a network would run into it",
                above: "a caller that does not finish its handshake holds a connection for this long",
            }),
            "10s",
            "From accepting a connection to the end of its TLS handshake; then it is closed.",
        ),
    ],
};

static LIMITS: TableSpec = TableSpec {
    what: "`limits` of a listener",
    title: "listeners.limits",
    doc: "How much a listener takes from its callers.",
    keys: &[
        KeySpec::value(
            "head",
            Kind::Size(Bounds {
                min: 1 << 10,
                max: 1 << 20,
                below: "common browsers would be refused",
                above: "every open request may hold this much memory",
            }),
            "32KiB",
            "Bytes of a request head, request line included; above it 431.",
        ),
        KeySpec::value(
            "target",
            Kind::Size(Bounds {
                min: 64,
                max: 1 << 20,
                below: "ordinary paths would be refused",
                above: "the target is part of the head, which has no more",
            }),
            "8KiB",
            "Bytes of a request target (path and query); above it 414.",
        ),
        KeySpec::value(
            "headers",
            Kind::Integer(Bounds {
                min: 8,
                max: 1000,
                below: "browsers send about 20",
                above: "each one costs time to index",
            }),
            "100",
            "Number of header fields; above it 431.",
        ),
        KeySpec::value(
            "body",
            Kind::Size(Bounds {
                min: 0,
                max: 1 << 50,
                below: "",
                above: "past a pebibyte nothing is bounded any more",
            }),
            "0",
            "Bytes of a request body; above it 413. `\"0\"` stands for no bound.",
        ),
        KeySpec::value(
            "connections",
            Kind::Integer(Bounds { min: 0, max: 10_000_000, below: "", above: "no process has more open" }),
            "0",
            "Open connections; 0 stands for no bound of its own.",
        ),
        KeySpec::value(
            "handshakes",
            Kind::Integer(Bounds {
                min: 1,
                max: 1_000_000,
                below: "no caller would be let in",
                above: "each one in progress holds some 20KiB",
            }),
            "4096",
            "TLS handshakes in progress; a connection that comes above it is closed.",
        ),
        KeySpec::value(
            "streams",
            Kind::Integer(Bounds {
                min: 1,
                max: 65_536,
                below: "no request would be let in",
                above: "each one in progress may hold some 200KiB where its caller is slow",
            }),
            "128",
            "HTTP/2 requests in progress on one connection; a caller is told to send no more at a time.",
        ),
    ],
};
