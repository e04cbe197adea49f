//! Hosts on a switch.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::clean;
use crate::host::Host;

/// The range that RFC 2544 sets apart for tests: no pool of Docker's lies in it.
const NETWORK: [u8; 2] = [198, 18];
const OUTSIDE: u8 = 254;
const CLIENT: u8 = 100;

/// What a lab is made of.
#[derive(Debug, Clone)]
pub struct LabSpec {
    /// The skep program.
    pub program: PathBuf,
    /// How many hosts.
    pub hosts: usize,
    /// Third byte of the hosts' addresses.
    pub subnet: u8,
    /// Whether this machine itself can reach the hosts.
    pub reachable: bool,
    /// Flags that every daemon gets besides its directories and socket.
    pub daemon_flags: Vec<String>,
}

impl LabSpec {
    /// Hosts that nobody else can reach.
    pub fn new(program: impl Into<PathBuf>, hosts: usize) -> Self {
        Self {
            program: program.into(),
            hosts,
            subnet: 0,
            reachable: false,
            daemon_flags: Vec::new(),
        }
    }
}

/// Hosts on a switch, and nothing of them left once it is dropped.
#[derive(Debug)]
pub struct Lab {
    name: String,
    dir: PathBuf,
    reachable: bool,
    subnet: u8,
    /// The hosts, in order of their addresses.
    pub hosts: Vec<Host>,
}

impl Lab {
    /// Makes the switch and the hosts; starts no daemon.
    pub fn new(spec: &LabSpec) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("hosts are network namespaces, which only root can make: run as root");
        }
        let dir = tempfile::Builder::new()
            .prefix("skep-lab-")
            .tempdir()?
            .keep();
        let tag = dir
            .file_name()
            .and_then(|name| name.to_str())
            .context("a directory without a name")?;
        let name = format!("skep{}", tag.trim_start_matches("skep-lab-").to_lowercase());
        let mut lab = Self {
            name,
            dir,
            reachable: spec.reachable,
            subnet: spec.subnet,
            hosts: Vec::new(),
        };
        lab.make_switch()?;
        for number in 1..=spec.hosts {
            let host = lab.make_host(spec, number)?;
            lab.hosts.push(host);
        }
        Ok(lab)
    }

    /// The lab's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Name of the lab, and the cgroup that all its containers are below.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Cuts a host off: its cable is out, everything on it goes on.
    pub fn cut(&self, host: usize) -> Result<()> {
        self.in_switch(&["link", "set", &format!("p{}", host + 1), "down"])
    }

    /// Puts the cable back.
    pub fn mend(&self, host: usize) -> Result<()> {
        self.in_switch(&["link", "set", &format!("p{}", host + 1), "up"])
    }

    /// Gives the switch's port of a host another MTU: larger frames do not pass, either way.
    pub fn set_port_mtu(&self, host: usize, mtu: u32) -> Result<()> {
        let port = format!("p{}", host + 1);
        self.in_switch(&["link", "set", &port, "mtu", &mtu.to_string()])
    }

    /// A namespace on the switch that is no host, where clients are, and its address.
    pub fn make_client(&self) -> Result<(PathBuf, Ipv4Addr)> {
        self.plug("client", CLIENT, "pc")?;
        Ok((
            namespace_path(&self.namespace("client")),
            self.address(CLIENT),
        ))
    }

    /// What is left of the lab outside its directory, in words.
    pub fn leaks(&self) -> Vec<String> {
        clean::leaks(&self.dir, &self.name, &self.hosts)
    }

    fn make_switch(&self) -> Result<()> {
        let switch = self.namespace("switch");
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "set", "lo", "up"])?;
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        // The router of the hosts: their default routes need somewhere to go.
        ip(&[
            "-n",
            &switch,
            "addr",
            "add",
            &format!("{}/24", self.address(1)),
            "dev",
            "br0",
        ])?;
        if self.reachable {
            let outer = self.outer();
            ip(&[
                "link", "add", &outer, "type", "veth", "peer", "name", "po", "netns", &switch,
            ])?;
            ip(&["-n", &switch, "link", "set", "po", "master", "br0", "up"])?;
            ip(&[
                "addr",
                "add",
                &format!("{}/24", self.address(OUTSIDE)),
                "dev",
                &outer,
            ])?;
            ip(&["link", "set", &outer, "up"])?;
        }
        Ok(())
    }

    fn make_host(&self, spec: &LabSpec, number: usize) -> Result<Host> {
        let name = format!("host{number}");
        let last = u8::try_from(number + 10).context("too many hosts")?;
        self.plug(&name, last, &format!("p{number}"))?;
        Host::new(
            &name,
            namespace_path(&self.namespace(&name)),
            self.address(last),
            self.dir.join(&name),
            &spec.program,
            format!("/{}-{name}", self.name),
            &spec.daemon_flags,
        )
    }

    /// Makes a namespace with an `eth0` on the switch.
    fn plug(&self, name: &str, last: u8, port: &str) -> Result<()> {
        let (namespace, switch) = (self.namespace(name), self.namespace("switch"));
        ip(&["netns", "add", &namespace])?;
        ip(&[
            "-n", &switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns",
            &namespace,
        ])?;
        ip(&["-n", &switch, "link", "set", port, "master", "br0", "up"])?;
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        ip(&[
            "-n",
            &namespace,
            "addr",
            "add",
            &format!("{}/24", self.address(last)),
            "dev",
            "eth0",
        ])?;
        ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
        ip(&[
            "-n",
            &namespace,
            "route",
            "add",
            "default",
            "via",
            &self.address(1).to_string(),
        ])
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(NETWORK[0], NETWORK[1], self.subnet, last)
    }

    fn namespace(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    fn outer(&self) -> String {
        format!("{}o", self.name)
    }

    fn in_switch(&self, args: &[&str]) -> Result<()> {
        let switch = self.namespace("switch");
        let mut all = vec!["-n", switch.as_str()];
        all.extend(args);
        ip(&all)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        for host in &mut self.hosts {
            if failed {
                eprintln!("--- log of {}\n{}", host.name, host.log_tail());
            }
            host.kill();
        }
        clean::sweep(&self.dir, &self.name);
        if std::env::var_os("SKEP_KEEP").is_some() {
            eprintln!("kept: {}", self.dir.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("{}: {error}", self.dir.display());
        }
    }
}

/// Where `ip netns add` pins a namespace.
fn namespace_path(name: &str) -> PathBuf {
    Path::new("/var/run/netns").join(name)
}

pub(crate) fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(args)
        .output()
        .context("start ip (Debian: iproute2)")?;
    if !output.status.success() {
        bail!(
            "ip {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
