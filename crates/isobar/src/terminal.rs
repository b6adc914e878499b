//! Standard output and standard error: colours only on a terminal, and a reader that goes away is no failure.
//!
//! A view may take the whole screen; it is given back once, whoever asks first.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen};

use crate::cli::EXIT_FAILED;

/// Whether to colour what goes to this stream: only on a terminal, and never when `NO_COLOR` is set to something.
pub(crate) fn wants_colour(stream: &impl IsTerminal) -> bool {
    colour_allowed(
        stream.is_terminal(),
        std::env::var_os("NO_COLOR").as_deref(),
        std::env::var_os("TERM").as_deref(),
    )
}

fn colour_allowed(is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty) && term != Some(OsStr::new("dumb"))
}

/// Writes to standard output. A closed pipe counts as done: `isobar check --schema | head` has what it asked for.
pub(crate) fn print(bytes: &[u8]) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("error: cannot write to standard output: {error}"));
            ExitCode::from(EXIT_FAILED)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Writes a line to standard error. Where that is impossible there is nobody left to tell.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether a view has taken the screen. The process has one terminal, so this is a fact of the process.
static SCREEN_TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether a view can take the whole screen: people look at it, and can press keys.
pub(crate) fn has_screen() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb
}

/// Takes the screen: keys come one by one, and what was there comes back with [`give_screen_back`], which must follow
/// also on failure.
pub(crate) fn take_screen() -> io::Result<()> {
    SCREEN_TAKEN.store(true, Ordering::SeqCst);
    crossterm::terminal::enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, Hide, DisableLineWrap)
}

/// Gives the screen back where it was taken; else nothing happens. Where that is impossible the terminal is gone.
pub(crate) fn give_screen_back() {
    if SCREEN_TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), EnableLineWrap, Show, LeaveAlternateScreen);
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_need_a_terminal_that_can_and_a_user_who_did_not_refuse() {
        let set = Some(OsStr::new("1"));
        assert!(colour_allowed(true, None, Some(OsStr::new("xterm"))));
        assert!(colour_allowed(true, Some(OsStr::new("")), None));
        assert!(!colour_allowed(true, set, None));
        assert!(!colour_allowed(false, None, None));
        assert!(!colour_allowed(true, None, Some(OsStr::new("dumb"))));
    }
}
