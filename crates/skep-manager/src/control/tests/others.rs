//! Volumes, extensions and resources.

use super::*;

#[tokio::test]
async fn cluster_volumes_are_refused_with_the_reason() {
    let world = World::new(vec![]);
    refused(
        world
            .control
            .create_volume(Request::new(CreateVolumeRequest::default()))
            .await,
        Code::Unimplemented,
        "cluster volumes need a CSI plugin, and skep does not run CSI plugins",
    );
}

#[tokio::test]
async fn resources_belong_to_an_extension_which_stays_while_they_do() {
    let world = World::new(vec![]);
    let create = |kind: &str| {
        Request::new(CreateResourceRequest {
            annotations: named("r"),
            kind: kind.to_owned(),
            payload: None,
        })
    };
    refused(
        world.control.create_resource(create("kind")).await,
        Code::InvalidArgument,
        "Kind kind is not registered",
    );
    let request = CreateExtensionRequest {
        annotations: named("kind"),
        ..Default::default()
    };
    let extension = ask(world.control.create_extension(Request::new(request)).await)
        .extension
        .unwrap();
    let resource = ask(world.control.create_resource(create("kind")).await)
        .resource
        .unwrap();
    let remove = || {
        Request::new(RemoveExtensionRequest {
            extension_id: extension.id.clone(),
        })
    };
    refused(
        world.control.remove_extension(remove()).await,
        Code::InvalidArgument,
        "extension kind is in use by the following resources: r",
    );
    let request = RemoveResourceRequest {
        resource_id: resource.id,
    };
    ask(world.control.remove_resource(Request::new(request)).await);
    ask(world.control.remove_extension(remove()).await);
}
