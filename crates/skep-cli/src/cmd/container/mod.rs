//! `container`: containers of this host.

mod body;
mod checks;
mod control;
mod copy;
mod copy_rules;
mod exec;
mod flags;
mod host;
mod list;
mod networking;
mod run;
mod session;
mod show;
mod snapshot;
mod stats;

use crate::grammar::{Arity, Command, command};

pub(crate) use list::{age, item};

pub(super) const COMMANDS: &[Command] = &[
    command(
        "container run",
        &["run"],
        "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        "Create and run a new container from an image",
        Arity::AtLeast(1),
        flags::RUN,
        |c, m| Box::pin(run::run(c, m)),
    ).until_argument(),
    command(
        "container create",
        &["create"],
        "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        "Create a new container",
        Arity::AtLeast(1),
        flags::CREATE,
        |c, m| Box::pin(run::create(c, m)),
    ).until_argument(),
    command(
        "container start",
        &["start"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Start one or more stopped containers",
        Arity::AtLeast(1),
        "-a, --attach\n--checkpoint string @experimental\n--checkpoint-dir string @experimental\n--detach-keys string\n-i, --interactive\n--sig-proxy bool=true @hidden",
        |c, m| Box::pin(run::start(c, m)),
    ),
    command(
        "container attach",
        &["attach"],
        "[OPTIONS] CONTAINER",
        "Attach local standard input, output, and error streams to a running container",
        Arity::Exactly(1),
        "--detach-keys string\n--no-stdin\n--sig-proxy bool=true",
        |c, m| Box::pin(run::attach(c, m)),
    ),
    command(
        "container exec",
        &["exec"],
        "[OPTIONS] CONTAINER COMMAND [ARG...]",
        "Execute a command in a running container",
        Arity::AtLeast(2),
        "-d, --detach\n--detach-keys string\n-e, --env list\n--env-file list\n-i, --interactive\n--privileged\n-t, --tty\n-u, --user string\n-w, --workdir string",
        |c, m| Box::pin(exec::run(c, m)),
    ).until_argument(),
    command(
        "container ls",
        &["container list", "container ps", "ps"],
        "[OPTIONS]",
        "List containers",
        Arity::None,
        "-a, --all\n-f, --filter filter\n--format string\n-n, --last int=-1\n-l, --latest\n--no-trunc\n-q, --quiet\n-s, --size",
        |c, m| Box::pin(list::run(c, m)),
    ),
    command(
        "container inspect",
        &[],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Display detailed information on one or more containers",
        Arity::AtLeast(1),
        "-f, --format string\n-s, --size",
        |c, m| Box::pin(show::show(c, m)),
    ),
    command(
        "container logs",
        &["logs"],
        "[OPTIONS] CONTAINER",
        "Fetch the logs of a container",
        Arity::Exactly(1),
        "--details\n-f, --follow\n--since string\n-n, --tail string=all\n-t, --timestamps\n--until string",
        |c, m| Box::pin(show::logs(c, m)),
    ),
    command(
        "container port",
        &["port"],
        "CONTAINER [PRIVATE_PORT[/PROTO]]",
        "List port mappings or a specific mapping for the container",
        Arity::Between(1, 2),
        "",
        |c, m| Box::pin(show::port(c, m)),
    ),
    command(
        "container top",
        &["top"],
        "CONTAINER [ps OPTIONS]",
        "Display the running processes of a container",
        Arity::AtLeast(1),
        "",
        |c, m| Box::pin(show::top(c, m)),
    ).until_argument(),
    command(
        "container stop",
        &["stop"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Stop one or more running containers",
        Arity::AtLeast(1),
        "-s, --signal string\n--time int @now:timeout\n-t, --timeout int",
        |c, m| Box::pin(control::verb(c, m)),
    ),
    command(
        "container restart",
        &["restart"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Restart one or more containers",
        Arity::AtLeast(1),
        "-s, --signal string\n--time int @now:timeout\n-t, --timeout int",
        |c, m| Box::pin(control::verb(c, m)),
    ),
    command(
        "container kill",
        &["kill"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Kill one or more running containers",
        Arity::AtLeast(1),
        "-s, --signal string",
        |c, m| Box::pin(control::verb(c, m)),
    ),
    command(
        "container pause",
        &["pause"],
        "CONTAINER [CONTAINER...]",
        "Pause all processes within one or more containers",
        Arity::AtLeast(1),
        "",
        |c, m| Box::pin(control::verb(c, m)),
    ),
    command(
        "container unpause",
        &["unpause"],
        "CONTAINER [CONTAINER...]",
        "Unpause all processes within one or more containers",
        Arity::AtLeast(1),
        "",
        |c, m| Box::pin(control::verb(c, m)),
    ),
    command(
        "container rm",
        &["container remove", "rm"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Remove one or more containers",
        Arity::AtLeast(1),
        "-f, --force\n-l, --link\n-v, --volumes",
        |c, m| Box::pin(control::rm(c, m)),
    ),
    command(
        "container rename",
        &["rename"],
        "CONTAINER NEW_NAME",
        "Rename a container",
        Arity::Exactly(2),
        "",
        |c, m| Box::pin(control::rename(c, m)),
    ),
    command(
        "container wait",
        &["wait"],
        "CONTAINER [CONTAINER...]",
        "Block until one or more containers stop, then print their exit codes",
        Arity::AtLeast(1),
        "",
        |c, m| Box::pin(control::wait(c, m)),
    ),
    command(
        "container update",
        &["update"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Update configuration of one or more containers",
        Arity::AtLeast(1),
        "--blkio-weight uint16\n--cpu-period int\n--cpu-quota int\n--cpu-rt-period int @1.25\n--cpu-rt-runtime int @1.25\n-c, --cpu-shares int\n--cpus decimal @1.29\n--cpuset-cpus string\n--cpuset-mems string\n--kernel-memory bytes @hidden\n-m, --memory bytes\n--memory-reservation bytes\n--memory-swap bytes\n--pids-limit int @1.40\n--restart string",
        |c, m| Box::pin(control::update(c, m)),
    ),
    command(
        "container prune",
        &[],
        "[OPTIONS]",
        "Remove all stopped containers",
        Arity::None,
        "--filter filter\n-f, --force",
        |c, m| Box::pin(crate::cmd::prune::containers(c, m)),
    ),
    command(
        "container cp",
        &["cp"],
        "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tdocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
        "Copy files/folders between a container and the local filesystem",
        Arity::Exactly(2),
        "-a, --archive\n-L, --follow-link\n-q, --quiet",
        |c, m| Box::pin(copy::run(c, m)),
    ),
    command(
        "container commit",
        &["commit"],
        "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        "Create a new image from a container's changes",
        Arity::Between(1, 2),
        "-a, --author string\n-c, --change list\n-m, --message string\n-p, --pause bool=true",
        |c, m| Box::pin(snapshot::commit(c, m)),
    ),
    command(
        "container diff",
        &["diff"],
        "CONTAINER",
        "Inspect changes to files or directories on a container's filesystem",
        Arity::Exactly(1),
        "",
        |c, m| Box::pin(snapshot::diff(c, m)),
    ),
    command(
        "container export",
        &["export"],
        "[OPTIONS] CONTAINER",
        "Export a container's filesystem as a tar archive",
        Arity::Exactly(1),
        "-o, --output string",
        |c, m| Box::pin(snapshot::export(c, m)),
    ),
    command(
        "container stats",
        &["stats"],
        "[OPTIONS] [CONTAINER...]",
        "Display a live stream of container(s) resource usage statistics",
        Arity::AtLeast(0),
        "-a, --all\n--format string\n--no-stream\n--no-trunc",
        |c, m| Box::pin(stats::run(c, m)),
    ),
];
