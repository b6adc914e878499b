//! Where a value stands in the text: file, byte span, line and column.
//!
//! Invariant: a [`Place`] is only made for a file of the [`Sources`] it is read with, and its span lies in that file's
//! text on character boundaries; [`Sources::clamp`] restores the second half for spans that come from outside.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// Number of a file in [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(usize);

/// A stretch of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: FileId,
    /// Its bytes.
    pub span: Range<usize>,
}

/// A value together with the place it was written at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// The files of one configuration, in the order they were read.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<Source>,
}

/// One file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its path, as it was reached.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Byte offsets of the first character of each line.
    line_starts: Vec<usize>,
}

impl Sources {
    pub(crate) fn add(&mut self, path: &Path, text: String) -> FileId {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        self.files.push(Source { path: path.to_owned(), text, line_starts });
        FileId(self.files.len() - 1)
    }

    pub(crate) fn rename_main(&mut self, name: &str) {
        if let Some(main) = self.files.first_mut() {
            main.path = PathBuf::from(name);
        }
    }

    /// The file of that number.
    pub fn file(&self, id: FileId) -> &Source {
        &self.files[id.0]
    }

    /// Every path, the main file first.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// Every file with its number, the main file first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (FileId, &Source)> {
        self.files.iter().enumerate().map(|(index, file)| (FileId(index), file))
    }

    /// The text of a place.
    pub fn text(&self, place: &Place) -> &str {
        self.file(place.file).text.get(place.span.clone()).unwrap_or_default()
    }

    /// The line in which a place begins, without blanks in front.
    pub(crate) fn line_text(&self, place: &Place) -> &str {
        let Source { text, line_starts, .. } = self.file(place.file);
        let line = line_starts.partition_point(|&start| start <= place.span.start);
        text[line_starts[line - 1]..].lines().next().unwrap_or_default().trim_start()
    }

    /// Line and column of a byte offset, both from 1; columns count characters.
    pub fn line_and_column(&self, file: FileId, offset: usize) -> (usize, usize) {
        let Source { text, line_starts, .. } = self.file(file);
        let offset = offset.min(text.len());
        let line = line_starts.partition_point(|&start| start <= offset);
        let before = &text.as_bytes()[line_starts[line - 1]..offset];
        let column = 1 + String::from_utf8_lossy(before).chars().count();
        (line, column)
    }

    /// The nearest legal span: inside the text, not reversed, on character boundaries.
    pub(crate) fn clamp(&self, file: FileId, span: Range<usize>) -> Place {
        let text = &self.file(file).text;
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let mut end = span.end.clamp(start, text.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        Place { file, span: start..end }
    }
}
