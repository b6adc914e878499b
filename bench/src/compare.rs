//! The comparison of one suite: peers in turns, several rounds, order rotated.

use std::process::Command;

use crate::binaries::{Binaries, build_load};
use crate::error::BenchError;
use crate::h2load;
use crate::handshakes;
use crate::layout::Layout;
use crate::load::{self, Load};
use crate::machine::Machine;
use crate::measure;
use crate::origin::Origins;
use crate::peer::{Peer, Site};
use crate::process::output_of;
use crate::report::{self, OURS};
use crate::secure::Certificates;
use crate::workload::{Front, Suite, Workload};

/// How a run is made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is compared.
    pub suite: Suite,
    /// Names of the peers, in the order of the first round.
    pub peers: Vec<String>,
    /// What is asked of each, of the suite's workloads.
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
    /// Median latency, in microseconds, where the load generator tells it.
    pub(crate) p50_us: Option<f64>,
    /// 99th percentile of the latency, in microseconds, where the load generator tells it.
    pub(crate) p99_us: Option<f64>,
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

/// Makes the run, writes both reports, and returns the Markdown one; an error where Isobar itself failed.
pub fn run(plan: &Plan) -> Result<String, BenchError> {
    if plan.rounds == 0 || plan.seconds == 0 || plan.connections == 0 {
        return Err(BenchError::Usage("rounds, seconds and connections must be at least 1".to_owned()));
    }
    let layout = Layout::of_this_checkout();
    let machine = Machine::look(&generators(&plan.workloads))?;
    let certificates = Certificates::make(&layout)?;
    let mut findings = Findings { versions: Vec::new(), series: Vec::new(), failed: Vec::new() };
    for front in [Front::Http1, Front::Tls, Front::H2, Front::Grpc] {
        let workloads: Vec<Workload> =
            plan.workloads.iter().copied().filter(|workload| workload.front() == front).collect();
        if workloads.is_empty() {
            continue;
        }
        let origins = Origins::start(&layout, front)?;
        let site = Site {
            layout: &layout,
            origins: &origins,
            certificates: &certificates,
            binaries: &plan.binaries,
        };
        let mut peers = start_all(&site, plan, front, &mut findings);
        for workload in workloads {
            measure_workload(&site, plan, workload, &mut peers, &mut findings);
        }
    }
    let text = report::write_comparison(&layout, plan, &machine, &findings)?;
    // A peer that is missing leaves a comparison; without ours there is none.
    match findings.failed.iter().find(|(peer, _)| peer == OURS) {
        Some((_, why)) => Err(BenchError::Answer(format!("{OURS}: {why}"))),
        None => Ok(text),
    }
}

/// The programs that make the load.
fn generators(workloads: &[Workload]) -> Vec<&'static str> {
    let (mut wrk, mut h2load) = (false, false);
    for workload in workloads {
        wrk |= !workload.is_http2() && *workload != Workload::Handshake;
        h2load |= workload.is_http2();
    }
    [(wrk, "wrk"), (h2load, "h2load")].iter().filter(|(is, _)| *is).map(|(_, program)| *program).collect()
}

fn start_all(site: &Site<'_>, plan: &Plan, front: Front, findings: &mut Findings) -> Vec<Peer> {
    let mut peers = Vec::new();
    for name in &plan.peers {
        match Peer::start(name, site, front) {
            Ok(peer) => {
                if findings.versions.iter().all(|(known, _)| *known != peer.name) {
                    findings.versions.push((peer.name, peer.version.clone()));
                }
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
    site: &Site<'_>,
    plan: &Plan,
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
            if let Err(error) = one_turn(site, plan, round, peer, of_peer) {
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
    site: &Site<'_>,
    plan: &Plan,
    round: usize,
    peer: &Peer,
    series: &mut Series,
) -> Result<(), BenchError> {
    let source = Source { site, workload: series.workload, peer, connections: plan.connections };
    if round == 0 {
        peer.validate(source.workload, site.certificates)?;
        // Counting slows a peer a little, so it has a run of its own, which also warms up.
        series.calls = source.count_calls().map_err(|error| error.to_string());
    }
    if plan.warm_up_seconds > 0 {
        source.run(plan.warm_up_seconds)?;
    }
    let before = measure::cpu_ns(peer.pid())?;
    let seen = source.run(plan.seconds)?;
    let spent = measure::cpu_ns(peer.pid())?.saturating_sub(before);
    series.turns.push(Turn {
        cpu_us: spent as f64 / 1e3 / seen.requests as f64,
        rate: seen.requests as f64 / (seen.micros as f64 / 1e6),
        p50_us: seen.p50_us.map(|us| us as f64),
        p99_us: seen.p99_us.map(|us| us as f64),
        pss_kib: measure::pss_kib(peer.pid())? as f64,
    });
    Ok(())
}

/// The load of one workload on one peer.
struct Source<'a> {
    site: &'a Site<'a>,
    workload: Workload,
    peer: &'a Peer,
    connections: u32,
}

impl Source<'_> {
    /// Makes the load for `seconds`, and refuses it if anything went wrong.
    fn run(&self, seconds: u32) -> Result<Load, BenchError> {
        self.read(&output_of(&mut self.program(seconds)?)?)
    }

    /// The program that makes the load.
    fn program(&self, seconds: u32) -> Result<Command, BenchError> {
        let (workload, address) = (self.workload, self.peer.address);
        let Site { layout, certificates, .. } = self.site;
        if workload == Workload::Handshake {
            return Ok(handshakes::command(build_load(layout)?, certificates, workload, address, seconds));
        }
        if workload.is_http2() {
            let folder = layout.fresh_run_folder("h2load")?;
            return h2load::command(&folder, workload, address, self.connections, seconds);
        }
        Ok(load::command(layout, certificates, workload, address, self.connections, seconds))
    }

    fn read(&self, output: &str) -> Result<Load, BenchError> {
        if self.workload.is_http2() {
            h2load::read(output, self.workload)
        } else {
            load::read(output, self.workload)
        }
    }

    /// System calls per request.
    fn count_calls(&self) -> Result<f64, BenchError> {
        let folder = self.site.layout.fresh_run_folder("perf")?;
        let (output, calls) = measure::count_system_calls(self.peer.pid(), &self.program(1)?, &folder)?;
        Ok(calls as f64 / self.read(&output)?.requests as f64)
    }
}
