//! The newest lines of the log, kept in memory for a view that occupies the terminal.
//!
//! Invariants: at most [`LINES_MAX`] lines are kept, each of at most [`LINE_CHARS_MAX`] characters; the log never waits
//! for the view longer than it takes to copy them.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines kept: more than a terminal shows beside the view.
const LINES_MAX: usize = 64;

/// Characters of a line; a terminal shows hardly more, and a panic's backtrace has no end.
const LINE_CHARS_MAX: usize = 500;

/// The newest lines of the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogTail(Arc<Mutex<VecDeque<Line>>>);

#[derive(Debug, Clone)]
struct Line {
    level: Level,
    text: String,
}

impl LogTail {
    /// The kept lines, the newest last.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.with(|lines| lines.iter().map(|line| line.text.clone()).collect())
    }

    /// Those of the kept lines that tell of an error.
    pub(crate) fn errors(&self) -> Vec<String> {
        let is_error = |line: &&Line| line.level == Level::ERROR;
        self.with(|lines| lines.iter().filter(is_error).map(|line| line.text.clone()).collect())
    }

    fn keep(&self, line: Line) {
        self.with(|lines| {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(line);
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut VecDeque<Line>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Subscriber> Layer<S> for LogTail {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        let text = format!("{}{}", words.message, words.fields).chars().take(LINE_CHARS_MAX).collect();
        self.keep(Line { level: *event.metadata().level(), text });
    }
}

/// An event as words: its message, then its fields as ` name=value`.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing::{error, info};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn logged(act: impl FnOnce()) -> LogTail {
        let tail = LogTail::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(tail.clone()), act);
        tail
    }

    #[test]
    fn a_line_is_the_message_and_its_fields() {
        let tail = logged(|| {
            info!(service = "demo", n = 3, address = %"127.0.0.1:1", "endpoint added");
            error!("it broke");
        });
        assert_eq!(tail.lines(), ["endpoint added service=demo n=3 address=127.0.0.1:1", "it broke"]);
        assert_eq!(tail.errors(), ["it broke"]);
    }

    #[test]
    fn only_the_newest_lines_are_kept_and_long_ones_are_cut() {
        let tail = logged(|| {
            for n in 0..LINES_MAX + 5 {
                info!("line {n}");
            }
            info!("{}", "x".repeat(10 * LINE_CHARS_MAX));
        });
        let lines = tail.lines();
        assert_eq!((lines.len(), lines[0].as_str()), (LINES_MAX, "line 6"));
        assert_eq!(lines[LINES_MAX - 1].len(), LINE_CHARS_MAX);
    }
}
