//! The terminal while it shows the live view: taken over, drawn on, and given back.
//!
//! Invariants: the terminal is given back when the screen is dropped, so also by a panic; a stop at once, which runs no
//! destructors, gives it back by itself (`signals`). A frame is written in one piece, so that nothing flickers.

use std::io::{self, Write};

use crossterm::cursor::MoveTo;
use crossterm::queue;
use crossterm::style::{Attribute, Color, Print, SetAttribute, SetForegroundColor};
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};

use super::frame::{Frame, Look, Size};
use crate::terminal;

/// The terminal, taken over.
pub(super) struct Screen {
    coloured: bool,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    ///
    /// Fails where standard input or output is no terminal; it is then as it was.
    pub(super) fn take() -> io::Result<Self> {
        // Made first, so that its drop undoes what a failure halfway leaves behind.
        let screen = Self { coloured: terminal::wants_colour(&io::stdout()) };
        terminal::take_screen()?;
        Ok(screen)
    }

    /// The terminal's size; where it does not tell, the usual one.
    pub(super) fn size() -> Size {
        let (columns, lines) = crossterm::terminal::size().unwrap_or((80, 24));
        Size { columns: columns.into(), lines: lines.into() }
    }

    /// Shows a frame.
    ///
    /// # Errors
    ///
    /// Fails when the terminal is gone.
    pub(super) fn draw(&self, frame: &Frame) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode(frame, self.coloured, &mut bytes)?;
        let mut out = io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        terminal::give_screen_back();
    }
}

fn encode(frame: &Frame, coloured: bool, out: &mut Vec<u8>) -> io::Result<()> {
    queue!(out, BeginSynchronizedUpdate)?;
    for (at, line) in frame.lines().iter().enumerate() {
        queue!(out, MoveTo(0, at as u16))?;
        for piece in line {
            encode_look(piece.look, coloured, out)?;
            queue!(out, Print(&piece.text), SetAttribute(Attribute::Reset))?;
        }
        // After a full line the cursor stands on its last column, which a clear would take away.
        let width: usize = line.iter().map(|piece| piece.text.len()).sum();
        if width < frame.size().columns {
            queue!(out, Clear(ClearType::UntilNewLine))?;
        }
    }
    if frame.room() > 0 {
        queue!(out, MoveTo(0, frame.lines().len() as u16), Clear(ClearType::FromCursorDown))?;
    }
    queue!(out, EndSynchronizedUpdate)
}

fn encode_look(look: Look, coloured: bool, out: &mut Vec<u8>) -> io::Result<()> {
    match look {
        Look::Strong => queue!(out, SetAttribute(Attribute::Bold)),
        Look::Faint => queue!(out, SetAttribute(Attribute::Dim)),
        Look::Good if coloured => queue!(out, SetForegroundColor(Color::Green)),
        Look::Bad if coloured => queue!(out, SetForegroundColor(Color::Red)),
        Look::Plain | Look::Good => Ok(()),
        Look::Bad => queue!(out, SetAttribute(Attribute::Bold)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn encoded(coloured: bool) -> String {
        let mut frame = Frame::new(Size { columns: 20, lines: 3 });
        frame.push([("good", Look::Good), ("bad", Look::Bad), ("faint", Look::Faint)]);
        let mut bytes = Vec::new();
        encode(&frame, coloured, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn without_colours_no_escape_sets_one() {
        assert!(encoded(true).contains("\x1b[38;5;"), "{:?}", encoded(true));
        assert!(!encoded(false).contains("\x1b[38;5;"), "{:?}", encoded(false));
        assert!(encoded(false).contains("good") && encoded(false).contains("faint"));
    }
}
