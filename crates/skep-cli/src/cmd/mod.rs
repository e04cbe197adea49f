//! The commands: a file a noun, a function a verb.

mod backup;
mod build;
mod checkpoint;
mod completion;
mod container;
pub mod context;
mod doctor;
mod image;
mod login;
mod many;
mod network;
mod node;
mod objects;
mod plugins;
mod prune;
mod rollout;
mod search;
mod secret;
mod service;
mod stack;
mod swarm;
mod system;
mod versions;
mod volume;

use crate::grammar::Command;

/// Groups of commands, and what they are for.
pub(crate) const GROUPS: &[(&str, &str)] = &[
    ("builder", "Manage builds"),
    ("checkpoint", "Manage checkpoints"),
    (
        "completion",
        "Generate the autocompletion script for a shell",
    ),
    ("config", "Manage Swarm configs"),
    ("container", "Manage containers"),
    ("context", "Manage contexts"),
    ("debug", "Look into a trouble with the daemon"),
    ("image", "Manage images"),
    ("network", "Manage networks"),
    ("node", "Manage Swarm nodes"),
    ("plugin", "Manage plugins"),
    ("secret", "Manage Swarm secrets"),
    ("service", "Manage Swarm services"),
    ("stack", "Manage Swarm stacks"),
    ("swarm", "Manage Swarm"),
    ("system", "Manage Docker"),
    ("volume", "Manage volumes"),
];

/// Every command.
pub(crate) fn commands() -> Vec<Command> {
    [
        backup::COMMANDS,
        build::COMMANDS,
        checkpoint::COMMANDS,
        completion::COMMANDS,
        container::COMMANDS,
        context::COMMANDS,
        doctor::COMMANDS,
        image::COMMANDS,
        login::COMMANDS,
        network::COMMANDS,
        node::COMMANDS,
        plugins::COMMANDS,
        search::COMMANDS,
        secret::COMMANDS,
        service::COMMANDS,
        stack::COMMANDS,
        swarm::COMMANDS,
        system::COMMANDS,
        volume::COMMANDS,
    ]
    .concat()
}

/// Whether help leaves a command out.
pub(crate) fn hidden(path: &str) -> bool {
    matches!(path, "system dial-stdio" | "completion")
}

/// API versions from which daemons know a command, or a group of them.
const SINCE: [(&str, &str); 15] = [
    ("builder", "1.31"),
    ("checkpoint", "1.25"),
    ("config", "1.30"),
    ("container prune", "1.25"),
    ("image prune", "1.25"),
    ("network prune", "1.25"),
    ("node", "1.24"),
    ("plugin", "1.24"),
    ("secret", "1.25"),
    ("service logs", "1.29"),
    ("service rollback", "1.31"),
    ("stack", "1.25"),
    ("system df", "1.25"),
    ("system prune", "1.25"),
    ("volume prune", "1.25"),
];

/// The API version from which daemons know a command.
pub(crate) fn since(path: &str) -> Option<&'static str> {
    SINCE
        .iter()
        .find(|(name, _)| {
            path.strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
        .map(|(_, version)| *version)
}
