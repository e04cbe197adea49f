//! Networks.

use super::*;

#[tokio::test]
async fn the_routing_mesh_needs_its_network() {
    let world = World::new(vec![]);
    refused(
        world.create_service(published("web", 80, 0)).await,
        Code::FailedPrecondition,
        "service needs ingress network, but no ingress network is present",
    );
    let ingress = world.network("ingress", true).await;
    let service = world.service(published("web", 80, 0)).await;
    refused(
        world.remove_network(&ingress.id).await,
        Code::FailedPrecondition,
        &format!(
            "ingress network cannot be removed because service {} depends on it",
            service.id
        ),
    );
    let request = CreateNetworkRequest {
        spec: Some(NetworkSpec {
            annotations: named("b"),
            ingress: true,
            ..Default::default()
        }),
    };
    refused(
        world.control.create_network(Request::new(request)).await,
        Code::AlreadyExists,
        &format!("ingress network ({}) is already present", ingress.id),
    );
    let mut attached = spec("other");
    let target = ingress.id.clone();
    attached.task.as_mut().unwrap().networks = vec![NetworkAttachmentConfig {
        target,
        ..Default::default()
    }];
    refused(
        world.create_service(attached).await,
        Code::InvalidArgument,
        "Service cannot be explicitly attached to the ingress network \"ingress\"",
    );
}

#[tokio::test]
async fn a_network_in_use_stays() {
    let world = World::new(vec![]);
    let network = world.network("net", false).await;
    let mut attached = spec("web");
    let attachment = NetworkAttachmentConfig {
        target: network.id.clone(),
        ..Default::default()
    };
    attached.task.as_mut().unwrap().networks = vec![attachment.clone()];
    let service = world.service(attached).await;
    refused(
        world.remove_network(&network.id).await,
        Code::FailedPrecondition,
        &format!("network {} is in use by service {}", network.id, service.id),
    );
    let request = RemoveServiceRequest {
        service_id: service.id.clone(),
    };
    ask(world.control.remove_service(Request::new(request)).await);
    let task = |desired: TaskState| Task {
        id: "t1".to_owned(),
        spec: Some(
            TaskSpec {
                networks: vec![attachment.clone()],
                ..Default::default()
            }
            .into(),
        ),
        desired_state: desired.into(),
        ..Default::default()
    };
    world
        .put(|tx| tx.create_task(task(TaskState::Running)))
        .await;
    refused(
        world.remove_network(&network.id).await,
        Code::FailedPrecondition,
        &format!("network {} is in use by task t1", network.id),
    );
    world
        .put(|tx| {
            tx.edit_task("t1", |stored| {
                stored.desired_state = TaskState::Remove.into()
            })
        })
        .await;
    ask(world.remove_network(&network.id).await);
}

#[tokio::test]
async fn predefined_networks_stay() {
    let world = World::new(vec![]);
    let mut annotations = named("bridge").unwrap();
    annotations.labels.insert(
        crate::control::network::PREDEFINED_LABEL.to_owned(),
        "true".to_owned(),
    );
    let spec = NetworkSpec {
        annotations: Some(annotations),
        ..Default::default()
    };
    let request = Request::new(CreateNetworkRequest { spec: Some(spec) });
    let network = ask(world.control.create_network(request).await)
        .network
        .unwrap();
    refused(
        world.remove_network(&network.id).await,
        Code::FailedPrecondition,
        "bridge is a pre-defined network and cannot be removed",
    );
}
