//! Generates clients and servers of the services in skep-objects' `proto/`, whose messages are there,
//! and of those in our own, which have none.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../skep-objects/proto");
    println!("cargo:rerun-if-changed=proto");
    let root = Path::new("../skep-objects/proto");
    let own = Path::new("proto");
    let mut files = vec![
        root.join("skep/v1/endpoints.proto"),
        root.join("skep/v1/probes.proto"),
        own.join("skep/v1/quorum.proto"),
    ];
    for entry in std::fs::read_dir(root.join("docker/swarmkit/v1"))? {
        files.push(entry?.path());
    }
    files.sort();
    let descriptors = protox::compile(&files, [root, own])?;
    tonic_prost_build::configure()
        .extern_path(".docker.swarmkit.v1", "::skep_objects::swarmkit")
        .extern_path(".raftpb", "::skep_objects::raftpb")
        .extern_path(".skep.v1", "::skep_objects::skep_v1")
        .compile_fds(descriptors)?;
    Ok(())
}
