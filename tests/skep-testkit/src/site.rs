//! A cluster whose hosts pull from a registry of the lab, where one image lies already.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::cluster::{Cluster, ClusterBuilder};
use crate::host::Host;
use crate::images;
use crate::registry::Registry;

/// A cluster, a namespace that stands for the outside, and a registry in it.
#[derive(Debug)]
pub struct Site {
    /// The hosts.
    pub cluster: Cluster,
    /// A namespace on the hosts' network that is no host.
    pub client: PathBuf,
    /// The image in the registry, as hosts name it.
    pub image: String,
    /// Ends when it is dropped.
    pub registry: Registry,
}

impl ClusterBuilder {
    /// Starts, with a web server in the registry that listens at port 80.
    pub fn with_nginx(self, program: impl Into<PathBuf>) -> Result<Site> {
        let change = ["-c", "CMD [\"nginx\"]"];
        self.stocked(program, "nginx:1", &change, &images::nginx()?)
    }

    /// Starts, with a shell and its tools in the registry.
    pub fn with_busybox(self, program: impl Into<PathBuf>) -> Result<Site> {
        self.stocked(program, "busybox:1", &[], &images::busybox()?)
    }

    fn stocked(
        self,
        program: impl Into<PathBuf>,
        name: &str,
        changes: &[&str],
        archive: &[u8],
    ) -> Result<Site> {
        let cluster = self
            .daemon_flag("--insecure-registry")
            .daemon_flag("198.18.0.0/24")
            .start(program)?;
        let (client, address) = cluster.make_client()?;
        let registry = Registry::start(&client, &address.to_string(), cluster.dir())?;
        let image = format!("{}/{name}", registry.name);
        let import = [&["import"], changes, &["-", &image]].concat();
        let done = |output: crate::Output| match output.code {
            0 => Ok(()),
            _ => bail!("{image}: {}", output.stderr),
        };
        let manager: &Host = &cluster.hosts[0];
        done(manager.docker_with_input(&import, archive))?;
        done(manager.docker(&["push", &image]))?;
        Ok(Site {
            cluster,
            client,
            image,
            registry,
        })
    }
}
