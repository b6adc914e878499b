//! The text of a file that holds endpoints, or why there is none.
//!
//! Invariant: never waits for another process, whatever stands at the path: a pipe without a writer is opened without
//! blocking and then refused.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use isobar_config::FILE_BYTES_MAX;
use rustix::fs::OFlags;

/// Why a file gave no text.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    #[error("it is no regular file: put a file with a list of endpoints there")]
    NotAFile,
    /// A save that was cut short leaves such a file; it must not take all endpoints away.
    #[error("it is empty: write `endpoints = []` if there are no endpoints")]
    Empty,
    #[error("it has more than {FILE_BYTES_MAX} bytes, which no list of endpoints needs")]
    TooLarge,
    #[error("it is not UTF-8: line {line} has a byte that is no character")]
    NotUtf8 {
        /// Counted from 1.
        line: usize,
    },
}

/// Reads a file whole; blocks.
pub(super) fn read(path: &Path) -> Result<String, ReadError> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(ReadError::NotAFile);
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Err(ReadError::Empty);
    }
    if bytes.len() > FILE_BYTES_MAX {
        return Err(ReadError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        ReadError::NotUtf8 { line: good.split(|&byte| byte == b'\n').count() }
    })
}
