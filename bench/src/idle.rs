//! What an idle connection costs: many kept connections, each after one request, and the growth of the proxy.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::binaries::Binaries;
use crate::error::BenchError;
use crate::held::Held;
use crate::layout::Layout;
use crate::machine::Machine;
use crate::measure;
use crate::origin::Origins;
use crate::peer::{Peer, Site};
use crate::report;
use crate::secure::Certificates;
use crate::workload::Workload;

/// How long a proxy gets to put away what the requests needed before its size is read again.
const SETTLE: Duration = Duration::from_secs(2);
/// Files that the harness needs beside the connections it holds.
const OTHER_FILES: u64 = 64;

/// How an idle run is made.
#[derive(Debug, Clone)]
pub struct IdlePlan {
    /// Names of the peers.
    pub peers: Vec<String>,
    /// What is asked once on each connection, and so what the connection speaks.
    pub workloads: Vec<Workload>,
    /// Connections held open.
    pub connections: u32,
    /// Binaries to measure instead of building one.
    pub binaries: Binaries,
    /// Whether the report is worth keeping with the sources.
    pub keep: bool,
}

/// What was found of one peer.
#[derive(Debug)]
pub(crate) struct IdleSeries {
    /// The peer's name.
    pub(crate) peer: String,
    /// What was asked once on each connection.
    pub(crate) workload: Workload,
    /// Proportional set size before and with the connections, in KiB, or why there is none.
    pub(crate) sizes: Result<(u64, u64), String>,
}

/// Makes the run, writes both reports, and returns the Markdown one.
pub fn run_idle(plan: &IdlePlan) -> Result<String, BenchError> {
    allow_files(u64::from(plan.connections) + OTHER_FILES)?;
    let layout = Layout::of_this_checkout();
    let machine = Machine::look(&[])?;
    let certificates = Certificates::make(&layout)?;
    let mut series = Vec::new();
    for &workload in &plan.workloads {
        let origins = Origins::start(&layout, workload.front())?;
        let site = Site {
            layout: &layout,
            origins: &origins,
            certificates: &certificates,
            binaries: &plan.binaries,
        };
        for name in &plan.peers {
            eprintln!("idle after {}: {name}", workload.name());
            let sizes = Peer::start(name, &site, workload.front())
                .map_err(|error| error.to_string())
                .and_then(|mut peer| {
                    hold(&site, &peer, workload, plan.connections).map_err(|error| peer.explain(&error))
                });
            series.push(IdleSeries { peer: name.clone(), workload, sizes });
        }
    }
    report::write_idle(&layout, plan, &machine, &series)
}

/// Opens the connections, asks once on each, waits, and reads the size before and after.
fn hold(
    site: &Site<'_>,
    peer: &Peer,
    workload: Workload,
    connections: u32,
) -> Result<(u64, u64), BenchError> {
    peer.validate(workload, site.certificates)?;
    let before = measure::pss_kib(peer.pid())?;
    let mut held = Held::new(peer.address, workload, site.certificates)?;
    for _ in 0..connections {
        held.open()?;
    }
    held.rest(SETTLE);
    let after = measure::pss_kib(peer.pid())?;
    // All must still be there: a proxy that closed them early would look frugal.
    held.ask_all()
        .map_err(|error| BenchError::Answer(format!("one of {connections} idle connections: {error}")))?;
    Ok((before, after))
}

/// Raises the soft limit of open files to `wanted` at least, for this process and those it starts.
fn allow_files(wanted: u64) -> Result<(), BenchError> {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        return Err(BenchError::Machine(format!(
            "{wanted} open files needed, and the hard limit is {}; ask for fewer connections or raise `ulimit -Hn`",
            limit.maximum.unwrap_or_default()
        )));
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum.or(Some(wanted)), maximum: limit.maximum })
        .map_err(|error| BenchError::Machine(format!("cannot raise the limit of open files: {error}")))
}
