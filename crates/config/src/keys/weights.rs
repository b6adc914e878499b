//! Keys of `weights` of a service.

use std::time::Duration;

use super::DAY;
use crate::spec::{Bounds, Choice, KeySpec, Kind, TableSpec};

/// The least error penalty: errors count for nothing.
const ERROR_PENALTY_MIN: f64 = 0.0;
/// The greatest: past it an endpoint with one error in a hundred requests would count as twice as busy as it can be.
const ERROR_PENALTY_MAX: f64 = 100.0;

pub(crate) static WEIGHTS: TableSpec = TableSpec {
    what: "`weights` of a service",
    title: "services.NAME.weights",
    doc: "Where the weights of endpoints come from; see docs/policies/weights.md.",
    keys: &[
        KeySpec::value(
            "from",
            Kind::Choice(&[Choice::now("configured"), Choice::now("reported"), Choice::now("measured")]),
            "configured",
            "`configured`: the `weight` of each endpoint. `reported`: that, times what the endpoint reports of its load in \
             `endpoint-load-metrics` or `x-load` of its answers, or by its agent. `measured`: that, times what its latency \
             and its failures say.",
        ),
        KeySpec::value(
            "blackout",
            Kind::Duration(Bounds {
                min: Duration::ZERO,
                max: Duration::from_hours(1),
                below: "",
                above: "reports would be listened to for longer than most instances live",
            }),
            "10s",
            "How long the reports of an endpoint are listened to before they count, from the first one on.",
        ),
        KeySpec::value(
            "expiry",
            Kind::Duration(Bounds {
                min: Duration::from_secs(1),
                max: DAY,
                below: "an endpoint that is asked rarely would never have a weight",
                above: "what was said that long ago says nothing of today's load",
            }),
            "3m",
            "How long the last report counts, or what was measured of an endpoint that is not used.",
        ),
        KeySpec::value(
            "update",
            Kind::Duration(Bounds {
                min: Duration::from_millis(100),
                max: Duration::from_mins(1),
                below: "weights would move faster than what they are taken from",
                above: "weights would hardly follow the load",
            }),
            "1s",
            "Time between two changes of the weights.",
        ),
        KeySpec::absent(
            "error_penalty",
            Kind::Number {
                bounds: Bounds {
                    min: ERROR_PENALTY_MIN,
                    max: ERROR_PENALTY_MAX,
                    below: "an error is no sign of spare capacity",
                    above: "one error would weigh as much as a hundred requests",
                },
                example: "1.0",
            },
            "1",
            "How much the share of errors that an endpoint reports adds to its utilization, in steps of a hundredth.",
        ),
        KeySpec::absent(
            "agent",
            Kind::Table(&AGENT),
            "no agents",
            "Asks an agent beside each endpoint, in the form of HAProxy's `agent-check`.",
        ),
    ],
};

static AGENT: TableSpec = TableSpec {
    what: "`agent` of a service's weights",
    title: "services.NAME.weights.agent",
    doc: "A port on the host of each endpoint that answers every connection with one line: `75%`, `maxconn:30`, `drain`, `maint`, \
          `ready`, `up`, `down`, `fail` or `stopped`, or several of them.",
    keys: &[
        KeySpec::required(
            "port",
            Kind::Integer(Bounds {
                min: 1,
                max: 65_535,
                below: "nothing listens on port 0",
                above: "there are no higher ports",
            }),
            "The port; an endpoint on a unix socket has none, and its agent is not asked.",
        ),
        KeySpec::value(
            "interval",
            Kind::Duration(Bounds {
                min: Duration::from_millis(100),
                max: Duration::from_hours(1),
                below: "asking more often than that is a load of its own",
                above: "what was said that long ago says nothing of today's load",
            }),
            "2s",
            "From the beginning of one question to that of the next, with a little jitter; an answer has as long to come, but \
             at most 5 seconds.",
        ),
    ],
};
