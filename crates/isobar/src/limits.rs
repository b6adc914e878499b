//! Limits that the system sets on this process.
//!
//! A proxy needs two descriptors for each request it carries, and the usual soft limit of 1,024 is there for programs
//! that use `select`. So the soft limit is raised to the hard one, which needs no privilege.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Raises the limit on open files to the hard limit; a failure is logged and leaves the limit as it was.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        debug!(open_files = limit.current, "limit on open files is at its hard limit");
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => debug!(from = limit.current, to = limit.maximum, "limit on open files raised"),
        Err(error) => warn!(
            %error, current = limit.current, hard = limit.maximum,
            "cannot raise the limit on open files; raise it before starting (ulimit -n, LimitNOFILE=)"
        ),
    }
}

/// The limit on open files; `None` where there is none.
pub(crate) fn open_files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
