//! Thin wrappers over system calls that no crate of ours offers.

pub(crate) mod proc;
