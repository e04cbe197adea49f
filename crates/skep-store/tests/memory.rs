//! The store without raft: tables, transactions, watches.
#![allow(clippy::unwrap_used)] // A failure is a panic here.

use std::sync::Arc;

use skep_objects::ErrorKind;
use skep_objects::swarmkit::{
    Annotations, ContainerSpec, Extension, Network, NetworkAttachmentConfig, NetworkSpec, Node,
    NodeDescription, Resource, SecretReference, Service, ServiceSpec, Task, TaskSpec, TaskState,
    task_spec,
};
use skep_store::{
    BACKLOG, CommitError, Event, MAX_ENTRY_BYTES, ManualClock, Object, Store, Tx, TxError,
    UpdateError,
};

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations {
        name: name.into(),
        ..Annotations::default()
    })
}

fn service(id: &str, name: &str) -> Service {
    let spec = ServiceSpec {
        annotations: named(name),
        ..ServiceSpec::default()
    };
    Service {
        id: id.into(),
        spec: Some(spec),
        ..Service::default()
    }
}

fn network(id: &str, name: &str) -> Network {
    let spec = NetworkSpec {
        annotations: named(name),
        ..NetworkSpec::default()
    };
    Network {
        id: id.into(),
        spec: Some(spec),
        ..Network::default()
    }
}

fn task(id: &str, service: &str, slot: u64, node: &str) -> Task {
    Task {
        id: id.into(),
        service_id: service.into(),
        slot,
        node_id: node.into(),
        desired_state: TaskState::Running as i32,
        ..Task::default()
    }
}

async fn write<T>(store: &Store, f: impl FnOnce(&mut Tx) -> Result<T, TxError>) -> T {
    store.update(f).await.unwrap()
}

fn ids<'a>(tasks: impl Iterator<Item = &'a Arc<Task>>) -> Vec<&'a str> {
    tasks.map(|task| task.id.as_str()).collect()
}

#[tokio::test]
async fn a_name_is_unique_whatever_its_case() {
    let store = Store::in_memory();
    write(&store, |tx| tx.create_network(network("n1", "Front"))).await;
    let taken = store
        .update(|tx| tx.create_network(network("n2", "fRONT")))
        .await;
    assert!(
        matches!(&taken, Err(UpdateError::Refused(TxError::NameConflict { holder, .. })) if holder == "n1")
    );
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(store.view().network_by_name("FRONT").unwrap().id, "n1");
    assert_eq!(store.view().count::<Network>(), 1);
}

#[tokio::test]
async fn of_two_objects_of_a_transaction_the_later_one_is_so_by_its_time() {
    let clock = Arc::new(ManualClock::default());
    clock.advance_nanos(1_999_999_999);
    let store = Store::in_memory_with(clock);
    write(&store, |tx| {
        tx.create_network(network("n1", "one"))?;
        tx.create_network(network("n2", "two"))?;
        tx.edit_network("n1", |network| network.pending_delete = true)
    })
    .await;
    let view = store.view();
    let times = |id: &str| {
        let meta = view.network(id).unwrap().meta.unwrap();
        [meta.created_at, meta.updated_at].map(|time| time.map(|time| (time.seconds, time.nanos)))
    };
    let (first, second) = (Some((1, 999_999_999)), Some((2, 0)));
    assert_eq!(times("n1"), [first, second]);
    assert_eq!(times("n2"), [second, second]);
}

#[tokio::test]
async fn renaming_frees_the_old_name_and_may_not_take_anothers() {
    let store = Store::in_memory();
    write(&store, |tx| {
        tx.create_service(service("s1", "web"))?;
        tx.create_service(service("s2", "db"))
    })
    .await;
    let rename = |to: &'static str| {
        move |service: &mut Service| service.spec.as_mut().unwrap().annotations = named(to)
    };
    assert!(
        store
            .update(|tx| tx.edit_service("s1", rename("db")))
            .await
            .is_err()
    );
    write(&store, |tx| tx.edit_service("s1", rename("www"))).await;
    let view = store.view();
    assert!(view.service_by_name("web").is_none());
    assert_eq!(view.service_by_name("www").unwrap().id, "s1");
    write(&store, |tx| tx.create_service(service("s3", "web"))).await;
}

#[tokio::test]
async fn an_id_is_taken_once() {
    let store = Store::in_memory();
    write(&store, |tx| tx.create_task(task("t", "s", 1, ""))).await;
    let again = store
        .update(|tx| tx.create_task(task("t", "s", 2, "")))
        .await;
    assert!(matches!(
        again,
        Err(UpdateError::Refused(TxError::Exists { .. }))
    ));
    let missing = store.update(|tx| tx.remove_task("no")).await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_stale_update_is_out_of_sequence() {
    let store = Store::in_memory();
    let first = write(&store, |tx| tx.create_service(service("s", "web"))).await;
    let second = write(&store, |tx| {
        let mut newer = Service::clone(&first);
        newer.pending_delete = true;
        tx.update_service(newer)
    })
    .await;
    assert!(
        second.meta.unwrap().version.unwrap().index > first.meta.unwrap().version.unwrap().index
    );
    let stale = store
        .update(|tx| tx.update_service(Service::clone(&first)))
        .await
        .unwrap_err();
    assert_eq!(stale.to_string(), "update out of sequence");
    assert_eq!(stale.kind(), ErrorKind::Conflict);
    write(&store, |tx| tx.overwrite(Service::clone(&first))).await;
}

#[tokio::test]
async fn a_transaction_reads_what_it_wrote_and_a_refused_one_leaves_nothing() {
    let store = Store::in_memory();
    let refused = store
        .update(|tx| {
            tx.create_task(task("t1", "s", 1, "n"))?;
            assert_eq!(ids(tx.tasks_by_node("n")), ["t1"]);
            tx.create_task(task("t1", "s", 1, "n"))
        })
        .await;
    assert!(refused.is_err());
    assert_eq!(store.view().count::<Task>(), 0);
    assert_eq!(store.view().version(), 0);
}

#[tokio::test]
async fn tasks_are_found_by_service_slot_node_and_state() {
    let store = Store::in_memory();
    write(&store, |tx| {
        tx.create_task(task("t1", "a", 2, "n1"))?;
        tx.create_task(task("t2", "a", 1, "n2"))?;
        tx.create_task(task("t3", "a", 1, "n1"))?;
        tx.create_task(task("t4", "ab", 1, ""))
    })
    .await;
    let view = store.view();
    assert_eq!(ids(view.tasks_by_service("a")), ["t2", "t3", "t1"]);
    assert_eq!(ids(view.tasks_by_slot("a", 1)), ["t2", "t3"]);
    assert_eq!(ids(view.tasks_by_node("n1")), ["t1", "t3"]);
    assert_eq!(ids(view.tasks_by_id_prefix("t")).len(), 4);
    write(&store, |tx| {
        tx.edit_task("t3", |task| {
            task.node_id = "n2".into();
            task.desired_state = TaskState::Shutdown as i32;
        })
    })
    .await;
    assert_eq!(
        ids(view.tasks_by_node("n1")),
        ["t1", "t3"],
        "a view does not change"
    );
    let view = store.view();
    assert_eq!(ids(view.tasks_by_node("n1")), ["t1"]);
    assert_eq!(ids(view.tasks_by_node("n2")), ["t2", "t3"]);
    write(&store, |tx| tx.remove_task("t2")).await;
    assert_eq!(ids(store.view().tasks_by_slot("a", 1)), ["t3"]);
}

#[tokio::test]
async fn references_are_found_from_the_other_side() {
    let store = Store::in_memory();
    let container = ContainerSpec {
        secrets: vec![SecretReference {
            secret_id: "sec".into(),
            ..SecretReference::default()
        }],
        ..ContainerSpec::default()
    };
    let spec = TaskSpec {
        runtime: Some(task_spec::Runtime::Container(container)),
        networks: vec![NetworkAttachmentConfig {
            target: "net".into(),
            ..Default::default()
        }],
        ..TaskSpec::default()
    };
    let mut web = service("s", "web");
    web.spec.as_mut().unwrap().task = Some(spec.into());
    write(&store, |tx| tx.create_service(web)).await;
    let view = store.view();
    assert_eq!(view.services_by_network("net").count(), 1);
    assert_eq!(view.services_by_secret("sec").count(), 1);
    assert_eq!(view.services_by_config("sec").count(), 0);
}

#[tokio::test]
async fn tasks_share_the_spec_of_their_service() {
    let store = Store::in_memory();
    let spec = |image: &str| TaskSpec {
        runtime: Some(task_spec::Runtime::Container(ContainerSpec {
            image: image.into(),
            ..ContainerSpec::default()
        })),
        ..TaskSpec::default()
    };
    let of = |id: &str, slot: u64, image: &str| Task {
        spec: Some(spec(image).into()),
        service_annotations: Some(named("web").unwrap().into()),
        ..task(id, "s", slot, "")
    };
    let mut web = service("s", "web");
    web.spec.as_mut().unwrap().task = Some(spec("new").into());
    write(&store, |tx| {
        tx.create_service(web)?;
        tx.create_task(of("t1", 1, "new"))?;
        tx.create_task(of("t2", 2, "new"))?;
        tx.create_task(of("t3", 3, "old"))
    })
    .await;
    write(&store, |tx| {
        tx.edit_task("t2", |task| task.node_id = "n".into())
    })
    .await;
    let view = store.view();
    let service = view.service("s").unwrap().spec.clone().unwrap();
    let task = |id: &str| view.task(id).unwrap();
    let shares = |id: &str| {
        task(id)
            .spec
            .as_ref()
            .unwrap()
            .is_same(service.task.as_ref().unwrap())
    };
    assert!(shares("t1") && shares("t2") && !shares("t3"));
    assert_eq!(task("t3").spec.as_deref(), Some(&spec("old")));
    let annotations = |id: &str| task(id).service_annotations.clone().unwrap();
    assert!(annotations("t1").is_same(&annotations("t2")));
    assert!(annotations("t1").is_same(&annotations("t3")));
}

#[tokio::test]
async fn nodes_may_share_a_host_name() {
    let store = Store::in_memory();
    let node = |id: &str| Node {
        id: id.into(),
        description: Some(NodeDescription {
            hostname: "Host".into(),
            ..Default::default()
        }),
        ..Node::default()
    };
    write(&store, |tx| {
        tx.create_node(node("n1"))?;
        tx.create_node(node("n2"))
    })
    .await;
    assert_eq!(store.view().nodes_by_name("host").count(), 2);
    assert_eq!(store.view().by_name_prefix::<Node>("HO").count(), 2);
}

#[tokio::test]
async fn a_resource_needs_the_extension_of_its_kind() {
    let store = Store::in_memory();
    let resource = Resource {
        id: "r".into(),
        kind: "skep.thing".into(),
        annotations: named("thing"),
        ..Resource::default()
    };
    let refused = store
        .update(|tx| tx.create_resource(resource.clone()))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    let extension = Extension {
        id: "e".into(),
        annotations: named("skep.thing"),
        ..Extension::default()
    };
    write(&store, |tx| {
        tx.create_extension(extension)?;
        tx.create_resource(resource)
    })
    .await;
    assert_eq!(store.view().resources_by_kind("SKEP.thing").count(), 1);
}

#[tokio::test]
async fn a_watch_tells_each_change_once_and_ends_each_transaction() {
    let store = Store::in_memory();
    write(&store, |tx| tx.create_task(task("before", "s", 1, ""))).await;
    let (view, mut watch) = store.watch();
    assert_eq!(ids(view.tasks()), ["before"]);
    write(&store, |tx| tx.create_task(task("t", "s", 1, ""))).await;
    write(&store, |tx| tx.edit_task("t", |task| task.slot = 2)).await;
    write(&store, |tx| tx.remove_task("t")).await;
    assert!(matches!(watch.recv().await, Some(Event::Created(_))));
    assert!(matches!(watch.recv().await, Some(Event::Committed(2))));
    let Some(Event::Updated { old, new }) = watch.recv().await else {
        panic!("not an update")
    };
    assert_ne!(old, new);
    assert!(matches!(watch.recv().await, Some(Event::Committed(3))));
    assert!(matches!(watch.recv().await, Some(Event::Removed(_))));
    assert!(matches!(watch.recv().await, Some(Event::Committed(4))));
    assert!(watch.try_recv().is_none());
}

#[tokio::test]
async fn an_edit_that_changes_nothing_writes_nothing() {
    let store = Store::in_memory();
    write(&store, |tx| tx.create_task(task("t", "s", 1, ""))).await;
    let before = store.view().version();
    write(&store, |tx| tx.edit_task("t", |task| task.slot = 1)).await;
    assert_eq!(store.view().version(), before);
}

#[tokio::test]
async fn a_watcher_that_falls_behind_gets_the_net_change() {
    let store = Store::in_memory();
    write(&store, |tx| tx.create_task(task("gone", "s", 1, ""))).await;
    let (view, mut watch) = store.watch();
    write(&store, |tx| tx.remove_task("gone")).await;
    write(&store, |tx| tx.create_task(task("kept", "s", 0, ""))).await;
    for slot in 1..=BACKLOG as u64 {
        write(&store, |tx| tx.edit_task("kept", |task| task.slot = slot)).await;
    }
    let mut mirror: Vec<String> = view.tasks().map(|task| task.id.clone()).collect();
    let mut told = 0;
    while let Some(event) = watch.try_recv() {
        told += 1;
        match event {
            Event::Created(object) => mirror.push(object.id().to_owned()),
            Event::Removed(object) => mirror.retain(|id| id != object.id()),
            Event::Updated { .. } | Event::Committed(_) => {}
        }
    }
    assert_eq!(mirror, ["kept"]);
    assert!(told < 10, "{told} events instead of the net change");
    assert_eq!(watch.view().task("kept").unwrap().slot, BACKLOG as u64);
}

#[tokio::test]
async fn in_a_batch_each_update_fails_alone() {
    let store = Store::in_memory();
    let updates = (0..1000u64).map(|n| {
        move |tx: &mut Tx| {
            tx.create_task(task(&format!("t{:03}", n % 600), "s", n, ""))?;
            tx.create_task(task(&format!("u{n:04}"), "s", n, ""))
        }
    });
    let results = store.batch(updates).await.unwrap();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 600);
    assert_eq!(store.view().count::<Task>(), 1200);
    assert_eq!(store.view().version(), 6, "entries of 200 changes");
}

#[tokio::test]
async fn updates_run_one_after_the_other() {
    let store = Store::in_memory();
    write(&store, |tx| tx.create_task(task("t", "s", 0, ""))).await;
    let writers = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { write(&store, |tx| tx.edit_task("t", |t| t.slot += 1)).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(store.view().task("t").unwrap().slot, 50);
}

#[tokio::test]
async fn watchers_see_what_a_transaction_did_in_the_end() {
    let store = Store::in_memory();
    let (_, mut watch) = store.watch();
    let update = store.update(|tx: &mut Tx| {
        tx.create_task(Task {
            id: "a".into(),
            ..Task::default()
        })?;
        tx.create_task(Task {
            id: "b".into(),
            ..Task::default()
        })?;
        tx.edit_task("a", |task| task.slot = 7)?;
        tx.remove_task("b")
    });
    update.await.unwrap();
    let events = watch.recv_commit().await.unwrap().events;
    assert!(
        matches!(&events[..], [Event::Created(Object::Task(task))] if task.slot == 7),
        "{events:?}"
    );
    assert_eq!(store.view().tasks().count(), 1);
}

fn node_of(id: &str, bytes: usize) -> Node {
    let description = NodeDescription {
        hostname: "h".repeat(bytes),
        ..NodeDescription::default()
    };
    Node {
        id: id.into(),
        description: Some(description),
        ..Node::default()
    }
}

#[tokio::test]
async fn a_batch_of_large_objects_takes_more_entries() {
    let store = Store::in_memory();
    store.accept_up_to(MAX_ENTRY_BYTES);
    let create = |n: usize, bytes: usize| {
        move |tx: &mut Tx| tx.create_node(node_of(&format!("n{n:02}"), bytes))
    };
    let half = MAX_ENTRY_BYTES / 2 - 1000;
    let all = (0..20).map(|n| create(n, half));
    store.batch(all).await.unwrap();
    assert_eq!(store.view().count::<Node>(), 20);
    assert_eq!(store.view().version(), 10, "two in an entry");
    let too_large = [create(20, 1), create(21, MAX_ENTRY_BYTES)];
    let error = store.batch(too_large).await.unwrap_err();
    assert!(matches!(error, CommitError::TooLarge { .. }), "{error}");
    assert_eq!(store.view().count::<Node>(), 20, "nothing of that entry");
}

#[tokio::test]
async fn a_transaction_knows_what_it_takes_in_the_log() {
    let store = Store::in_memory();
    let measure = |tx: &mut Tx| {
        tx.create_node(node_of("n", 1000))?;
        let created = tx.encoded_len();
        for bytes in 1001..1100 {
            tx.edit_node("n", |node| *node = node_of("n", bytes))?;
        }
        let edited = tx.encoded_len();
        tx.create_node(node_of("m", 1000))?;
        Ok::<_, TxError>([created, edited, tx.encoded_len()])
    };
    let [created, edited, both] = store.update(measure).await.unwrap();
    assert!((1000..1100).contains(&created), "{created}");
    assert!(
        (1099..1200).contains(&edited),
        "{edited}: the log gets one change"
    );
    assert!((2099..2300).contains(&both), "{both}");
}
