//! Messages about several things at once, each with a line of its own that is drawn over on a terminal.
//! Elsewhere each message is printed, without those that are only a bar.

use std::io::{IsTerminal as _, Write};
use std::os::fd::AsFd;

const BAR: usize = 50;
/// Columns that are too few for a bar.
const NARROW: u16 = 110;
/// Columns where nobody knows.
const UNKNOWN: u16 = 200;

/// See the module.
pub(crate) struct Messages {
    out: Box<dyn Write + Send>,
    is_terminal: bool,
    /// How wide the terminal is, asked anew for each bar.
    columns: fn() -> u16,
    /// Whose lines can be drawn over, from the top.
    ids: Vec<String>,
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messages")
            .field("ids", &self.ids)
            .finish_non_exhaustive()
    }
}

/// What comes behind a message that tells of progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extent<'a> {
    pub(crate) done: usize,
    pub(crate) all: usize,
    /// Of what the numbers are; without it they are not shown.
    pub(crate) unit: &'a str,
}

impl Messages {
    /// To standard output.
    pub(crate) fn stdout() -> Self {
        let out = std::io::stdout();
        Self {
            columns: || columns_of(std::io::stdout()),
            ..Self::to(out.is_terminal(), Box::new(out))
        }
    }

    /// To standard error.
    pub(crate) fn stderr() -> Self {
        let out = std::io::stderr();
        Self {
            columns: || columns_of(std::io::stderr()),
            ..Self::to(out.is_terminal(), Box::new(out))
        }
    }

    /// To nobody.
    pub(crate) fn nowhere() -> Self {
        Self::to(false, Box::new(std::io::sink()))
    }

    /// To a writer.
    pub(crate) fn to(is_terminal: bool, out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            is_terminal,
            columns: || UNKNOWN,
            ids: Vec::new(),
        }
    }

    /// Whether lines are drawn over.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Shows how far something is, on the line of its name.
    pub(crate) fn progress(&mut self, id: &str, text: &str, extent: Extent<'_>) {
        let bar = self.extent(extent);
        if self.is_terminal {
            self.over(id, &format!("{id}: {text} {bar}"));
        } else if bar.is_empty() {
            self.write(&format!("{id}: {text}\n"));
        }
    }

    /// Says something that stays; what was said before is no longer drawn over.
    pub(crate) fn say(&mut self, text: &str) {
        self.ids.clear();
        self.write(text);
    }

    /// Draws a name's line, wherever it is.
    pub(crate) fn over(&mut self, id: &str, line: &str) {
        let known = self.ids.iter().position(|known| known == id);
        let at = known.unwrap_or_else(|| {
            self.ids.push(id.to_owned());
            self.ids.len() - 1
        });
        let begin = if known.is_none() { "\n" } else { "" };
        let up = self.ids.len() - at;
        self.write(&format!("{begin}\x1b[{up}A\x1b[2K\r{line}\r\x1b[{up}B"));
    }

    fn write(&mut self, text: &str) {
        // A terminal that went away has nobody to tell.
        let _ = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
    }

    /// `[====>   ] 2/3 nodes`; terminals that are narrow have no bar.
    fn extent(&self, extent: Extent<'_>) -> String {
        let Extent { done, all, unit } = extent;
        if done == 0 && all == 0 {
            return String::new();
        }
        let bar = match (self.columns)() > NARROW {
            true => bar(done, all),
            false => String::new(),
        };
        match unit {
            "" => bar,
            unit if done > all => format!("{bar}{done} {unit}"),
            unit => format!("{bar}{done}/{all} {unit}"),
        }
    }
}

fn columns_of(terminal: impl AsFd) -> u16 {
    rustix::termios::tcgetwinsize(terminal).map_or(UNKNOWN, |size| size.ws_col)
}

fn bar(done: usize, all: usize) -> String {
    let width = (100 * done / all.max(1) / 2).min(BAR);
    format!("[{}>{}] ", "=".repeat(width), " ".repeat(BAR - width))
}

/// Messages that a test looks at.
#[cfg(test)]
pub(crate) mod seen {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::{Messages, NARROW, UNKNOWN};

    /// What was written.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Seen(Arc<Mutex<Vec<u8>>>);

    impl Seen {
        /// Messages to a terminal, wide or narrow, or to a pipe.
        pub(crate) fn messages(&self, columns: Option<u16>) -> Messages {
            Messages {
                columns: match columns {
                    Some(0..=NARROW) => || NARROW,
                    _ => || UNKNOWN,
                },
                ..Messages::to(columns.is_some(), Box::new(self.clone()))
            }
        }

        /// And forgets it.
        pub(crate) fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    impl Write for Seen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::seen::Seen;
    use super::*;

    fn drawn(columns: Option<u16>) -> String {
        let seen = Seen::default();
        let mut messages = seen.messages(columns);
        let extent = |done, unit| Extent { done, all: 2, unit };
        messages.progress("a", "", Extent::default());
        messages.progress("b", "x", extent(0, "nodes"));
        messages.progress("a", "y", extent(1, ""));
        messages.say("end\n");
        messages.progress("a", "z", Extent::default());
        seen.take()
    }

    #[test]
    fn a_terminal_is_drawn_over_and_a_pipe_gets_what_is_no_bar() {
        assert_eq!(drawn(None), "a: \nend\na: z\n");
        let narrow = "\n\x1b[1A\x1b[2K\ra:  \r\x1b[1B\n\x1b[1A\x1b[2K\rb: x 0/2 nodes\r\x1b[1B\
            \x1b[2A\x1b[2K\ra: y \r\x1b[2Bend\n\n\x1b[1A\x1b[2K\ra: z \r\x1b[1B";
        assert_eq!(drawn(Some(80)), narrow);
        let half = format!("[{}>{}] ", "=".repeat(25), " ".repeat(25));
        assert!(drawn(Some(120)).contains(&format!("a: y {half}\r")));
    }

    #[test]
    fn a_bar_is_as_long_as_what_is_done() {
        assert_eq!(bar(1, 2).find('>'), Some(26));
        assert_eq!(bar(3, 3), format!("[{}>] ", "=".repeat(50)));
        assert_eq!(bar(0, 0), format!("[>{}] ", " ".repeat(50)));
    }
}
