//! Tasks.

use super::*;

#[tokio::test]
async fn tasks_are_filtered_by_all_their_filters() {
    let world = World::new(vec![]);
    for (id, service, node) in [("t1", "a", "n1"), ("t2", "a", "n2"), ("t3", "b", "n1")] {
        let task = Task {
            id: id.to_owned(),
            service_id: service.into(),
            node_id: node.into(),
            desired_state: TaskState::Running.into(),
            ..Default::default()
        };
        world.put(|tx| tx.create_task(task)).await;
    }
    let check = async |services: &[&str], nodes: &[&str], states: &[TaskState], expect: &[&str]| {
        let own = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let filters = list_tasks_request::Filters {
            service_ids: own(services),
            node_ids: own(nodes),
            desired_states: states.iter().map(|state| *state as i32).collect(),
            ..Default::default()
        };
        let request = Request::new(ListTasksRequest {
            filters: Some(filters),
        });
        let tasks = ask(world.control.list_tasks(request).await).tasks;
        let ids: Vec<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
        assert_eq!(ids, expect);
    };
    check(&[], &[], &[], &["t1", "t2", "t3"]).await;
    check(&["a"], &[], &[], &["t1", "t2"]).await;
    check(&["a", "a"], &["n1"], &[], &["t1"]).await;
    check(&[], &["n1"], &[TaskState::Running], &["t1", "t3"]).await;
    check(&[], &["n1"], &[TaskState::Shutdown], &[]).await;
}

#[tokio::test]
async fn a_task_is_called_by_its_service_its_slot_and_its_id() {
    let world = World::new(vec![]);
    for (id, slot, node) in [("t1", 1, "n1"), ("t2", 12, "n1"), ("t3", 0, "n2")] {
        let task = Task {
            id: id.to_owned(),
            slot,
            node_id: node.into(),
            service_annotations: named("web").map(Into::into),
            ..Default::default()
        };
        world.put(|tx| tx.create_task(task)).await;
    }
    let check = async |prefix: &str, expect: &[&str]| {
        let filters = list_tasks_request::Filters {
            name_prefixes: vec![prefix.to_owned()],
            ..Default::default()
        };
        let request = Request::new(ListTasksRequest {
            filters: Some(filters),
        });
        let tasks = ask(world.control.list_tasks(request).await).tasks;
        let ids: Vec<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
        assert_eq!(ids, expect, "{prefix}");
    };
    check("web", &["t1", "t2", "t3"]).await;
    check("web.1", &["t1", "t2"]).await;
    check("web.1.", &["t1"]).await;
    check("web.n2.t3", &["t3"]).await;
    check("api", &[]).await;
}
