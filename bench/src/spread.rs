//! The run that compares policies where instances differ a thousandfold in speed, and its report.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::binaries::{Binaries, build_isobar, build_load};
use crate::error::BenchError;
use crate::layout::Layout;
use crate::machine::Machine;
use crate::process::{LOAD_CORE, PROXY_CORE, Running, free_address, output_of, pinned};
use crate::report;
use crate::spread_load::{CALLERS, LATENCIES_MS, LOAD_PATH, REQUESTS, free_ports};

/// The policies, as the configuration has them.
const POLICIES: [(&str, &str); 8] = [
    ("round-robin", "\"round-robin\""),
    ("random", "\"random\""),
    ("p2c", "\"p2c\""),
    ("p2c, 4 choices", "{ name = \"p2c\", choices = 4 }"),
    ("least-request", "\"least-request\""),
    ("peak-ewma", "\"peak-ewma\""),
    ("prequal", "\"prequal\""),
    ("prequal, probed", "{ name = \"prequal\", probe = \"@LOAD@\" }"),
];

/// What to measure.
#[derive(Debug, Clone)]
pub struct SpreadPlan {
    /// Names of policies; all where there is none.
    pub policies: Vec<String>,
    /// Binaries to measure instead of building one.
    pub binaries: Binaries,
    /// Whether the report is worth keeping with the sources.
    pub keep: bool,
}

/// Makes the run, writes both reports, and returns the Markdown one.
pub fn run_spread(plan: &SpreadPlan) -> Result<String, BenchError> {
    let layout = Layout::of_this_checkout();
    let machine = Machine::look(&[])?;
    let isobar = build_isobar(&layout, &plan.binaries)?;
    let mut rows = Vec::new();
    for (name, policy) in POLICIES {
        if !plan.policies.is_empty() && !plan.policies.iter().any(|one| one == name) {
            continue;
        }
        eprintln!("spread: {name}");
        let mut row = measure(&layout, &isobar, policy)?;
        row["policy"] = name.into();
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(BenchError::Usage(format!(
            "there is no policy of the name {}",
            plan.policies.join(", ")
        )));
    }
    let mut text = format!("# Instances of different speed, {}\n\n{}.\n\n", machine.date, machine.line());
    let _ = writeln!(
        text,
        "{REQUESTS} requests by {CALLERS} callers through one worker to ten instances that take evenly between nothing and \
         {LATENCIES_MS:?} ms.\n"
    );
    text.push_str("| policy | wall s | p50 ms | p99 ms | p99.9 ms |\n| --- | ---: | ---: | ---: | ---: |\n");
    for row in &rows {
        let value = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
        let _ = writeln!(
            text,
            "| {} | {:.1} | {:.1} | {:.0} | {:.0} |",
            row["policy"].as_str().unwrap_or_default(),
            value("wall_s"),
            value("p50_ms"),
            value("p99_ms"),
            value("p999_ms")
        );
    }
    let value = json!({"machine": machine.json(), "requests": REQUESTS, "callers": CALLERS, "rows": rows});
    report::write_both(
        &layout,
        &layout.results(plan.keep),
        &format!("{}-spread", machine.date),
        &text,
        &value,
    )?;
    Ok(text)
}

/// Starts instances and proxy anew, so that no policy meets what another left behind.
fn measure(layout: &Layout, isobar: &std::path::Path, policy: &str) -> Result<Value, BenchError> {
    let (folder, first) = (layout.fresh_run_folder("spread-instances")?, free_ports()?);
    let mut instances = pinned(LOAD_CORE, build_load(layout)?);
    instances.args(["spread-instances", &first.to_string()]);
    let _instances = Running::start(instances, &folder, first)?;
    let endpoints: Vec<String> = (0..LATENCIES_MS.len() as u16)
        .map(|place| format!("\"{}:{}\"", first.ip(), first.port() + place))
        .collect();
    let (folder, address) = (layout.fresh_run_folder("spread-isobar")?, free_address()?);
    let values = [
        ("LISTEN", &*address.to_string()),
        ("POLICY", &*policy.replace("@LOAD@", LOAD_PATH)),
        ("ENDPOINTS", &*endpoints.join(", ")),
    ];
    let configuration = layout.render("spread.toml", &folder, &[], &values)?;
    let mut proxy = pinned(PROXY_CORE, isobar);
    proxy.arg("proxy").arg("-c").arg(configuration);
    let _proxy = Running::start(proxy, &folder, address)?;
    let mut load = pinned(LOAD_CORE, build_load(layout)?);
    let said = output_of(load.args(["spread-load", &address.to_string()]))?;
    serde_json::from_str(&said).map_err(|_| BenchError::Program { program: "isobar-bench".to_owned(), said })
}
