//! Keys of `[services.NAME]`.

use std::time::Duration;

use isobar_core::CHOICES_MAX;

use super::tls::SERVICE_TLS;
use super::weights::WEIGHTS;
use super::{DAY, DISCOVERY, ENDPOINTS, HEALTH, SHORTEST};
use crate::spec::{Bounds, Choice, KeySpec, Kind, TableSpec};

/// The names of policies.
pub(crate) const POLICIES: &[Choice] = &[
    Choice::now("round-robin"),
    Choice::now("random"),
    Choice::now("p2c"),
    Choice::now("least-request"),
    Choice::now("peak-ewma"),
    Choice::now("prequal"),
    Choice::now("ring-hash"),
    Choice::now("maglev"),
    Choice::now("rendezvous"),
];

/// Whose placement a policy by key follows, in the order of core's.
pub(crate) const LAYOUTS: &[Choice] = &[
    Choice::now("isobar"),
    Choice::now("nginx"),
    Choice::now("envoy"),
    Choice::now("ketama"),
    Choice::now("haproxy"),
];

/// How points of Envoy's ring are placed, in the order of core's.
pub(crate) const POINT_HASHES: &[Choice] = &[Choice::now("xxhash"), Choice::now("murmur2")];

/// The largest table of `maglev`, a prime: 20 MB, and a hundred entries for each of 50,000 endpoints.
pub(crate) const TABLE_SIZE_MAX: u32 = 5_000_011;

/// The least bound on load: a hundredth above the fair share, the finest step there is.
const BOUNDED_LOAD_MIN: f64 = 1.01;
/// The greatest: a key that may draw ten times a fair share is hardly bounded.
const BOUNDED_LOAD_MAX: f64 = 10.0;

pub(crate) static SERVICE: TableSpec = TableSpec {
    what: "a service",
    title: "services.NAME",
    doc: "A set of endpoints that do the same work, and how one of them is chosen.",
    keys: &[
        KeySpec::value(
            "policy",
            Kind::ShortOrTable(&Kind::Choice(POLICIES), &POLICY_TABLE),
            "p2c",
            "How an endpoint is chosen: `round-robin` in turns by weight, `random` by weight, `p2c` the less busy \
             of two drawn at random, `least-request` the least busy of all, `peak-ewma` \
             of two the one that answers sooner, `prequal` by what endpoints tell of their load; `ring-hash`, `maglev` and `rendezvous` by a \
             key, which keeps its endpoint.",
        ),
        KeySpec::absent(
            "endpoints",
            ENDPOINTS,
            "required without `discovery`",
            "Its endpoints: addresses, or tables that say more.",
        ),
        KeySpec::absent(
            "discovery",
            Kind::OneOrMany(&Kind::Table(&DISCOVERY)),
            "no other source",
            "Where more of its endpoints come from while the proxy runs.",
        ),
        KeySpec::value(
            "protocol",
            Kind::Choice(&[
                Choice::now("http1"),
                Choice::now("h2"),
                Choice::later("tcp", "use \"http1\"; plain TCP is not carried"),
            ]),
            "http1",
            "What its endpoints speak: `http1`, or `h2`, HTTP/2 from the first byte (over TLS agreed upon by ALPN).",
        ),
        KeySpec::absent(
            "tls",
            Kind::ShortOrTable(&Kind::Flag, &SERVICE_TLS),
            "plain HTTP",
            "Whether endpoints are spoken to over TLS, and the probes' connections too; the table says more than `true`.",
        ),
        KeySpec::absent("weights", Kind::Table(&WEIGHTS), "as configured", "Where weights come from."),
        KeySpec::absent(
            "health",
            Kind::OneOrMany(&Kind::Table(&HEALTH)),
            "no probes",
            "Probes that tell which endpoints are healthy; with several, all must pass.",
        ),
        KeySpec::value(
            "min_healthy_percent",
            Kind::Integer(Bounds { min: 0, max: 100, below: "", above: "it is a share of the endpoints" }),
            "20",
            "Fail-open: while a smaller share is healthy and those left cannot carry the load (less than 72 %), health is \
             ignored and all take traffic, for then the probes are likelier wrong than the endpoints.",
        ),
        KeySpec::later("outlier", "Ejection of failing endpoints.", "leave the key out"),
        KeySpec::later("slow_start", "A ramp for new endpoints.", "leave the key out"),
        KeySpec::value(
            "connect_timeout",
            Kind::Duration(Bounds {
                min: Duration::from_millis(1),
                max: Duration::from_mins(5),
                below: "no connection is made sooner",
                above: "the system gives up by itself after about two minutes",
            }),
            "1s",
            "Bound on making a connection to an endpoint.",
        ),
        KeySpec::absent("pool", Kind::Table(&POOL), "defaults", "Its connections to endpoints."),
        KeySpec::value(
            "max_requests_per_endpoint",
            Kind::Integer(Bounds { min: 0, max: 1_000_000, below: "", above: "no endpoint takes more" }),
            "0",
            "Requests in flight per endpoint; only `0`, no bound, is available in this version.",
        ),
        KeySpec::absent(
            "sticky",
            Kind::Table(&STICKY),
            "no cookie",
            "A cookie by which a caller keeps its endpoint while that takes traffic; `{}` has the defaults.",
        ),
        KeySpec::absent(
            "zone_aware",
            Kind::Table(&ZONE_AWARE),
            "zones do not count",
            "Prefers endpoints of the proxy's own zone (`runtime.zone`) as far as they can take it; `{}` has the defaults.",
        ),
        KeySpec::absent(
            "subset",
            Kind::Table(&SUBSET),
            "all endpoints",
            "Uses a part of a large service, another one on each proxy (`runtime.instance`).",
        ),
        KeySpec::value(
            "debug_headers",
            Kind::Flag,
            "false",
            "Whether responses carry `x-isobar-endpoint` and `x-isobar-attempts`.",
        ),
    ],
};

static POLICY_TABLE: TableSpec = TableSpec {
    what: "`policy` of a service",
    title: "services.NAME.policy",
    doc: "The long form of a policy; `policy = \"p2c\"` and `policy = { name = \"p2c\" }` mean the same.",
    keys: &[
        KeySpec::required("name", Kind::Choice(POLICIES), "Its name."),
        KeySpec::value(
            "key",
            Kind::Text { form: "what of a request is its key", example: "header:x-user" },
            "client-ip",
            "What `ring-hash`, `maglev` and `rendezvous` place a request by: `client-ip`, `header:NAME`, `cookie:NAME`, \
             `query:NAME`, `path` (without the query) or `host`; behind `trusted_proxies` `client-ip` is the last address in \
             `x-forwarded-for` that is none of theirs. A request that lacks it, or has it empty, goes to any \
             endpoint.",
        ),
        KeySpec::value(
            "layout",
            Kind::Choice(LAYOUTS),
            "isobar",
            "Whose placement `ring-hash` follows, so that each key has the endpoint that it has there; `maglev` has \
             `isobar` and `envoy`.",
        ),
        KeySpec::value(
            "hash",
            Kind::Choice(POINT_HASHES),
            "xxhash",
            "By which function `ring-hash` places points under the layout `envoy`: its `hash_function`. Keys are hashed by XXH64 \
             with either, as there.",
        ),
        KeySpec::absent(
            "bounded_load",
            Kind::Number {
                bounds: Bounds {
                    min: BOUNDED_LOAD_MIN,
                    max: BOUNDED_LOAD_MAX,
                    below: "an endpoint must be able to take more than its fair share",
                    above: "it would bound nothing",
                },
                example: "1.25",
            },
            "no bound",
            "How many times its fair share of the requests in flight an endpoint of `ring-hash`, `maglev` or `rendezvous` \
             takes, in steps of a hundredth; above it a key goes to the next endpoint in the key's order.",
        ),
        KeySpec::value(
            "table_size",
            Kind::Integer(Bounds {
                min: 101,
                max: TABLE_SIZE_MAX as u64,
                below: "shares would be too rough",
                above: "the table would not fit a cache",
            }),
            "65537",
            "Entries of the table of `maglev`, a prime: at least a hundred for each endpoint keeps shares within 1 %.",
        ),
        KeySpec::value(
            "decay",
            Kind::Duration(Bounds {
                min: Duration::from_millis(100),
                max: Duration::from_mins(5),
                below: "one slow answer would be forgotten before the next",
                above: "an endpoint that has recovered would hardly be noticed",
            }),
            "3s",
            "Over this time `peak-ewma` and `prequal` forget two thirds of a slow answer or a failure; after three times as \
             long without an answer an idle endpoint is tried again.",
        ),
        KeySpec::value(
            "choices",
            Kind::Integer(Bounds {
                min: 2,
                max: CHOICES_MAX as u64,
                below: "of one there is nothing to choose; \"random\" draws one",
                above: "\"least-request\" compares all",
            }),
            "2",
            "How many endpoints `p2c` draws and compares. More find the least busy oftener, and more callers find the same one.",
        ),
        KeySpec::absent(
            "probe",
            Kind::Text { form: "a path that begins with /", example: "/load" },
            "no load probes",
            "Where `prequal` asks endpoints for their load, by GET; they answer with the fields `x-load-rif`, requests in \
             flight, and `x-load-latency-ms`. Without it only these fields of ordinary answers tell.",
        ),
    ],
};

static POOL: TableSpec = TableSpec {
    what: "`pool` of a service",
    title: "services.NAME.pool",
    doc: "Connections to endpoints, kept for the next request.",
    keys: &[
        KeySpec::value(
            "idle",
            Kind::Integer(Bounds {
                min: 0,
                max: 65_536,
                below: "",
                above: "more than the ports of one address cannot be open",
            }),
            "64",
            "Idle connections kept per endpoint, over all workers; 0 keeps none.",
        ),
        KeySpec::value(
            "idle_timeout",
            Kind::Duration(Bounds {
                min: SHORTEST,
                max: DAY,
                below: "hardly any connection would see a second request",
                above: "keep it below the endpoints' own idle timeout",
            }),
            "55s",
            "How long an idle connection is kept; less than the endpoints keep theirs.",
        ),
        KeySpec::value(
            "max_age",
            Kind::Duration(Bounds {
                min: Duration::from_secs(1),
                max: Duration::from_hours(30 * 24),
                below: "most requests would open a connection",
                above: "connections would hardly ever be renewed",
            }),
            "1h",
            "How long any connection is used.",
        ),
        KeySpec::value(
            "max_connections_per_endpoint",
            Kind::Integer(Bounds { min: 0, max: 1_000_000, below: "", above: "no endpoint takes more" }),
            "0",
            "Open connections per endpoint, over all workers; 0 stands for no bound.",
        ),
    ],
};

static STICKY: TableSpec = TableSpec {
    what: "`sticky` of a service",
    title: "services.NAME.sticky",
    doc: "A cookie by which a caller keeps its endpoint.",
    keys: &[
        KeySpec::value(
            "cookie",
            Kind::Text { form: "a cookie's name", example: "cart-at" },
            "isobar",
            "Its name; services that one host leads to need different ones.",
        ),
        KeySpec::absent(
            "ttl",
            Kind::Duration(Bounds {
                min: Duration::from_secs(1),
                max: Duration::from_hours(400 * 24),
                below: "a cookie counts in whole seconds",
                above: "browsers keep none for longer",
            }),
            "until the caller is closed",
            "How long the caller keeps it, counted from the answer that set it.",
        ),
        KeySpec::absent(
            "key_file",
            Kind::Text { form: "a path", example: "sticky.key" },
            "derived from the service's name",
            "A file with the secret that values follow from, a text of 16 characters or more; it is watched. Proxies with \
             the same one understand each other's cookies.",
        ),
    ],
};

static ZONE_AWARE: TableSpec = TableSpec {
    what: "`zone_aware` of a service",
    title: "services.NAME.zone_aware",
    doc: "Preference for endpoints of the proxy's own zone.",
    keys: &[
        KeySpec::value(
            "min_endpoints",
            Kind::Integer(Bounds {
                min: 1,
                max: 1_000_000,
                below: "an empty zone has nothing to prefer",
                above: "no service has more endpoints",
            }),
            "6",
            "A priority with fewer endpoints that take traffic is used without regard to zones.",
        ),
        KeySpec::absent(
            "proxies",
            Kind::Map(&Kind::Integer(Bounds {
                min: 0,
                max: 1_000_000,
                below: "",
                above: "nobody runs more",
            })),
            "as many in each zone of the endpoints",
            "How many proxies each zone has, this one included.",
        ),
    ],
};

static SUBSET: TableSpec = TableSpec {
    what: "`subset` of a service",
    title: "services.NAME.subset",
    doc: "The part of a service that one proxy uses.",
    keys: &[KeySpec::required(
        "size",
        Kind::Integer(Bounds {
            min: 1,
            max: 1_000_000,
            below: "nothing could be sent anywhere",
            above: "no service has more endpoints",
        }),
        "How many endpoints of each priority, and with `zone_aware` of each zone, this proxy uses.",
    )],
};
