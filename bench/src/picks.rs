//! The run of the cost of picks and its report.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::binaries::build_load;
use crate::error::BenchError;
use crate::layout::Layout;
use crate::machine::Machine;
use crate::pick_cost::{ROUNDS, SIZES};
use crate::process::{output_of, pinned_to};
use crate::report;

/// What to measure.
#[derive(Debug, Clone)]
pub struct PicksPlan {
    /// Names of policies; all where there is none.
    pub policies: Vec<String>,
    /// Whether the report is worth keeping with the sources.
    pub keep: bool,
}

/// Makes the run, writes both reports, and returns the Markdown one.
pub fn run_picks(plan: &PicksPlan) -> Result<String, BenchError> {
    let layout = Layout::of_this_checkout();
    let machine = Machine::look(&[])?;
    let mut program = pinned_to("0,1", build_load(&layout)?);
    let said = output_of(program.arg("picks").args(&plan.policies))?;
    let rows = said.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    let rows = rows.map_err(|_| BenchError::Program { program: "isobar-bench".to_owned(), said })?;
    if rows.is_empty() {
        return Err(BenchError::Usage(format!(
            "there is no policy of the name {}",
            plan.policies.join(", ")
        )));
    }
    let mut text = format!("# Cost of picks, {}\n\n{}.\n\n", machine.date, machine.line());
    let _ = writeln!(
        text,
        "Processor time, best of {ROUNDS} rounds. Endpoints differ in latency and in requests in flight, keys are spread; a pick is timed \
         without its guard. A change is an endpoint that begins or ends to drain, until the snapshot that knows it is compiled.\n"
    );
    table(&mut text, "Nanoseconds per pick, one thread", &rows, |row| row["ns"][0].as_f64(), 1);
    table(&mut text, "Nanoseconds per pick, each of two threads", &rows, |row| row["ns"][1].as_f64(), 1);
    table(&mut text, "Milliseconds per change", &rows, |row| row["update_ms"].as_f64(), 2);
    table(&mut text, "Allocations of 200 picks", &rows, |row| row["allocations"].as_f64(), 0);
    let value = json!({"machine": machine.json(), "rounds": ROUNDS, "rows": rows});
    report::write_both(
        &layout,
        &layout.results(plan.keep),
        &format!("{}-picks", machine.date),
        &text,
        &value,
    )?;
    Ok(text)
}

/// A line for each policy, a column for each number of endpoints.
fn table(text: &mut String, title: &str, rows: &[Value], value: fn(&Value) -> Option<f64>, places: usize) {
    let _ = write!(text, "## {title}\n\n| policy |");
    for n in SIZES {
        let _ = write!(text, " {n} |");
    }
    let _ = writeln!(text, "\n| --- |{}", " ---: |".repeat(SIZES.len()));
    for of_policy in rows.chunk_by(|a, b| a["policy"] == b["policy"]) {
        let _ = write!(text, "| {} |", of_policy[0]["policy"].as_str().unwrap_or_default());
        for n in SIZES {
            let found = of_policy.iter().find(|row| row["endpoints"] == n).and_then(value);
            let _ = match found {
                Some(value) => write!(text, " {value:.places$} |"),
                None => write!(text, " – |"),
            };
        }
        text.push('\n');
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_has_a_line_and_each_size_its_column() {
        let rows =
            [(3, 7.0), (300, 9.0)].map(|(n, ms)| json!({"policy": "p2c", "endpoints": n, "update_ms": ms}));
        let mut text = String::new();
        table(&mut text, "T", &rows, |row| row["update_ms"].as_f64(), 1);
        assert!(text.ends_with("\n| p2c | 7.0 | – | 9.0 | – | – | – |\n\n"), "{text}");
    }
}
