//! A host that runs Debian's dockerd in the place of skep: a real peer to be tested against.

use std::fs::File;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::host::Host;

/// The daemon starts a containerd of its own, below its exec root, where it finds no other's socket:
/// the mount namespace hides those that the machine may run, and takes the daemon's mounts with it
/// when it ends. The host name is set in a UTS namespace.
const SCRIPT: &str = r#"echo "$0" > /proc/sys/kernel/hostname && mkdir -p /run/containerd \
&& mount -t tmpfs tmpfs /run/containerd && exec "$@""#;

impl Host {
    /// Starts dockerd on this host's directories and socket, and waits until it answers.
    pub fn start_dockerd(&mut self, flags: &[&str]) -> Result<()> {
        let places = ["/usr/sbin/dockerd", "/usr/bin/dockerd"];
        let Some(program) = places.iter().find(|p| std::path::Path::new(p).exists()) else {
            bail!("dockerd: install Debian's package docker.io (cargo xtask test does)");
        };
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("daemon.log"))?;
        let mut command = self.inside("unshare");
        command
            .args(["--uts", "--mount", "--propagation", "slave", "--"])
            .args(["sh", "-c", SCRIPT, &self.name, program])
            .arg("--data-root")
            .arg(self.data_root())
            .arg("--exec-root")
            .arg(self.exec_root())
            .args(["--host", &self.docker_host()])
            .arg("--pidfile")
            .arg(self.dir.join("dockerd.pid"))
            .args(["--cgroup-parent", self.cgroup()])
            // Its swarm needs no bridge of its own, and the machine's address ranges may overlap.
            .arg("--bridge=none")
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command
            .spawn()
            .context("start nsenter (Debian: util-linux)")?;
        self.attend(child)
    }
}
