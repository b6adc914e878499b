//! Metrics of the process itself, under the names that every Prometheus client library uses, and the build's version.
//!
//! Limit: what the system does not tell (no `/proc`) is left out.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::limits;

/// What is known from the start.
#[derive(Debug)]
pub(crate) struct ProcessMetrics {
    /// Seconds since the Unix epoch.
    start_time_seconds: f64,
}

impl ProcessMetrics {
    /// Takes this moment for the start of the process.
    pub(crate) fn new() -> Self {
        // A clock before 1970 gives 0, which is as wrong as the clock.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start_time_seconds: since.as_secs_f64() }
    }

    /// Appends the families.
    pub(crate) fn render(&self, out: &mut String) {
        let version = env!("CARGO_PKG_VERSION");
        out.push_str("# TYPE isobar_build info\n# HELP isobar_build What runs.\n");
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "isobar_build_info{{version=\"{version}\"}} 1");
        family(out, "process_start_time_seconds", "gauge", "Start of the process since the Unix epoch.");
        let _ = writeln!(out, "process_start_time_seconds {:.3}", self.start_time_seconds);
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        family(out, "process_cpu_seconds", "counter", "CPU time used, user and system.");
        let _ = writeln!(out, "process_cpu_seconds_total {cpu:.6}");
        if let Some(bytes) = resident_bytes() {
            family(out, "process_resident_memory_bytes", "gauge", "Memory in RAM.");
            let _ = writeln!(out, "process_resident_memory_bytes {bytes}");
        }
        if let Some(open) = open_files() {
            family(out, "process_open_fds", "gauge", "Open file descriptors.");
            let _ = writeln!(out, "process_open_fds {open}");
        }
        if let Some(max) = limits::open_files_max() {
            family(out, "process_max_fds", "gauge", "The limit on open file descriptors.");
            let _ = writeln!(out, "process_max_fds {max}");
        }
    }
}

/// The lines before a family's samples; the unit is told where the name ends in one.
fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# TYPE {name} {kind}");
    if let Some(unit) = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit)) {
        let _ = writeln!(out, "# UNIT {name} {unit}");
    }
    let _ = writeln!(out, "# HELP {name} {help}");
}

/// The second number of `/proc/self/statm` counts resident pages (proc(5)).
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Since Linux 6.2 the size of `/proc/self/fd` is the number of open descriptors; before, it is 0 and they are counted.
fn open_files() -> Option<u64> {
    let folder = "/proc/self/fd";
    match std::fs::metadata(folder).ok()?.len() {
        0 => Some(std::fs::read_dir(folder).ok()?.count() as u64),
        n => Some(n),
    }
}
