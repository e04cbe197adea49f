//! The cluster object.

use super::*;

fn cluster() -> Cluster {
    Cluster {
        id: "c".to_owned(),
        spec: Some(ClusterSpec {
            annotations: named("default"),
            ..Default::default()
        }),
        root_ca: Some(crate::ca::seed::new_root_ca(time::OffsetDateTime::now_utc()).unwrap()),
        ..Default::default()
    }
}

async fn update_cluster(
    world: &World,
    spec: ClusterSpec,
    rotation: KeyRotation,
) -> Result<Response<UpdateClusterResponse>, Status> {
    let request = UpdateClusterRequest {
        cluster_id: "c".to_owned(),
        cluster_version: world
            .store
            .view()
            .cluster("c")
            .unwrap()
            .meta
            .as_ref()
            .unwrap()
            .version,
        spec: Some(spec),
        rotation: Some(rotation),
    };
    world.control.update_cluster(Request::new(request)).await
}

#[tokio::test]
async fn a_cluster_is_shown_without_its_keys_and_with_its_defaults() {
    let world = World::new(vec![]);
    world.put(|tx| tx.create_cluster(cluster())).await;
    let answer = world
        .control
        .list_clusters(Request::new(ListClustersRequest::default()))
        .await;
    let shown = ask(answer).clusters.remove(0);
    assert!(shown.root_ca.as_ref().unwrap().ca_key.is_empty());
    assert!(
        !shown
            .root_ca
            .unwrap()
            .join_tokens
            .unwrap()
            .worker
            .is_empty()
    );
    assert_eq!(shown.default_address_pool, ["10.0.0.0/8"]);
    assert_eq!((shown.subnet_size, shown.vxlanudp_port), (24, 4789));
    assert!(
        !world
            .store
            .view()
            .cluster("c")
            .unwrap()
            .root_ca
            .as_ref()
            .unwrap()
            .ca_key
            .is_empty()
    );
}

#[tokio::test]
async fn cluster_settings_are_checked() {
    let world = World::new(vec![]);
    world.put(|tx| tx.create_cluster(cluster())).await;
    let none = KeyRotation::default();
    let spec = || ClusterSpec {
        annotations: named("default"),
        ..Default::default()
    };
    let seconds = |seconds| Some(Duration { seconds, nanos: 0 });
    refused(
        update_cluster(
            &world,
            ClusterSpec {
                annotations: named("x"),
                ..Default::default()
            },
            none,
        )
        .await,
        Code::InvalidArgument,
        "modification of cluster name is not allowed",
    );
    let short = CaConfig {
        node_cert_expiry: seconds(3599),
        ..Default::default()
    };
    refused(
        update_cluster(
            &world,
            ClusterSpec {
                ca_config: Some(short),
                ..spec()
            },
            none,
        )
        .await,
        Code::InvalidArgument,
        "minimum certificate expiry time is: 1h0m0s",
    );
    let dispatcher = Some(DispatcherConfig {
        heartbeat_period: seconds(-1),
    });
    refused(
        update_cluster(
            &world,
            ClusterSpec {
                dispatcher,
                ..spec()
            },
            none,
        )
        .await,
        Code::InvalidArgument,
        "heartbeat time period cannot be a negative duration",
    );
}

#[tokio::test]
async fn tokens_and_unlock_key_are_rotated_on_request() {
    let world = World::new(vec![]);
    world.put(|tx| tx.create_cluster(cluster())).await;
    let tokens = || {
        let view = world.store.view();
        view.cluster("c")
            .unwrap()
            .root_ca
            .as_ref()
            .unwrap()
            .join_tokens
            .clone()
            .unwrap()
    };
    let before = tokens();
    let spec = ClusterSpec {
        annotations: named("default"),
        encryption_config: Some(EncryptionConfig {
            auto_lock_managers: true,
        }),
        ..Default::default()
    };
    let rotation = KeyRotation {
        worker_join_token: true,
        ..Default::default()
    };
    let shown = ask(update_cluster(&world, spec.clone(), rotation).await)
        .cluster
        .unwrap();
    assert!(shown.unlock_keys.is_empty());
    assert_ne!(tokens().worker, before.worker);
    assert_eq!(tokens().manager, before.manager);
    let key = |world: &World| world.store.view().cluster("c").unwrap().unlock_keys.clone();
    let first = key(&world);
    assert_eq!(first.len(), 1);
    let rotation = KeyRotation {
        manager_unlock_key: true,
        ..Default::default()
    };
    ask(update_cluster(&world, spec, rotation).await);
    assert_ne!(key(&world), first);
}
