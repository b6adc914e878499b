//! House rules that a machine can check, so that review is for the others.
//!
//! Each rule is a pure function over text or over the list of dependencies, with its own tests. What a rule cannot
//! see (a comment that says what instead of why) it leaves alone.

mod dependencies;
mod source;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell;

/// Folders whose Rust sources follow the house rules; those that do not exist are passed over.
const FOLDERS: [&str; 5] = ["crates", "xtask", "tests", "bench", "fuzz"];

/// Checks everything and prints what is wrong; with `verbose` also which files are longer than files aim to be.
pub(crate) fn run(verbose: bool) -> Result<(), String> {
    let mut wrong = dependencies::check_workspace(shell::root())?;
    let mut notices = Vec::new();
    let sources = sources(shell::root())?;
    for path in &sources {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.strip_prefix(shell::root()).unwrap_or(path).display().to_string();
        match source::check(&text) {
            Ok(found) => {
                wrong.extend(found.wrong.into_iter().map(|(line, what)| format!("{name}:{line}: {what}")));
                notices.extend(found.notice.map(|what| format!("{name}: {what}")));
            }
            Err(why) => wrong.push(format!("{name}: {why}")),
        }
    }
    if verbose {
        for notice in &notices {
            println!("notice: {notice}");
        }
    }
    for what in &wrong {
        eprintln!("{what}");
    }
    if wrong.is_empty() {
        println!("{} sources are tidy", sources.len());
        return Ok(());
    }
    Err(format!("{} things are untidy", wrong.len()))
}

/// All Rust sources below [`FOLDERS`], in order, without what builds leave behind.
fn sources(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        FOLDERS.iter().map(|name| root.join(name)).filter(|path| path.is_dir()).collect();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
