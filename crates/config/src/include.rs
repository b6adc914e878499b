//! The main file and the files it includes, read and parsed.
//!
//! Invariants: reading goes through a [`FileSource`], so that this crate does no I/O; every file is read once, however
//! many patterns name it; an included file includes nothing, so there are no circles. The order is that of the patterns,
//! and by name within one pattern.

use std::io;
use std::path::{Path, PathBuf};

use crate::diagnose::{Diagnostic, Reports};
use crate::document::{Node, Table, Value, parse};
use crate::environment::Environment;
use crate::place::{FileId, Place, Sources};

/// Files of one configuration: a folder with a file per service stays below it, a pattern that ran away does not.
pub const FILES_MAX: usize = 1000;
/// Bytes of one file: a hundred times the largest configuration that a person maintains.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// Where configuration files come from.
pub trait FileSource {
    /// The text of a file.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The files in `folder` that `pattern` names, a path whose last part may hold `*` and `?` (see
    /// [`pattern_matches`]), in any order; without a wildcard the path itself, whether it exists or not.
    fn expand(&self, folder: &Path, pattern: &str) -> io::Result<Vec<PathBuf>>;
}

/// A place without any file.
#[derive(Debug, Clone, Copy)]
pub struct NoFiles;

impl FileSource for NoFiles {
    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn expand(&self, _: &Path, _: &str) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

/// Whether a file name fits a pattern in which `*` stands for any characters and `?` for one.
///
/// A name that begins with a dot only fits a pattern that does, as in a shell.
pub fn pattern_matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The last `*` and how far it had to stretch: going back to it alone keeps this quadratic at worst.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == name[n]) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((at, stretched)) = star {
            star = Some((at, stretched + 1));
            (p, n) = (at + 1, stretched + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// A parsed file.
pub(crate) struct Document {
    pub(crate) file: FileId,
    pub(crate) table: Table,
}

/// Everything that was read, and where the syntax was wrong.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) sources: Sources,
    pub(crate) documents: Vec<Document>,
    pub(crate) syntax_errors: Vec<Place>,
    /// Every file that was to be read, whether it could be or not, the main one first.
    pub(crate) files: Vec<PathBuf>,
    /// Folders in which a pattern was looked for.
    pub(crate) folders: Vec<PathBuf>,
}

/// Reads the main file and what it includes; findings go to `reports`.
pub(crate) fn gather(
    path: &Path,
    files: &impl FileSource,
    environment: Environment<'_>,
    reports: &Reports,
) -> Gathered {
    let mut gathered = Gathered { files: vec![path.to_owned()], ..Gathered::default() };
    let read = files.read(path).and_then(|text| gathered.add(path, text, environment, reports));
    if let Err(error) = read {
        reports.add(unreadable(path, &error, None));
        return gathered;
    }
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    for (pattern, place) in include_patterns(&gathered.documents[0].table) {
        gathered.note_folder(&folder, &pattern);
        for included in expand(&folder, &pattern, &place, files, reports) {
            if gathered.sources.paths().any(|known| known == included) {
                continue;
            }
            if gathered.documents.len() == FILES_MAX {
                let message = format!("more than {FILES_MAX} files are included");
                reports.add(Diagnostic::error(&place, message).help("narrow the pattern"));
                return gathered;
            }
            gathered.files.push(included.clone());
            let read =
                files.read(&included).and_then(|text| gathered.add(&included, text, environment, reports));
            if let Err(error) = read {
                reports.add(unreadable(&included, &error, Some(&place)));
            }
        }
    }
    for document in &gathered.documents[1..] {
        if let Some(entry) = document.table.entry("include") {
            let finding = Diagnostic::error(&entry.key_place, "an included file includes nothing itself");
            reports.add(finding.help(format!("name the files in `include` of {}", path.display())));
        }
    }
    gathered
}

/// Takes a text for the main file, which then includes nothing; findings go to `reports`.
pub(crate) fn gather_text(
    origin: &Path,
    text: String,
    environment: Environment<'_>,
    reports: &Reports,
) -> Gathered {
    let mut gathered = Gathered { files: vec![origin.to_owned()], ..Gathered::default() };
    if let Err(error) = gathered.add(origin, text, environment, reports) {
        reports.add(unreadable(origin, &error, None));
        return gathered;
    }
    if let Some(entry) = gathered.documents[0].table.entry("include") {
        let finding = Diagnostic::error(&entry.key_place, "a configuration that is sent includes no files");
        reports.add(finding.help("write their tables into it, as `GET /api/v1/config` shows them"));
    }
    gathered
}

impl Gathered {
    fn add(
        &mut self,
        path: &Path,
        text: String,
        environment: Environment<'_>,
        reports: &Reports,
    ) -> io::Result<()> {
        if text.len() > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, too_long(&text)));
        }
        let file = self.sources.add(path, text);
        let (table, errors) = parse(&self.sources, file, environment, reports);
        self.documents.push(Document { file, table });
        self.syntax_errors.extend(errors);
        Ok(())
    }

    /// Remembers where files that a pattern names may appear.
    fn note_folder(&mut self, folder: &Path, pattern: &str) {
        let whole = folder.join(pattern);
        let Some(parent) = whole.parent().filter(|_| pattern.contains(['*', '?'])) else { return };
        // The parent of "*.toml" is "", which the system does not take for the current folder.
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        if !self.folders.iter().any(|known| known == parent) {
            self.folders.push(parent.to_owned());
        }
    }
}

/// What is wrong with a text of more than [`FILE_BYTES_MAX`] bytes.
pub(crate) fn too_long(text: &str) -> String {
    format!("it has {} bytes, at most {FILE_BYTES_MAX} are read", text.len())
}

fn unreadable(path: &Path, error: &io::Error, place: Option<&Place>) -> Diagnostic {
    let message = format!("cannot read {}: {error}", path.display());
    match place {
        Some(place) => Diagnostic::error(place, message).label("included here"),
        None => Diagnostic::without_place(message),
    }
}

/// The patterns, as far as they are strings; other kinds are reported where the table is read.
fn include_patterns(root: &Table) -> Vec<(String, Place)> {
    let text = |node: &Node| match &node.value {
        Value::Text(text) => Some((text.clone(), node.place.clone())),
        _ => None,
    };
    match root.entry("include").map(|entry| &entry.node) {
        Some(Node { value: Value::List(nodes), .. }) => nodes.iter().filter_map(text).collect(),
        Some(node) => text(node).into_iter().collect(),
        None => Vec::new(),
    }
}

fn expand(
    folder: &Path,
    pattern: &str,
    place: &Place,
    files: &impl FileSource,
    reports: &Reports,
) -> Vec<PathBuf> {
    let folders = pattern.rsplit_once('/').map_or("", |(folders, _)| folders);
    if folders.contains(['*', '?']) || pattern.is_empty() {
        let message =
            format!("\"{pattern}\" is no pattern for files: `*` and `?` may only stand in the last part");
        reports.add(Diagnostic::error(place, message).help("write a pattern such as \"conf.d/*.toml\""));
        return Vec::new();
    }
    match files.expand(folder, pattern) {
        Ok(mut paths) => {
            paths.sort();
            paths
        }
        Err(error) => {
            let message = format!("cannot list the files of \"{pattern}\": {error}");
            reports.add(
                Diagnostic::error(place, message).help("the path is relative to the file that names it"),
            );
            Vec::new()
        }
    }
}
