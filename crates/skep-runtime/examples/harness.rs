//! The roles of the runtime without the rest of skep: for this crate's tests and benches.
//!
//! `harness shim DIR`, `harness oci …`, and `docker-init …` when called by that name.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if args
        .first()
        .is_some_and(|name| name.ends_with("docker-init"))
    {
        return skep_runtime::init::main(&args[1..]);
    }
    match args.get(1).map(String::as_str) {
        Some("shim") => match args.get(2) {
            Some(dir) => skep_runtime::shim::main(Path::new(dir), None),
            None => ExitCode::FAILURE,
        },
        Some("oci") => skep_runtime::oci::main(&args[2..]),
        _ => {
            eprintln!("usage: harness shim DIR | oci …");
            ExitCode::FAILURE
        }
    }
}
