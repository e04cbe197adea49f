//! What an engine is put together from: directories, locks, the image store's view of containers.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Weak};
use std::time::Instant;

use rustix::fs::FlockOperation;
use skep_objects::ErrorKind;
use skep_objects::api::container::Config;
use skep_objects::api::decode;
use skep_objects::reference::{Reference, ReferenceError};

use crate::config::EngineConfig;
use crate::core::Core;
use crate::engine::CommitOptions;
use crate::error::{EngineError, Result};
use crate::events::Events;
use crate::image::{Image, ImageEvent, ImageUser, ImageUsers, Images, ImportOptions, apply_change};
use crate::image_source::{ImageInUse, ImageSource};

/// Makes the directories and locks them against a second daemon.
pub(crate) fn take_directories(config: &EngineConfig) -> Result<File> {
    use std::os::unix::fs::PermissionsExt;
    for dir in [&config.data_root, &config.exec_root] {
        std::fs::create_dir_all(dir).map_err(EngineError::io("create", dir))?;
    }
    // Containers' users pass through to what is theirs, but see nothing on the way.
    let passage = std::fs::Permissions::from_mode(0o711);
    let _ = std::fs::set_permissions(&config.data_root, passage);
    let path = config.data_root.join("engine.lock");
    let file = File::create(&path).map_err(EngineError::io("create", &path))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        EngineError::refused(
            ErrorKind::Conflict,
            format!("{} is in use by another daemon", config.data_root.display()),
        )
    })?;
    Ok(file)
}

/// Opens the image store; its events go among the others.
pub(crate) fn open_images(config: &EngineConfig, events: &Events) -> Result<Images> {
    let images = Images::open(&config.data_root.join("image"), config.registries.clone())
        .map_err(|error| EngineError::refused(error.kind(), error.to_string()))?;
    let events = events.clone();
    images.set_events(move |event: ImageEvent| {
        let attributes = BTreeMap::from([("name".to_owned(), event.name)]);
        events.publish("image", event.action, &event.id, attributes);
    });
    Ok(images)
}

impl ImageSource for Images {
    fn resolve(&self, name: &str) -> Result<ImageInUse> {
        let image = Images::resolve(self, name)
            .map_err(|error| EngineError::refused(error.kind(), error.to_string()))?;
        in_use(self, &image)
    }

    fn resolve_for(&self, name: &str, platform: &str) -> Result<ImageInUse> {
        let refused =
            |error: crate::image::ImageError| EngineError::refused(error.kind(), error.to_string());
        let image = Images::resolve_for(self, name, platform).map_err(refused)?;
        let hold = self.hold(image.id()).map_err(refused)?;
        let mut used = in_use(self, &image)?;
        used.hold = Some(Arc::new(hold));
        Ok(used)
    }

    fn by_id(&self, id: &str) -> Result<ImageInUse> {
        let image = Images::by_id(self, id)
            .map_err(|error| EngineError::refused(error.kind(), error.to_string()))?;
        in_use(self, &image)
    }
}

fn in_use(images: &Images, image: &Image) -> Result<ImageInUse> {
    let config: Config = match &image.config.config {
        Some(map) => {
            decode::from_value(serde_json::Value::Object(map.clone())).map_err(|error| {
                EngineError::refused(
                    ErrorKind::Internal,
                    format!("image {}: {error}", image.id()),
                )
            })?
        }
        None => Config::default(),
    };
    Ok(ImageInUse {
        id: image.id().to_owned(),
        config,
        lower: images.lower_dirs(image),
        size_bytes: image.size_bytes(),
        hold: None,
    })
}

/// The containers, as the image store asks for them.
pub(crate) struct Users(pub Weak<Core>);

impl ImageUsers for Users {
    fn image_users(&self) -> Vec<ImageUser> {
        let Some(core): Option<Arc<Core>> = self.0.upgrade() else {
            return Vec::new();
        };
        let users = |record: &crate::container::Record, state: &crate::container::RunState| {
            let images = std::iter::once(&record.image_id).chain(record.mounted_images());
            let user = |image: &String| ImageUser {
                container: record.id.clone(),
                image: image.clone(),
                running: state.running,
            };
            images.map(user).collect::<Vec<_>>()
        };
        let containers = core.containers.all();
        let of_each = containers.iter().map(|container| container.with(users));
        of_each.flatten().collect()
    }
}

/// Makes an image of a container; returns its id.
pub(crate) async fn commit(
    core: &Arc<Core>,
    images: &Images,
    reference: &str,
    options: CommitOptions,
) -> Result<String> {
    let begun = Instant::now();
    let refused =
        |error: crate::image::ImageError| EngineError::refused(error.kind(), error.to_string());
    let name = match (options.repo.as_str(), options.tag.as_str()) {
        ("", _) => None,
        (repo, "") => Some(repo.to_owned()),
        (repo, tag) => Some(format!("{repo}:{tag}")),
    };
    let name: Option<Reference> = name
        .map(|name| name.parse())
        .transpose()
        .map_err(|error: ReferenceError| EngineError::invalid(error.to_string()))?;
    let container = core.containers.find(reference)?;
    let committed = core.prepare_commit(&container, reference, &options).await?;
    let mut config = committed.config;
    for change in &options.changes {
        apply_change(&mut config, change)?;
    }
    let import = ImportOptions {
        config,
        message: options.comment,
        created_by: committed.created_by,
        author: options.author,
        platform: None,
    };
    let images = images.clone();
    let (parent, layer) = (committed.parent, committed.layer);
    let id = core
        .blocking(move || {
            let parent = Images::by_id(&images, &parent).map_err(refused)?;
            let image = images
                .create(Some(&parent), layer, &import)
                .map_err(refused)?;
            if let Some(name) = &name {
                images.tag(image.id(), name).map_err(refused)?;
            }
            Ok::<_, EngineError>(image.id().to_owned())
        })
        .await?
        .map_err(|error| container.told(reference, error))?;
    core.publish(
        &container,
        "commit",
        BTreeMap::from([("comment".to_owned(), String::new())]),
    );
    core.metrics.containers.commit.since(begun);
    Ok(id)
}
