//! The parsers.

use std::path::PathBuf;
use std::sync::OnceLock;

use prost::Message as _;
use skep_engine::image::{Images, RegistryConfig};
use skep_objects::{api, raftpb, swarmkit};

use crate::seeds;

/// One parser.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called by.
    pub name: &'static str,
    /// Must return whatever the bytes are.
    pub run: fn(&[u8]),
    /// Valid inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("image_reference", image_reference, seeds::references),
    target("tar_layer", tar_layer, seeds::layers),
    target("image_archive", image_archive, seeds::archives),
    target(
        "manifest",
        skep_engine::image::fuzz::manifest,
        seeds::manifests,
    ),
    target("create_container", create_container, seeds::containers),
    target("service_spec", service_spec, seeds::services),
    target("multiplexed", skep_cli::fuzz::multiplexed, seeds::streams),
    target("dns_packet", skep_net::fuzz::dns_packet, seeds::dns),
    target("wal_record", skep_store::fuzz::wal_record, seeds::messages),
    target("raft_entry", skep_store::fuzz::raft_entry, seeds::messages),
    target("snapshot", skep_store::fuzz::snapshot, seeds::messages),
    target("rpc_message", rpc_message, seeds::messages),
    target("stack_file", stack_file, seeds::stacks),
    target("oci_config", skep_runtime::fuzz::oci_config, seeds::oci),
    target("user_files", skep_runtime::fuzz::user_files, seeds::users),
    target("join_token", join_token, seeds::tokens),
    target("request_body", request_body, seeds::requests),
    target("swarm_body", swarm_body, seeds::swarms),
    target("registry_auth", registry_auth, seeds::credentials),
    target(
        "log_record",
        skep_engine::fuzz::log_record,
        seeds::log_records,
    ),
    target("shim_frame", skep_runtime::fuzz::shim_frame, seeds::frames),
    target(
        "netlink_answer",
        skep_net::fuzz::netlink_answer,
        seeds::netlink,
    ),
    target("template", skep_cli::fuzz::template, seeds::templates),
    target("task_template", task_template, seeds::task_templates),
];

/// The target of this name.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A directory in memory, for what is written.
fn scratch() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    let place = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    let dir = tempfile::Builder::new()
        .prefix("skep-fuzz-")
        .tempdir_in(place);
    dir.expect("a directory for what is unpacked")
}

fn image_reference(bytes: &[u8]) {
    let given = text(bytes);
    if let Ok(reference) = skep_objects::reference::Reference::parse(&given) {
        let shown = reference.to_string();
        let again = skep_objects::reference::Reference::parse(&shown);
        assert!(
            again.is_ok_and(|again| again == reference),
            "{given:?} is shown as {shown:?}"
        );
    }
}

fn tar_layer(bytes: &[u8]) {
    let dir = scratch();
    let root = dir.path().join("root");
    std::fs::create_dir(&root).expect("a directory below our own");
    skep_engine::image::fuzz::layer(&root, bytes);
    let beside = std::fs::read_dir(dir.path()).map_or(0, Iterator::count);
    assert_eq!(beside, 1, "something was written beside the root");
}

fn image_archive(bytes: &[u8]) {
    static STORE: OnceLock<(tempfile::TempDir, Images)> = OnceLock::new();
    let (_, images) = STORE.get_or_init(|| {
        let dir = scratch();
        let images = Images::open(dir.path(), RegistryConfig::default());
        (dir, images.expect("an image store"))
    });
    skep_engine::image::fuzz::archive(images, bytes);
}

fn create_container(bytes: &[u8]) {
    let _ = api::decode::from_json::<api::container::Config>(bytes);
    let _ = api::decode::from_json::<api::container::HostConfig>(bytes);
    let _ = api::decode::from_json::<api::container::NetworkingConfig>(bytes);
    let _ = skep_engine::Filters::parse(&text(bytes));
}

fn service_spec(bytes: &[u8]) {
    if let Ok(spec) = api::decode::from_json::<api::service::ServiceSpec>(bytes)
        && let Ok(proto) = skep::http::convert::service::to_spec(spec)
    {
        let _ = skep::http::convert::service::from_spec(&proto);
    }
}

/// The smaller bodies of the engine's API.
fn request_body(bytes: &[u8]) {
    let _ = api::decode::from_json::<api::exec::ExecCreate>(bytes);
    let _ = api::decode::from_json::<api::exec::ExecStart>(bytes);
    let _ = api::decode::from_json::<api::network::NetworkCreate>(bytes);
    let _ = api::decode::from_json::<api::network::NetworkConnect>(bytes);
    let _ = api::decode::from_json::<api::volume::VolumeCreate>(bytes);
    let _ = api::decode::from_json::<api::container::UpdateConfig>(bytes);
}

/// Those of the swarm's, without services.
fn swarm_body(bytes: &[u8]) {
    let _ = api::decode::from_json::<api::swarm::InitRequest>(bytes);
    let _ = api::decode::from_json::<api::swarm::JoinRequest>(bytes);
    let _ = api::decode::from_json::<api::swarm::SwarmSpec>(bytes);
    let _ = api::decode::from_json::<api::node::NodeSpec>(bytes);
    let _ = api::decode::from_json::<api::secret::SecretSpec>(bytes);
}

/// What a service may say of its tasks' names, environment, secrets and mounts.
fn task_template(bytes: &[u8]) {
    use skep_objects::swarmkit::{Annotations, NodeDescription, Task};
    use skep_objects::template::task::{Payload, TaskContext};
    let annotations = Annotations {
        name: "web".to_owned(),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        ..Annotations::default()
    };
    let task = Task {
        slot: 1,
        service_annotations: Some(annotations.into()),
        ..Task::default()
    };
    let payload = Payload {
        env: [("A".to_owned(), "b".to_owned())].into(),
        ..Payload::default()
    };
    for payload in [None, Some(&payload)] {
        let context = TaskContext {
            task: &task,
            node: &NodeDescription::default(),
            payload,
        };
        let _ = context.expand(&text(bytes));
    }
}

fn registry_auth(bytes: &[u8]) {
    let _ = skep_engine::image::RegistryAuth::decode(&text(bytes));
}

fn rpc_message(bytes: &[u8]) {
    let _ = raftpb::Message::decode(bytes);
    let _ = swarmkit::Task::decode(bytes);
    let _ = swarmkit::AssignmentsMessage::decode(bytes);
    let _ = swarmkit::ProcessRaftMessageRequest::decode(bytes);
    let _ = swarmkit::UpdateTaskStatusRequest::decode(bytes);
}

fn stack_file(bytes: &[u8]) {
    let dir = scratch();
    skep_cli::fuzz::stack_file(&dir.path().join("stack.yml"), bytes);
}

fn join_token(bytes: &[u8]) {
    let _ = skep_rpc::identity::JoinToken::parse(&text(bytes));
}
