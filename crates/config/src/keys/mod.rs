//! Every table and key of a configuration, described once; see [`crate::spec`].
//!
//! Invariants: keys stand in the order of the reference page; every bound carries its reason, but a zero below may go
//! without; a key that this version does not obey is marked as such and never read.

mod endpoint;
mod health;
mod listener;
mod route;
mod service;
mod tls;
mod weights;

use std::time::Duration;

use crate::spec::{Bounds, Choice, KeySpec, Kind, TableSpec};

pub(crate) use endpoint::{DISCOVERED, DISCOVERY, ENDPOINTS};
pub use endpoint::{PRIORITY_MAX, WEIGHT_MAX};
pub(crate) use health::HEALTH;
pub(crate) use listener::LISTENER;
pub(crate) use route::BODY_MAX;
pub(crate) use service::{POLICIES, SERVICE, TABLE_SIZE_MAX};

/// The shortest time any limit may be set to: one turn of the coarse timer wheel that measures them.
const SHORTEST: Duration = Duration::from_millis(10);
/// A day: past it a limit no longer limits anything that a person would wait for.
const DAY: Duration = Duration::from_hours(24);

/// An address text; what is allowed beyond the form depends on its use.
const ADDRESS: Kind = Kind::Text { form: "an address", example: "127.0.0.1:9001" };
const LISTEN: Kind = Kind::Text { form: "an address to listen on", example: ":8080" };
const NAME: Kind = Kind::Text { form: "a name of letters, digits, `.`, `_` and `-`", example: "web" };

/// The whole file.
pub(crate) static ROOT: TableSpec = TableSpec {
    what: "the top level of the file",
    title: "File",
    doc: "The top level of a configuration file.",
    keys: &[
        KeySpec::absent(
            "include",
            Kind::OneOrMany(&Kind::Text { form: "a path or a pattern with `*`", example: "conf.d/*.toml" }),
            "no other files",
            "Other files whose tables are added to this one's; paths are relative to this file. An included file \
             includes nothing itself.",
        ),
        KeySpec::absent("runtime", Kind::Table(&RUNTIME), "defaults", "Process-wide settings."),
        KeySpec::absent(
            "admin",
            Kind::Table(&ADMIN),
            "off",
            "Health, readiness, metrics and the API over HTTP.",
        ),
        KeySpec::absent("access_log", Kind::Table(&ACCESS_LOG), "off", "One line for each request."),
        KeySpec::required("listeners", Kind::Tables(&LISTENER), "Where requests come in; at least one."),
        KeySpec::absent(
            "routes",
            Kind::Tables(&route::ROUTE),
            "none",
            "Which request goes where; the first match wins, in the order written.",
        ),
        KeySpec::absent("services", Kind::Named(&SERVICE), "none", "Sets of endpoints, by name."),
    ],
};

pub(crate) static RUNTIME: TableSpec = TableSpec {
    what: "`runtime`",
    title: "runtime",
    doc: "Process-wide settings; `workers` takes effect at a restart.",
    keys: &[
        KeySpec::value(
            "workers",
            Kind::Integer(Bounds {
                min: 0,
                max: 1024,
                below: "0 takes one per core",
                above: "no machine has more cores",
            }),
            "0",
            "Worker threads; 0 takes one per available core.",
        ),
        KeySpec::value(
            "shutdown_delay",
            Kind::Duration(Bounds {
                min: Duration::ZERO,
                max: Duration::from_hours(1),
                below: "",
                above: "it only has to outlast the callers' view of `/readyz`",
            }),
            "0s",
            "How long connections are still accepted after SIGTERM while `/readyz` answers 503.",
        ),
        KeySpec::value(
            "shutdown_grace",
            Kind::Duration(Bounds {
                min: Duration::ZERO,
                max: DAY,
                below: "",
                above: "nobody waits longer for a process to stop",
            }),
            "30s",
            "How long requests in flight may take to finish after that; then they are cut off.",
        ),
        KeySpec::value(
            "trusted_proxies",
            Kind::List(&Kind::Text { form: "a network or an address", example: "10.0.0.0/8" }),
            "[]",
            "Networks whose forwarding headers (`x-forwarded-for` and the like) are believed.",
        ),
        KeySpec::absent("zone", NAME, "none", "The zone that this proxy stands in, for `zone_aware`."),
        KeySpec::absent(
            "instance",
            Kind::Text { form: "a name", example: "proxy-1" },
            "the host's name",
            "The name of this proxy, from which the `subset` that it uses follows; each proxy needs its own.",
        ),
    ],
};

static ADMIN: TableSpec = TableSpec {
    what: "`admin`",
    title: "admin",
    doc: "The admin interface: health, readiness, metrics and the API.",
    keys: &[
        KeySpec::value("listen", LISTEN, "127.0.0.1:9900", "Where it listens; takes effect at a restart."),
        KeySpec::absent(
            "token_file",
            Kind::Text { form: "a path", example: "admin.token" },
            "no token",
            "A file with the token that every call must carry (`authorization: Bearer TOKEN`), except those for health, \
             readiness and metrics.",
        ),
        KeySpec::value(
            "hosts",
            Kind::List(&Kind::Text { form: "a host name without a port", example: "proxy.internal" }),
            "[]",
            "Names that it answers to besides the loopback ones: a call under another name, as a browser may be lured \
             into, is refused.",
        ),
    ],
};

static ACCESS_LOG: TableSpec = TableSpec {
    what: "`access_log`",
    title: "access_log",
    doc: "The access log: one line for each request, written in batches, up to half a second after the request's end.",
    keys: &[
        KeySpec::value(
            "to",
            Kind::Text { form: "\"stdout\" or a path", example: "access.log" },
            "stdout",
            "`stdout`, or a path relative to this file; a file is appended to and reopened on SIGUSR1.",
        ),
        KeySpec::value(
            "format",
            Kind::Choice(&[Choice::now("json"), Choice::now("text")]),
            "json",
            "A JSON object a line, or `key=value` text.",
        ),
    ],
};

#[cfg(test)]
mod tests {
    use crate::reference_page::tables;
    use crate::spec::{Default, KeySpec, Kind, available};
    use crate::units::{parse_duration, parse_size};

    fn keys() -> impl Iterator<Item = &'static KeySpec> {
        tables().into_iter().flat_map(|section| section.spec.keys)
    }

    #[test]
    fn every_default_is_a_value_that_the_key_accepts() {
        for key in keys() {
            let Default::Value(text) = key.default else { continue };
            let sound = match &key.kind {
                Kind::Flag => text.parse::<bool>().is_ok(),
                Kind::Integer(bounds) => text.parse().is_ok_and(|n| (bounds.min..=bounds.max).contains(&n)),
                Kind::Duration(bounds) => {
                    parse_duration(text).is_ok_and(|d| (bounds.min..=bounds.max).contains(&d))
                }
                Kind::Size(bounds) => parse_size(text).is_ok_and(|n| (bounds.min..=bounds.max).contains(&n)),
                Kind::Choice(choices) | Kind::ShortOrTable(Kind::Choice(choices), _) => {
                    available(choices).any(|name| name == text)
                }
                _ => true,
            };
            assert!(sound, "{}: {text}", key.name);
        }
    }

    #[test]
    fn every_bound_carries_its_reason_but_a_zero_below_may_go_without() {
        let check = |name: &str, is_zero: bool, below: &str, above: &str| {
            assert!(is_zero || !below.is_empty(), "{name}");
            assert!(!above.is_empty(), "{name}");
        };
        for key in keys() {
            match &key.kind {
                Kind::Integer(bounds) | Kind::Size(bounds) => {
                    check(key.name, bounds.min == 0, bounds.below, bounds.above);
                }
                Kind::Number { bounds, .. } => check(key.name, bounds.min <= 0.0, bounds.below, bounds.above),
                Kind::Duration(bounds) => check(key.name, bounds.min.is_zero(), bounds.below, bounds.above),
                _ => {}
            }
        }
    }

    #[test]
    fn a_key_is_described_once_and_in_a_sentence() {
        for section in tables() {
            let mut names: Vec<_> = section.spec.keys.iter().map(|key| key.name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
            assert!(section.spec.doc.ends_with('.'), "{}", section.spec.title);
        }
        assert!(keys().all(|key| key.doc.ends_with('.') && !key.doc.contains("  ")));
    }

    #[test]
    fn every_policy_and_layout_of_core_is_offered_and_no_other() {
        let offered: Vec<_> = available(super::POLICIES).collect();
        let known: Vec<_> = isobar_core::PolicyKind::ALL.iter().map(|policy| policy.name()).collect();
        assert_eq!(offered, known);
        let offered: Vec<_> = available(super::service::LAYOUTS).collect();
        assert_eq!(offered, isobar_core::Layout::ALL.map(isobar_core::Layout::name));
        let offered: Vec<_> = available(super::service::POINT_HASHES).collect();
        assert_eq!(offered, isobar_core::PointHash::ALL.map(isobar_core::PointHash::name));
    }
}
