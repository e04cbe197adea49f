//! Removing images, and what nothing names any more.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Instant;

use skep_objects::reference::Reference;

use super::ImageError;
use super::index::Record;
use super::layers::{Doomed, Layers};
use super::store::{Images, find};

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUser {
    /// The container's id.
    pub container: String,
    /// The image's id.
    pub image: String,
    /// Whether it runs: then its image cannot be removed even by force.
    pub running: bool,
}

/// Tells which images containers use.
pub trait ImageUsers: Send + Sync {
    /// Every container's image, and those that it mounts.
    fn image_users(&self) -> Vec<ImageUser>;
}

/// One line of what a removal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A tag or digest, as users see it.
    Untagged(String),
    /// An image's id.
    Deleted(String),
}

impl Images {
    /// Removes a name; and the image, when that was its last name or an id was given.
    ///
    /// Rules are Docker's: a name goes at once when others remain; an image that a running container
    /// uses cannot go; one that a stopped container uses, or that has names in several repositories
    /// and was given by id, goes by force only.
    pub fn remove(&self, name: &str, force: bool) -> Result<Vec<Removed>, ImageError> {
        let begun = Instant::now();
        let (removed, id) = {
            let mut index = self.index();
            let id = find(&index, name)?;
            let by_id = !names_the_tag(name, &id);
            let (tags, digests) = index.names.of(&id);
            let users = self.users_of(&id);
            let mut removed = Vec::new();
            if !by_id {
                let reference = Reference::parse(name)?;
                let key = match reference.digest() {
                    Some(digest) => format!("{}@{digest}", reference.canonical_name()),
                    None => reference.clone().or_latest().to_string(),
                };
                let others = tags.iter().filter(|tag| **tag != key).count();
                let is_last = others == 0 && (reference.digest().is_none() || tags.is_empty());
                if !is_last {
                    index.rename(|names| {
                        names.tags.remove(&key);
                        names.digests.remove(&key);
                    })?;
                    removed.push(Removed::Untagged(familiar(&key)));
                    (removed, None)
                } else {
                    check_users(name, &users, force)?;
                    self.drop_names(&mut index, &id, &mut removed)?;
                    let free = users.is_empty();
                    (removed, free.then_some(id))
                }
            } else {
                let repositories: BTreeSet<_> = tags
                    .iter()
                    .filter_map(|tag| Some(Reference::parse(tag).ok()?.canonical_name()))
                    .collect();
                if repositories.len() > 1 && !force {
                    return Err(in_use(
                        "delete",
                        id_short(&id),
                        true,
                        "image is referenced in multiple repositories".to_owned(),
                    ));
                }
                check_users_by_id(&id, &users, force)?;
                let _ = digests;
                self.drop_names(&mut index, &id, &mut removed)?;
                let free = users.is_empty();
                (removed, free.then_some(id))
            }
        };
        let mut removed = removed;
        for line in &removed {
            if let Removed::Untagged(name) = line {
                self.emit("untag", id.as_deref().unwrap_or(name), name);
            }
        }
        if let Some(id) = id {
            self.delete(&id, &mut removed)?;
        }
        self.0.times.delete.since(begun);
        Ok(removed)
    }

    /// Removes every image without a name, or with `all` every image that no container uses, where
    /// `keep` does not speak for it. Gives what was removed and the bytes won.
    pub fn prune(
        &self,
        all: bool,
        keep: impl Fn(&super::Image) -> bool,
    ) -> Result<(Vec<Removed>, u64), ImageError> {
        let used: BTreeSet<_> = self.users().into_iter().map(|user| user.image).collect();
        let mut removed = Vec::new();
        let mut won_bytes = 0;
        for image in self.list() {
            let dangling = image.tags.is_empty();
            if used.contains(image.id()) || !(all || dangling) || keep(&image) {
                continue;
            }
            {
                let mut index = self.index();
                // Looked at again: a container may have come since, or a name.
                let named = !index.names.of(image.id()).0.is_empty();
                if self.is_used(image.id()) || (named && !all) {
                    continue;
                }
                self.drop_names(&mut index, image.id(), &mut removed)?;
            }
            won_bytes += self.delete(image.id(), &mut removed)?;
        }
        {
            let pins = self.pins();
            let needed = |digest: &str| pins.contains_key(digest);
            won_bytes += self.0.blobs.remove_partials(needed);
        }
        self.sweep()?;
        Ok((removed, won_bytes))
    }

    fn users(&self) -> Vec<ImageUser> {
        self.0
            .users
            .get()
            .map(|users| users.image_users())
            .unwrap_or_default()
    }

    /// Ids of the containers, running or not, that were made from an image.
    pub fn containers_of(&self, id: &str) -> Vec<String> {
        let users = self.users_of(id).into_iter();
        users.map(|user| user.container).collect()
    }

    fn users_of(&self, id: &str) -> Vec<ImageUser> {
        self.users()
            .into_iter()
            .filter(|user| user.image == id)
            .collect()
    }

    fn drop_names(
        &self,
        index: &mut super::index::Index,
        id: &str,
        removed: &mut Vec<Removed>,
    ) -> Result<(), ImageError> {
        let (tags, digests) = index.names.of(id);
        removed.extend(
            tags.iter()
                .chain(&digests)
                .map(|name| Removed::Untagged(familiar(name))),
        );
        if tags.is_empty() && digests.is_empty() {
            return Ok(());
        }
        index.rename(|names| {
            names.tags.retain(|_, target| target != id);
            names.digests.retain(|_, target| target != id);
        })
    }

    /// Whether a container is made of an image, or is being made.
    fn is_used(&self, id: &str) -> bool {
        self.held().contains_key(id) || !self.users_of(id).is_empty()
    }

    /// Removes the record, then what only it named. An image that a container took meanwhile stays.
    fn delete(&self, id: &str, removed: &mut Vec<Removed>) -> Result<u64, ImageError> {
        let record = {
            let mut index = self.index();
            if self.is_used(id) {
                return Ok(0);
            }
            let Some(record) = index.records.get(id).cloned() else {
                return Ok(0);
            };
            index.remove(id)?;
            record
        };
        removed.push(Removed::Deleted(id.to_owned()));
        let mut doomed = Vec::new();
        let collected = self.collect(&record, removed, &mut doomed);
        remove_all(doomed)?;
        let won_bytes = collected?;
        self.emit("delete", id, id);
        Ok(won_bytes)
    }

    fn collect(
        &self,
        record: &Record,
        removed: &mut Vec<Removed>,
        doomed: &mut Vec<Doomed>,
    ) -> Result<u64, ImageError> {
        // Held throughout: nobody may begin to use a layer between the look and the removal.
        let index = self.index();
        let pins = self.pins();
        let (diffs, blobs) = index.in_use();
        let free = |digest: &String| {
            let unnamed = index.is_whole && !diffs.contains(digest) && !blobs.contains(digest);
            if unnamed && pins.contains_key(digest) {
                self.0.owes_sweep.store(true, Ordering::Relaxed);
                return false;
            }
            unnamed
        };
        let mut won_bytes = 0;
        for layer in record.layers.iter().rev() {
            if free(&layer.diff_id) && self.0.layers.has(&layer.diff_id) {
                doomed.extend(self.0.layers.take_out(&layer.diff_id)?);
                won_bytes += layer.size_bytes;
                removed.push(Removed::Deleted(layer.diff_id.clone()));
            }
            if free(&layer.blob) {
                self.0.blobs.remove(&layer.blob)?;
            }
        }
        for blob in [&record.manifest, &record.id] {
            if free(blob) {
                self.0.blobs.remove(blob)?;
            }
        }
        Ok(won_bytes)
    }

    /// Removes a blob that no record and no operation under way names.
    pub(super) fn remove_unnamed(&self, blob: &String) -> Result<(), ImageError> {
        let index = self.index();
        let pins = self.pins();
        let (_, used) = index.in_use();
        if used.contains(blob) || pins.contains_key(blob) {
            return Ok(());
        }
        self.0.blobs.remove(blob)
    }

    /// Removes blobs and layers that no record and no operation under way names: what a crash, or a
    /// failed pull, left.
    pub(super) fn sweep(&self) -> Result<(), ImageError> {
        let mut doomed = Vec::new();
        let swept = self.take_out_unnamed(&mut doomed);
        remove_all(doomed)?;
        swept
    }

    fn take_out_unnamed(&self, doomed: &mut Vec<Doomed>) -> Result<(), ImageError> {
        let index = self.index();
        if !index.is_whole {
            return Ok(());
        }
        let pins = self.pins();
        let (diffs, blobs) = index.in_use();
        for blob in self.0.blobs.list()? {
            if !blobs.contains(&blob) && !pins.contains_key(&blob) {
                self.0.blobs.remove(&blob)?;
            }
        }
        for name in self.0.layers.list()? {
            let mut needed = diffs.iter().chain(pins.keys());
            if !needed.any(|diff_id| Layers::is_named(&name, diff_id)) {
                doomed.extend(self.0.layers.take_out(&name)?);
            }
        }
        Ok(())
    }
}

fn remove_all(doomed: Vec<Doomed>) -> Result<(), ImageError> {
    doomed.into_iter().try_for_each(Doomed::remove)
}

/// Whether the user gave a name rather than an id.
fn names_the_tag(given: &str, id: &str) -> bool {
    let hex = given.strip_prefix("sha256:").unwrap_or(given);
    !(id.trim_start_matches("sha256:").starts_with(hex) && !given.contains([':', '/', '@'])
        || given.starts_with("sha256:"))
}

fn check_users(name: &str, users: &[ImageUser], force: bool) -> Result<(), ImageError> {
    let Some(user) = users.iter().find(|user| user.running).or(users.first()) else {
        return Ok(());
    };
    if force && !users.iter().any(|user| user.running) {
        return Ok(());
    }
    if force {
        // By force, a name may go while the image stays for its container.
        return Ok(());
    }
    let state = if user.running {
        "running container"
    } else {
        "container"
    };
    let why = format!(
        "{state} {} is using its referenced image {}",
        container_short(user),
        id_short(&user.image)
    );
    Err(in_use(
        "remove repository reference",
        format!("{name:?}"),
        true,
        why,
    ))
}

fn check_users_by_id(id: &str, users: &[ImageUser], force: bool) -> Result<(), ImageError> {
    if let Some(user) = users.iter().find(|user| user.running) {
        let why = format!(
            "image is being used by running container {}",
            container_short(user)
        );
        return Err(in_use("delete", id_short(id), false, why));
    }
    match users.first() {
        Some(user) if !force => {
            let why = format!(
                "image is being used by stopped container {}",
                container_short(user)
            );
            Err(in_use("delete", id_short(id), true, why))
        }
        _ => Ok(()),
    }
}

fn in_use(action: &'static str, name: String, must_be_forced: bool, why: String) -> ImageError {
    ImageError::InUse {
        action,
        name,
        must_be_forced,
        why,
    }
}

fn container_short(user: &ImageUser) -> String {
    user.container.chars().take(12).collect()
}

fn id_short(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(12).collect()
}

fn familiar(name: &str) -> String {
    Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}
