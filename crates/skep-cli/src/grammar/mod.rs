//! Docker's command line grammar: commands, flags, arguments, help and its errors.
//!
//! A [`Command`] is data: its flags are a text block in the notation of Docker's own help
//! (`-f, --filter list`), so that a table can be compared with the real thing at a glance.

mod descriptions;
mod flags;
mod help;
mod parse;
mod values;

pub(crate) use descriptions::of as description;
pub use flags::{Flag, FlagKind, Notes};
pub(crate) use help::usage;
pub use help::{command_help, group_help, root_help};
pub use parse::{Matches, UsageError, parse, parse_root};
pub use values::{parse_bytes, parse_cpus, parse_duration};

use futures::future::BoxFuture;

use crate::context::Context;
use crate::error::CliError;

/// What a command does once its words are understood.
pub type Run = for<'a> fn(&'a Context, &'a Matches) -> BoxFuture<'a, Result<(), CliError>>;

/// How many arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// None.
    None,
    /// Exactly so many.
    Exactly(usize),
    /// So many or more.
    AtLeast(usize),
    /// So many or fewer.
    AtMost(usize),
    /// From so many to so many.
    Between(usize, usize),
}

/// One command, such as `service create`.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// Its words, such as `service create`.
    pub path: &'static str,
    /// Other words for it: `ps` for `container ls`.
    pub aliases: &'static [&'static str],
    /// What follows the words in the usage line.
    pub usage: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// How many arguments it takes.
    pub arity: Arity,
    /// Whether the first argument ends the flags, so that what follows is not ours.
    pub stops_at_argument: bool,
    /// One flag a line: `-f, --filter list` or `--replicas uint=1`.
    pub flags: &'static str,
    /// What it does.
    pub run: Run,
}

impl Command {
    /// Its flags, decoded, with `--help`.
    pub fn flags(&self) -> Vec<Flag> {
        self.flags
            .lines()
            .filter_map(Flag::decode)
            .chain(Flag::decode("--help"))
            .collect()
    }

    /// What follows the first argument is not ours.
    pub(crate) const fn until_argument(mut self) -> Self {
        self.stops_at_argument = true;
        self
    }
}

/// A command whose flags may stand anywhere.
pub(crate) const fn command(
    path: &'static str,
    aliases: &'static [&'static str],
    usage: &'static str,
    about: &'static str,
    arity: Arity,
    flags: &'static str,
    run: Run,
) -> Command {
    Command {
        path,
        aliases,
        usage,
        about,
        arity,
        stops_at_argument: false,
        flags,
        run,
    }
}
