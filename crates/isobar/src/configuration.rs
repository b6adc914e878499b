//! The configuration that runs, as the admin interface and the metrics see it.

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

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
pub(crate) type Applied = Pin<Box<dyn Future<Output = Result<ConfigurationReport, String>> + Send>>;

/// Whoever keeps the configuration that runs.
pub(crate) trait Configured: Send + Sync {
    /// What runs now.
    fn report(&self) -> ConfigurationReport;

    /// Applies a configuration as a whole, or nothing of it; once it has begun, also where nobody waits for the end.
    fn put(self: Arc<Self>, text: String) -> Applied;
}

/// Appends the metrics of a configuration; `counts` are those applied and refused.
pub(crate) fn render_metrics(counts: (u64, u64), report: &ConfigurationReport, out: &mut String) {
    let (applied, refused) = counts;
    // A clock that was set back gives an age of zero.
    let age = report.applied_at.elapsed().unwrap_or_default().as_secs();
    let failing = u8::from(report.refused.is_some());
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "# TYPE isobar_configuration_applied counter\n\
         # HELP isobar_configuration_applied Configurations that were applied, the first included.\n\
         isobar_configuration_applied_total {applied}\n\
         # TYPE isobar_configuration_refused counter\n\
         # HELP isobar_configuration_refused Configurations that were refused.\n\
         isobar_configuration_refused_total {refused}\n\
         # TYPE isobar_configuration_failing gauge\n\
         # HELP isobar_configuration_failing 1 while the last configuration that came is refused.\n\
         isobar_configuration_failing {failing}\n\
         # TYPE isobar_configuration_age_seconds gauge\n# UNIT isobar_configuration_age_seconds seconds\n\
         # HELP isobar_configuration_age_seconds Since the configuration in force was applied.\n\
         isobar_configuration_age_seconds {age}\n"
    );
}
