//! What is wrong with files of certificates and keys, for people.
//!
//! Invariant: each displays as one line with the file and with what to do.

use std::fmt;
use std::path::{Path, PathBuf};

/// One problem of one file, or of the system's roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What needs the file: `listener "web"`, `service "cart"`.
    pub user: String,
    /// The file; `None` for what belongs to no file.
    pub file: Option<PathBuf>,
    /// What is wrong and what to do.
    pub what: String,
}

impl Problem {
    pub(crate) fn of(user: &str, file: &Path, what: impl Into<String>) -> Self {
        Self { user: user.to_owned(), file: Some(file.to_owned()), what: what.into() }
    }

    pub(crate) fn without_file(user: &str, what: impl Into<String>) -> Self {
        Self { user: user.to_owned(), file: None, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {} {}", self.user, file.display(), self.what),
            None => write!(f, "{}: {}", self.user, self.what),
        }
    }
}

/// Everything that is wrong; at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsProblems(pub Vec<Problem>);

impl fmt::Display for TlsProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for TlsProblems {}
