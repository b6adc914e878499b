//! A table for a terminal: columns as wide as their widest cell.
//!
//! Limit: width is counted in characters; wide and combining ones are off by one.

use super::printable;

/// Where the cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// One cell: text, and the terminal's code for its colour.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    text: String,
    colour: &'static str,
}

impl Cell {
    /// Text with nothing in it that steers a terminal or ends the line.
    pub(super) fn new(text: &str) -> Self {
        Self { text: printable(text).replace('\n', " "), colour: "" }
    }

    /// The same in a colour; an empty code leaves it as it is.
    pub(super) fn coloured(self, colour: &'static str) -> Self {
        Self { colour, ..self }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

/// Lays out rows as lines, each indented; no line ends in spaces.
pub(super) fn layout<const N: usize>(sides: [Side; N], rows: &[[Cell; N]], indent: &str) -> String {
    let width =
        |column: usize| rows.iter().map(|row| row[column].text.chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let mut out = String::new();
    for row in rows {
        let last = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
        out.push_str(indent);
        for (column, cell) in row.iter().take(last).enumerate() {
            let gap = " ".repeat(widths[column] - cell.text.chars().count());
            let reset = if cell.colour.is_empty() { "" } else { "\u{1b}[0m" };
            let before = if sides[column] == Side::Right { gap.as_str() } else { "" };
            let after = if sides[column] == Side::Left && column + 1 < last { gap.as_str() } else { "" };
            let between = if column + 1 < last { "  " } else { "" };
            out.extend([before, cell.colour, &cell.text, reset, after, between]);
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_line_ends_in_spaces() {
        let rows = [
            [Cell::new("a"), Cell::new("100"), Cell::new("")],
            [Cell::new("längst").coloured("\u{1b}[32m"), Cell::new("1"), Cell::new("why\nnot\u{1b}")],
        ];
        let text = layout([Side::Left, Side::Right, Side::Left], &rows, "> ");
        assert_eq!(text, "> a       100\n> \u{1b}[32mlängst\u{1b}[0m    1  why not?\n");
    }
}
