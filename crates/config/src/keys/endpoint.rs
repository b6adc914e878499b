//! Keys of what tells the endpoints of a service: `endpoints`, `discovery` and a discovered file.

use super::{ADDRESS, NAME};
use crate::spec::{Bounds, KeySpec, Kind, TableSpec};

const STATIC: &str = "use `file`, or list the addresses in `endpoints`; host names may stand there";

/// The largest weight of an endpoint: shares finer than one in a million are noise.
pub const WEIGHT_MAX: u32 = 1_000_000;

/// The last priority of an endpoint: more levels are a mistake.
pub const PRIORITY_MAX: u32 = 127;

/// The key that a service and a discovered file share.
pub(crate) const ENDPOINTS: Kind = Kind::List(&Kind::ShortOrTable(&ADDRESS, &ENDPOINT));

static ENDPOINT: TableSpec = TableSpec {
    what: "an endpoint",
    title: "services.NAME.endpoints",
    doc: "The long form of an endpoint; an address alone has the defaults.",
    keys: &[
        KeySpec::required("address", ADDRESS, "Where it listens: `HOST:PORT`, `[::1]:PORT`, `unix:/path`."),
        KeySpec::absent(
            "id",
            Kind::Text { form: "an id", example: "cart-2" },
            "its address",
            "Its identity.",
        ),
        KeySpec::value(
            "weight",
            Kind::Integer(Bounds {
                min: 0,
                max: WEIGHT_MAX as u64,
                below: "",
                above: "shares finer than one in a million are noise",
            }),
            "1",
            "Its share of the traffic, relative to the others; 0 takes none.",
        ),
        KeySpec::value(
            "priority",
            Kind::Integer(Bounds {
                min: 0,
                max: PRIORITY_MAX as u64,
                below: "0 is used first",
                above: "more levels than that are a mistake",
            }),
            "0",
            "Its level: 0 is used first, the next takes what that cannot carry while less than 72 % of it is healthy.",
        ),
        KeySpec::absent("zone", NAME, "none", "The zone it stands in."),
        KeySpec::absent(
            "hash_key",
            Kind::Text { form: "a name, or for HAProxy a number", example: "10.0.0.11:8000" },
            "what its policy's `layout` says",
            "The name that its places in `ring-hash`, `maglev` and `rendezvous` follow from: what the other balancer called \
             it. Left out, it is the id under the layout `isobar`, under `haproxy` the place in the list, counted from 1 \
             (HAProxy's `id`), else the address.",
        ),
    ],
};

pub(crate) static DISCOVERY: TableSpec = TableSpec {
    what: "`discovery` of a service",
    title: "services.NAME.discovery",
    doc: "A source of endpoints beside `endpoints`; the first to name an id has it.",
    keys: &[
        KeySpec::absent(
            "file",
            Kind::Text { form: "a path", example: "cart.toml" },
            "",
            "A TOML file, watched, that holds `endpoints = [...]` in the same form as here and nothing else; one that \
             cannot be read changes nothing.",
        ),
        KeySpec::later("dns", "A name whose answers are endpoints.", STATIC),
        KeySpec::later("registry", "A registry where instances announce themselves.", STATIC),
        KeySpec::later("consul", "A Consul agent.", STATIC),
        KeySpec::later("etcd", "An etcd cluster.", STATIC),
    ],
};

/// The whole of a discovered file.
pub(crate) static DISCOVERED: TableSpec = TableSpec {
    what: "a discovered file",
    title: "Discovered file",
    doc: "A file that tells the endpoints of a service.",
    keys: &[KeySpec::required("endpoints", ENDPOINTS, "The endpoints; `[]` for none.")],
};
