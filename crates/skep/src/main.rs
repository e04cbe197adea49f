//! skep: Docker Swarm, done again, as one program. Picks a role from argv; see `skep::Role`.

use std::process::ExitCode;

fn main() -> ExitCode {
    skep_runtime::use_built_in_name_sources();
    let args: Vec<String> = std::env::args_os()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    match skep::Role::of(&args) {
        skep::Role::Daemon => skep::daemon::main(&args[2..]),
        skep::Role::Playground => skep::playground::main(&args[2..]),
        skep::Role::DemoWeb => skep::playground::demo_main(),
        skep::Role::Shim => match args.get(2) {
            Some(dir) => {
                let open_files = args.get(3).map(String::as_str);
                skep_runtime::shim::main(std::path::Path::new(dir), open_files)
            }
            None => ExitCode::FAILURE,
        },
        skep::Role::Oci => skep_runtime::oci::main(&args[2..]),
        skep::Role::Init => skep_runtime::init::main(&args[1..]),
        skep::Role::Cli => skep_cli::main(&args),
    }
}
