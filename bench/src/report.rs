//! Reports: Markdown for people, JSON for later comparisons, both under `bench/results` by date.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::compare::{Findings, Plan, Series, Turn};
use crate::error::BenchError;
use crate::h2load;
use crate::idle::{IdlePlan, IdleSeries};
use crate::layout::Layout;
use crate::machine::Machine;
use crate::secure::{CIPHER_SUITE, GROUP};
use crate::stats::{Summary, ratio, summarise};
use crate::workload::{Suite, Workload};

/// The peer that ratios are taken of.
pub(crate) const OURS: &str = "isobar";

/// Writes both forms of a comparison's report and returns the Markdown one.
pub(crate) fn write_comparison(
    layout: &Layout,
    plan: &Plan,
    machine: &Machine,
    findings: &Findings,
) -> Result<String, BenchError> {
    let text = comparison_markdown(plan, machine, findings);
    let value = json!({
        "machine": machine.json(),
        "rounds": plan.rounds, "seconds": plan.seconds, "warm_up_seconds": plan.warm_up_seconds,
        "connections": plan.connections,
        "versions": findings.versions.iter().map(|(peer, version)| json!({"peer": peer, "version": version})).collect::<Vec<_>>(),
        "failed": findings.failed.iter().map(|(peer, why)| json!({"peer": peer, "why": why})).collect::<Vec<_>>(),
        "series": findings.series.iter().map(|series| series_json(series, findings)).collect::<Vec<_>>(),
    });
    write_both(
        layout,
        &layout.results(plan.keep),
        &format!("{}-{}", machine.date, plan.suite.name()),
        &text,
        &value,
    )?;
    Ok(text)
}

/// Writes both forms of the idle report and returns the Markdown one.
pub(crate) fn write_idle(
    layout: &Layout,
    plan: &IdlePlan,
    machine: &Machine,
    series: &[IdleSeries],
) -> Result<String, BenchError> {
    let connections = plan.connections;
    let mut text = format!("# Idle connections, {}\n\n{}.\n\n", machine.date, machine.line());
    let _ =
        writeln!(text, "{connections} kept connections, each after one request; proportional set size.\n");
    let mut rows = Vec::new();
    for &workload in &plan.workloads {
        let _ = writeln!(text, "## After {}\n", workload.name());
        text.push_str(
            "| peer | before KiB | after KiB | KiB per connection |\n| --- | ---: | ---: | ---: |\n",
        );
        for one in series.iter().filter(|one| one.workload == workload) {
            rows.push(idle_row(&mut text, one, connections));
        }
        text.push('\n');
    }
    let value = json!({"machine": machine.json(), "connections": connections, "peers": rows});
    write_both(layout, &layout.results(plan.keep), &format!("{}-idle", machine.date), &text, &value)?;
    Ok(text)
}

/// Appends the row of one peer, and returns it for the JSON report.
fn idle_row(text: &mut String, one: &IdleSeries, connections: u32) -> Value {
    let workload = one.workload.name();
    match &one.sizes {
        Ok((before, after)) => {
            let each = (*after as f64 - *before as f64) / f64::from(connections);
            let _ = writeln!(text, "| {} | {before} | {after} | {each:.2} |", one.peer);
            json!({"peer": one.peer, "workload": workload, "before_kib": before, "after_kib": after, "kib_each": each})
        }
        Err(why) => {
            let _ = writeln!(text, "| {} | failed: {} | | |", one.peer, one_line(why));
            json!({"peer": one.peer, "workload": workload, "failed": why})
        }
    }
}

/// Writes a report in both forms as `stem` in `folder`.
pub(crate) fn write_both(
    layout: &Layout,
    folder: &Path,
    stem: &str,
    text: &str,
    value: &Value,
) -> Result<(), BenchError> {
    fs::create_dir_all(folder).map_err(BenchError::file(folder))?;
    let pretty = format!("{value:#}\n");
    for (ending, content) in [("md", text), ("json", pretty.as_str())] {
        let path = folder.join(format!("{stem}.{ending}"));
        fs::write(&path, content).map_err(BenchError::file(&path))?;
        eprintln!("wrote {}", path.strip_prefix(layout.root()).unwrap_or(&path).display());
    }
    Ok(())
}

fn comparison_markdown(plan: &Plan, machine: &Machine, findings: &Findings) -> String {
    let mut text =
        format!("# {} side by side, {}\n\n{}.\n\n", plan.suite.title(), machine.date, machine.line());
    let _ = writeln!(
        text,
        "{} connections{}, {} rounds of {} s after {} s of warm-up, peers in turns. Two origins and the load generator share \
         one core, the proxy has the other, one worker each. Median over the rounds, least and greatest in brackets.\n",
        plan.connections,
        particulars(plan.suite),
        plan.rounds,
        plan.seconds,
        plan.warm_up_seconds
    );
    for &workload in plan.suite.workloads() {
        let series: Vec<&Series> =
            findings.series.iter().filter(|series| series.workload == workload).collect();
        if !series.is_empty() {
            workload_table(&mut text, workload, &series);
        }
    }
    text.push_str("## Versions\n\n");
    for (peer, version) in &findings.versions {
        let _ = writeln!(text, "- {peer}: {version}");
    }
    if !findings.failed.is_empty() {
        text.push_str("\n## Failed or missing\n\n");
        for (peer, why) in &findings.failed {
            let _ = writeln!(text, "- {peer}: {}", one_line(why));
        }
    }
    text
}

/// What the reader must know of a suite beside its numbers.
fn particulars(suite: Suite) -> String {
    let tls = format!("{CIPHER_SUITE} and {GROUP} of TLS 1.3, a certificate of ECDSA P-256");
    match suite {
        Suite::Http1 => String::new(),
        Suite::Tls => {
            format!("; {tls}; a handshake is a full one, with one request, a close and nothing resumed")
        }
        Suite::H2 => format!(" of {} streams; over TLS with {tls}", h2load::STREAMS),
        Suite::Grpc => format!(" of {} streams; origins of HTTP/2", h2load::STREAMS),
    }
}

fn workload_table(text: &mut String, workload: Workload, series: &[&Series]) {
    let _ = writeln!(text, "## {}\n", workload.name());
    text.push_str(
        "| peer | CPU µs/request | isobar/peer | requests/s | p50 µs | p99 µs | calls/request | PSS MiB |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let ours = series.iter().find(|series| series.peer == OURS);
    for one in series {
        let calls = one.calls.as_ref().map_or_else(|_| "n/a".to_owned(), |calls| format!("{calls:.2}"));
        let against = ours.and_then(|ours| ratio(&values(ours, |t| t.cpu_us), &values(one, |t| t.cpu_us)));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {calls} | {} |",
            one.peer,
            cell(of(one, |t| t.cpu_us), 2),
            cell(against, 2),
            cell(of(one, |t| t.rate), 0),
            cell(told(one, |t| t.p50_us), 0),
            cell(told(one, |t| t.p99_us), 0),
            cell(of(one, |t| t.pss_kib / 1024.0), 1),
        );
    }
    text.push('\n');
}

fn values(series: &Series, pick: fn(&Turn) -> f64) -> Vec<f64> {
    series.turns.iter().map(pick).collect()
}

fn of(series: &Series, pick: fn(&Turn) -> f64) -> Option<Summary> {
    summarise(values(series, pick))
}

/// Of what not every load generator tells.
fn told(series: &Series, pick: fn(&Turn) -> Option<f64>) -> Option<Summary> {
    summarise(series.turns.iter().filter_map(pick).collect())
}

fn cell(summary: Option<Summary>, places: usize) -> String {
    summary.map_or_else(
        || "–".to_owned(),
        |s| format!("{:.places$} ({:.places$}–{:.places$})", s.median, s.min, s.max),
    )
}

/// A reason as one table cell or list item.
fn one_line(why: &str) -> String {
    why.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/")
}

fn series_json(series: &Series, findings: &Findings) -> Value {
    let ours = findings.series.iter().find(|one| one.peer == OURS && one.workload == series.workload);
    let against = ours.and_then(|ours| ratio(&values(ours, |t| t.cpu_us), &values(series, |t| t.cpu_us)));
    json!({
        "peer": series.peer,
        "workload": series.workload.name(),
        "cpu_us": values(series, |t| t.cpu_us),
        "cpu_us_median": of(series, |t| t.cpu_us).map(|s| s.median),
        "isobar_cpu_ratio_median": against.map(|s| s.median),
        "requests_per_second": values(series, |t| t.rate),
        "p50_us": series.turns.iter().filter_map(|t| t.p50_us).collect::<Vec<_>>(),
        "p99_us": series.turns.iter().filter_map(|t| t.p99_us).collect::<Vec<_>>(),
        "pss_kib": values(series, |t| t.pss_kib),
        "system_calls_per_request": series.calls.as_ref().ok(),
        "system_calls_missing": series.calls.as_ref().err(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(peer: &'static str, cpu: [f64; 2]) -> Series {
        let turn = |cpu_us| Turn { cpu_us, rate: 1000.0, p50_us: Some(5.0), p99_us: None, pss_kib: 2048.0 };
        Series { peer, workload: Workload::Small, turns: cpu.map(turn).to_vec(), calls: Ok(4.0) }
    }

    #[test]
    fn a_row_shows_the_ratio_to_its_own_round() {
        let (ours, theirs) = (series("isobar", [10.0, 20.0]), series("nginx", [20.0, 40.0]));
        let mut text = String::new();
        workload_table(&mut text, Workload::Small, &[&ours, &theirs]);
        let row = text.lines().find(|line| line.starts_with("| nginx")).unwrap_or_default();
        assert!(row.contains("30.00 (20.00–40.00) | 0.50 (0.50–0.50)"), "{row}");
    }

    #[test]
    fn without_our_own_series_there_is_no_ratio() {
        let mut text = String::new();
        workload_table(&mut text, Workload::Small, &[&series("nginx", [20.0, 40.0])]);
        assert!(text.contains("| – |"));
    }

    #[test]
    fn a_reason_never_breaks_its_table() {
        assert_eq!(one_line("a |\n b"), "a / b");
    }
}
