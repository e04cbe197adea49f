//! Command lines, what they print, and what they ask of the daemon, compared with recordings of
//! Docker's own command line (28.2).
//!
//! A transcript is a text: a line `$ docker ps -a` is run by a shell against a daemon with canned
//! answers; below it stand its standard output (`1 `), standard error (`2 `), exit code (`= `),
//! requests (`> `, sorted) and their JSON bodies (`| `). The body of a create is told as its
//! difference from the first one of the file.
//!
//! Where skep's answer is meant to be another, a comment that begins with `# ours` says why; such an
//! entry is not recorded.
//!
//! `SKEP_RECORD=/usr/bin/docker cargo nextest run -p skep-cli -E 'binary(transcripts)'` writes the
//! transcripts anew from the lines with `$`. `SKEP_ACCEPT=1` writes what skep answers to the entries
//! that are ours. `SKEP_SHOW=1` prints all that differs.

#![allow(clippy::unwrap_used)]

#[path = "transcripts/body.rs"]
mod body;
#[path = "transcripts/canned.rs"]
mod canned;
#[path = "transcripts/play.rs"]
mod play;

macro_rules! transcripts {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            play::check(stringify!($name));
        }
    )*};
}

transcripts!(
    containers, create, formats, grammar, help, images, networks, registry, run, system, terminal,
    volumes, contexts, update, nodes, stacks,
);
