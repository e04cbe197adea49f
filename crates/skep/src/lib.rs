//! The program `skep`: the daemon's assembly and its HTTP API. Everything else is in the other crates.
//!
//! - [`daemon`]: flags, daemon.json, sockets, signals; builds engine, swarm node and HTTP server.
//! - [`http`]: the Engine API: routes, streams, conversion between JSON and messages.
//! - [`playground`]: a swarm of several hosts on this machine, to try things on.

pub mod daemon;
pub mod http;
pub mod playground;
pub mod swarm;

/// What this process is, told by its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `skep daemon`: the engine, the node and the API.
    Daemon,
    /// `skep playground`: several hosts on this machine.
    Playground,
    /// `skep demo-web`: the page that the playground serves.
    DemoWeb,
    /// `skep shim DIR`: the parent of one container.
    Shim,
    /// `skep oci …`: the OCI runtime's command line.
    Oci,
    /// Being called `docker-init`: the first process of a container with `--init`.
    Init,
    /// Any other verb, or being called `docker`: the command line.
    Cli,
}

impl Role {
    /// The role that `args` (the program's name first) asks for.
    pub fn of(args: &[String]) -> Role {
        let program = args
            .first()
            .map_or("", |arg| arg.rsplit('/').next().unwrap_or(arg));
        match program {
            "docker" => return Role::Cli,
            "docker-init" => return Role::Init,
            _ => {}
        }
        match args.get(1).map(String::as_str) {
            Some("daemon") => Role::Daemon,
            Some("shim") => Role::Shim,
            Some("oci") => Role::Oci,
            Some("playground") => Role::Playground,
            Some("demo-web") => Role::DemoWeb,
            _ => Role::Cli,
        }
    }
}
