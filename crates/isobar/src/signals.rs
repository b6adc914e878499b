//! Signals, as the rest of the program wants them: one stop to wait for, and an action for each of the others.
//!
//! | signal | effect |
//! | --- | --- |
//! | SIGTERM, SIGINT | the first stops gently, the second at once with exit code 1 |
//! | SIGUSR1 | reopens the access log |
//! | SIGHUP | reads the configuration again |
//!
//! SIGPIPE is ignored by Rust's runtime: a closed connection is an error of the write.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::cli::EXIT_FAILED;
use crate::terminal;

/// The signals this process listens to; while it exists none of them has its default effect.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reopen: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over. Must run inside a runtime.
    ///
    /// # Errors
    ///
    /// Fails where the system refuses a handler.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reopen: signal(SignalKind::user_defined1())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Serves signals until the process ends: sends the first stop, exits on the second. `reload` must not block.
    pub(crate) async fn serve(
        mut self,
        stop: oneshot::Sender<()>,
        reopen_access_log: impl Fn(),
        reload: impl Fn(),
    ) {
        let mut stop = Some(stop);
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.reopen.recv() => {
                    info!("SIGUSR1: reopening the access log");
                    reopen_access_log();
                    continue;
                }
                _ = self.hangup.recv() => {
                    info!("SIGHUP: reading the configuration again");
                    reload();
                    continue;
                }
            };
            let Some(stop) = stop.take() else {
                warn!(signal = name, "stopping at once");
                // An exit runs no destructors, and a terminal left in raw mode is of no use to anyone.
                terminal::give_screen_back();
                std::process::exit(i32::from(EXIT_FAILED));
            };
            info!(signal = name, "stopping: requests in flight may finish; send it again to stop at once");
            // The receiver is gone only when the process is ending for another reason.
            let _ = stop.send(());
        }
    }
}
