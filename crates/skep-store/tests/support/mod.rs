//! What the simulations are made of.

pub mod cluster;
pub mod history;
pub mod network;
pub mod random;
