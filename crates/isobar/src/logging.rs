//! The program's own log: `tracing` to standard error, and panics as lines of it.
//!
//! Invariant: a log line that cannot be written is lost and nothing else happens; in particular a closed standard
//! error panics no thread.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::cli::LogLines;
use crate::log_tail::LogTail;
use crate::terminal;

/// Starts the log and routes panics into it. `verbose` counts the `-v` of the command line.
///
/// # Panics
///
/// Panics when a log was started before.
pub(crate) fn start(verbose: u8, lines: LogLines) {
    install(verbose, Some(lines), None);
}

/// As [`start`], but the newest lines are kept for a view, and standard error gets none of them unless `to_stderr`
/// names their form: on a terminal they would break the view.
///
/// # Panics
///
/// Panics when a log was started before.
pub(crate) fn start_with_tail(verbose: u8, to_stderr: Option<LogLines>) -> LogTail {
    let tail = LogTail::default();
    install(verbose, to_stderr, Some(tail.clone()));
    tail
}

fn install(verbose: u8, to_stderr: Option<LogLines>, tail: Option<LogTail>) {
    let stderr = to_stderr.map(|lines| stderr_lines(verbose, lines).with_filter(levels(verbose)));
    let tail = tail.map(|tail| tail.with_filter(levels(verbose)));
    tracing_subscriber::registry().with(stderr).with(tail).init();
    std::panic::set_hook(Box::new(log_panic));
}

fn stderr_lines(verbose: u8, lines: LogLines) -> Box<dyn Layer<Registry> + Send + Sync> {
    match lines {
        LogLines::Json => fmt::layer()
            .with_writer(io::stderr)
            .log_internal_errors(false)
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
        LogLines::Text => fmt::layer()
            .with_writer(io::stderr)
            .log_internal_errors(false)
            .with_ansi(terminal::wants_colour(&io::stderr()))
            .with_target(verbose > 0)
            .boxed(),
    }
}

/// Our own crates at the level asked for, other crates only when they warn (or all of them at `-vvv`).
fn levels(verbose: u8) -> Targets {
    let (own, others) = match verbose {
        0 => (LevelFilter::INFO, LevelFilter::WARN),
        1 => (LevelFilter::DEBUG, LevelFilter::WARN),
        2 => (LevelFilter::TRACE, LevelFilter::INFO),
        _ => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    // What is wrong with a caller is counted; a line of warning for each would let callers fill the log.
    let of_callers = if verbose < 2 { LevelFilter::ERROR } else { others };
    // A target matches by its beginning, so this covers isobar_core, isobar_proxy and the others.
    Targets::new().with_default(others).with_target("h2", of_callers).with_target("isobar", own)
}

fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("(a value that is no text)");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(message = "panic", panic = message, location, thread, %backtrace);
    } else {
        tracing::error!(message = "panic", panic = message, location, thread);
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn verbosity_raises_our_own_crates_before_the_others() {
        assert!(levels(0).would_enable("isobar_proxy::worker", &Level::INFO));
        assert!(!levels(0).would_enable("isobar_proxy::worker", &Level::DEBUG));
        assert!(levels(1).would_enable("isobar", &Level::DEBUG));
        assert!(!levels(1).would_enable("hyper::proto", &Level::DEBUG));
        assert!(levels(3).would_enable("hyper::proto", &Level::TRACE));
    }
}
