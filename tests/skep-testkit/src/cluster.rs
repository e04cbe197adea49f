//! A lab whose hosts have joined one swarm.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::lab::{Lab, LabSpec};

/// `Cluster::managers(3).workers(2).start(program)`.
#[derive(Debug, Clone)]
pub struct ClusterBuilder {
    managers: usize,
    workers: usize,
    subnet: u8,
    reachable: bool,
    daemon_flags: Vec<String>,
    dockerd: bool,
}

/// A lab whose hosts have joined one swarm: managers first.
#[derive(Debug)]
pub struct Cluster {
    lab: Lab,
    managers: usize,
}

impl Cluster {
    /// A cluster of so many managers.
    pub fn managers(managers: usize) -> ClusterBuilder {
        ClusterBuilder {
            managers,
            workers: 0,
            subnet: 0,
            reachable: false,
            daemon_flags: Vec::new(),
            dockerd: false,
        }
    }

    /// How many of the hosts are managers.
    pub fn manager_count(&self) -> usize {
        self.managers
    }
}

impl ClusterBuilder {
    /// So many workers besides.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Reachable from this machine, with this third byte of the addresses.
    pub fn reachable(mut self, subnet: u8) -> Self {
        (self.reachable, self.subnet) = (true, subnet);
        self
    }

    /// A flag for every daemon.
    pub fn daemon_flag(mut self, flag: &str) -> Self {
        self.daemon_flags.push(flag.to_owned());
        self
    }

    /// Debian's dockerd on every host in the place of skep, for comparison.
    pub fn dockerd(mut self) -> Self {
        self.dockerd = true;
        self
    }

    /// Makes the hosts, starts the daemons, initialises the swarm and joins it.
    pub fn start(self, program: impl Into<PathBuf>) -> Result<Cluster> {
        let mut spec = LabSpec::new(program, self.managers + self.workers);
        (spec.subnet, spec.reachable) = (self.subnet, self.reachable);
        spec.daemon_flags.clone_from(&self.daemon_flags);
        let mut lab = Lab::new(&spec)?;
        for host in &mut lab.hosts {
            if self.dockerd {
                let flags: Vec<&str> = self.daemon_flags.iter().map(String::as_str).collect();
                host.start_dockerd(&flags)?;
            } else {
                host.start()?;
            }
        }
        let first = lab.hosts.first().context("a cluster needs a manager")?;
        let leader = format!("{}:2377", first.address);
        let body = json!({"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": first.address.to_string(), "Spec": {}});
        expect_ok("init", &first.api("POST", "/swarm/init", Some(&body))?)?;
        let swarm = first.api("GET", "/swarm", None)?.json();
        for (number, host) in lab.hosts.iter().enumerate().skip(1) {
            let role = if number < self.managers {
                "Manager"
            } else {
                "Worker"
            };
            let body = json!({
                "ListenAddr": "0.0.0.0:2377",
                "AdvertiseAddr": host.address.to_string(),
                "RemoteAddrs": [leader],
                "JoinToken": swarm["JoinTokens"][role],
            });
            expect_ok("join", &host.api("POST", "/swarm/join", Some(&body))?)?;
        }
        Ok(Cluster {
            lab,
            managers: self.managers,
        })
    }
}

fn expect_ok(what: &str, answer: &crate::Answer) -> Result<()> {
    if answer.status != 200 {
        bail!("{what}: {} {}", answer.status, answer.text());
    }
    Ok(())
}

impl Deref for Cluster {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut Lab {
        &mut self.lab
    }
}
