//! Keys of `health` of a service.

use std::time::Duration;

use super::SHORTEST;
use crate::spec::{Bounds, Choice, KeySpec, Kind, TableSpec};

/// The longest time that a probe or the wait for one may take: past it an endpoint could be gone for longer than anyone
/// would call it watched.
const LONGEST: Duration = Duration::from_hours(1);

const ROW: Bounds<u64> = Bounds {
    min: 1,
    max: 100,
    below: "a verdict needs at least one probe",
    above: "a longer row of probes decides nothing that a shorter one does not",
};

const PAUSE: Bounds<Duration> = Bounds {
    min: SHORTEST,
    max: LONGEST,
    below: "probes more often than that are a load of their own",
    above: "an endpoint that is asked more rarely is not watched",
};

pub(crate) static HEALTH: TableSpec = TableSpec {
    what: "`health` of a service",
    title: "services.NAME.health",
    doc: "A probe that each endpoint gets; of `http`, `tcp` and `grpc` a table has exactly one. With several tables an endpoint \
          is healthy while all of them say so; each counts for itself.",
    keys: &[
        KeySpec::absent(
            "http",
            Kind::Text { form: "a path that begins with /", example: "/healthz" },
            "",
            "Asks for this path with GET; a query may follow it.",
        ),
        KeySpec::absent("tcp", Kind::Flag, "", "`true` makes a connection and closes it again."),
        KeySpec::absent(
            "grpc",
            Kind::Text {
                form: "the name of a gRPC service, or \"\" for the whole server",
                example: "shop.Cart",
            },
            "",
            "Asks the gRPC health service (`grpc.health.v1`) for this name; needs `protocol = \"h2\"`.",
        ),
        KeySpec::value(
            "interval",
            Kind::Duration(PAUSE),
            "2s",
            "From the beginning of one probe to that of the next, with a little jitter.",
        ),
        KeySpec::absent(
            "failing_interval",
            Kind::Duration(PAUSE),
            "a quarter of `interval`, but at least 100ms and at most `interval`",
            "The same while the endpoint is unhealthy or its verdict is about to change.",
        ),
        KeySpec::value(
            "timeout",
            Kind::Duration(Bounds {
                min: Duration::from_millis(1),
                max: LONGEST,
                below: "no probe is answered sooner",
                above: "an endpoint that may take longer to answer is not watched",
            }),
            "1s",
            "How long a probe may take, the connection included.",
        ),
        KeySpec::value(
            "healthy_after",
            Kind::Integer(ROW),
            "2",
            "Passed probes in a row that make an unhealthy endpoint healthy.",
        ),
        KeySpec::value(
            "unhealthy_after",
            Kind::Integer(ROW),
            "3",
            "Failed probes in a row that make a healthy endpoint unhealthy.",
        ),
        KeySpec::value(
            "initial",
            Kind::Choice(&[Choice::now("unknown"), Choice::now("healthy"), Choice::now("unhealthy")]),
            "unknown",
            "What a new endpoint counts as: `unknown` takes traffic and the first probe decides at once; the others \
             take as many probes to change as later.",
        ),
        KeySpec::absent(
            "status",
            Kind::OneOrMany(&Kind::Status),
            "200 to 399",
            "The statuses that pass an `http` probe.",
        ),
        KeySpec::absent(
            "host",
            Kind::Text { form: "a host name, with a port where needed", example: "cart.internal" },
            "the endpoint's address",
            "The Host of an `http` probe, the authority of a `grpc` probe.",
        ),
        KeySpec::absent(
            "port",
            Kind::Integer(Bounds {
                min: 1,
                max: 65_535,
                below: "nothing listens on port 0",
                above: "there are no higher ports",
            }),
            "the endpoint's own",
            "Another port to probe; an endpoint on a unix socket has none, and is probed on its socket.",
        ),
    ],
};
