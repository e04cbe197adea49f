//! Nodes.

use super::*;

fn node(id: &str, role: NodeRole, state: node_status::State) -> Node {
    Node {
        id: id.to_owned(),
        role: role.into(),
        spec: Some(NodeSpec {
            desired_role: role.into(),
            membership: node_spec::Membership::Accepted.into(),
            ..Default::default()
        }),
        status: Some(NodeStatus {
            state: state.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn demote(world: &World, id: &str) -> Result<Response<UpdateNodeResponse>, Status> {
    let request = UpdateNodeRequest {
        node_id: id.to_owned(),
        node_version: world
            .store
            .view()
            .node(id)
            .unwrap()
            .meta
            .as_ref()
            .unwrap()
            .version,
        spec: Some(NodeSpec {
            desired_role: NodeRole::Worker.into(),
            ..Default::default()
        }),
    };
    world.control.update_node(Request::new(request)).await
}

#[tokio::test]
async fn a_demotion_keeps_the_quorum() {
    use node_status::State::Ready;
    let world = World::new(vec![member(1, true), member(2, false), member(3, true)]);
    world
        .put(|tx| tx.create_node(node("m1", NodeRole::Manager, Ready)))
        .await;
    refused(
        demote(&world, "m1").await,
        Code::FailedPrecondition,
        "attempting to demote the last manager of the swarm",
    );
    for id in ["m2", "m3", "m4"] {
        world
            .put(|tx| tx.create_node(node(id, NodeRole::Manager, Ready)))
            .await;
    }
    refused(
        demote(&world, "m4").await,
        Code::NotFound,
        "can't find manager in raft memberlist",
    );
    refused(
        demote(&world, "m3").await,
        Code::FailedPrecondition,
        "can't remove member from the raft: this would result in a loss of quorum",
    );
    ask(demote(&world, "m2").await);
}

#[tokio::test]
async fn only_a_worker_that_is_down_can_be_removed() {
    use node_status::State::{Down, Ready};
    let world = World::new(vec![member(1, true)]);
    world
        .put(|tx| tx.create_node(node("m1", NodeRole::Manager, Ready)))
        .await;
    world
        .put(|tx| tx.create_node(node("up", NodeRole::Worker, Ready)))
        .await;
    world
        .put(|tx| tx.create_node(node("down", NodeRole::Worker, Down)))
        .await;
    let cluster = Cluster {
        id: "c".to_owned(),
        ..Default::default()
    };
    world.put(|tx| tx.create_cluster(cluster)).await;
    let remove = |id: &str, force| {
        Request::new(RemoveNodeRequest {
            node_id: id.to_owned(),
            force,
        })
    };
    refused(
        world.control.remove_node(remove("m1", true)).await,
        Code::FailedPrecondition,
        "node m1 is a cluster manager and is a member of the raft cluster. It must be demoted to \
         worker before removal",
    );
    refused(
        world.control.remove_node(remove("up", false)).await,
        Code::FailedPrecondition,
        "node up is not down and can't be removed",
    );
    refused(
        world.control.remove_node(remove("x", false)).await,
        Code::NotFound,
        "node x not found",
    );
    ask(world.control.remove_node(remove("down", false)).await);
    ask(world.control.remove_node(remove("up", true)).await);
    let view = world.store.view();
    assert_eq!(view.nodes().count(), 1);
    assert_eq!(
        view.the_cluster().unwrap().blacklisted_certificates.len(),
        2
    );
}

#[tokio::test]
async fn what_raft_knows_of_a_manager_is_shown_with_its_node() {
    let world = World::new(vec![member(1, true)]);
    world
        .put(|tx| tx.create_node(node("m1", NodeRole::Manager, node_status::State::Ready)))
        .await;
    let answer = world
        .control
        .list_nodes(Request::new(ListNodesRequest::default()))
        .await;
    let status = ask(answer).nodes.remove(0).manager_status.unwrap();
    assert!(status.leader);
    assert_eq!(status.addr, "10.0.0.1:2377");
    assert_eq!(world.store.view().node("m1").unwrap().manager_status, None);
}
