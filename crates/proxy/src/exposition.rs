//! The metrics of a proxy as `OpenMetrics` text; every metric name stands in this file.

use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use isobar_grpc::Status;

use crate::h2::CloseReason;
use crate::handshake::HandshakeFailure;
use crate::metrics::{self, AttemptFailure, Histogram, N_BUCKETS, ServiceCounters};
use crate::readings::Readings;
use crate::refusal::ErrorCode;

/// Above this many endpoints in all, series by endpoint are left out and those by service remain.
const ENDPOINT_SERIES_MAX: usize = 1000;

/// Which histogram of a service a family shows.
type HistogramOf = fn(&ServiceCounters) -> &Histogram;

/// Which number of an endpoint a family shows.
type GaugeOf = fn(&isobar_core::Live) -> u32;

/// Appends every family.
pub(crate) fn render(readings: &Readings, out: &mut String) {
    requests(readings, out);
    grpc(readings, out);
    services(readings, out);
    histograms(readings, out);
    listeners(readings, out);
    endpoints(readings, out);
    family(out, "isobar_access_log_lines_lost", "counter", "Access log lines that could not be written.");
    let queued: u64 = readings.metrics.iter().map(|worker| worker.log_lines_lost.value()).sum();
    let refused = readings.log_lines_refused.load(Relaxed);
    sample(out, "isobar_access_log_lines_lost_total", &[], queued + refused);
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    put(out, format_args!("# TYPE {name} {kind}\n# HELP {name} {help}\n"));
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "writing to memory cannot fail");
}

/// A label's value with what the format wants escaped.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    out.push_str(name);
    for (index, (label, text)) in labels.iter().enumerate() {
        let open = if index == 0 { '{' } else { ',' };
        put(out, format_args!("{open}{label}=\"{}\"", escaped(text)));
    }
    if !labels.is_empty() {
        out.push('}');
    }
    put(out, format_args!(" {value}\n"));
}

fn requests(readings: &Readings, out: &mut String) {
    family(
        out,
        "isobar_requests",
        "counter",
        "Requests by service, route, class of status and reason of refusal.",
    );
    for (index, series) in readings.plan.series.iter().enumerate() {
        let blocks = || readings.metrics.iter().map(|worker| &worker.requests[index]);
        let mut line = |class: &str, reason: &str, n: u64| {
            if n > 0 {
                let labels = [
                    ("service", &*series.service),
                    ("route", &*series.route),
                    ("code", class),
                    ("reason", reason),
                ];
                sample(out, "isobar_requests_total", &labels, n);
            }
        };
        for (class, name) in ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().enumerate() {
            line(name, "", blocks().map(|block| block.answered[class].value()).sum());
        }
        for code in ErrorCode::ALL {
            let class = if code.status().http < 500 { "4xx" } else { "5xx" };
            line(class, code.name(), blocks().map(|block| block.refused[code as usize].value()).sum());
        }
    }
}

fn grpc(readings: &Readings, out: &mut String) {
    family(
        out,
        "isobar_grpc_calls",
        "counter",
        "gRPC calls by service, route and the status they ended with.",
    );
    for (index, series) in readings.plan.series.iter().enumerate() {
        let blocks = || readings.metrics.iter().map(|worker| &worker.requests[index]);
        for (place, status) in Status::all().map(Status::name).chain(["none"]).enumerate() {
            let n: u64 = blocks().map(|block| block.grpc[place].value()).sum();
            if n > 0 {
                let labels =
                    [("service", &*series.service), ("route", &*series.route), ("grpc_status", status)];
                sample(out, "isobar_grpc_calls_total", &labels, n);
            }
        }
    }
}

fn services(readings: &Readings, out: &mut String) {
    let sum = |index: usize, of: &dyn Fn(&ServiceCounters) -> u64| -> u64 {
        readings.metrics.iter().map(|worker| of(&worker.services[index])).sum()
    };
    let named = || readings.plan.services.iter().enumerate();
    family(out, "isobar_attempts", "counter", "Attempts at endpoints.");
    for (index, service) in named() {
        let n = sum(index, &|counters| counters.attempts.value());
        sample(out, "isobar_attempts_total", &[("service", &service.name)], n);
    }
    family(out, "isobar_retries", "counter", "Attempts that followed a failed one.");
    for (index, service) in named() {
        let n = sum(index, &|counters| counters.retries.value());
        sample(out, "isobar_retries_total", &[("service", &service.name)], n);
    }
    family(out, "isobar_failures", "counter", "Failed attempts by reason.");
    for (index, service) in named() {
        for (failure, reason) in AttemptFailure::ALL {
            let n = sum(index, &|counters| counters.failures[failure as usize].value());
            sample(out, "isobar_failures_total", &[("service", &service.name), ("reason", reason)], n);
        }
    }
    family(out, "isobar_picks", "counter", "Picks by policy.");
    for (index, service) in named() {
        let n = sum(index, &|counters| counters.picks.value());
        sample(out, "isobar_picks_total", &[("service", &service.name), ("policy", service.policy)], n);
    }
    family(out, "isobar_upstream_connections", "counter", "Connections made to endpoints.");
    for (index, service) in named() {
        let n = sum(index, &|counters| counters.connections.value());
        sample(out, "isobar_upstream_connections_total", &[("service", &service.name)], n);
    }
}

fn histograms(readings: &Readings, out: &mut String) {
    let families: [(&str, &str, HistogramOf); 2] = [
        ("isobar_request_duration_seconds", "From a request's head to the end of its answer.", |c| &c.total),
        ("isobar_upstream_duration_seconds", "From an attempt's begin to its response's head.", |c| {
            &c.upstream
        }),
    ];
    for (name, help, of) in families {
        put(out, format_args!("# TYPE {name} histogram\n# UNIT {name} seconds\n# HELP {name} {help}\n"));
        for (index, service) in readings.plan.services.iter().enumerate() {
            let all = || readings.metrics.iter().map(|worker| of(&worker.services[index]));
            let (mut below, bucket, label) = (0, format!("{name}_bucket"), escaped(&service.name));
            for position in 0..N_BUCKETS {
                below += all().map(|histogram| histogram.bucket(position)).sum::<u64>();
                match metrics::bucket_bound_micros(position) {
                    Some(micros) => {
                        let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
                        put(
                            out,
                            format_args!(
                                "{bucket}{{service=\"{label}\",le=\"{whole}.{part:06}\"}} {below}\n"
                            ),
                        );
                    }
                    None => put(out, format_args!("{bucket}{{service=\"{label}\",le=\"+Inf\"}} {below}\n")),
                }
            }
            let micros: u64 = all().map(Histogram::sum_micros).sum();
            let seconds = std::time::Duration::from_micros(micros).as_secs_f64();
            sample(out, &format!("{name}_sum"), &[("service", &service.name)], format_args!("{seconds:.6}"));
            sample(out, &format!("{name}_count"), &[("service", &service.name)], below);
        }
    }
}

fn listeners(readings: &Readings, out: &mut String) {
    let named = || readings.plan.listeners.iter().enumerate();
    let sum = |index: usize, of: &dyn Fn(&metrics::ListenerCounters) -> u64| -> u64 {
        readings.metrics.iter().map(|worker| of(&worker.listeners[index])).sum()
    };
    family(out, "isobar_connections", "counter", "Connections accepted.");
    for (index, listener) in named() {
        let n = sum(index, &|counters| counters.opened.value());
        sample(out, "isobar_connections_total", &[("listener", &listener.name)], n);
    }
    family(out, "isobar_connections_open", "gauge", "Connections from callers that are open.");
    for (index, listener) in named() {
        let n = readings.listeners[index].n_open();
        sample(out, "isobar_connections_open", &[("listener", &listener.name)], n);
    }
    family(
        out,
        "isobar_accepts_exhausted",
        "counter",
        "Accepts that failed for want of descriptors or memory.",
    );
    for (index, listener) in named() {
        let n = readings.listeners[index].label().n_exhausted.load(Relaxed);
        sample(out, "isobar_accepts_exhausted_total", &[("listener", &listener.name)], n);
    }
    handshakes(readings, out);
    http2(readings, out);
    put(out, format_args!("# TYPE isobar_received_bytes counter\n# UNIT isobar_received_bytes bytes\n"));
    put(out, format_args!("# HELP isobar_received_bytes Request bytes of finished exchanges.\n"));
    for (index, listener) in named() {
        let n = sum(index, &|counters| counters.bytes_in.value());
        sample(out, "isobar_received_bytes_total", &[("listener", &listener.name)], n);
    }
    put(out, format_args!("# TYPE isobar_sent_bytes counter\n# UNIT isobar_sent_bytes bytes\n"));
    put(out, format_args!("# HELP isobar_sent_bytes Response bytes of finished exchanges.\n"));
    for (index, listener) in named() {
        let n = sum(index, &|counters| counters.bytes_out.value());
        sample(out, "isobar_sent_bytes_total", &[("listener", &listener.name)], n);
    }
}

fn handshakes(readings: &Readings, out: &mut String) {
    let with_tls =
        || readings.plan.listeners.iter().enumerate().filter(|(_, listener)| listener.tls.is_some());
    let blocks =
        |index: usize| readings.metrics.iter().map(move |worker| &worker.listeners[index].handshakes);
    family(out, "isobar_tls_handshakes_in_progress", "gauge", "TLS handshakes with callers in progress.");
    for (index, listener) in with_tls() {
        let n = readings.listeners[index].n_handshakes();
        sample(out, "isobar_tls_handshakes_in_progress", &[("listener", &listener.name)], n);
    }
    family(out, "isobar_tls_handshakes", "counter", "TLS handshakes with callers that came to their end.");
    for (index, listener) in with_tls() {
        let n: u64 = blocks(index).map(|block| block.done.value()).sum();
        sample(out, "isobar_tls_handshakes_total", &[("listener", &listener.name)], n);
    }
    family(
        out,
        "isobar_tls_handshakes_failed",
        "counter",
        "TLS handshakes with callers that failed, by reason.",
    );
    for (index, listener) in with_tls() {
        for (failure, reason) in HandshakeFailure::ALL {
            let n: u64 = blocks(index).map(|block| block.failed[failure as usize].value()).sum();
            let labels = [("listener", &*listener.name), ("reason", reason)];
            sample(out, "isobar_tls_handshakes_failed_total", &labels, n);
        }
    }
}

fn http2(readings: &Readings, out: &mut String) {
    let named = || readings.plan.listeners.iter().enumerate();
    let blocks = |index: usize| readings.metrics.iter().map(move |worker| &worker.listeners[index].http2);
    family(
        out,
        "isobar_http2_connections_closed",
        "counter",
        "HTTP/2 connections that were closed before their caller did, by reason.",
    );
    for (index, listener) in named() {
        for (close, reason) in CloseReason::ALL {
            let n: u64 = blocks(index).map(|block| block.closed[close as usize].value()).sum();
            let labels = [("listener", &*listener.name), ("reason", reason)];
            sample(out, "isobar_http2_connections_closed_total", &labels, n);
        }
    }
    family(
        out,
        "isobar_http2_malformed",
        "counter",
        "HTTP/2 requests that were reset because they are malformed.",
    );
    for (index, listener) in named() {
        let n: u64 = blocks(index).map(|block| block.malformed.value()).sum();
        sample(out, "isobar_http2_malformed_total", &[("listener", &listener.name)], n);
    }
}

fn endpoints(readings: &Readings, out: &mut String) {
    let snapshots: Vec<_> = readings.clusters.iter().map(|cluster| cluster.load_full()).collect();
    family(out, "isobar_endpoints", "gauge", "Endpoints by state.");
    for snapshot in &snapshots {
        for state in isobar_core::EndpointState::ALL {
            let labels = [("service", snapshot.service()), ("state", state.name())];
            let in_state = snapshot.members().iter().filter(|member| member.state == state);
            sample(out, "isobar_endpoints", &labels, in_state.count());
        }
    }
    let all: usize = snapshots.iter().map(|snapshot| snapshot.members().len()).sum();
    let detailed = all <= ENDPOINT_SERIES_MAX;
    let families: [(&str, &str, GaugeOf); 2] = [
        ("isobar_in_flight", "Attempts in flight.", isobar_core::Live::in_flight),
        (
            "isobar_upstream_connections_open",
            "Connections to endpoints that are open.",
            isobar_core::Live::connections,
        ),
    ];
    for (name, help, of) in families {
        family(out, name, "gauge", help);
        for snapshot in &snapshots {
            let service = snapshot.service();
            if detailed {
                for member in snapshot.members() {
                    let labels = [("service", service), ("endpoint", &*member.endpoint.id)];
                    sample(out, name, &labels, of(&member.live));
                }
            } else {
                let n: u64 = snapshot.members().iter().map(|member| u64::from(of(&member.live))).sum();
                sample(out, name, &[("service", service)], n);
            }
        }
    }
    family(out, "isobar_listening", "gauge", "1 while the listener accepts.");
    for (listener, shared) in readings.plan.listeners.iter().zip(&*readings.listeners) {
        let accepts = u8::from(!shared.is_closing());
        sample(out, "isobar_listening", &[("listener", &listener.name)], accepts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_end_its_quotes() {
        let mut out = String::new();
        sample(&mut out, "m", &[("a", "x\"y\\z\n"), ("b", "c")], 3);
        assert_eq!(out, "m{a=\"x\\\"y\\\\z\\n\",b=\"c\"} 3\n");
    }
}
