//! What is wrong with a configuration: one value for each finding, and the collection a check ends with.
//!
//! Invariants: every finding that has a place lies in a file of the same [`Diagnostics`]; at most [`FINDINGS_MAX`] are
//! kept, the rest is counted. Errors refuse the configuration, warnings do not.

use std::cell::{Cell, RefCell};

use crate::load::Watched;
use crate::place::{Place, Sources};

/// Findings kept per check. Nobody reads more at once, and a hostile file must not cost memory without bound.
pub const FINDINGS_MAX: usize = 500;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is accepted, but probably does not do what its author meant.
    Warning,
}

/// What kind of syntax error may be behind a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    /// It is the syntax error.
    Syntax,
    /// It is a syntax error that spoils the file from there on.
    SyntaxToEnd,
    /// None, unless on the same line: it stands by itself.
    None,
    /// Any: something that seems to be missing may stand where the syntax is broken.
    Missing,
    /// One in a header above: the key stands in another table than was meant.
    Misplaced,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it refuses the configuration.
    pub severity: Severity,
    /// One sentence, with the offending value and the bound.
    pub message: String,
    /// Where; `None` where no text is at fault (an unreadable main file).
    pub place: Option<Place>,
    /// Words beside the marked text; may be empty.
    pub label: String,
    /// Other places that take part, each with its words.
    pub related: Vec<(Place, String)>,
    /// What to do about it.
    pub help: Option<String>,
    /// Whether it may be the echo of a syntax error.
    pub(crate) echo: Echo,
}

impl Diagnostic {
    pub(crate) fn error(place: &Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, Some(place.clone()), message.into())
    }

    pub(crate) fn warning(place: &Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, Some(place.clone()), message.into())
    }

    pub(crate) fn without_place(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, None, message.into())
    }

    fn new(severity: Severity, place: Option<Place>, message: String) -> Self {
        let (label, related) = (String::new(), Vec::new());
        Self { severity, message, place, label, related, help: None, echo: Echo::None }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn related(mut self, place: &Place, words: impl Into<String>) -> Self {
        self.related.push((place.clone(), words.into()));
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn echo(mut self, echo: Echo) -> Self {
        self.echo = echo;
        self
    }
}

/// Collects findings while the readers run; shared by reference, for readers nest.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    list: RefCell<Vec<Diagnostic>>,
    omitted: Cell<usize>,
    errors: Cell<usize>,
}

impl Reports {
    pub(crate) fn add(&self, finding: Diagnostic) {
        if finding.severity == Severity::Error {
            self.errors.set(self.errors.get() + 1);
        }
        let mut list = self.list.borrow_mut();
        if list.len() < FINDINGS_MAX {
            list.push(finding);
        } else {
            self.omitted.set(self.omitted.get() + 1);
        }
    }

    /// Whether further findings are only counted: then a search for the name that was meant is not worth its time.
    pub(crate) fn is_full(&self) -> bool {
        self.list.borrow().len() >= FINDINGS_MAX
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors.get() > 0
    }

    pub(crate) fn into_diagnostics(self, sources: Sources) -> Diagnostics {
        let mut list = self.list.into_inner();
        list.sort_by_key(|finding| finding.place.as_ref().map(|place| (place.file, place.span.start)));
        Diagnostics { sources, list, omitted: self.omitted.get(), watched: Watched::default() }
    }
}

/// Every finding of a check, with the texts they point into; in the order of files and places.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    pub(crate) sources: Sources,
    pub(crate) list: Vec<Diagnostic>,
    /// Findings past [`FINDINGS_MAX`].
    pub(crate) omitted: usize,
    /// Of a configuration that was refused.
    pub(crate) watched: Watched,
}

impl Diagnostics {
    /// What to watch for the mending of a refused configuration.
    pub fn watched(&self) -> &Watched {
        &self.watched
    }

    /// The findings, errors and warnings alike.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// The same findings with another name for the main file: a text that was handed over has no path of its own.
    #[must_use]
    pub fn renamed(mut self, name: &str) -> Self {
        self.sources.rename_main(name);
        self
    }

    /// The texts that places point into.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Number of errors that are kept.
    pub fn n_errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// Number of warnings that are kept.
    pub fn n_warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    /// Number of findings that were counted but not kept.
    pub fn n_omitted(&self) -> usize {
        self.omitted
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|finding| finding.severity == severity).count()
    }
}
