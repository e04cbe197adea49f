//! `skep oci`: the runtime behind the command line which the OCI runtime specification describes.

use std::process::ExitCode;

/// The argv role: `skep oci [OPTIONS] create|start|state|kill|delete|exec|run …`. `args` come after
/// `oci`. Call it before any thread or runtime exists.
pub fn main(args: &[String]) -> ExitCode {
    eprintln!("oci: not built yet: {args:?}");
    ExitCode::FAILURE
}
