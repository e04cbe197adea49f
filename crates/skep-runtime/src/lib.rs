//! One container process: namespaces, cgroups, mounts, seccomp, shim. Sync, no async runtime.
#![allow(unsafe_code)] // the one crate that forks, mounts and enters namespaces
