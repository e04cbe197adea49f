use skep_objects::swarmkit::{
    ConfigReference, ContainerSpec, SecretReference, TaskSpec, TaskStatus,
};
use skep_store::Store;

use super::*;

async fn store() -> Store {
    let store = Store::in_memory();
    for id in ["s1", "s2"] {
        let secret = Secret {
            id: id.to_owned(),
            ..Default::default()
        };
        store
            .update(|tx| tx.create_secret(named(secret)))
            .await
            .unwrap();
    }
    let config = Config {
        id: "c1".to_owned(),
        ..Default::default()
    };
    store.update(|tx| tx.create_config(config)).await.unwrap();
    store
}

fn named(mut secret: Secret) -> Secret {
    let name = secret.id.clone();
    secret
        .spec
        .get_or_insert_default()
        .annotations
        .get_or_insert_default()
        .name = name;
    secret
}

fn task(id: &str, state: TaskState, secrets: &[&str], configs: &[&str]) -> Arc<Task> {
    let secrets = secrets.iter().map(|id| SecretReference {
        secret_id: (*id).to_owned(),
        ..Default::default()
    });
    let configs = configs.iter().map(|id| ConfigReference {
        config_id: (*id).to_owned(),
        ..Default::default()
    });
    let container = ContainerSpec {
        secrets: secrets.collect(),
        configs: configs.collect(),
        ..Default::default()
    };
    Arc::new(Task {
        id: id.to_owned(),
        spec: Some(
            TaskSpec {
                runtime: Some(Runtime::Container(container)),
                ..Default::default()
            }
            .into(),
        ),
        status: Some(TaskStatus {
            state: state.into(),
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// One word a change: `+t:a` task a set, `-s:b` secret b taken away.
fn words(changes: &[AssignmentChange]) -> String {
    let word = |change: &AssignmentChange| {
        let sign = match change.action() {
            AssignmentAction::Update => '+',
            AssignmentAction::Remove => '-',
        };
        let what = match change.assignment.as_ref().unwrap().item.as_ref().unwrap() {
            Item::Task(task) => format!("t:{}", task.id),
            Item::Secret(secret) => format!("s:{}", secret.id),
            Item::Config(config) => format!("c:{}", config.id),
            Item::Volume(volume) => format!("v:{}", volume.id),
        };
        format!("{sign}{what}")
    };
    changes.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn set(set: &mut AssignmentSet, view: &View, task: Arc<Task>) -> String {
    let mut changes = Vec::new();
    set.set_task(view, &task, &mut changes);
    words(&changes)
}

fn remove(set: &mut AssignmentSet, id: &str) -> String {
    let mut changes = Vec::new();
    set.remove_task(id, &mut changes);
    words(&changes)
}

#[tokio::test]
async fn a_task_is_told_once_it_is_assigned() {
    let view = store().await.view();
    let mut node = AssignmentSet::default();
    assert_eq!(
        set(
            &mut node,
            &view,
            task("a", TaskState::Pending, &["s1"], &[])
        ),
        ""
    );
    assert_eq!(
        set(
            &mut node,
            &view,
            task("a", TaskState::Assigned, &["s1"], &[])
        ),
        "+s:s1 +t:a"
    );
    assert_eq!(remove(&mut node, "b"), "");
}

#[tokio::test]
async fn reports_are_not_sent_back_and_new_wishes_are_told() {
    let view = store().await.view();
    let mut node = AssignmentSet::default();
    set(&mut node, &view, task("a", TaskState::Assigned, &[], &[]));
    assert_eq!(
        set(&mut node, &view, task("a", TaskState::Running, &[], &[])),
        ""
    );
    let mut wish = Task::clone(&task("a", TaskState::Running, &[], &[]));
    wish.desired_state = TaskState::Shutdown.into();
    assert_eq!(set(&mut node, &view, Arc::new(wish)), "+t:a");
}

#[tokio::test]
async fn dependencies_come_with_their_first_user_and_go_with_the_last() {
    let view = store().await.view();
    let mut node = AssignmentSet::default();
    let first = task("a", TaskState::Assigned, &["s1"], &["c1"]);
    assert_eq!(set(&mut node, &view, first), "+s:s1 +c:c1 +t:a");
    assert_eq!(
        set(
            &mut node,
            &view,
            task("b", TaskState::Assigned, &["s1", "s2"], &[])
        ),
        "+s:s2 +t:b"
    );
    assert_eq!(remove(&mut node, "a"), "-c:c1 -t:a");
    assert_eq!(
        set(
            &mut node,
            &view,
            task("b", TaskState::Failed, &["s1", "s2"], &[])
        ),
        "-s:s1 -s:s2"
    );
    assert_eq!(remove(&mut node, "b"), "-t:b");
    assert!(node.users.is_empty());
}

#[tokio::test]
async fn a_task_that_has_ended_brings_no_secrets() {
    let view = store().await.view();
    let mut node = AssignmentSet::default();
    assert_eq!(
        set(&mut node, &view, task("a", TaskState::Failed, &["s1"], &[])),
        "+t:a"
    );
}

#[tokio::test]
async fn a_dependency_that_is_gone_is_left_out() {
    let view = store().await.view();
    let mut node = AssignmentSet::default();
    assert_eq!(
        set(
            &mut node,
            &view,
            task("a", TaskState::Assigned, &["gone"], &[])
        ),
        "+t:a"
    );
}

#[tokio::test]
async fn only_the_node_s_own_tasks_are_in_its_first_message() {
    let store = store().await;
    for (id, node) in [("a", "n1"), ("b", "n2")] {
        let mut task = Task::clone(&task(id, TaskState::Assigned, &["s1"], &[]));
        task.node_id = node.into();
        store.update(|tx| tx.create_task(task)).await.unwrap();
    }
    let (_, changes) = AssignmentSet::complete(&store.view(), "n1");
    assert_eq!(words(&changes), "+s:s1 +t:a");
}
