//! What the simulations are made of.

pub mod chaos;
pub mod clients;
pub mod cluster;
pub mod history;
pub mod host;
pub mod network;
pub mod plan;
pub mod random;
