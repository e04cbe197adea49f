use skep_objects::swarmkit::{
    GenericResource, NamedGenericResource, NodeDescription, Resources, TaskStatus,
    generic_resource::Resource,
};

use super::*;

fn gpu(name: &str) -> GenericResource {
    let named = NamedGenericResource {
        kind: "gpu".into(),
        value: name.into(),
    };
    GenericResource {
        resource: Some(Resource::NamedResourceSpec(named)),
    }
}

fn node(gpus: &[&str]) -> Arc<Node> {
    let resources = Resources {
        generic: gpus.iter().map(|name| gpu(name)).collect(),
        ..Default::default()
    };
    Arc::new(Node {
        id: "n1".into(),
        description: Some(NodeDescription {
            resources: Some(resources),
            ..Default::default()
        }),
        ..Default::default()
    })
}

fn task(id: &str, service: &str, state: TaskState, gpus: &[&str]) -> Task {
    Task {
        id: id.into(),
        service_id: service.into(),
        node_id: "n1".into(),
        desired_state: TaskState::Running.into(),
        status: Some(TaskStatus {
            state: state.into(),
            ..Default::default()
        }),
        assigned_generic_resources: gpus.iter().map(|name| gpu(name)).collect(),
        ..Default::default()
    }
}

fn left(cluster: &Cluster) -> i64 {
    cluster.node(0).unwrap().generic.left("gpu")
}

#[test]
fn what_a_node_lost_does_not_come_back_with_a_tasks_end() {
    let mut cluster = Cluster::default();
    cluster.set_node(node(&["a", "b"]));
    cluster.apply_task(&task("t", "s", TaskState::Running, &["a"]));
    assert_eq!(left(&cluster), 1);
    cluster.set_node(node(&["b"]));
    assert_eq!(left(&cluster), 1);
    cluster.release("t");
    assert_eq!(left(&cluster), 1, "there is no a");
    // Where the node has it again, the task holds it again.
    cluster.apply_task(&task("u", "s", TaskState::Running, &["b"]));
    cluster.set_node(node(&[]));
    cluster.set_node(node(&["a", "b"]));
    assert_eq!(left(&cluster), 1);
    cluster.release("u");
    assert_eq!(left(&cluster), 2);
}

#[test]
fn a_removed_service_is_forgotten_with_its_last_task() {
    let mut cluster = Cluster::default();
    cluster.set_node(node(&[]));
    for number in 0..100 {
        let (id, service) = (format!("t{number}"), format!("s{number}"));
        cluster.apply_task(&task(&id, &service, TaskState::Running, &[]));
        cluster.forget_service(&service);
        assert_eq!(cluster.service_count(), 1);
        cluster.apply_task(&task(&id, &service, TaskState::Shutdown, &[]));
        assert_eq!(cluster.service_count(), 0);
    }
    assert_eq!(cluster.loads.len(), 1, "its place is used again");
    cluster.apply_task(&task("t", "s", TaskState::Running, &[]));
    cluster.apply_task(&task("u", "old", TaskState::Running, &[]));
    cluster.retain_services(|id| id == "s");
    cluster.remove_node("n1");
    assert_eq!(cluster.service_count(), 1);
}
