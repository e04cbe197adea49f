//! `skep-fuzz [NAME] [SECONDS] [--keep]`: one target, or each in turn, for longer than a test may take.

use std::process::ExitCode;
use std::time::Duration;

use skep_fuzz::{TARGETS, Target};

const USAGE: &str = "usage: skep-fuzz [NAME] [SECONDS] [--keep], with NAME of: ";

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let keep = args.iter().any(|arg| arg == "--keep");
    args.retain(|arg| arg != "--keep");
    let seconds = args.last().and_then(|text| text.parse().ok());
    if seconds.is_some() {
        args.pop();
    }
    let targets = match args.as_slice() {
        [] => TARGETS.to_vec(),
        [name] => skep_fuzz::find(name).into_iter().collect(),
        _ => Vec::new(),
    };
    if targets.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("{USAGE}{}", names.join(", "));
        return ExitCode::FAILURE;
    }
    let time = Duration::from_secs(seconds.unwrap_or(60));
    for target in targets {
        if let Err(error) = fuzz(&target, time, keep) {
            eprintln!("{}: {error}", target.name);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn fuzz(target: &Target, time: Duration, keep: bool) -> std::io::Result<()> {
    let given = std::env::var("SKEP_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("{}: SKEP_SEED={seed}, {time:?}", target.name);
    let outcome = skep_fuzz::drive(target, seed, u64::MAX, time);
    let edges = match outcome.edges {
        Some(edges) => format!("{edges} edges, {} times somewhere new", outcome.found.len()),
        None => "without counting edges".to_owned(),
    };
    eprintln!(
        "{}: {} inputs, none did harm; {edges}",
        target.name, outcome.inputs
    );
    if keep && outcome.edges.is_none() {
        return Err(std::io::Error::other(
            "nothing can be kept by a build that does not count edges: cargo xtask fuzz makes one",
        ));
    }
    if keep {
        let kept = target.keep(outcome.found)?;
        eprintln!("{}: {kept} are kept", target.name);
    }
    Ok(())
}
