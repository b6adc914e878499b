//! Facts about the machine that a report needs to be read rightly.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use serde_json::{Value, json};

use crate::error::BenchError;
use crate::process::{finish, output_of};

/// What ran the measurement, and when.
pub(crate) struct Machine {
    /// Day of the run, `YYYY-MM-DD` in UTC.
    pub(crate) date: String,
    processor: String,
    cores: usize,
    kernel: String,
    /// Load generators and their versions, as one text.
    generators: String,
    revision: String,
}

impl Machine {
    /// Reads the facts; refuses a machine on which proxy and load cannot have a core each. `generators` are the
    /// programs that make the load.
    pub(crate) fn look(generators: &[&str]) -> Result<Self, BenchError> {
        let cores = available_parallelism().map_or(1, usize::from);
        if cores < 2 {
            return Err(BenchError::Machine("proxy and load need a core each, and there is one".to_owned()));
        }
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        let generators = generators.iter().map(|program| version(program)).collect::<Result<Vec<_>, _>>()?;
        let date = output_of(Command::new("date").args(["-u", "+%F"]))?.trim().to_owned();
        let revision = output_of(Command::new("git").args(["describe", "--always", "--dirty"]))
            .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned());
        Ok(Self { date, processor, cores, kernel, generators: generators.join(", "), revision })
    }

    /// For the JSON report.
    pub(crate) fn json(&self) -> Value {
        json!({
            "date": self.date, "processor": self.processor, "cores": self.cores,
            "kernel": self.kernel, "generators": self.generators, "revision": self.revision,
        })
    }

    /// For the Markdown report.
    pub(crate) fn line(&self) -> String {
        let generators =
            if self.generators.is_empty() { String::new() } else { format!("{}, ", self.generators) };
        format!(
            "{}, {} cores, Linux {}, {generators}revision {}",
            self.processor, self.cores, self.kernel, self.revision
        )
    }
}

/// Name and version of a load generator. wrk tells its version with a usage text and leaves with 1.
fn version(program: &str) -> Result<String, BenchError> {
    let (_, said) = finish(Command::new(program).arg(if program == "wrk" { "-v" } else { "--version" }))?;
    let first = said.lines().next().unwrap_or_default();
    Ok(first.split('[').next().unwrap_or_default().trim().to_owned())
}
