//! What is about a daemon as a whole: version, info, events, disk use, and `inspect` of anything.

mod df;
mod events;
mod find;
mod info;
mod swarm_info;
mod version;

use tokio::io::AsyncWriteExt as _;

use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches, command};

pub(super) const COMMANDS: &[Command] = &[
    command(
        "version",
        &[],
        "[OPTIONS]",
        "Show the Docker version information",
        Arity::None,
        "-f, --format string",
        |c, m| Box::pin(version::run(c, m)),
    ),
    command(
        "inspect",
        &[],
        "[OPTIONS] NAME|ID [NAME|ID...]",
        "Return low-level information on Docker objects",
        Arity::AtLeast(1),
        "-f, --format string\n-s, --size\n--type string",
        |c, m| Box::pin(find::run(c, m)),
    ),
    command(
        "system events",
        &["events"],
        "[OPTIONS]",
        "Get real time events from the server",
        Arity::None,
        "-f, --filter filter\n--format string\n--since string\n--until string",
        |c, m| Box::pin(events::run(c, m)),
    ),
    command(
        "system info",
        &["info"],
        "[OPTIONS]",
        "Display system-wide information",
        Arity::None,
        "-f, --format string",
        |c, m| Box::pin(info::run(c, m)),
    ),
    command(
        "system df",
        &[],
        "[OPTIONS]",
        "Show docker disk usage",
        Arity::None,
        "--format string\n-v, --verbose",
        |c, m| Box::pin(df::run(c, m)),
    ),
    command(
        "system prune",
        &[],
        "[OPTIONS]",
        "Remove unused data",
        Arity::None,
        "-a, --all\n--filter filter @1.28\n-f, --force\n--volumes",
        |c, m| Box::pin(super::prune::system(c, m)),
    ),
    command(
        "system dial-stdio",
        &[],
        "",
        "Connect standard input and output to the daemon",
        Arity::None,
        "",
        |c, m| Box::pin(dial(c, m)),
    ),
];

/// Standard input to the daemon, and its answers to standard output: the far end of `ssh://`.
async fn dial(context: &Context, _: &Matches) -> Result<(), CliError> {
    let io = context.client.endpoint()?.connect().await?.into_inner();
    let (mut reader, mut writer) = tokio::io::split(io);
    let (mut stdin, mut stdout) = (tokio::io::stdin(), tokio::io::stdout());
    let there = async {
        let copied = tokio::io::copy(&mut stdin, &mut writer).await;
        copied.and(writer.shutdown().await)
    };
    let back = async {
        tokio::io::copy(&mut reader, &mut stdout).await?;
        stdout.flush().await
    };
    tokio::pin!(there, back);
    // The daemon's end is the end; ours only closes one way.
    tokio::select! {
        result = &mut back => return Ok(result?),
        result = &mut there => result?,
    }
    Ok(back.await?)
}
