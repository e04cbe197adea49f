//! What the tests need beyond cargo, from Debian.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::run;

/// A program that tests start, and the package that brings it.
const NEEDED: [(&str, &str); 15] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("busybox", "busybox-static"),
    ("nginx", "nginx-light"),
    ("docker-registry", "docker-registry"),
    ("skopeo", "skopeo"),
    ("runc", "runc"),
    ("nsenter", "util-linux"),
    ("conntrack", "conntrack"),
    // A peer for the tests: it is started by them, in namespaces of their own.
    ("dockerd", "docker.io"),
    ("prometheus", "prometheus"),
    ("python3", "python3-venv"),
    ("docker-compose", "docker-compose"),
    ("openssl", "openssl"),
    ("script", "bsdutils"),
];

/// Installs the packages that are missing.
pub fn install() -> Result<()> {
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("xtask: installing {}", missing.join(" "));
    if !is_installed("apt-get") {
        bail!(
            "the tests need {}: install what holds them with this system's package manager",
            missing.join(", ")
        );
    }
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    // Services of these packages (nginx, the registry, dockerd) are not to be started.
    run(Command::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("RUNLEVEL", "1"))
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .any(|dir| Path::new(dir).join(program).exists())
}
