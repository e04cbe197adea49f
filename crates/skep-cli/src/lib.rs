//! Docker's command line over the Engine API: the grammar, an HTTP client, and what each command
//! prints. It knows HTTP and nouns only, so that Docker's own command line stays an equal client.
//!
//! - [`grammar`]: commands and flags as data, parsed by pflag's rules.
//! - [`client`]: requests, streams and hijacked connections over unix sockets and TCP.
//! - `opts`: values of flags with a grammar of their own: mounts, ports, networks.
//! - `compose`: stack files.
//! - [`output`]: tables, templates, durations and sizes as Docker prints them.
//! - [`cmd`]: the commands, a file a verb or a noun.

pub mod client;
pub mod cmd;
mod completion;
mod compose;
mod config;
mod context;
mod credentials;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod gate;
pub mod grammar;
mod opts;
pub mod output;
mod plugin;
mod root;

use std::process::ExitCode;

pub use context::Context;
pub use error::CliError;

/// Exit code of a program that SIGPIPE ended.
pub(crate) const BROKEN_PIPE: u8 = 141;

/// Ends quietly where nobody reads on (`docker ps | head`): printing panics then, and there is nobody
/// to tell.
fn end_on_broken_pipe() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map_or("", String::as_str);
        if text.starts_with("failed printing to std") && text.contains("Broken pipe") {
            #[allow(clippy::exit, clippy::disallowed_methods)]
            // there is no way back from printing
            std::process::exit(i32::from(BROKEN_PIPE));
        }
        before(panic);
    }));
}

/// Runs the command line; `args` begins with the program's name.
pub fn main(args: &[String]) -> ExitCode {
    end_on_broken_pipe();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(root::run(args.get(1..).unwrap_or_default()));
    // A read of the terminal that is still under way must not keep us.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.message.is_empty() {
                eprintln!("{}", error.message);
            }
            ExitCode::from(error.code)
        }
    }
}
