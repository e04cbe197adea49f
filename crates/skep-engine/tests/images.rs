//! Images come and go whole: imported, tagged, saved, loaded, pushed, pulled, removed.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::fs;
use std::io::{Cursor, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use skep_engine::image::{
    ImageError, Images, ImportOptions, Progress, ProgressMessage, PullOptions, RegistryAuth,
    RegistryConfig, Removed,
};
use skep_objects::reference::Reference;

fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn open(dir: &Path) -> Images {
    Images::open(dir, RegistryConfig::default()).unwrap()
}

fn name(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

/// How many files lie below a directory of the store.
fn count(dir: &Path, below: &str) -> usize {
    fs::read_dir(dir.join(below)).map_or(0, Iterator::count)
}

#[test]
fn an_image_is_found_by_name_id_and_prefix_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let id = {
        let images = open(dir.path());
        let tar = layer(&[("hello", b"world")]);
        images
            .import(
                Cursor::new(tar),
                Some(&name("web")),
                &ImportOptions::default(),
            )
            .unwrap()
            .id()
            .to_owned()
    };
    let images = open(dir.path());
    for given in [
        "web",
        "web:latest",
        "docker.io/library/web",
        &id,
        &id[7..20],
        &id[..30],
    ] {
        assert_eq!(images.resolve(given).unwrap().id(), id, "{given}");
    }
    let image = images.resolve("web").unwrap();
    assert_eq!(
        fs::read(images.lower_dirs(&image)[0].join("hello")).unwrap(),
        b"world"
    );
    assert_eq!(image.size_bytes(), 5);
    assert_eq!(
        images.resolve("nope").unwrap_err().to_string(),
        "No such image: nope:latest"
    );
}

#[test]
fn a_saved_image_loads_elsewhere_with_the_same_id() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let images = open(here.path());
    let tar = layer(&[("a", b"1")]);
    let base = images
        .import(
            Cursor::new(tar),
            Some(&name("base:1")),
            &ImportOptions::default(),
        )
        .unwrap();
    let tar = layer(&[("b", b"2")]);
    let top = images
        .create(Some(&base), Cursor::new(tar), &ImportOptions::default())
        .unwrap();
    images.tag(top.id(), &name("top")).unwrap();
    let mut archive = Vec::new();
    images
        .save(&["top".into(), "base:1".into()], &mut archive)
        .unwrap();

    let other = open(there.path());
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel::<ProgressMessage>();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&archive).unwrap();
    other
        .load(
            Cursor::new(gz.finish().unwrap()),
            None,
            &Progress::to(sender),
        )
        .unwrap();
    let mut said = Vec::new();
    while let Ok(line) = lines.try_recv() {
        said.extend(line.stream);
    }
    assert_eq!(
        said,
        ["Loaded image: top:latest\n", "Loaded image: base:1\n"]
    );
    assert_eq!(other.resolve("top").unwrap().id(), top.id());
    assert_eq!(other.lower_dirs(&other.resolve("top").unwrap()).len(), 2);
}

#[test]
fn removal_leaves_nothing_but_what_others_share() {
    let dir = tempfile::tempdir().unwrap();
    let images = open(dir.path());
    let base = images
        .import(
            Cursor::new(layer(&[("a", b"1")])),
            Some(&name("base")),
            &ImportOptions::default(),
        )
        .unwrap();
    let top = images
        .create(
            Some(&base),
            Cursor::new(layer(&[("b", b"2")])),
            &ImportOptions::default(),
        )
        .unwrap();
    images.tag(top.id(), &name("top")).unwrap();
    images.tag(top.id(), &name("other:2")).unwrap();
    assert_eq!(
        images.remove("other:2", false).unwrap(),
        [Removed::Untagged("other:2".into())]
    );
    let removed = images.remove("top", false).unwrap();
    assert_eq!(removed[0], Removed::Untagged("top:latest".into()));
    assert!(removed.contains(&Removed::Deleted(top.id().into())));
    assert_eq!(images.resolve("base").unwrap().id(), base.id());
    images.remove(&base.id()[7..19], false).unwrap();
    assert_eq!(
        ["layers", "blobs/sha256", "records"].map(|below| count(dir.path(), below)),
        [0, 0, 0]
    );
}

#[test]
fn what_does_not_verify_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let images = open(dir.path());
    let error = images
        .load(Cursor::new(b"no archive".to_vec()), None, &Progress::none())
        .unwrap_err();
    assert!(
        matches!(
            error,
            ImageError::Invalid { .. } | ImageError::Stream { .. }
        ),
        "{error}"
    );
    let escape = {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.as_gnu_mut().unwrap().name[..6].copy_from_slice(b"../out");
        header.set_cksum();
        tar.append(&header, &b"x"[..]).unwrap();
        tar.into_inner().unwrap()
    };
    images
        .import(Cursor::new(escape), None, &ImportOptions::default())
        .unwrap_err();
    assert_eq!(
        ["layers", "blobs/sha256", "records"].map(|below| count(dir.path(), below)),
        [0, 0, 0]
    );
}

/// Debian's docker-registry on a free port of loopback.
struct Registry {
    child: Child,
    port: u16,
    storage: tempfile::TempDir,
}

impl Registry {
    fn start() -> Self {
        let storage = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = storage.path().join("config.yml");
        let root = storage.path().join("data");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            root.display()
        );
        fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect(
                "docker-registry: install Debian's package docker-registry (cargo xtask test does)",
            );
        // Owned at once, so that a registry which never answers is ended too.
        let registry = Self {
            child,
            port,
            storage,
        };
        for _ in 0..400 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return registry;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        panic!("the registry did not come up");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn an_image_travels_through_a_registry() {
    let registry = Registry::start();
    let target = name(&format!("127.0.0.1:{}/team/web:1", registry.port));
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let images = open(here.path());
    let big: Vec<u8> = (0..2_000_000u32).flat_map(|n| n.to_le_bytes()).collect();
    let image = images
        .import(
            Cursor::new(layer(&[("big", &big)])),
            Some(&target),
            &ImportOptions::default(),
        )
        .unwrap();
    images
        .push(&target, &RegistryAuth::default(), &Progress::none())
        .await
        .unwrap();
    let digest = images.by_id(image.id()).unwrap().repo_digests().remove(0);

    let other = open(there.path());
    let options = PullOptions::default();
    let pulled = other
        .pull(&target, &options, &Progress::none())
        .await
        .unwrap();
    assert!(pulled.is_new && pulled.id == image.id() && digest.ends_with(&pulled.digest));
    assert!(
        !other
            .pull(&target, &options, &Progress::none())
            .await
            .unwrap()
            .is_new
    );
    let got = other.resolve(&digest).unwrap();
    assert_eq!(
        fs::read(other.lower_dirs(&got)[0].join("big")).unwrap(),
        big
    );
    let distribution = other
        .distribution(&target, &RegistryAuth::default())
        .await
        .unwrap();
    assert_eq!(distribution.digest, pulled.digest);
    assert_eq!(distribution.platforms[0].1, "linux");

    let third = tempfile::tempdir().unwrap();
    let all = open(third.path());
    let repository = name(&target.canonical_name());
    all.pull_all(&repository, &options, &Progress::none())
        .await
        .unwrap();
    assert_eq!(all.resolve(&target.familiar()).unwrap().id(), pulled.id);

    let missing = target.with_tag("2").unwrap();
    let error = other
        .pull(&missing, &options, &Progress::none())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("manifest for {missing} not found: manifest unknown: manifest unknown")
    );
}

#[tokio::test]
async fn a_corrupt_layer_is_refused_and_a_partial_one_resumed() {
    let registry = Registry::start();
    let target = name(&format!("127.0.0.1:{}/web", registry.port));
    let here = tempfile::tempdir().unwrap();
    let images = open(here.path());
    let noise: Vec<u8> = (0..200_000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    images
        .import(
            Cursor::new(layer(&[("noise", &noise)])),
            Some(&target),
            &ImportOptions::default(),
        )
        .unwrap();
    images
        .push(&target, &RegistryAuth::default(), &Progress::none())
        .await
        .unwrap();
    let blob = images.resolve(&target.familiar()).unwrap().record.layers[0]
        .blob
        .clone();
    let hex = blob.trim_start_matches("sha256:").to_owned();

    // Half a download lies there already.
    let there = tempfile::tempdir().unwrap();
    let other = open(there.path());
    let whole = fs::read(here.path().join("blobs/sha256").join(&hex)).unwrap();
    fs::write(
        there.path().join("blobs/partial").join(&hex),
        &whole[..whole.len() / 2],
    )
    .unwrap();
    other
        .pull(&target, &PullOptions::default(), &Progress::none())
        .await
        .unwrap();
    assert_eq!(
        fs::read(there.path().join("blobs/sha256").join(&hex)).unwrap(),
        whole
    );

    // The registry's own copy goes bad.
    let stored = registry.storage.path().join(format!(
        "data/docker/registry/v2/blobs/sha256/{}/{hex}/data",
        &hex[..2]
    ));
    let mut bad = whole.clone();
    bad[1000] ^= 1;
    fs::write(stored, bad).unwrap();
    let third = tempfile::tempdir().unwrap();
    let error = open(third.path())
        .pull(&target, &PullOptions::default(), &Progress::none())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("does not verify") || error.to_string().contains("igest"),
        "{error}"
    );
    assert_eq!(
        ["layers", "blobs/sha256", "records"].map(|below| count(third.path(), below)),
        [0, 0, 0]
    );
}

#[tokio::test]
async fn an_unreachable_registry_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let target = name(&format!("127.0.0.1:{port}/web"));
    let error = open(dir.path())
        .pull(&target, &PullOptions::default(), &Progress::none())
        .await
        .unwrap_err();
    assert!(
        error.is_unreachable() && error.to_string().contains(&format!("127.0.0.1:{port}/v2/")),
        "{error}"
    );
}

/// What the engine does of an image, thousands of times at once: pull, make a container of it, remove
/// it, prune.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_in_use_goes_and_nothing_stays_while_all_is_done_at_once() {
    let registry = Registry::start();
    let target = |n: usize| name(&format!("127.0.0.1:{}/team/web:{n}", registry.port));
    let there = tempfile::tempdir().unwrap();
    {
        // Two images above the same layer.
        let images = open(there.path());
        let base = images
            .import(
                Cursor::new(layer(&[("base", b"shared")])),
                Some(&name("base")),
                &ImportOptions::default(),
            )
            .unwrap();
        for n in 0..2 {
            let own = layer(&[("own", format!("{n}").as_bytes())]);
            let options = ImportOptions::default();
            let image = images.create(Some(&base), Cursor::new(own), &options);
            images.tag(image.unwrap().id(), &target(n)).unwrap();
            let auth = RegistryAuth::default();
            images
                .push(&target(n), &auth, &Progress::none())
                .await
                .unwrap();
        }
    }
    let here = tempfile::tempdir().unwrap();
    let images = open(here.path());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..4 {
        let (images, target) = (images.clone(), target(n % 2));
        tasks.spawn(async move {
            for _ in 0..25 {
                let options = PullOptions::default();
                let pulled = images.pull(&target, &options, &Progress::none()).await;
                let id = pulled.unwrap().id;
                // A removal may have been quicker.
                let Ok(hold) = images.hold(&id) else {
                    continue;
                };
                let image = images.by_id(&id).unwrap();
                let lower = images.lower_dirs(&image);
                for _ in 0..3 {
                    let own = fs::read_to_string(lower[0].join("own")).unwrap();
                    assert_eq!(own, target.tag().unwrap());
                    assert_eq!(fs::read(lower[1].join("base")).unwrap(), b"shared");
                    tokio::task::yield_now().await;
                }
                drop(hold);
            }
        });
    }
    for n in 0..2 {
        let (images, target) = (images.clone(), target(n));
        tasks.spawn(async move {
            for _ in 0..60 {
                match images.remove(&target.familiar(), true) {
                    Ok(_) | Err(ImageError::NotFound(_)) => {}
                    Err(error) => panic!("{error}"),
                }
                images.prune(n == 0, |_| false).unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        });
    }
    let import = images.clone();
    tasks.spawn_blocking(move || {
        for _ in 0..40 {
            let own = Cursor::new(layer(&[("base", b"shared")]));
            let tag = name("imported");
            let options = ImportOptions::default();
            match import.import(own, Some(&tag), &options) {
                // Removed before it could be looked at, which is as well.
                Ok(_) | Err(ImageError::NotFound(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    for image in images.list() {
        images.remove(image.id(), true).unwrap();
    }
    images.prune(true, |_| false).unwrap();
    for below in ["blobs/sha256", "blobs/partial", "layers", "records"] {
        assert_eq!(count(here.path(), below), 0, "{below}");
    }
}

#[tokio::test]
async fn a_prune_takes_what_broken_downloads_left() {
    let dir = tempfile::tempdir().unwrap();
    let images = open(dir.path());
    let partial = dir.path().join("blobs/partial").join("a".repeat(64));
    fs::write(&partial, [0; 1000]).unwrap();
    drop(images);
    let images = open(dir.path());
    assert!(partial.exists(), "it may be gone on with");
    assert_eq!(images.prune(false, |_| false).unwrap().1, 1000);
    assert!(!partial.exists());
}
