//! A member's settings on disk, beside its certificates:
//!
//! ```text
//! swarm/node.json    addresses, and a join that has not succeeded yet
//! swarm/state.json   managers last known: [{"node_id": …, "addr": …}]
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use skep_objects::swarmkit::Peer;

/// Why settings cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk said no.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What came back.
        #[source]
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("read {path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// What `swarm init` and `swarm join` were told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Where it listens while it is a manager.
    pub listen_addr: SocketAddr,
    /// Where others reach it.
    pub advertise_addr: SocketAddr,
    /// The interface of this host that had that address. If it has it no more, the host has moved;
    /// none where somebody translates it.
    #[serde(default)]
    pub advertise_interface: Option<String>,
    /// The same of the address that it listens on, where it is one.
    #[serde(default)]
    pub listen_interface: Option<String>,
    /// Where overlay traffic goes, if elsewhere.
    pub data_path_addr: Option<IpAddr>,
    /// The interface that had that address.
    #[serde(default)]
    pub data_path_interface: Option<String>,
    /// A join that goes on.
    pub joining: Option<Joining>,
    /// The manager that this one was founded or joined with has not run yet; this is where to join.
    #[serde(default)]
    pub manager_join_addr: Option<String>,
}

impl Settings {
    /// Of a node that is no member yet.
    pub fn new(listen_addr: SocketAddr, advertise_addr: SocketAddr) -> Self {
        Self {
            listen_addr,
            advertise_addr,
            advertise_interface: None,
            listen_interface: None,
            data_path_addr: None,
            data_path_interface: None,
            joining: None,
            manager_join_addr: None,
        }
    }
}

/// A join under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// Managers to try.
    pub remotes: Vec<String>,
    /// The token; gone from disk when the join has succeeded.
    pub token: String,
    /// `active`, `pause` or `drain`, as a number of the protocol.
    pub availability: i32,
}

#[derive(Serialize, Deserialize)]
struct SavedPeer {
    node_id: String,
    addr: String,
}

/// The swarm state directory.
#[derive(Clone, Debug)]
pub struct StateDir {
    dir: PathBuf,
}

impl StateDir {
    /// `<data root>/swarm`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The settings; none on a node outside any swarm.
    pub fn settings(&self) -> Result<Option<Settings>, StateError> {
        read(&self.dir.join("node.json"))
    }

    /// Replaces the settings.
    pub fn save_settings(&self, settings: &Settings) -> Result<(), StateError> {
        write(&self.dir.join("node.json"), settings)
    }

    /// The managers last known.
    pub fn peers(&self) -> Result<Vec<Peer>, StateError> {
        let saved: Vec<SavedPeer> = read(&self.dir.join("state.json"))?.unwrap_or_default();
        Ok(saved
            .into_iter()
            .map(|p| Peer {
                node_id: p.node_id,
                addr: p.addr,
            })
            .collect())
    }

    /// Replaces the managers last known.
    pub fn save_peers(&self, peers: &[Peer]) -> Result<(), StateError> {
        let peers = peers.iter();
        let saved: Vec<SavedPeer> = peers
            .map(|p| SavedPeer {
                node_id: p.node_id.clone(),
                addr: p.addr.clone(),
            })
            .collect();
        write(&self.dir.join("state.json"), &saved)
    }

    /// Removes everything: the node is no member any more.
    pub fn clear(&self) -> Result<(), StateError> {
        match fs::remove_dir_all(&self.dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &self.dir)(e)),
            _ => Ok(()),
        }
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io {
        action,
        path,
        source,
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("read", path)(e)),
    };
    let parsed = serde_json::from_slice(&bytes);
    parsed.map(Some).map_err(|source| StateError::Parse {
        path: path.to_owned(),
        source,
    })
}

/// Either the old content or the new one is there after a crash.
fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), StateError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir).map_err(io_error("create", dir))?;
    let tmp = path.with_extension("tmp");
    let text = serde_json::to_vec_pretty(value).map_err(|source| StateError::Parse {
        path: path.to_owned(),
        source,
    })?;
    let attempt = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&tmp)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&tmp, path)?;
        File::open(dir)?.sync_all()
    };
    attempt().map_err(io_error("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_read_and_leaving_removes_it() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = StateDir::new(tmp.path().join("swarm"));
        assert_eq!(dir.settings().unwrap(), None);
        let settings = Settings {
            listen_addr: "0.0.0.0:2377".parse().unwrap(),
            advertise_addr: "10.1.1.1:2377".parse().unwrap(),
            advertise_interface: Some("eth0".into()),
            listen_interface: None,
            data_path_addr: Some("10.1.1.1".parse().unwrap()),
            data_path_interface: Some("eth0".into()),
            joining: Some(Joining {
                remotes: vec!["10.1.1.2:2377".into()],
                token: "t".into(),
                availability: 0,
            }),
            manager_join_addr: None,
        };
        dir.save_settings(&settings).unwrap();
        assert_eq!(dir.settings().unwrap(), Some(settings));
        let peers = vec![Peer {
            node_id: "n".into(),
            addr: "10.1.1.2:2377".into(),
        }];
        dir.save_peers(&peers).unwrap();
        assert_eq!(dir.peers().unwrap(), peers);
        dir.clear().unwrap();
        dir.clear().unwrap();
        assert!(!tmp.path().join("swarm").exists());
    }
}
