//! A frame: what a terminal of a given size is to show, as lines of styled text.
//!
//! Invariants: no frame is larger than its terminal; every character is one column wide and none controls the
//! terminal, whatever a log line or an endpoint's id holds.

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Strong,
    Faint,
    Good,
    Bad,
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) look: Look,
}

/// Columns and lines of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) lines: usize,
}

/// Lines from the top; what is below the last is empty.
#[derive(Debug)]
pub(super) struct Frame {
    size: Size,
    lines: Vec<Vec<Piece>>,
}

impl Frame {
    pub(super) fn new(size: Size) -> Self {
        Self { size, lines: Vec::new() }
    }

    pub(super) fn size(&self) -> Size {
        self.size
    }

    pub(super) fn lines(&self) -> &[Vec<Piece>] {
        &self.lines
    }

    /// Lines that still fit.
    pub(super) fn room(&self) -> usize {
        self.size.lines - self.lines.len()
    }

    /// Adds a line, cut to the width; a line that does not fit any more is left out.
    pub(super) fn push<const N: usize>(&mut self, pieces: [(&str, Look); N]) {
        if self.room() == 0 {
            return;
        }
        let mut room = self.size.columns;
        let mut line = Vec::with_capacity(N);
        for (text, look) in pieces {
            let text: String = text.chars().take(room).map(printable).collect();
            room -= text.len();
            line.push(Piece { text, look });
        }
        self.lines.push(line);
    }

    /// Adds an empty line.
    pub(super) fn skip(&mut self) {
        self.push([]);
    }
}

/// ASCII alone is one column wide in every terminal and font.
fn printable(c: char) -> char {
    if c == ' ' || c.is_ascii_graphic() { c } else { '?' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_and_what_is_not_one_plain_column_is_replaced() {
        let mut frame = Frame::new(Size { columns: 6, lines: 2 });
        frame.push([("a\x1b[", Look::Plain), ("\u{7}é漢d", Look::Good)]);
        frame.skip();
        frame.push([("below", Look::Plain)]);
        let texts: Vec<Vec<&str>> =
            frame.lines().iter().map(|line| line.iter().map(|piece| piece.text.as_str()).collect()).collect();
        assert_eq!(texts, [vec!["a?[", "???"], vec![]]);
    }

    #[test]
    fn a_terminal_without_any_room_takes_anything() {
        let mut frame = Frame::new(Size { columns: 0, lines: 0 });
        frame.push([("text", Look::Bad)]);
        assert!(frame.lines().is_empty());
    }
}
