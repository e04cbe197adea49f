//! The swarm's part of `system info`.

use serde_json::Value;

use super::info::line;
use crate::cmd::objects::text as text_of;
use crate::output::coarse_duration;

/// Adds the lines; outside a swarm, and where it is locked, only the first.
pub(super) fn text(swarm: &Value, out: &mut String) {
    let state = text_of(swarm, "/LocalNodeState");
    if state.is_empty() {
        return;
    }
    line(out, 1, &format!("Swarm: {state}"));
    if matches!(state, "inactive" | "locked") {
        return;
    }
    line(out, 2, &format!("NodeID: {}", text_of(swarm, "/NodeID")));
    if !text_of(swarm, "/Error").is_empty() {
        line(out, 2, &format!("Error: {}", text_of(swarm, "/Error")));
    }
    let manages = swarm["ControlAvailable"] == true;
    line(out, 2, &format!("Is Manager: {manages}"));
    if manages && state != "error" && swarm["Cluster"].is_object() {
        cluster(swarm, out);
    }
    line(
        out,
        2,
        &format!("Node Address: {}", text_of(swarm, "/NodeAddr")),
    );
    let managers = swarm["RemoteManagers"].as_array().into_iter().flatten();
    let mut managers: Vec<&str> = managers.map(|manager| text_of(manager, "/Addr")).collect();
    if !managers.is_empty() {
        managers.sort_unstable();
        line(out, 2, "Manager Addresses:");
        managers.iter().for_each(|address| line(out, 3, address));
    }
}

fn cluster(swarm: &Value, out: &mut String) {
    let cluster = &swarm["Cluster"];
    let spec = &cluster["Spec"];
    line(out, 2, &format!("ClusterID: {}", text_of(cluster, "/ID")));
    line(out, 2, &format!("Managers: {}", swarm["Managers"]));
    line(out, 2, &format!("Nodes: {}", swarm["Nodes"]));
    let pools = cluster["DefaultAddrPool"].as_array().into_iter().flatten();
    let pools: Vec<&str> = pools.filter_map(Value::as_str).collect();
    if !pools.is_empty() {
        line(
            out,
            2,
            &format!("Default Address Pool: {}  ", pools.join("  ")),
        );
        line(out, 2, &format!("SubnetSize: {}", cluster["SubnetSize"]));
    }
    if cluster["DataPathPort"].as_u64().unwrap_or(0) > 0 {
        line(
            out,
            2,
            &format!("Data Path Port: {}", cluster["DataPathPort"]),
        );
    }
    line(out, 2, "Orchestration:");
    let history = spec.pointer("/Orchestration/TaskHistoryRetentionLimit");
    line(
        out,
        3,
        &format!(
            "Task History Retention Limit: {}",
            history.and_then(Value::as_i64).unwrap_or(0)
        ),
    );
    let raft = |name: &str| spec["Raft"][name].as_u64().unwrap_or(0);
    line(out, 2, "Raft:");
    line(
        out,
        3,
        &format!("Snapshot Interval: {}", raft("SnapshotInterval")),
    );
    line(
        out,
        3,
        &format!(
            "Number of Old Snapshots to Retain: {}",
            raft("KeepOldSnapshots")
        ),
    );
    line(
        out,
        3,
        &format!("Heartbeat Tick: {}", raft("HeartbeatTick")),
    );
    line(out, 3, &format!("Election Tick: {}", raft("ElectionTick")));
    let duration = |pointer: &str| {
        let nanos = spec.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        coarse_duration(nanos / 1_000_000_000)
    };
    line(out, 2, "Dispatcher:");
    line(
        out,
        3,
        &format!(
            "Heartbeat Period: {}",
            duration("/Dispatcher/HeartbeatPeriod")
        ),
    );
    line(out, 2, "CA Configuration:");
    line(
        out,
        3,
        &format!("Expiry Duration: {}", duration("/CAConfig/NodeCertExpiry")),
    );
    line(
        out,
        3,
        &format!(
            "Force Rotate: {}",
            spec.pointer("/CAConfig/ForceRotate")
                .and_then(Value::as_u64)
                .unwrap_or(0)
        ),
    );
    let certificate = text_of(spec, "/CAConfig/SigningCACert").trim();
    if !certificate.is_empty() {
        line(out, 3, "Signing CA Certificate: ");
        out.push_str(&format!("{certificate}\n\n"));
    }
    let external = spec
        .pointer("/CAConfig/ExternalCAs")
        .and_then(Value::as_array);
    if let Some(all) = external.filter(|all| !all.is_empty()) {
        line(out, 3, "External CAs:");
        for ca in all {
            line(
                out,
                5,
                &format!("{}: {}", text_of(ca, "/Protocol"), text_of(ca, "/URL")),
            );
        }
    }
    let locks = spec.pointer("/EncryptionConfig/AutoLockManagers") == Some(&Value::Bool(true));
    line(out, 2, &format!("Autolock Managers: {locks}"));
    line(
        out,
        2,
        &format!(
            "Root Rotation In Progress: {}",
            cluster["RootRotationInProgress"] == true
        ),
    );
}
