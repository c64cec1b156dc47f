//! The terminal: taken over for as long as it is held, and given back as it was.

use std::io::{self, Write};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, size,
};
use crossterm::{execute, queue};

/// Where a terminal does not say how large it is.
const USUAL_SIZE: (u16, u16) = (100, 30);

/// A terminal that is taken over.
pub(super) struct Screen;

impl Screen {
    /// Takes the terminal over.
    pub(super) fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        // From here on it is given back whatever happens.
        let screen = Self;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// In lines.
    pub(super) fn height(&self) -> usize {
        usize::from(size().unwrap_or(USUAL_SIZE).1)
    }

    /// Shows the text, as much of it as there is room for, and the last line.
    pub(super) fn draw(&self, text: &str, last: &str) -> io::Result<()> {
        let (width, height) = size().unwrap_or(USUAL_SIZE);
        let mut out = io::stdout().lock();
        let cut = |line: &str| clean(line).chars().take(width.into()).collect::<String>();
        let room = height.saturating_sub(1);
        let mut lines = text.lines();
        for row in 0..room {
            let line = lines.next().map(cut).unwrap_or_default();
            queue!(out, MoveTo(0, row), Print(line), Clear(ClearType::UntilNewLine))?;
        }
        let last = format!("{:<width$}", cut(last), width = usize::from(width));
        queue!(out, MoveTo(0, room), SetAttribute(Attribute::Reverse), Print(last))?;
        queue!(out, SetAttribute(Attribute::Reset))?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// What a server says must not move the cursor.
pub(super) fn clean(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "?")
}
