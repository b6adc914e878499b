//! What the control side knows and no snapshot tells, as `OpenMetrics` text: events by service.
//!
//! Invariant: each call writes whole metric families, each once, without the closing `# EOF`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use isobar_core::EventKind;

use crate::owner::ClusterHandle;

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
    out.push_str(
        "# TYPE isobar_endpoint_events counter\n# HELP isobar_endpoint_events Changes of a service's endpoints.\n",
    );
    for cluster in clusters {
        for (kind, count) in EventKind::ALL.iter().zip(&cluster.events().0) {
            let (service, count) = (Escaped(cluster.service()), count.load(Ordering::Relaxed));
            let name = kind.name();
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "isobar_endpoint_events_total{{service=\"{service}\",event=\"{name}\"}} {count}"
            );
        }
    }
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
    use isobar_core::PolicyKind;

    use super::*;
    use crate::owner::spawn;
    use crate::owner::tests::tcp_endpoint;

    #[tokio::test]
    async fn events_are_counted_by_service_and_names_are_escaped() {
        let one = tcp_endpoint("a", "127.0.0.1:1");
        let cart = spawn("cart", PolicyKind::RoundRobin, 1, vec![one.clone(), one]);
        let odd = spawn("a\"b\\c\nd", PolicyKind::P2c, 1, Vec::new());
        let mut out = String::new();
        render_metrics(&[cart, odd], &mut out);
        let lines: Vec<_> = out.lines().collect();
        for line in [
            "isobar_endpoint_events_total{service=\"a\\\"b\\\\c\\nd\",event=\"added\"} 0",
            "isobar_endpoint_events_total{service=\"cart\",event=\"added\"} 1",
            "isobar_endpoint_events_total{service=\"cart\",event=\"duplicate-dropped\"} 1",
        ] {
            assert!(lines.contains(&line), "{line} is missing in\n{out}");
        }
    }
}
