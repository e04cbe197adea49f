//! What [`Net`](crate::Net) is opened with.

use std::net::IpAddr;
use std::path::PathBuf;

/// Configuration of one daemon's part of the kernel's network.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// Run-time directory of the daemon; namespaces are pinned in `netns` under it.
    pub exec_root: PathBuf,
    /// Short name of this daemon (4 to 8 letters or digits), the same after each restart. It is
    /// part of every nft table and host interface name, so that several daemons share a namespace.
    pub instance: String,
    /// Name servers that unknown names go to; when empty those of the host's `/etc/resolv.conf`,
    /// read again at each change of the file.
    pub upstream_dns: Vec<IpAddr>,
    /// Turn on IPv4 and IPv6 forwarding in this namespace at the first network that needs it.
    pub ip_forward: bool,
}

impl NetConfig {
    /// The defaults, with the two values that have none.
    pub fn new(exec_root: impl Into<PathBuf>, instance: impl Into<String>) -> Self {
        Self {
            exec_root: exec_root.into(),
            instance: instance.into(),
            upstream_dns: Vec::new(),
            ip_forward: true,
        }
    }
}
