//! Secrets and configs.

use super::*;

#[tokio::test]
async fn secrets_are_checked_and_their_content_is_never_shown() {
    let world = World::new(vec![]);
    let size = "secret data must be larger than 0 and less than 512000 bytes";
    refused(world.secret("a", b"").await, Code::InvalidArgument, size);
    refused(
        world.secret("a", &vec![0; 512_000]).await,
        Code::InvalidArgument,
        size,
    );
    let secret = ask(world.secret("a", &vec![0; 511_999]).await)
        .secret
        .unwrap();
    assert!(secret.spec.as_ref().unwrap().data.is_empty());
    refused(
        world.secret("A", b"x").await,
        Code::AlreadyExists,
        "secret A already exists",
    );
    let request = Request::new(GetSecretRequest {
        secret_id: secret.id.clone(),
    });
    let shown = ask(world.control.get_secret(request).await).secret.unwrap();
    assert!(shown.spec.unwrap().data.is_empty());
}

#[tokio::test]
async fn only_the_labels_of_a_secret_change() {
    let world = World::new(vec![]);
    let secret = ask(world.secret("a", b"x").await).secret.unwrap();
    let update = |spec: SecretSpec| UpdateSecretRequest {
        secret_id: secret.id.clone(),
        secret_version: secret.meta.as_ref().unwrap().version,
        spec: Some(spec),
    };
    let other = SecretSpec {
        annotations: named("a"),
        data: b"y".to_vec(),
        ..Default::default()
    };
    let renamed = SecretSpec {
        annotations: named("b"),
        ..Default::default()
    };
    for spec in [other, renamed] {
        refused(
            world
                .control
                .update_secret(Request::new(update(spec)))
                .await,
            Code::InvalidArgument,
            "only updates to Labels are allowed",
        );
    }
    let mut annotations = named("a").unwrap();
    annotations.labels.insert("k".to_owned(), "v".to_owned());
    let labelled = SecretSpec {
        annotations: Some(annotations),
        ..Default::default()
    };
    ask(world
        .control
        .update_secret(Request::new(update(labelled)))
        .await);
    let view = world.store.view();
    let stored = view.secret(&secret.id).unwrap().spec.as_ref().unwrap();
    assert_eq!(stored.data, b"x");
    assert_eq!(stored.annotations.as_ref().unwrap().labels["k"], "v");
}

#[tokio::test]
async fn a_secret_in_use_stays_and_a_missing_one_is_named() {
    let world = World::new(vec![]);
    let secret = ask(world.secret("a", b"x").await).secret.unwrap();
    let reference = |name: &str, file: &str| SecretReference {
        secret_id: secret.id.clone(),
        secret_name: name.to_owned(),
        target: Some(secret_reference::Target::File(FileTarget {
            name: file.to_owned(),
            ..Default::default()
        })),
    };
    let with = |name: &str, references: Vec<SecretReference>| {
        with_container(name, |container| container.secrets = references)
    };
    refused(
        world
            .create_service(with("web", vec![reference("b", "b")]))
            .await,
        Code::InvalidArgument,
        "secret not found: b",
    );
    refused(
        world
            .create_service(with("web", vec![reference("b", "b"), reference("c", "c")]))
            .await,
        Code::InvalidArgument,
        "secrets not found: b, c",
    );
    world.service(with("web", vec![reference("a", "a")])).await;
    let remove = || {
        Request::new(RemoveSecretRequest {
            secret_id: secret.id.clone(),
        })
    };
    refused(
        world.control.remove_secret(remove()).await,
        Code::InvalidArgument,
        "secret 'a' is in use by the following service: web",
    );
    world.service(with("api", vec![reference("a", "a")])).await;
    refused(
        world.control.remove_secret(remove()).await,
        Code::InvalidArgument,
        "secret 'a' is in use by the following services: api, web",
    );
}
