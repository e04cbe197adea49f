//! Containers and networks of one host from end to end, as root: the engine of this crate, the shim of
//! the program itself, busybox as the image. Tests of containers have `none` and `host` for networks,
//! so that they do not meet in the kernel; those of networks each have a network namespace of their own.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

mod bench;
mod busybox;
mod files;
mod life;
mod namespace;
mod network;
mod overlay;
mod process;
