//! The gate: every step, named and timed, all of them run even if one fails, and a summary at the end.

use std::time::{Duration, Instant};

use crate::counts::Counts;
use crate::requirements::{Tier, find, missing};
use crate::{install, shell, tidy};

/// Tells tests that there is time: they do more of the same, never something else.
const SOAK: &str = "ISOBAR_SOAK";
/// Tells the end-to-end tests which binary to start.
const BINARY: &str = "ISOBAR_BIN";
/// The crate that holds the end-to-end tests.
const E2E_CRATE: &str = "isobar-tests";

/// One run of the gate.
#[derive(Debug)]
pub(crate) struct Gate {
    /// The tiers to run.
    pub(crate) tiers: Vec<Tier>,
    /// Whether to install first what they lack.
    pub(crate) install: bool,
    /// Whether tests run at length.
    pub(crate) soak: bool,
}

struct Step {
    name: &'static str,
    tier: Tier,
    run: fn(&Gate, &mut Counts) -> Result<(), String>,
}

/// In the order in which they run: quick refusals first.
const STEPS: [Step; 8] = [
    Step {
        name: "fmt",
        tier: Tier::Check,
        run: |_, _| shell::run(shell::cargo(&["fmt", "--all", "--check"])),
    },
    Step { name: "tidy", tier: Tier::Check, run: |_, _| tidy::run(false) },
    Step { name: "clippy", tier: Tier::Check, run: |_, _| clippy() },
    Step { name: "doc", tier: Tier::Check, run: |_, _| doc() },
    Step { name: "tests", tier: Tier::Unit, run: unit_tests },
    Step { name: "doctests", tier: Tier::Unit, run: doctests },
    Step { name: "end to end", tier: Tier::E2e, run: end_to_end },
    Step { name: "licences", tier: Tier::Licences, run: |_, _| licences() },
];

/// How one step went.
struct Outcome {
    name: &'static str,
    took: Duration,
    result: Result<(), String>,
}

impl Gate {
    /// Runs the steps of the tiers and prints the summary; an error counts the steps that failed.
    pub(crate) fn run(&self) -> Result<(), String> {
        let mut outcomes = Vec::new();
        if self.install {
            outcomes.push(timed("install", || install::install(&self.tiers)));
        }
        let lacking: Vec<(Tier, String)> = self.tiers.iter().map(|tier| (*tier, lack(*tier))).collect();
        let mut counts = Counts::default();
        for step in STEPS.iter().filter(|step| self.tiers.contains(&step.tier)) {
            let lack = lacking.iter().find(|(tier, lack)| *tier == step.tier && !lack.is_empty());
            outcomes.push(timed(step.name, || match lack {
                Some((_, lack)) => Err(lack.clone()),
                None => (step.run)(self, &mut counts),
            }));
        }
        summarise(&outcomes, counts)
    }

    /// A test command with this run's environment.
    fn with_environment(&self, mut command: std::process::Command) -> std::process::Command {
        if self.soak {
            command.env(SOAK, "1");
        }
        command
    }
}

/// What a tier lacks, as a sentence that says what to do; empty when nothing is missing.
fn lack(tier: Tier) -> String {
    let names: Vec<&str> = missing(tier).iter().map(|one| one.name).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("tier {} lacks {}; `cargo xtask test --install` installs it", tier.name(), names.join(", "))
}

fn timed(name: &'static str, run: impl FnOnce() -> Result<(), String>) -> Outcome {
    println!("\n=== {name}");
    let start = Instant::now();
    let result = run();
    if let Err(why) = &result {
        eprintln!("{name}: {why}");
    }
    Outcome { name, took: start.elapsed(), result }
}

/// Prints one line per step, what failed, and the counts last, where whoever looks at a log looks first.
fn summarise(outcomes: &[Outcome], counts: Counts) -> Result<(), String> {
    println!("\n=== summary");
    for outcome in outcomes {
        let word = if outcome.result.is_ok() { "ok" } else { "FAILED" };
        println!("{:<12} {:>7.1} s  {word}", outcome.name, outcome.took.as_secs_f64());
    }
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.result.is_err()).collect();
    for outcome in &failed {
        if let Err(why) = &outcome.result {
            println!("  {}: {why}", outcome.name);
        }
    }
    println!("{counts}");
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("{} of {} steps failed", failed.len(), outcomes.len()))
    }
}

fn clippy() -> Result<(), String> {
    shell::run(shell::cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

fn doc() -> Result<(), String> {
    let mut doc = shell::cargo(&["doc", "--workspace", "--no-deps", "--locked", "--quiet"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    shell::run(doc)
}

/// The crates' own tests, by nextest where it is there: it runs the tests of all crates side by side.
fn unit_tests(gate: &Gate, counts: &mut Counts) -> Result<(), String> {
    let all = ["--workspace", "--exclude", E2E_CRATE, "--locked", "--no-fail-fast"];
    let runner: &[&str] =
        if find("cargo-nextest").is_some() { &["nextest", "run"] } else { &["test", "--tests"] };
    run_some(gate.with_environment(shell::cargo(&[runner, &all].concat())), counts)
}

/// Runs a test runner that must find tests: a step that quietly runs none would look like one that passed.
fn run_some(command: std::process::Command, counts: &mut Counts) -> Result<(), String> {
    let mut own = Counts::default();
    let done = shell::run_tests(command, &mut own);
    counts.add(own);
    done.and_then(|()| if own == Counts::default() { Err("no test ran".to_owned()) } else { Ok(()) })
}

fn doctests(gate: &Gate, counts: &mut Counts) -> Result<(), String> {
    let doctests = shell::cargo(&["test", "--workspace", "--doc", "--locked", "--no-fail-fast"]);
    shell::run_tests(gate.with_environment(doctests), counts)
}

/// Builds the binary once, with optimisation but without the long link of a release, and tests that very file.
fn end_to_end(gate: &Gate, counts: &mut Counts) -> Result<(), String> {
    shell::run(shell::cargo(&["build", "--profile", "fast", "--locked", "-p", "isobar"]))?;
    let mut tests = shell::cargo(&["test", "--locked", "--no-fail-fast", "-p", E2E_CRATE]);
    tests.env(BINARY, shell::target().join("fast/isobar"));
    run_some(gate.with_environment(tests), counts)
}

/// Advisories are left out: their database is fetched at run time, and the gate gives the same answer without a network.
fn licences() -> Result<(), String> {
    shell::run(shell::cargo(&["deny", "--locked", "check", "licenses", "bans", "sources"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tier_has_a_step() {
        for tier in Tier::ALL {
            assert!(STEPS.iter().any(|step| step.tier == tier), "{}", tier.name());
        }
    }

    #[test]
    fn a_runner_that_runs_nothing_has_not_passed() {
        let mut counts = Counts::default();
        let say = |line: &str| shell::command("echo", &[line]);
        assert!(run_some(say("no closing line"), &mut counts).is_err());
        assert_eq!(run_some(say("test result: ok. 2 passed; 0 failed; 0 ignored"), &mut counts), Ok(()));
        assert_eq!(counts.passed, 2);
    }

    #[test]
    fn one_failed_step_fails_the_gate() {
        let outcome = |result| Outcome { name: "fmt", took: Duration::ZERO, result };
        assert_eq!(summarise(&[outcome(Ok(()))], Counts::default()), Ok(()));
        let failed = summarise(&[outcome(Ok(())), outcome(Err("no".to_owned()))], Counts::default());
        assert_eq!(failed, Err("1 of 2 steps failed".to_owned()));
    }
}
