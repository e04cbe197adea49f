//! Lines that are drawn over on a terminal, and printed when they change elsewhere.

use std::io::{IsTerminal as _, Write};

const BAR: usize = 50;
/// Columns that are too few for a bar.
const NARROW: u16 = 110;

/// See the module.
#[derive(Debug)]
pub(crate) struct Redraw {
    terminal: bool,
    last: Vec<String>,
}

impl Redraw {
    /// For standard output.
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            last: Vec::new(),
        }
    }

    /// Whether lines are drawn over.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Shows these lines in the place of those before.
    pub(crate) fn show(&mut self, lines: Vec<String>) {
        // A terminal that went away has nobody to tell.
        let _ = self.draw(&mut std::io::stdout().lock(), lines);
    }

    fn draw(&mut self, out: &mut impl Write, lines: Vec<String>) -> std::io::Result<()> {
        if lines == self.last {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.last, lines);
        if self.terminal {
            if !before.is_empty() {
                write!(out, "\x1b[{}A", before.len())?;
            }
            for line in &self.last {
                writeln!(out, "\x1b[2K{line}")?;
            }
            write!(out, "\x1b[0J")?;
        } else {
            for line in self.last.iter().filter(|line| !before.contains(line)) {
                writeln!(out, "{line}")?;
            }
        }
        out.flush()
    }
}

/// `[====>   ] `; nothing where the terminal is too narrow.
pub(crate) fn bar(done: usize, all: usize) -> Option<String> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.is_ok_and(|size| size.ws_col > NARROW)
        .then(|| bar_of(done, all))
}

fn bar_of(done: usize, all: usize) -> String {
    let width = (BAR * done / all.max(1)).min(BAR);
    format!("[{}>{}] ", "=".repeat(width), " ".repeat(BAR - width))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(terminal: bool, steps: &[&[&str]]) -> String {
        let mut redraw = Redraw {
            terminal,
            last: Vec::new(),
        };
        let mut out = Vec::new();
        for lines in steps {
            let lines = lines.iter().map(|line| (*line).to_owned()).collect();
            redraw.draw(&mut out, lines).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_terminal_is_drawn_over_and_a_pipe_gets_what_changed() {
        let steps: &[&[&str]] = &[&["a", "0/2"], &["a", "0/2"], &["a", "1/2", "b"]];
        assert_eq!(
            drawn(true, steps),
            "\x1b[2Ka\n\x1b[2K0/2\n\x1b[0J\x1b[2A\x1b[2Ka\n\x1b[2K1/2\n\x1b[2Kb\n\x1b[0J"
        );
        assert_eq!(drawn(false, steps), "a\n0/2\n1/2\nb\n");
    }

    #[test]
    fn a_bar_is_as_long_as_what_is_done() {
        assert_eq!(bar_of(1, 2).find('>'), Some(26));
        assert_eq!(bar_of(3, 3), format!("[{}>] ", "=".repeat(50)));
        assert_eq!(bar_of(0, 0), format!("[>{}] ", " ".repeat(50)));
    }
}
