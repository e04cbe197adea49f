//! `service`: services of a swarm.

mod create;
mod extras;
mod flags;
mod inspect;
mod list;
mod logs;
mod pretty;
mod progress;
mod references;
mod spec;
mod tasks;
mod update;
mod update_container;
mod update_lists;
mod update_spec;
mod values;

use crate::grammar::{Arity, Command};

pub(super) use create::{stored_auth, unpinned};
pub(super) use extras::set_strategy;
pub(super) use list::print_services;
pub(super) use progress::wait;
pub(super) use tasks::{given_filters, print_tasks};
pub(super) use values::tagged;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "service create",
        aliases: &[],
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        about: "Create a new service",
        arity: Arity::AtLeast(1),
        stops_at_argument: true,
        flags: flags::CREATE,
        run: |context, matches| Box::pin(create::run(context, matches)),
    },
    Command {
        path: "service ls",
        aliases: &["service list"],
        usage: "[OPTIONS]",
        about: "List services",
        arity: Arity::None,
        stops_at_argument: false,
        flags: "-f, --filter filter\n--format string\n-q, --quiet",
        run: |context, matches| Box::pin(list::run(context, matches)),
    },
    Command {
        path: "service ps",
        aliases: &[],
        usage: "[OPTIONS] SERVICE [SERVICE...]",
        about: "List the tasks of one or more services",
        arity: Arity::AtLeast(1),
        stops_at_argument: false,
        flags: "-f, --filter filter\n--format string\n--no-resolve\n--no-trunc\n-q, --quiet",
        run: |context, matches| Box::pin(tasks::run(context, matches)),
    },
    Command {
        path: "service inspect",
        aliases: &[],
        usage: "[OPTIONS] SERVICE [SERVICE...]",
        about: "Display detailed information on one or more services",
        arity: Arity::AtLeast(1),
        stops_at_argument: false,
        flags: "-f, --format string\n--pretty",
        run: |context, matches| Box::pin(inspect::run(context, matches)),
    },
    Command {
        path: "service update",
        aliases: &[],
        usage: "[OPTIONS] SERVICE",
        about: "Update a service",
        arity: Arity::Exactly(1),
        stops_at_argument: false,
        flags: flags::UPDATE,
        run: |context, matches| Box::pin(update::run(context, matches)),
    },
    Command {
        path: "service scale",
        aliases: &[],
        usage: "SERVICE=REPLICAS [SERVICE=REPLICAS...]",
        about: "Scale one or multiple replicated services",
        arity: Arity::AtLeast(1),
        stops_at_argument: false,
        flags: "-d, --detach",
        run: |context, matches| Box::pin(update::scale(context, matches)),
    },
    Command {
        path: "service rollback",
        aliases: &[],
        usage: "[OPTIONS] SERVICE",
        about: "Revert changes to a service's configuration",
        arity: Arity::Exactly(1),
        stops_at_argument: false,
        flags: "-d, --detach\n-q, --quiet",
        run: |context, matches| Box::pin(update::rollback(context, matches)),
    },
    Command {
        path: "service rebalance",
        aliases: &[],
        usage: "[OPTIONS] SERVICE [SERVICE...]",
        about: "Spread the tasks of services over the nodes that there are now",
        arity: Arity::AtLeast(1),
        stops_at_argument: false,
        flags: "-d, --detach\n-q, --quiet",
        run: |context, matches| Box::pin(update::rebalance(context, matches)),
    },
    Command {
        path: "service logs",
        aliases: &[],
        usage: "[OPTIONS] SERVICE|TASK",
        about: "Fetch the logs of a service or task",
        arity: Arity::Exactly(1),
        stops_at_argument: false,
        flags: "
--details
-f, --follow
--no-resolve
--no-task-ids
--no-trunc
--raw
--since string
-n, --tail string=all
-t, --timestamps",
        run: |context, matches| Box::pin(logs::run(context, matches)),
    },
    Command {
        path: "service rm",
        aliases: &["service remove"],
        usage: "SERVICE [SERVICE...]",
        about: "Remove one or more services",
        arity: Arity::AtLeast(1),
        stops_at_argument: false,
        flags: "",
        run: |context, matches| Box::pin(list::rm(context, matches)),
    },
];
