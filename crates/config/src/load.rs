//! From texts to checked settings: gather, read every table, check what names refer to.
//!
//! Invariants: nothing stops at a first error; settings come out only when there is none. Findings that a syntax error
//! most likely caused (on its line, or something that seems to be missing) are left out: the syntax has to be mended first.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::diagnose::{Diagnostics, Echo, Reports};
use crate::environment::Environment;
use crate::fields::{Context, Fields};
use crate::include::{FileSource, Gathered, gather, gather_text};
use crate::keys;
use crate::merged::merge;
use crate::place::Place;
use crate::settings::Settings;
use crate::{listeners, references, routes, runtime, services};

/// A configuration that was accepted.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// What it probably does not mean to say; no errors.
    pub warnings: Diagnostics,
    /// What to watch for changes of it.
    pub watched: Watched,
    /// All of it as one TOML text, to be shown: variables not replaced, secrets as [`crate::REDACTED`]. Paths in it are
    /// relative to the main file's folder. Where nothing was redacted, [`load_text`] makes the same settings of it.
    pub document: String,
}

/// Files and folders that a configuration depends on; a discovered file is not one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watched {
    /// The files it was read from, the main one first, secrets among them; where it was refused, also those that could
    /// not be read.
    pub files: Vec<PathBuf>,
    /// The folders in which a pattern of `include` was looked for: a new file there may belong to it.
    pub folders: Vec<PathBuf>,
}

/// Reads and checks the configuration at `path`.
///
/// # Errors
/// Every error at once, with the warnings, in the order of files and lines.
pub fn load(
    path: &Path,
    files: &impl FileSource,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Loaded, Diagnostics> {
    let reports = Reports::default();
    let gathered = gather(path, files, env, &reports);
    check(gathered, files, env, reports)
}

/// Checks a configuration that is given as a text, as if it stood at `origin`: findings name that file, and relative
/// paths are taken from its folder. It includes no other files; secrets that it names are read from `files`.
///
/// # Errors
/// As of [`load`].
pub fn load_text(
    origin: &Path,
    text: String,
    files: &impl FileSource,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Loaded, Diagnostics> {
    let reports = Reports::default();
    let gathered = gather_text(origin, text, env, &reports);
    check(gathered, files, env, reports)
}

fn check(
    mut gathered: Gathered,
    secrets: &dyn FileSource,
    environment: Environment<'_>,
    reports: Reports,
) -> Result<Loaded, Diagnostics> {
    let settings = if gathered.documents.is_empty() {
        None
    } else {
        let (settings, named) = read(&gathered, secrets, &reports);
        gathered.files.extend(named);
        Some(settings)
    };
    let accepted = settings.filter(|_| !reports.has_errors());
    let Gathered { sources, syntax_errors, files, folders, .. } = gathered;
    let watched = Watched { files, folders };
    let Some(settings) = accepted else {
        let mut findings = reports.into_diagnostics(sources);
        drop_echoes(&mut findings, &syntax_errors);
        findings.watched = watched;
        return Err(findings);
    };
    let document = merge(&sources, environment);
    Ok(Loaded { settings, warnings: reports.into_diagnostics(sources), watched, document })
}

/// The settings, and the files of secrets that they name.
fn read(gathered: &Gathered, files: &dyn FileSource, reports: &Reports) -> (Settings, Vec<PathBuf>) {
    let cx = Context {
        sources: &gathered.sources,
        reports,
        files,
        secret_files: RefCell::default(),
        service_mentions: RefCell::default(),
        listener_mentions: RefCell::default(),
    };
    let roots: Vec<Fields<'_>> = gathered
        .documents
        .iter()
        .map(|document| {
            let whole = cx.sources.clamp(document.file, 0..0);
            Fields::of_table(&cx, &keys::ROOT, &document.table, &whole)
        })
        .collect();
    roots[0].texts("include");
    let runtime = runtime::read_runtime(&cx, &roots);
    let admin = runtime::read_admin(&cx, &roots);
    let access_log = runtime::read_access_log(&cx, &roots);
    let listeners = listeners::read(&cx, &roots, admin.as_ref());
    let services = services::read(&cx, &roots, &runtime);
    let routes = routes::read(&cx, &roots);
    let settings = Settings { runtime, admin, access_log, listeners, routes, services };
    references::check(&cx, &settings, &roots);
    (settings, cx.secret_files.into_inner())
}

/// Leaves out what a syntax error most likely caused.
pub(crate) fn drop_echoes(findings: &mut Diagnostics, syntax_errors: &[Place]) {
    if syntax_errors.is_empty() {
        return;
    }
    let Diagnostics { sources, list, .. } = findings;
    let line = |place: &Place| (place.file, sources.line_and_column(place.file, place.span.start).0);
    let broken: HashSet<_> = syntax_errors.iter().map(line).collect();
    let headers: Vec<&Place> =
        syntax_errors.iter().filter(|place| sources.line_text(place).starts_with('[')).collect();
    let ends: Vec<Place> = list
        .iter()
        .filter(|finding| finding.echo == Echo::SyntaxToEnd)
        .filter_map(|finding| finding.place.clone())
        .collect();
    list.retain(|finding| {
        let Some(place) = &finding.place else { return true };
        let spoilt = ends.iter().any(|end| end.file == place.file && end.span.start < place.span.start);
        let above = |header: &&Place| header.file == place.file && header.span.start < place.span.start;
        match finding.echo {
            Echo::Syntax | Echo::SyntaxToEnd => true,
            Echo::None | Echo::Misplaced if spoilt => false,
            Echo::None => !broken.contains(&line(place)),
            Echo::Missing => false,
            Echo::Misplaced => !broken.contains(&line(place)) && !headers.iter().any(above),
        }
    });
}
