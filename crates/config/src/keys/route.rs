//! Keys of `[[routes]]`.

use std::time::Duration;

use super::{DAY, NAME};
use crate::spec::{Bounds, Choice, KeySpec, Kind, TableSpec};

/// Bytes of a fixed response body: it is held in memory by every worker and sent in one piece.
pub(crate) const BODY_MAX: usize = 64 << 10;

/// The shortest bound on a request or an attempt: a millisecond still reaches an endpoint on the same machine.
const ATTEMPT_MIN: Duration = Duration::from_millis(1);

const PATH: Kind = Kind::Text { form: "a path that begins with /", example: "/cart" };
const HEADER_VALUE: Kind = Kind::Text { form: "a header value", example: "prod" };
const HEADER_NAME: Kind = Kind::Text { form: "a header name", example: "x-debug" };

const BY_STATUS: &str =
    "use connect-failure, reset and timeout; answers with a status are passed on as they are";

pub(crate) static ROUTE: TableSpec = TableSpec {
    what: "a route",
    title: "routes",
    doc: "A rule: which requests, and what happens to them. It has exactly one of `service`, `split`, `redirect` and \
          `respond`; a condition that is left out matches every request.",
    keys: &[
        KeySpec::absent(
            "name",
            Kind::Text { form: "a name", example: "cart" },
            "host and path",
            "Its name in logs and metrics.",
        ),
        KeySpec::absent("listeners", Kind::OneOrMany(&NAME), "every listener", "The listeners it serves."),
        KeySpec::absent(
            "host",
            Kind::OneOrMany(&Kind::Text { form: "a host name without a port", example: "shop.example.com" }),
            "any host",
            "Host names it matches: exact, or `*.example.com` for every name below example.com.",
        ),
        KeySpec::absent(
            "path",
            PATH,
            "any path",
            "Matches this path and everything below it, by whole segments.",
        ),
        KeySpec::absent("path_exact", PATH, "any path", "Matches this path alone."),
        KeySpec::absent(
            "path_regex",
            Kind::Text { form: "a regular expression", example: "/item/[0-9]+" },
            "any path",
            "Matches paths that this regular expression matches from end to end.",
        ),
        KeySpec::absent(
            "methods",
            Kind::OneOrMany(&Kind::Text { form: "a method", example: "GET" }),
            "any method",
            "Methods it matches, in capitals.",
        ),
        KeySpec::absent(
            "headers",
            Kind::Map(&Kind::Text { form: "a value, \"~regex\" or \"*\" for present", example: "1" }),
            "no condition",
            "Headers that must all match: an exact value, `~regex` from end to end, or `*` for present.",
        ),
        KeySpec::absent("service", NAME, "", "The service that takes its requests."),
        KeySpec::absent(
            "split",
            Kind::List(&Kind::Table(&SPLIT)),
            "",
            "Several services, each with its share.",
        ),
        KeySpec::absent("redirect", Kind::Table(&REDIRECT), "", "Answers with a redirect."),
        KeySpec::absent("respond", Kind::Table(&RESPOND), "", "Answers with a fixed response."),
        KeySpec::absent(
            "rewrite",
            Kind::Table(&REWRITE),
            "nothing",
            "Changes to path and Host before forwarding.",
        ),
        KeySpec::absent(
            "request_headers",
            Kind::Table(&EDITS),
            "nothing",
            "Changes to the request's headers.",
        ),
        KeySpec::absent(
            "response_headers",
            Kind::Table(&EDITS),
            "nothing",
            "Changes to the response's headers.",
        ),
        KeySpec::absent(
            "timeout",
            Kind::Duration(Bounds {
                min: ATTEMPT_MIN,
                max: DAY,
                below: "for no bound leave the key out",
                above: "for no bound leave the key out",
            }),
            "only the wait for a response head is bounded",
            "Bound on the whole request, retries included; then 504.",
        ),
        KeySpec::absent("retry", Kind::Table(&RETRY), "defaults", "When a failed attempt is repeated."),
        KeySpec::value(
            "upgrades",
            Kind::List(&Kind::Text { form: "a protocol name", example: "websocket" }),
            "[\"websocket\"]",
            "Protocols that a connection may be upgraded to; `[]` allows none, `h2c` is never allowed.",
        ),
    ],
};

static SPLIT: TableSpec = TableSpec {
    what: "an entry of `split`",
    title: "routes.split",
    doc: "One of several services that share a route.",
    keys: &[
        KeySpec::required("service", NAME, "The service."),
        KeySpec::value(
            "weight",
            Kind::Integer(Bounds {
                min: 0,
                max: 1_000_000,
                below: "",
                above: "shares finer than one in a million are noise",
            }),
            "1",
            "Its share, relative to the other entries; 0 takes nothing.",
        ),
    ],
};

static REDIRECT: TableSpec = TableSpec {
    what: "`redirect` of a route",
    title: "routes.redirect",
    doc: "A redirect to another place.",
    keys: &[
        KeySpec::required(
            "to",
            Kind::Text { form: "a URL or a path", example: "https://{host}{path}{query}" },
            "The Location; `{host}`, `{path}` and `{query}` stand for the request's (`{query}` with its `?`).",
        ),
        KeySpec::value(
            "status",
            Kind::Integer(Bounds {
                min: 301,
                max: 308,
                below: "301, 302, 303, 307 and 308 are redirects",
                above: "301, 302, 303, 307 and 308 are redirects",
            }),
            "307",
            "301, 302, 303, 307 or 308; 307 and 308 keep the method, 301 and 308 are remembered by browsers.",
        ),
    ],
};

static RESPOND: TableSpec = TableSpec {
    what: "`respond` of a route",
    title: "routes.respond",
    doc: "A fixed response.",
    keys: &[
        KeySpec::required(
            "status",
            Kind::Integer(Bounds {
                min: 200,
                max: 599,
                below: "1xx answers do not end a request",
                above: "there are no higher statuses",
            }),
            "Its status.",
        ),
        KeySpec::value("body", Kind::Text { form: "text", example: "gone" }, "", "Its body, at most 64KiB."),
    ],
};

static REWRITE: TableSpec = TableSpec {
    what: "`rewrite` of a route",
    title: "routes.rewrite",
    doc: "What the endpoint sees instead; at most one of `strip_prefix` and `path`.",
    keys: &[
        KeySpec::absent(
            "strip_prefix",
            PATH,
            "the path is kept",
            "Takes these leading segments off the path.",
        ),
        KeySpec::absent("path", PATH, "the path is kept", "Replaces the whole path; the query is kept."),
        KeySpec::absent(
            "host",
            Kind::Text { form: "a host name, with a port where needed", example: "cart.internal" },
            "the caller's",
            "Replaces the Host.",
        ),
    ],
};

static EDITS: TableSpec = TableSpec {
    what: "header changes",
    title: "routes.header_changes",
    doc: "The form of `request_headers` and `response_headers`: changes made in the order remove, set, add.",
    keys: &[
        KeySpec::absent("set", Kind::Map(&HEADER_VALUE), "nothing", "Replaces every field of the name."),
        KeySpec::absent(
            "add",
            Kind::Map(&Kind::OneOrMany(&HEADER_VALUE)),
            "nothing",
            "Adds a field, or several.",
        ),
        KeySpec::absent("remove", Kind::List(&HEADER_NAME), "nothing", "Removes every field of the name."),
    ],
};

static RETRY: TableSpec = TableSpec {
    what: "`retry` of a route",
    title: "routes.retry",
    doc: "When a failed attempt is repeated at another endpoint.",
    keys: &[
        KeySpec::value(
            "attempts",
            Kind::Integer(Bounds {
                min: 1,
                max: 10,
                below: "the first attempt counts",
                above: "each attempt adds load where there may be too much already",
            }),
            "2",
            "Attempts in all, the first included; 1 turns retries off.",
        ),
        KeySpec::value(
            "on",
            Kind::OneOrMany(&Kind::Choice(&[
                Choice::now("connect-failure"),
                Choice::now("reset"),
                Choice::now("timeout"),
                Choice::later("5xx", BY_STATUS),
                Choice::later("cancelled", BY_STATUS),
                Choice::later("deadline-exceeded", BY_STATUS),
                Choice::later("internal", BY_STATUS),
                Choice::later("resource-exhausted", BY_STATUS),
                Choice::later("unavailable", BY_STATUS),
            ])),
            "[\"connect-failure\", \"reset\"]",
            "What counts as failed: `connect-failure` (any method), `reset` and `timeout` (idempotent methods, or \
             nothing was sent yet).",
        ),
        KeySpec::absent(
            "per_try_timeout",
            Kind::Duration(Bounds {
                min: ATTEMPT_MIN,
                max: DAY,
                below: "for no bound leave the key out",
                above: "for no bound leave the key out",
            }),
            "no bound of its own",
            "Bound on one attempt, up to its response head.",
        ),
    ],
};
