//! What the managers' store tells about the nodes: no question is asked of anybody.

use std::collections::{BTreeMap, BTreeSet};

use skep_objects::swarmkit::raft_member_status::Reachability;
use skep_objects::swarmkit::{Node, Task, node_status};
use skep_objects::timestamp::unix_nanos;

use super::finding::Finding;
use super::ways;

/// The node's host name, or its id.
pub(super) fn name(node: &Node) -> String {
    let description = node.description.as_ref();
    let name = description.map(|d| d.hostname.clone()).unwrap_or_default();
    if name.is_empty() {
        node.id.clone()
    } else {
        name
    }
}

/// Everything about nodes as such; what the `examined` among them told of themselves is not guessed.
pub(super) fn examine(nodes: &[Node], tasks: &[Task], examined: &BTreeSet<&str>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(nodes.iter().map(state));
    found.extend(managers(nodes));
    found.extend(versions(nodes));
    let others = nodes.iter().filter(|n| !examined.contains(n.id.as_str()));
    let others: Vec<&Node> = others.collect();
    found.extend(others.iter().filter_map(|node| certificate(node)));
    found.extend(clocks(&others, tasks));
    found
}

fn state(node: &Node) -> Finding {
    let (name, status) = (name(node), node.status.clone().unwrap_or_default());
    let word = match status.state() {
        node_status::State::Ready => None,
        node_status::State::Down => Some("down"),
        node_status::State::Disconnected => Some("disconnected"),
        node_status::State::Unknown => Some("unknown"),
    };
    match word {
        None => Finding::ok("nodes", &name, format!("ready at {}", status.addr)),
        Some(word) => Finding::problem(
            "nodes",
            &name,
            format!("{word} {}", status.message).trim_end().to_owned(),
            "its daemon does not run, or cannot reach the managers' port 2377/tcp; its tasks were \
             started elsewhere. If the host is gone for good: docker node rm --force NODE",
        ),
    }
}

fn managers(nodes: &[Node]) -> Vec<Finding> {
    let managers: Vec<(&Node, bool)> = nodes
        .iter()
        .filter_map(|node| {
            let status = node.manager_status.as_ref()?;
            Some((node, status.reachability() == Reachability::Reachable))
        })
        .collect();
    let (all, up) = (
        managers.len(),
        managers.iter().filter(|(_, up)| *up).count(),
    );
    let missing = managers.iter().filter(|(_, up)| !up);
    let mut found: Vec<Finding> = missing
        .map(|(node, _)| {
            Finding::problem(
                "quorum",
                &name(node),
                "manager is not reachable",
                "start its daemon or mend its network; if it is gone for good: docker node demote, \
                 then docker node rm",
            )
        })
        .collect();
    let spare = up.saturating_sub(all / 2 + 1);
    let text = format!(
        "{up} of {all} managers reachable, {} are needed",
        all / 2 + 1
    );
    found.push(if up < all / 2 + 1 {
        Finding::problem(
            "quorum",
            "swarm",
            text,
            "nothing can be changed until more managers are back; running tasks go on",
        )
    } else if spare == 0 {
        Finding::warning(
            "quorum",
            "swarm",
            text,
            "the loss of one more manager stops every change: three or five managers are better",
        )
    } else {
        Finding::ok("quorum", "swarm", text)
    });
    found
}

fn versions(nodes: &[Node]) -> Vec<Finding> {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in nodes {
        let engine = node.description.as_ref().and_then(|d| d.engine.as_ref());
        let version = engine.map(|e| e.engine_version.clone()).unwrap_or_default();
        versions.entry(version).or_default().insert(name(node));
    }
    let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    if let [(version, _)] = versions.iter().collect::<Vec<_>>()[..] {
        return vec![Finding::ok(
            "versions",
            "swarm",
            format!("every node has engine {version}"),
        )];
    }
    let each = versions
        .iter()
        .map(|(version, names)| format!("{version}: {}", list(names)));
    vec![Finding::warning(
        "versions",
        "swarm",
        format!("engines differ ({})", each.collect::<Vec<_>>().join("; ")),
        "fine while nodes are upgraded or moved over one by one; see docs/design/peers.md for what \
         dockerd and skep do differently",
    )]
}

fn certificate(node: &Node) -> Option<Finding> {
    let pem = &node.certificate.as_ref()?.certificate;
    let certificate = skep_rpc::identity::NodeCertificate::from_pem(pem).ok()?;
    let (from, until) = (certificate.not_before(), certificate.not_after());
    Some(ways::certificate(&name(node), from, until))
}

/// How far nodes' clocks are from the leader's, told by the latest report that the leader took from
/// each: what the node wrote as its time, against when it was taken.
fn clocks(nodes: &[&Node], tasks: &[Task]) -> Vec<Finding> {
    let mut latest: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
    for task in tasks {
        let Some(status) = &task.status else { continue };
        let (Some(said), Some(taken)) = (&status.timestamp, &status.applied_at) else {
            continue;
        };
        let (said, taken) = (unix_nanos(said), unix_nanos(taken));
        let entry = latest.entry(task.node_id.as_str()).or_insert((taken, said));
        if entry.0 < taken {
            *entry = (taken, said);
        }
    }
    nodes
        .iter()
        .filter_map(|node| {
            let (taken, said) = latest.get(node.id.as_str())?;
            let ahead = i64::try_from(said - taken).ok()?;
            Some(ways::clock(&name(node), ahead))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use skep_objects::swarmkit::{
        EngineDescription, ManagerStatus, NodeDescription, NodeStatus, TaskStatus,
    };

    use super::super::finding::Level;
    use super::*;

    fn node(name: &str, ready: bool, manager: Option<bool>, version: &str) -> Node {
        let state = if ready {
            node_status::State::Ready
        } else {
            node_status::State::Down
        };
        let reachability = |up| {
            if up {
                Reachability::Reachable
            } else {
                Reachability::Unreachable
            }
        };
        Node {
            id: format!("id-{name}"),
            description: Some(NodeDescription {
                hostname: name.to_owned(),
                engine: Some(EngineDescription {
                    engine_version: version.to_owned(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            status: Some(NodeStatus {
                state: state.into(),
                addr: "10.0.0.1".to_owned(),
                ..Default::default()
            }),
            manager_status: manager.map(|up| ManagerStatus {
                reachability: reachability(up).into(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[track_caller]
    fn check(found: &[Finding], check: &str, node: &str, level: Level, part: &str) {
        let one = found.iter().find(|f| f.check == check && f.node == node);
        let one = one.unwrap_or_else(|| panic!("{check} {node}: {found:?}"));
        assert!(one.level == level && one.text.contains(part), "{one:?}");
        assert_eq!(one.level == Level::Ok, one.advice.is_empty(), "{one:?}");
    }

    #[test]
    fn a_healthy_swarm_has_nothing_to_mend() {
        let nodes: Vec<Node> = ["a", "b", "c"]
            .map(|name| node(name, true, Some(true), "28.2.2"))
            .into();
        let found = examine(&nodes, &[], &BTreeSet::new());
        assert!(found.iter().all(|f| f.level == Level::Ok), "{found:?}");
        check(&found, "quorum", "swarm", Level::Ok, "3 of 3");
        check(&found, "versions", "swarm", Level::Ok, "28.2.2");
    }

    #[test]
    fn what_is_wrong_is_named_and_explained() {
        let nodes = [
            node("a", true, Some(true), "28.2.2"),
            node("b", true, Some(true), "28.2.2"),
            node("c", false, Some(false), "20.10.24"),
            node("w", true, None, "28.2.2"),
        ];
        let task = Task {
            node_id: "id-w".into(),
            status: Some(TaskStatus {
                timestamp: Some(prost_types::Timestamp {
                    seconds: 4000,
                    nanos: 0,
                }),
                applied_at: Some(prost_types::Timestamp {
                    seconds: 400,
                    nanos: 0,
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let found = examine(&nodes, &[task], &BTreeSet::new());
        check(&found, "nodes", "c", Level::Problem, "down");
        check(&found, "quorum", "c", Level::Problem, "not reachable");
        check(&found, "quorum", "swarm", Level::Warning, "2 of 3");
        check(&found, "versions", "swarm", Level::Warning, "20.10.24: c");
        check(&found, "clocks", "w", Level::Problem, "+3600.0 s");
    }
}
