//! What the control side knows and no snapshot tells, as `OpenMetrics` text: events, probes, sources.
//!
//! Invariant: each call writes whole metric families, each once, without the closing `# EOF`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use isobar_core::EventKind;

use crate::handle::ClusterHandle;
use crate::sources::SourceReport;

/// How often each kind of event happened to one cluster.
#[derive(Debug, Default)]
pub(crate) struct EventCounts([AtomicU64; EventKind::ALL.len()]);

impl EventCounts {
    pub(crate) fn count(&self, kind: EventKind) {
        self.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Appends the metrics of these clusters.
pub fn render_metrics(clusters: &[ClusterHandle], out: &mut String) {
    family(out, "isobar_endpoint_events", "counter", "Changes of a service's endpoints.");
    for cluster in clusters {
        for (kind, count) in EventKind::ALL.iter().zip(&cluster.events().0) {
            let labels = [("service", cluster.service()), ("event", kind.name())];
            sample(out, "isobar_endpoint_events_total", &labels, count.load(Ordering::Relaxed));
        }
    }
    family(out, "isobar_probes", "counter", "Probes of endpoints by result.");
    for cluster in clusters {
        let (passed, failed) = cluster.probes();
        for (result, n) in [("passed", passed), ("failed", failed)] {
            sample(out, "isobar_probes_total", &[("service", cluster.service()), ("result", result)], n);
        }
    }
    family(out, "isobar_agent_checks", "counter", "Questions to the agents beside endpoints by result.");
    for cluster in clusters {
        let (answered, silent) = cluster.agents();
        for (result, n) in [("answered", answered), ("failed", silent)] {
            sample(
                out,
                "isobar_agent_checks_total",
                &[("service", cluster.service()), ("result", result)],
                n,
            );
        }
    }
    sources(clusters, out);
}

/// What the sources of endpoints say of themselves.
fn sources(clusters: &[ClusterHandle], out: &mut String) {
    let reports: Vec<_> = clusters
        .iter()
        .flat_map(|cluster| cluster.sources().into_iter().map(move |report| (cluster.service(), report)))
        .collect();
    family(out, "isobar_discovery_failing", "gauge", "1 while a source of endpoints cannot be read.");
    for (service, report) in &reports {
        let labels = [("service", *service), ("source", &*report.name)];
        sample(out, "isobar_discovery_failing", &labels, u64::from(report.problem.is_some()));
    }
    out.push_str("# TYPE isobar_discovery_age_seconds gauge\n# UNIT isobar_discovery_age_seconds seconds\n");
    out.push_str("# HELP isobar_discovery_age_seconds Since a source that fails was last read; 0 while it can be read.\n");
    for (service, report) in &reports {
        let labels = [("service", *service), ("source", &*report.name)];
        sample(out, "isobar_discovery_age_seconds", &labels, age(report).as_secs());
    }
}

/// How old the endpoints of a source are: a watched source is read when it changes, so while it can be read what it
/// said last is what it says now.
fn age(report: &SourceReport) -> Duration {
    // A clock that was set back gives an age of zero.
    let since = report.updated.map(|updated| updated.elapsed().unwrap_or_default());
    since.filter(|_| report.problem.is_some()).unwrap_or_default()
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "# TYPE {name} {kind}\n# HELP {name} {help}");
}

fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    let labels: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}=\"{}\"", Escaped(value))).collect();
    let _ = writeln!(out, "{name}{{{}}} {value}", labels.join(","));
}

/// A label value with the three characters escaped that `OpenMetrics` (section "Escaping" of its ABNF) demands.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::tests::{context, service, spawned};

    #[tokio::test]
    async fn events_are_counted_by_service_and_names_are_escaped() {
        let context = context();
        let cart = spawned(&service("cart", &["127.0.0.1:1"]), &context).await;
        let odd = spawned(&service("a\"b\\c\nd", &[]), &context).await;
        let mut out = String::new();
        render_metrics(&[cart, odd], &mut out);
        let lines: Vec<_> = out.lines().collect();
        for line in [
            "isobar_endpoint_events_total{service=\"a\\\"b\\\\c\\nd\",event=\"added\"} 0",
            "isobar_endpoint_events_total{service=\"cart\",event=\"added\"} 1",
            "isobar_probes_total{service=\"cart\",result=\"failed\"} 0",
            "isobar_agent_checks_total{service=\"cart\",result=\"answered\"} 0",
            "isobar_discovery_failing{service=\"cart\",source=\"configuration\"} 0",
        ] {
            assert!(lines.contains(&line), "{line} is missing in\n{out}");
        }
    }
}
