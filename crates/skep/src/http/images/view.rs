//! Images as the API shows them: rows, details, history, disk usage; and the filters of lists.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::Value;
use skep_engine::Filters;
use skep_engine::image::{Image, Images};
use skep_objects::api::encode::{ZERO_TIME, parse_time, rfc3339_nano};
use skep_objects::api::image::{
    GraphDriver, HistoryItem, ImageInspect, ImageSummary, Metadata, RootFs,
};
use skep_objects::go_duration::parse_length;
use skep_objects::reference::Reference;

use crate::http::call::Call;
use crate::http::error::Result;
use crate::http::logs::time_parameter;
use crate::http::version::ApiVersion;

fn labels(image: &Image) -> Option<BTreeMap<String, String>> {
    let labels = image.config.config.as_ref()?.get("Labels")?.as_object()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Some(
        labels
            .iter()
            .map(|(key, value)| (key.clone(), text(value)))
            .collect(),
    )
}

fn created(image: &Image) -> i64 {
    unix(image.config.created.as_deref())
}

fn unix(time: Option<&str>) -> i64 {
    time.and_then(parse_time)
        .map_or(0, |time| time.unix_timestamp())
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Images that pass the filters, newest first.
pub fn list(images: &Images, filters: &Filters) -> Result<Vec<Image>> {
    let bound = |name: &str| -> Result<Option<i64>> {
        let Some(reference) = filters.get(name).next() else {
            return Ok(None);
        };
        Ok(Some(created(&images.resolve(reference)?)))
    };
    let (before, since) = (bound("before")?, bound("since")?);
    let until = until(filters)?;
    let dangling = filters.flag("dangling")?;
    let passes = |image: &Image| {
        let at = created(image);
        let labels = labels(image).unwrap_or_default();
        dangling.is_none_or(|wanted| wanted == image.tags.is_empty())
            && before.is_none_or(|before| at < before)
            && since.is_none_or(|since| at > since)
            && until.is_none_or(|until| at < until)
            && filters.labels("label", &labels)
            && filters.labels_absent(&labels)
            && names_match(filters, image)
    };
    let mut chosen: Vec<Image> = images.list().into_iter().filter(passes).collect();
    if filters.contains("reference") {
        // An image that is meant by one of its names is told under that name only.
        for image in &mut chosen {
            image.tags.retain(|name| name_matches(filters, name));
            image.digests.retain(|name| name_matches(filters, name));
        }
    }
    chosen.sort_by_key(|image| (std::cmp::Reverse(created(image)), image.id().to_owned()));
    Ok(chosen)
}

/// `until` as seconds since 1970: a time, or how long ago (`24h`).
fn until(filters: &Filters) -> Result<Option<i64>> {
    let Some(text) = filters.get("until").next() else {
        return Ok(None);
    };
    let at = match parse_length(text) {
        Some(ago) => SystemTime::now().checked_sub(ago),
        None => time_parameter("until", text)?,
    };
    let since = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    Ok(Some(since.map_or(0, |since| bytes(since.as_secs()))))
}

/// `reference=nginx:*` against every name of an image, with tag and without.
fn names_match(filters: &Filters, image: &Image) -> bool {
    if !filters.contains("reference") {
        return true;
    }
    let mut names = image.tags.iter().chain(&image.digests);
    names.any(|name| name_matches(filters, name))
}

fn name_matches(filters: &Filters, name: &Reference) -> bool {
    let names = [name.familiar(), name.familiar_name()];
    filters
        .get("reference")
        .any(|pattern| names.iter().any(|name| glob(pattern, name)))
}

/// Shell patterns: `*` and `?` do not match a slash.
fn glob(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => {
            let end = text.find('/').unwrap_or(text.len());
            let mut starts = text[..end].char_indices().map(|(at, _)| at).chain([end]);
            starts.any(|at| glob(rest.as_str(), &text[at..]))
        }
        Some(wanted) => {
            let mut chars = text.chars();
            let fits = chars
                .next()
                .is_some_and(|c| c == wanted || (wanted == '?' && c != '/'));
            fits && glob(rest.as_str(), chars.as_str())
        }
    }
}

/// What a prune must not take: images that the filters do not mean.
pub struct Keep {
    filters: Filters,
    until: Option<i64>,
}

impl Keep {
    /// Reads the filters.
    pub fn new(filters: &Filters) -> Result<Self> {
        Ok(Self {
            filters: filters.clone(),
            until: until(filters)?,
        })
    }

    /// Whether the image stays.
    pub fn keeps(&self, image: &Image) -> bool {
        let labels = labels(image).unwrap_or_default();
        self.until.is_some_and(|until| created(image) >= until)
            || !self.filters.labels("label", &labels)
            || !self.filters.labels_absent(&labels)
    }
}

/// Rows of `GET /images/json`.
pub fn summaries(call: &Call, images: &[Image]) -> Vec<ImageSummary> {
    let old = call.version < ApiVersion(1, 44);
    images
        .iter()
        .map(|image| {
            let mut row = summary(image);
            row.virtual_size = old.then_some(row.size);
            if call.query.flag("shared-size") {
                row.shared_size = shared(image, images);
            }
            if call.query.flag("manifests") && call.version >= ApiVersion(1, 47) {
                let manifests = manifests(image, call.api.images());
                // What is kept of them on the disk, packed and unpacked.
                row.size = manifests[0]["Size"]["Total"].as_i64().unwrap_or(row.size);
                row.manifests = Some(manifests);
            }
            if call.version < ApiVersion(1, 43) {
                // What has no name at all had one in old answers.
                let none = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
                if none(&row.repo_tags) && none(&row.repo_digests) {
                    row.repo_tags = Some(vec!["<none>:<none>".to_owned()]);
                    row.repo_digests = Some(vec!["<none>@<none>".to_owned()]);
                } else {
                    row.repo_digests = row.repo_digests.filter(|list| !list.is_empty());
                }
            }
            row
        })
        .collect()
}

/// The one image that a name leads to here, as clients list those of several platforms.
fn manifests(image: &Image, images: &Images) -> Value {
    let record = &image.record;
    let document = images.blob_bytes(&record.manifest);
    let layers: u64 = record.layers.iter().map(|layer| layer.blob_bytes).sum();
    let content = document + images.blob_bytes(image.id()) + layers;
    let mut platform = serde_json::json!({
        "architecture": image.config.architecture,
        "os": image.config.os,
    });
    if !image.config.variant.is_empty() {
        platform["variant"] = image.config.variant.as_str().into();
    }
    serde_json::json!([{
        "ID": record.manifest,
        "Descriptor": {
            "mediaType": record.manifest_type, "digest": record.manifest, "size": document,
        },
        "Available": true,
        "Size": {"Content": content, "Total": content + image.size_bytes()},
        "Kind": "image",
        "ImageData": {
            "Platform": platform,
            "Containers": images.containers_of(image.id()),
            "Size": {"Unpacked": image.size_bytes()},
        },
    }])
}

fn summary(image: &Image) -> ImageSummary {
    ImageSummary {
        containers: -1,
        created: created(image),
        id: image.id().to_owned(),
        labels: labels(image),
        parent_id: image.record.parent.clone().unwrap_or_default(),
        repo_digests: Some(image.repo_digests()),
        repo_tags: Some(image.repo_tags()),
        shared_size: -1,
        size: bytes(image.size_bytes()),
        ..ImageSummary::default()
    }
}

/// Bytes of the layers that another image has too.
fn shared(image: &Image, all: &[Image]) -> i64 {
    let others = || all.iter().filter(|other| other.id() != image.id());
    let is_shared = |diff_id: &str| {
        others().any(|other| {
            other
                .record
                .layers
                .iter()
                .any(|layer| layer.diff_id == diff_id)
        })
    };
    let layers = image
        .record
        .layers
        .iter()
        .filter(|layer| is_shared(&layer.diff_id));
    bytes(layers.map(|layer| layer.size_bytes).sum())
}

/// Bytes of all layers, each counted once, and the images with the number of their users.
pub fn usage(
    version: ApiVersion,
    images: &Images,
    users: &BTreeMap<String, i64>,
) -> Result<(i64, Vec<ImageSummary>)> {
    let all = list(images, &Filters::default())?;
    let layers: BTreeMap<&str, u64> = all
        .iter()
        .flat_map(|image| &image.record.layers)
        .map(|layer| (layer.diff_id.as_str(), layer.size_bytes))
        .collect();
    let rows = all.iter().map(|image| {
        let mut row = summary(image);
        row.shared_size = shared(image, &all);
        row.containers = users.get(image.id()).copied().unwrap_or(0);
        row.virtual_size = (version < ApiVersion(1, 44)).then_some(row.size);
        row.repo_digests = row.repo_digests.filter(|list| !list.is_empty());
        row
    });
    Ok((bytes(layers.values().sum()), rows.collect()))
}

/// `GET /images/{name}/json`.
pub fn inspect(call: &Call, image: &Image) -> ImageInspect {
    let config = &image.config;
    let size = bytes(image.size_bytes());
    let old = call.version < ApiVersion(1, 45);
    let time = |text: &str| parse_time(text).map(rfc3339_nano);
    ImageInspect {
        id: image.id().to_owned(),
        repo_tags: image.repo_tags(),
        repo_digests: image.repo_digests(),
        parent: image.record.parent.clone().unwrap_or_default(),
        comment: config.comment.clone(),
        created: config.created.as_deref().and_then(time).unwrap_or_default(),
        docker_version: config.docker_version.clone(),
        author: config.author.clone(),
        config: shown_config(call.version, image),
        container: old.then(String::new),
        container_config: old.then(|| filled(image)),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        os: config.os.clone(),
        os_version: String::new(),
        size,
        virtual_size: (call.version < ApiVersion(1, 44)).then_some(size),
        graph_driver: GraphDriver {
            data: Some(directories(&call.api.images().lower_dirs(image))),
            name: "overlay2".to_owned(),
        },
        root_fs: RootFs {
            kind: config.rootfs.kind.clone(),
            layers: config.rootfs.diff_ids.clone(),
        },
        metadata: Metadata {
            last_tag_time: image
                .record
                .last_tagged
                .as_deref()
                .and_then(time)
                .unwrap_or_else(|| ZERO_TIME.to_owned()),
        },
        manifests: (call.query.flag("manifests") && call.version >= ApiVersion(1, 48))
            .then(|| manifests(image, call.api.images())),
    }
}

/// Clients below 1.50 get every field of a container's configuration.
fn shown_config(version: ApiVersion, image: &Image) -> Option<serde_json::Map<String, Value>> {
    match version < ApiVersion(1, 50) {
        true => Some(filled(image)),
        false => image.config.config.clone(),
    }
}

fn filled(image: &Image) -> serde_json::Map<String, Value> {
    let empty = skep_objects::api::container::Config::default();
    let mut whole = match serde_json::to_value(empty) {
        Ok(Value::Object(whole)) => whole,
        _ => serde_json::Map::new(),
    };
    whole.extend(image.config.config.clone().unwrap_or_default());
    whole
}

/// Where the layers lie, in overlay2's words; the uppermost is the image's own.
fn directories(lower: &[std::path::PathBuf]) -> BTreeMap<String, String> {
    let text = |dir: &std::path::PathBuf| dir.display().to_string();
    let Some((own, rest)) = lower.split_first() else {
        return BTreeMap::new();
    };
    let beside = |name: &str| text(&own.with_file_name(name));
    let mut all = BTreeMap::from([
        ("MergedDir".to_owned(), beside("merged")),
        ("UpperDir".to_owned(), text(own)),
        ("WorkDir".to_owned(), beside("work")),
    ]);
    if !rest.is_empty() {
        let rest: Vec<String> = rest.iter().map(text).collect();
        all.insert("LowerDir".to_owned(), rest.join(":"));
    }
    all
}

/// `GET /images/{name}/history`, newest step first.
pub fn history(image: &Image) -> Vec<HistoryItem> {
    let mut layers = image.record.layers.iter();
    let mut steps: Vec<HistoryItem> = image
        .config
        .history
        .iter()
        .map(|step| HistoryItem {
            comment: step.comment.clone(),
            created: unix(step.created.as_deref()),
            created_by: step.created_by.clone(),
            id: "<missing>".to_owned(),
            size: match step.empty_layer {
                true => 0,
                false => layers.next().map_or(0, |layer| bytes(layer.size_bytes)),
            },
            tags: None,
        })
        .collect();
    // Layers that no step speaks of.
    steps.extend(layers.map(|layer| HistoryItem {
        id: "<missing>".to_owned(),
        size: bytes(layer.size_bytes),
        ..HistoryItem::default()
    }));
    steps.reverse();
    if let Some(newest) = steps.first_mut() {
        newest.id = image.id().to_owned();
        newest.tags = Some(image.repo_tags()).filter(|tags| !tags.is_empty());
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, text, expect) in [
            ("nginx", "nginx", true),
            ("nginx*", "nginx:latest", true),
            ("*:latest", "nginx:latest", true),
            ("*", "a/b", false),
            ("a/*", "a/b", true),
            ("?", "a", true),
            ("nginx:1", "nginx:2", false),
        ] {
            assert_eq!(glob(pattern, text), expect, "{pattern} {text}");
        }
    }

    #[test]
    fn durations_are_go_s() {
        assert_eq!(
            parse_length("1h30m"),
            Some(std::time::Duration::from_secs(5400))
        );
        assert_eq!(
            parse_length("24h"),
            Some(std::time::Duration::from_secs(86_400))
        );
        assert_eq!(parse_length("2026-01-01"), None);
        assert_eq!(parse_length("1795414622"), None);
    }
}
