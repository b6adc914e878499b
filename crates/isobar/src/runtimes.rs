//! The runtimes beside the workers: one that controls, one that shows.
//!
//! Invariants: probes, discovery and changes of the configuration run on the control runtime; the admin interface has a
//! thread of its own at a lower priority, so that a thousand watchers who are told of an event at once take no time
//! from requests or probes where there is none to spare.

use std::io;

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::runtime::{Builder, Runtime};

/// Threads of the control runtime: one may be in a long computation while the other serves probes.
const CONTROL_THREADS: usize = 2;

/// Threads for blocking work of the control runtime: name lookups, files, a change that is carried out.
const CONTROL_BLOCKING_THREADS_MAX: usize = 64;

/// Threads for blocking work of the admin interface: scrapes and long lists of endpoints, of which one a core is enough.
const ADMIN_BLOCKING_THREADS_MAX: usize = 4;

/// Niceness of the admin interface's threads: a tenth of a worker's share where both want to run, and still enough to
/// answer a health check on a machine that has no time left.
const ADMIN_NICENESS: i32 = 10;

/// For discovery, probes, signals and configuration.
pub(crate) fn control() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .max_blocking_threads(CONTROL_BLOCKING_THREADS_MAX)
        .thread_name("isobar-control")
        .enable_all()
        .build()
}

/// For the admin interface.
pub(crate) fn admin() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(ADMIN_BLOCKING_THREADS_MAX)
        .thread_name("isobar-admin")
        .on_thread_start(yield_to_others)
        .enable_all()
        .build()
}

/// Lowers the priority of the calling thread; Linux has one for each.
fn yield_to_others() {
    if let Err(error) = setpriority_process(Some(gettid()), ADMIN_NICENESS) {
        tracing::debug!(%error, "the admin interface runs at the priority of the workers");
    }
}
