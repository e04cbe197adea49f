//! The commands: a file a noun, a function a verb.

mod backup;
mod container;
pub mod context;
mod image;
mod network;
mod node;
mod objects;
mod rollout;
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
    ("config", "Manage Swarm configs"),
    ("container", "Manage containers"),
    ("context", "Manage contexts"),
    ("image", "Manage images"),
    ("network", "Manage networks"),
    ("node", "Manage Swarm nodes"),
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
        container::COMMANDS,
        image::COMMANDS,
        network::COMMANDS,
        node::COMMANDS,
        secret::COMMANDS,
        service::COMMANDS,
        stack::COMMANDS,
        swarm::COMMANDS,
        system::COMMANDS,
        volume::COMMANDS,
    ]
    .concat()
}
