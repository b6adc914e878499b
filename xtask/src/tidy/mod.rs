//! House rules that a machine can check, so that review is for the others.
//!
//! Each rule is a pure function over text or over the list of dependencies, with its own tests. What a rule cannot
//! see (a comment that says what instead of why) it leaves alone.

mod dependencies;
mod links;
mod source;
mod words;

use std::fs;
use std::path::PathBuf;

use crate::shell;

/// Folders whose Rust sources follow the house rules; those that do not exist are passed over.
const FOLDERS: [&str; 5] = ["crates", "xtask", "tests", "bench", "fuzz"];

/// Checks everything and prints what is wrong; with `verbose` also which files are longer than files aim to be.
pub(crate) fn run(verbose: bool) -> Result<(), String> {
    let mut wrong = dependencies::check_workspace(shell::root())?;
    let mut notices = Vec::new();
    let folders: Vec<_> = FOLDERS.iter().map(|name| shell::root().join(name)).collect();
    let sources = files(folders, "rs")?;
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
    let pages = files(vec![shell::root().to_owned()], "md")?;
    for path in &pages {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.strip_prefix(shell::root()).unwrap_or(path).display().to_string();
        let found = links::check(path, &text);
        wrong.extend(found.into_iter().map(|(line, what)| format!("{name}:{line}: {what}")));
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
        println!("{} sources and {} pages are tidy", sources.len(), pages.len());
        return Ok(());
    }
    Err(format!("{} things are untidy", wrong.len()))
}

/// All files of this ending below `folders`, in order, without what builds and tools leave behind. Folders that do not
/// exist are passed over.
fn files(mut folders: Vec<PathBuf>, ending: &str) -> Result<Vec<PathBuf>, String> {
    folders.retain(|path| path.is_dir());
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let left_behind = name == "target" || name.as_encoded_bytes().starts_with(b".");
            if path.is_dir() && !left_behind {
                folders.push(path);
            } else if path.extension().is_some_and(|its| its == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
