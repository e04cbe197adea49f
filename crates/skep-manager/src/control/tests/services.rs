//! Services.

use skep_objects::swarmkit::{Node, NodeStatus, node_status};

use super::*;

#[tokio::test]
async fn a_service_s_name_is_taken_whatever_its_case() {
    let world = World::new(vec![]);
    world.service(spec("web")).await;
    refused(
        world.create_service(spec("WEB")).await,
        Code::AlreadyExists,
        "name conflicts with an existing object: service WEB already exists",
    );
}

#[tokio::test]
async fn an_update_keeps_the_spec_before_it_and_the_version_of_the_object_before_it() {
    let world = World::new(vec![]);
    let created = world.service(spec("web")).await;
    let second = with_container("web", |container| container.image = "nginx:2".to_owned());
    let updated = ask(world.update_service(&created, second.clone(), 0).await)
        .service
        .unwrap();
    assert_eq!(updated.spec, Some(second.clone()));
    assert_eq!(updated.previous_spec, created.spec);
    assert_eq!(updated.spec_version, created.meta.as_ref().unwrap().version);
    assert_eq!(updated.previous_spec_version, created.spec_version);

    let back = ask(world.update_service(&updated, spec("web"), 1).await)
        .service
        .unwrap();
    assert_eq!(back.spec, created.spec);
    assert_eq!(back.previous_spec, Some(second));
    assert_eq!(back.spec_version, created.spec_version);
    let status = back.update_status.unwrap();
    assert_eq!(status.state(), update_status::UpdateState::RollbackStarted);
    assert_eq!(status.message, "manually requested rollback");
}

#[tokio::test]
async fn updates_that_a_service_cannot_follow_are_refused() {
    let world = World::new(vec![]);
    let service = world.service(spec("web")).await;
    refused(
        world.update_service(&service, spec("other"), 0).await,
        Code::Unimplemented,
        "renaming services is not supported",
    );
    let global = ServiceSpec {
        mode: Some(Mode::Global(GlobalService {})),
        ..spec("web")
    };
    refused(
        world.update_service(&service, global, 0).await,
        Code::Unimplemented,
        "service mode change is not allowed",
    );
    refused(
        world.update_service(&service, spec("web"), 1).await,
        Code::FailedPrecondition,
        &format!("service {} does not have a previous spec", service.id),
    );
    ask(world.update_service(&service, spec("web"), 0).await);
    refused(
        world.update_service(&service, spec("web"), 0).await,
        Code::Unknown,
        "update out of sequence",
    );
    let gone = Service {
        id: "gone".to_owned(),
        ..service
    };
    refused(
        world.update_service(&gone, spec("web"), 0).await,
        Code::NotFound,
        "service gone not found",
    );
}

#[tokio::test]
async fn every_update_runs_a_job_again() {
    let world = World::new(vec![]);
    let job = ServiceSpec {
        mode: Some(Mode::GlobalJob(GlobalJob {})),
        ..spec("job")
    };
    let created = world.service(job.clone()).await;
    assert_eq!(created.job_status.unwrap().job_iteration.unwrap().index, 0);
    let updated = ask(world.update_service(&created, job, 0).await)
        .service
        .unwrap();
    assert_eq!(updated.job_status.unwrap().job_iteration.unwrap().index, 1);
    assert_eq!(world.service(spec("web")).await.job_status, None);
}

#[tokio::test]
async fn a_published_port_belongs_to_one_service() {
    let world = World::new(vec![]);
    world.network("ingress", true).await;
    let service = world.service(published("web", 80, 0)).await;
    let text = |how: &str| {
        format!(
            "port '80' is already in use by service 'web' ({}) as {how}",
            service.id
        )
    };
    let taken = text("an ingress port");
    refused(
        world.create_service(published("b", 80, 0)).await,
        Code::InvalidArgument,
        &taken,
    );
    refused(
        world.create_service(published("b", 80, 1)).await,
        Code::InvalidArgument,
        &taken,
    );
    ask(world
        .update_service(&service, published("web", 80, 0), 0)
        .await);

    let host = world.service(published("host", 81, 1)).await;
    world.service(published("host2", 81, 1)).await;
    let answer = world.create_service(published("c", 81, 0)).await;
    let status = answer.unwrap_err();
    assert!(
        status.message().ends_with("as a host-published port"),
        "{status}"
    );
    assert!(status.message().contains(&host.id) || status.message().contains("host2"));
}

#[tokio::test]
async fn statuses_count_what_runs_and_what_should() {
    let world = World::new(vec![]);
    let service = world.service(spec("web")).await;
    let of_mode = async |name: &str, mode: Mode| {
        let mode = Some(mode);
        world.service(ServiceSpec { mode, ..spec(name) }).await
    };
    let global = of_mode("all", Mode::Global(GlobalService {})).await;
    let job = of_mode("job", Mode::GlobalJob(GlobalJob {})).await;
    let lost = Node {
        id: "lost".to_owned(),
        status: Some(NodeStatus {
            state: node_status::State::Down.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    world.put(|tx| tx.create_node(lost)).await;
    let (running, complete) = (TaskState::Running, TaskState::Complete);
    for (id, service, node, state, desired) in [
        ("t1", &service.id, "", running, running),
        ("t2", &service.id, "", TaskState::Pending, running),
        ("t3", &global.id, "", running, running),
        ("t4", &global.id, "lost", running, TaskState::Shutdown),
        ("t5", &job.id, "", running, complete),
        ("t6", &job.id, "", complete, complete),
    ] {
        let task = Task {
            id: id.to_owned(),
            service_id: service.as_str().into(),
            node_id: node.into(),
            status: Some(TaskStatus {
                state: state.into(),
                ..Default::default()
            }),
            desired_state: desired.into(),
            ..Default::default()
        };
        world.put(|tx| tx.create_task(task)).await;
    }
    let services = vec![service.id, global.id, job.id, "gone".to_owned()];
    let request = Request::new(ListServiceStatusesRequest { services });
    let statuses = ask(world.control.list_service_statuses(request).await).statuses;
    let counts: Vec<_> = statuses
        .iter()
        .map(|s| (s.running_tasks, s.desired_tasks, s.completed_tasks))
        .collect();
    assert_eq!(counts, [(1, 2, 0), (1, 1, 0), (1, 1, 1), (0, 0, 0)]);
}
