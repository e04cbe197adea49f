//! `skep-fuzz NAME [SECONDS]`: one target for longer than a test may take.

use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let target = args.first().and_then(|name| skep_fuzz::find(name));
    let Some(target) = target else {
        let names: Vec<_> = skep_fuzz::TARGETS
            .iter()
            .map(|target| target.name)
            .collect();
        eprintln!(
            "usage: skep-fuzz NAME [SECONDS], with NAME of: {}",
            names.join(", ")
        );
        return ExitCode::FAILURE;
    };
    let seconds = args.get(1).and_then(|text| text.parse().ok()).unwrap_or(60);
    let given = std::env::var("SKEP_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("{}: SKEP_SEED={seed}, {seconds} s", target.name);
    let count = skep_fuzz::drive(&target, seed, u64::MAX, Duration::from_secs(seconds));
    eprintln!("{}: {count} inputs, none did harm", target.name);
    ExitCode::SUCCESS
}
