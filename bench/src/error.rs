//! What can go wrong in a run, each with what to do about it.

use std::io;
use std::path::PathBuf;

/// Why a run, or one peer's part in it, could not be completed.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A file of the run could not be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program could not be started at all.
    #[error("cannot start {program}: {source}; is it installed?")]
    Start {
        /// The program as called.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("{program} failed: {said}")]
    Program {
        /// The program as called.
        program: String,
        /// Its last words.
        said: String,
    },
    /// A peer did not answer as it must, so that measuring it would mean nothing.
    #[error("wrong answer: {0}")]
    Answer(String),
    /// The machine cannot carry the run.
    #[error("this machine cannot carry the run: {0}")]
    Machine(String),
    /// The request to the harness itself was wrong.
    #[error("{0}")]
    Usage(String),
}

impl BenchError {
    /// Ties a file error to its path.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
