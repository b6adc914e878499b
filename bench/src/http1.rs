//! The HTTP/1.1 comparison: peers in turns, several rounds, order rotated.

use crate::error::BenchError;
use crate::layout::Layout;
use crate::load::{self, Workload};
use crate::machine::Machine;
use crate::measure;
use crate::origin::Origins;
use crate::peer::{Binaries, Peer};
use crate::process::output_of;
use crate::report;

/// How a run is made.
#[derive(Debug, Clone)]
pub struct Http1Plan {
    /// Names of the peers, in the order of the first round.
    pub peers: Vec<String>,
    /// What is asked of each.
    pub workloads: Vec<Workload>,
    /// How often each peer has its turn per workload.
    pub rounds: u32,
    /// Length of one measurement, in seconds.
    pub seconds: u32,
    /// Length of the warm-up before each measurement, in seconds; the first round always has one of a second.
    pub warm_up_seconds: u32,
    /// Kept connections of the load generator.
    pub connections: u32,
    /// Binaries to measure instead of building one.
    pub binaries: Binaries,
    /// Whether the report is worth keeping with the sources.
    pub keep: bool,
}

/// One measurement of one peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// CPU time of the peer per request, in microseconds.
    pub(crate) cpu_us: f64,
    /// Requests per second.
    pub(crate) rate: f64,
    /// Median latency, in microseconds.
    pub(crate) p50_us: f64,
    /// 99th percentile of the latency, in microseconds.
    pub(crate) p99_us: f64,
    /// Proportional set size right after, in KiB.
    pub(crate) pss_kib: f64,
}

/// All measurements of one peer under one workload.
#[derive(Debug)]
pub(crate) struct Series {
    /// The peer's name.
    pub(crate) peer: &'static str,
    /// The workload.
    pub(crate) workload: Workload,
    /// One per round.
    pub(crate) turns: Vec<Turn>,
    /// System calls per request, or why they could not be counted.
    pub(crate) calls: Result<f64, String>,
}

/// Everything a report is made of.
pub(crate) struct Findings {
    /// Name and version of each peer that started.
    pub(crate) versions: Vec<(&'static str, String)>,
    /// What was measured.
    pub(crate) series: Vec<Series>,
    /// Name of each peer that is missing or was dropped, and why.
    pub(crate) failed: Vec<(String, String)>,
}

/// Makes the run, writes both reports, and returns the Markdown one.
pub fn run_http1(plan: &Http1Plan) -> Result<String, BenchError> {
    if plan.rounds == 0 || plan.seconds == 0 || plan.connections == 0 {
        return Err(BenchError::Usage("rounds, seconds and connections must be at least 1".to_owned()));
    }
    let layout = Layout::of_this_checkout();
    let machine = Machine::look()?;
    let origins = Origins::start(&layout)?;
    let mut findings = Findings { versions: Vec::new(), series: Vec::new(), failed: Vec::new() };
    let mut peers = start_all(&layout, plan, &origins, &mut findings);
    for workload in &plan.workloads {
        measure_workload(&layout, plan, *workload, &mut peers, &mut findings);
    }
    drop(peers);
    report::write_http1(&layout, plan, &machine, &findings)
}

fn start_all(layout: &Layout, plan: &Http1Plan, origins: &Origins, findings: &mut Findings) -> Vec<Peer> {
    let mut peers = Vec::new();
    for name in &plan.peers {
        match Peer::start(layout, name, origins.addresses(), &plan.binaries) {
            Ok(peer) => {
                findings.versions.push((peer.name, peer.version.clone()));
                peers.push(peer);
            }
            Err(error) => fail(findings, name, error.to_string()),
        }
    }
    peers
}

fn fail(findings: &mut Findings, peer: &str, why: String) {
    eprintln!("{peer}: {why}");
    findings.failed.push((peer.to_owned(), why));
}

/// Runs all rounds of one workload. A peer that fails once is out of this workload, its measurements with it.
fn measure_workload(
    layout: &Layout,
    plan: &Http1Plan,
    workload: Workload,
    peers: &mut [Peer],
    findings: &mut Findings,
) {
    let mut series: Vec<Result<Series, ()>> = peers
        .iter()
        .map(|peer| Ok(Series { peer: peer.name, workload, turns: Vec::new(), calls: Err(String::new()) }))
        .collect();
    for round in 0..plan.rounds as usize {
        for place in 0..peers.len() {
            // Rotated, so that no peer always follows the same one.
            let at = (place + round) % peers.len();
            let Ok(of_peer) = &mut series[at] else { continue };
            let peer = &mut peers[at];
            eprintln!("{} round {}/{}: {}", workload.name(), round + 1, plan.rounds, peer.name);
            if let Err(error) = one_turn(layout, plan, round, peer, of_peer) {
                let why = format!("{}: {}", workload.name(), peer.explain(&error));
                fail(findings, peer.name, why);
                series[at] = Err(());
            }
        }
    }
    findings.series.extend(series.into_iter().flatten());
}

/// One turn: validate and count system calls in the first round, warm up, measure.
fn one_turn(
    layout: &Layout,
    plan: &Http1Plan,
    round: usize,
    peer: &Peer,
    series: &mut Series,
) -> Result<(), BenchError> {
    let workload = series.workload;
    let load = |seconds| load::command(layout, workload, peer.address, plan.connections, seconds);
    if round == 0 {
        peer.validate(workload)?;
        // Counting slows a peer a little, so it has a run of its own, which also warms up.
        series.calls = count_calls(layout, peer, workload, &load(1)).map_err(|error| error.to_string());
    }
    if plan.warm_up_seconds > 0 {
        load::read(&output_of(&mut load(plan.warm_up_seconds))?, workload)?;
    }
    let before = measure::cpu_ns(peer.pid())?;
    let seen = load::read(&output_of(&mut load(plan.seconds))?, workload)?;
    let spent = measure::cpu_ns(peer.pid())?.saturating_sub(before);
    series.turns.push(Turn {
        cpu_us: spent as f64 / 1e3 / seen.requests as f64,
        rate: seen.requests as f64 / (seen.micros as f64 / 1e6),
        p50_us: seen.p50_us as f64,
        p99_us: seen.p99_us as f64,
        pss_kib: measure::pss_kib(peer.pid())? as f64,
    });
    Ok(())
}

fn count_calls(
    layout: &Layout,
    peer: &Peer,
    workload: Workload,
    load: &std::process::Command,
) -> Result<f64, BenchError> {
    let folder = layout.fresh_run_folder("perf")?;
    let (output, calls) = measure::count_system_calls(peer.pid(), load, &folder)?;
    Ok(calls as f64 / load::read(&output, workload)?.requests as f64)
}
