//! Generates the messages from `proto/` without a protoc.

use std::path::Path;

/// Messages that hold what no log may show: they get a `Debug` by hand.
const SECRET: [&str; 5] = [
    ".docker.swarmkit.v1.SecretSpec",
    ".docker.swarmkit.v1.JoinTokens",
    ".docker.swarmkit.v1.RootCA",
    ".docker.swarmkit.v1.RootRotation",
    ".docker.swarmkit.v1.EncryptionKey",
];

/// Protobuf package, and the module of this crate that holds its messages.
const PACKAGES: [(&str, &str); 3] = [
    ("raftpb", "raftpb"),
    ("docker.swarmkit.v1", "swarmkit"),
    ("skep.v1", "skep_v1"),
];

/// Messages that many objects hold alike. `Shared` before the name is their second name, which is
/// `Shared<...>` here.
const SHARED: [&str; 5] = ["Annotations", "Driver", "Endpoint", "Network", "TaskSpec"];

/// Messages of which a swarm holds many: `src/task.rs` has them, smaller than they would be here.
const BY_HAND: [&str; 2] = ["Task", "TaskStatus"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let root = Path::new("proto");
    let mut files = vec![
        root.join("raftpb/raft.proto"),
        root.join("skep/v1/endpoints.proto"),
        root.join("skep/v1/probes.proto"),
    ];
    for entry in std::fs::read_dir(root.join("docker/swarmkit/v1"))? {
        files.push(entry?.path());
    }
    files.sort();
    let descriptors = protox::compile(&files, [root])?;
    let out = std::env::var("OUT_DIR")?;
    // One pass a package: to each pass the other packages are modules of this crate.
    for (package, module) in PACKAGES {
        let dir = Path::new(&out).join(module);
        std::fs::create_dir_all(&dir)?;
        let mut config = prost_build::Config::new();
        config
            .out_dir(&dir)
            .btree_map(["."])
            .skip_debug(SECRET)
            .bytes([".raftpb.Entry.Data", ".raftpb.Snapshot.data"]);
        for name in BY_HAND {
            config.extern_path(
                format!(".docker.swarmkit.v1.{name}"),
                format!("crate::swarmkit::{name}"),
            );
        }
        for name in SHARED {
            config.extern_path(
                format!(".docker.swarmkit.v1.Shared{name}"),
                format!("crate::Shared<crate::swarmkit::{name}>"),
            );
        }
        for (other, module) in PACKAGES.iter().filter(|(other, _)| *other != package) {
            config.extern_path(format!(".{other}"), format!("crate::{module}"));
        }
        config.compile_fds(descriptors.clone())?;
    }
    Ok(())
}
