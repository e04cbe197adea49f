//! One host's objects: containers, images, volumes, local networks, logs, events.

pub mod image;
