//! What can be wrong with a block.

use std::fmt;

/// The rule that a block broke. The decoder is out of step with its peer afterwards: the connection ends with
/// `COMPRESSION_ERROR` (RFC 9113 section 4.3), whichever it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HpackError {
    /// The block ends inside a field.
    Truncated,
    /// An integer is longer than any that can be meant.
    IntegerTooLong,
    /// Index 0 where a field is referred to.
    IndexZero,
    /// An index past the end of both tables.
    IndexUnknown,
    /// A size update after the first field.
    UpdateMisplaced,
    /// A size update above the size that we allow.
    UpdateTooLarge,
    /// The Huffman code of the end of a string stands inside one.
    EndInString,
    /// A string in Huffman code is not padded by less than a byte of ones.
    BadPadding,
}

impl fmt::Display for HpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the block ends inside a field",
            Self::IntegerTooLong => "an integer is longer than any that can be meant",
            Self::IndexZero => "a field is referred to by index 0",
            Self::IndexUnknown => "an index is past the end of the tables",
            Self::UpdateMisplaced => "a size update comes after the first field",
            Self::UpdateTooLarge => "a size update is above the size that was allowed",
            Self::EndInString => "a string contains the code of its end",
            Self::BadPadding => "a string is not padded by less than a byte of ones",
        })
    }
}

impl std::error::Error for HpackError {}
