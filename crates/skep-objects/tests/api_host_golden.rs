//! What dockerd 28.2 answered for one host's objects survives a decode and an encode to the letter:
//! order of keys, null against absent, numbers.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use serde::Serialize;
use serde::de::DeserializeOwned;
use skep_objects::api::{container, decode, events, network, stats, volume};

fn check<T: DeserializeOwned + Serialize>(golden: &str) {
    let expected: serde_json::Value = serde_json::from_str(golden).unwrap();
    let decoded: T = decode::from_json(golden.as_bytes()).unwrap();
    let printed = serde_json::to_string_pretty(&decoded).unwrap();
    assert_eq!(printed, serde_json::to_string_pretty(&expected).unwrap());
}

macro_rules! golden {
    ($name:ident, $type:ty, $file:literal) => {
        #[test]
        fn $name() {
            check::<$type>(include_str!(concat!("golden/", $file)));
        }
    };
}

golden!(
    container_of_docker_run,
    container::ContainerInspect,
    "container-one.json"
);
golden!(
    container_of_a_task,
    container::ContainerInspect,
    "container-task.json"
);
golden!(
    container_list,
    Vec<container::ContainerSummary>,
    "containers.json"
);
golden!(container_stats, stats::Stats, "stats.json");
golden!(container_top, container::TopResponse, "top.json");
golden!(container_changes, Vec<container::Change>, "changes.json");
golden!(network_bridge, network::Network, "network-bridge.json");
golden!(
    network_gwbridge,
    network::Network,
    "network-docker_gwbridge.json"
);
golden!(network_ingress, network::Network, "network-ingress.json");
golden!(network_overlay, network::Network, "network-net1.json");
golden!(
    network_overlay_verbose,
    network::Network,
    "network-net1-verbose.json"
);
golden!(
    network_overlay_on_a_worker,
    network::Network,
    "worker-network-net1.json"
);
golden!(network_list, Vec<network::Network>, "networks.json");
golden!(volume_one, volume::Volume, "volume-vol1.json");
golden!(volume_list, volume::VolumeList, "volumes.json");

#[test]
fn events_line_by_line() {
    let lines = include_str!("golden/events.json").lines();
    for line in lines.filter(|line| !line.is_empty()) {
        check::<events::Event>(line);
    }
}
