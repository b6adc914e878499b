//! The configuration that runs, as the admin interface and the metrics see it.

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What runs, since when, and what was refused after it.
#[derive(Debug, Clone)]
pub(crate) struct ConfigurationReport {
    /// Rises with each configuration that is applied; 1 at the start.
    pub(crate) revision: u64,
    pub(crate) applied_at: SystemTime,
    /// Where it came from: a path, the command line or the admin interface.
    pub(crate) from: String,
    /// All of it as TOML, secrets hidden.
    pub(crate) document: Arc<str>,
    /// The last attempt, if it was refused.
    pub(crate) refused: Option<RefusedConfiguration>,
}

/// A configuration that changed nothing.
#[derive(Debug, Clone)]
pub(crate) struct RefusedConfiguration {
    pub(crate) at: SystemTime,
    /// Where it came from.
    pub(crate) from: String,
    /// Every error in it, in lines for people.
    pub(crate) reason: String,
}

/// What a new configuration leads to: the report of it, or every error as text for people.
pub(crate) type Applied<'a> = Pin<Box<dyn Future<Output = Result<ConfigurationReport, String>> + Send + 'a>>;

/// Whoever keeps the configuration that runs.
pub(crate) trait Configured: Send + Sync {
    /// What runs now.
    fn report(&self) -> ConfigurationReport;

    /// Applies a configuration as a whole, or nothing of it.
    fn put(&self, text: String) -> Applied<'_>;
}

/// Appends the metrics of the configuration: how many were applied (that of the start counts) and refused, and how long
/// the one that runs has been in force.
pub(crate) fn render_metrics(n_applied: u64, n_refused: u64, age: Duration, out: &mut String) {
    let (applied, refused) = ("isobar_configuration_applied", "isobar_configuration_refused");
    let seconds = "isobar_configuration_age_seconds";
    // Writing to a String cannot fail.
    let _ =
        writeln!(out, "# TYPE {applied} counter\n# HELP {applied} Configurations that were put in force.");
    let _ = writeln!(out, "{applied}_total {n_applied}");
    let _ = writeln!(out, "# TYPE {refused} counter\n# HELP {refused} Configurations that changed nothing.");
    let _ = writeln!(out, "{refused}_total {n_refused}");
    let _ = writeln!(out, "# TYPE {seconds} gauge\n# UNIT {seconds} seconds");
    let _ = writeln!(out, "# HELP {seconds} Since the configuration that runs was put in force.");
    let _ = writeln!(out, "{seconds} {:.3}", age.as_secs_f64());
}
