//! The configuration that runs, as the admin interface and the metrics see it.

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
