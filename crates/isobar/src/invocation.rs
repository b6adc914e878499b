//! How this program was started, so that a command that it suggests can be typed as it stands.
//!
//! Invariant: what is suggested is one word of a shell, and no character in it controls a terminal.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What the program is called where nothing better is known.
const NAME: &str = "isobar";

/// The word that starts this program again from the current folder.
pub(crate) fn program() -> String {
    let first = std::env::args_os().next();
    let folder = std::env::current_dir().ok();
    word(first.as_deref(), std::env::current_exe().ok(), folder.as_deref())
}

/// A name without a slash was found on the path of programs and stays as it is; a path below the current folder is
/// shortened to begin there.
fn word(first: Option<&OsStr>, running: Option<PathBuf>, folder: Option<&Path>) -> String {
    let path = match first.filter(|first| !first.is_empty()) {
        Some(first) => Some(PathBuf::from(first)),
        None => running,
    };
    let Some(path) = path else { return NAME.to_owned() };
    let below = folder.and_then(|folder| path.strip_prefix(folder).ok());
    let shown = match below {
        // Without a slash a shell would look for it elsewhere.
        Some(below) if below.components().count() == 1 => Path::new(".").join(below),
        Some(below) => below.to_owned(),
        None => path,
    };
    shown.to_str().and_then(quoted).unwrap_or_else(|| NAME.to_owned())
}

/// A text as one word of a shell; `None` for one that cannot be shown.
fn quoted(text: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(is_plain) {
        return Some(text.to_owned());
    }
    let is_shown = text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    is_shown.then(|| format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(first: &str) -> String {
        word(Some(OsStr::new(first)), Some("/opt/isobar".into()), Some(Path::new("/home/me")))
    }

    #[test]
    fn the_program_is_called_as_it_was_started_and_by_a_short_path() {
        for (first, expected) in [
            ("isobar", "isobar"),
            ("isobar-next", "isobar-next"),
            ("target/release/isobar", "target/release/isobar"),
            ("./isobar", "./isobar"),
            ("/home/me/target/release/isobar", "target/release/isobar"),
            ("/home/me/isobar", "./isobar"),
            ("/home/mean/isobar", "/home/mean/isobar"),
            ("/usr/bin/isobar", "/usr/bin/isobar"),
            ("", "/opt/isobar"),
        ] {
            assert_eq!(shown(first), expected, "{first}");
        }
        assert_eq!(word(None, None, None), NAME);
    }

    #[test]
    fn it_is_one_word_of_a_shell_and_steers_no_terminal() {
        assert_eq!(shown("/my programs/isobar"), "'/my programs/isobar'");
        assert_eq!(shown("it's/isobar"), r"'it'\''s/isobar'");
        assert_eq!(shown("a\u{1b}[2J/isobar"), NAME);
    }
}
