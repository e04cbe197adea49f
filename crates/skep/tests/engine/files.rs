//! Its files: volumes, copies in and out, changes, commits.

use skep_engine::{ArchivePutOptions, CommitOptions, CreateContainer, Phase, RemoveOptions};
use skep_objects::ErrorKind;
use skep_objects::api::container::{Config, HostConfig, ImageOptions, Mount, VolumeOptions};
use tokio::io::AsyncReadExt;

use crate::bench::{Bench, none, shell};

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_filled_from_the_image_and_outlive_containers() {
    let bench = Bench::new().await;
    let host = HostConfig {
        binds: Some(vec!["vol1:/data".to_owned()]),
        ..none()
    };
    let id = bench
        .create(
            shell("cat /data/seed; echo more > /data/more"),
            host.clone(),
        )
        .await;
    let refused = bench
        .engine
        .volumes()
        .remove("vol1", false)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(refused, format!("remove vol1: volume is in use - [{id}]"));
    bench.engine.start(&id).await.unwrap();
    bench.phase(&id, Phase::Exited).await;
    assert_eq!(bench.output(&id).await, "from the image\n");
    bench
        .engine
        .remove(
            &id,
            RemoveOptions {
                volumes: true,
                ..RemoveOptions::default()
            },
        )
        .await
        .unwrap();
    let id = bench.create(shell("cat /data/more"), host).await;
    bench.engine.start(&id).await.unwrap();
    bench.phase(&id, Phase::Exited).await;
    assert_eq!(bench.output(&id).await, "more\n");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_in_and_out_whether_it_runs_or_not() {
    let bench = Bench::new().await;
    let id = bench
        .create(shell("echo new > /tmp/new; sleep 100"), none())
        .await;
    for running in [false, true] {
        if running {
            bench.engine.start(&id).await.unwrap();
        }
        let stat = bench.engine.archive_stat(&id, "/data/seed").await.unwrap();
        assert_eq!((stat.name.as_str(), stat.size), ("seed", 15));
        let (_, mut reader) = bench.engine.archive_get(&id, "/data").await.unwrap();
        let mut tar = Vec::new();
        reader.read_to_end(&mut tar).await.unwrap();
        let names: Vec<String> = tar::Archive::new(&tar[..])
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert!(names.contains(&"data/seed".to_owned()), "{names:?}");
        let body = Box::new(std::io::Cursor::new(tar));
        let options = ArchivePutOptions::default();
        bench
            .engine
            .archive_put(&id, "/tmp", options, body)
            .await
            .unwrap();
        assert!(
            bench
                .engine
                .archive_stat(&id, "/tmp/data/seed")
                .await
                .is_ok()
        );
    }
    let missing = bench
        .engine
        .archive_stat(&id, "/nowhere")
        .await
        .unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_s_links_fill_no_volume_with_what_the_host_has() {
    let bench = Bench::new().await;
    let script = "ln -s /data /within; ln -s ../../../../../../../data /above";
    let id = bench.create(shell(script), none()).await;
    bench.engine.start(&id).await.unwrap();
    bench.phase(&id, Phase::Exited).await;
    // The host has another /data, if any, and an /etc, which has more than three files.
    let image = bench.engine.commit(&id, CommitOptions::default()).await;
    let config = Config {
        image: image.unwrap(),
        ..shell("ls -A /one /two")
    };
    let host = HostConfig {
        binds: Some(vec!["one:/within".to_owned(), "two:/above".to_owned()]),
        ..none()
    };
    bench.create(config, host).await;
    for volume in ["one", "two"] {
        let dir = bench.dir.path().join("data/volumes").join(volume);
        let names = std::fs::read_dir(dir.join("_data")).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["seed"], "{volume}");
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_mounted_is_in_use() {
    let bench = Bench::new().await;
    let id = bench.create(shell("echo kept > /tmp/new"), none()).await;
    bench.engine.start(&id).await.unwrap();
    bench.phase(&id, Phase::Exited).await;
    let image = bench.engine.commit(&id, CommitOptions::default()).await;
    let image = image.unwrap();
    let host = HostConfig {
        mounts: Some(vec![Mount {
            kind: "image".to_owned(),
            source: image.clone(),
            target: "/data".to_owned(),
            ..Mount::default()
        }]),
        ..none()
    };
    let id = bench.create(shell("cat /data/tmp/new"), host).await;
    let images = bench.engine.images().clone();
    images.prune(true, |_| false).unwrap();
    let refused = images.remove(&image, false).unwrap_err().to_string();
    let why = format!("image is being used by stopped container {}", &id[..12]);
    assert!(refused.ends_with(&why), "{refused}");
    bench.engine.start(&id).await.unwrap();
    assert_eq!(bench.whole_output(&id).await, "kept\n");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_images_and_volumes_are_never_parts_of_the_host() {
    let bench = Bench::new().await;
    let script = "echo mine > /tmp/mine; ln -s / /app; ln -s ../../../tmp /up";
    let id = bench.start("maker", script, none()).await;
    bench.phase(&id, Phase::Exited).await;
    let layers = bench
        .engine
        .commit(&id, CommitOptions::default())
        .await
        .unwrap();
    let mount = |kind: &str, source: &str, target: &str, subpath: &str| Mount {
        kind: kind.to_owned(),
        source: source.to_owned(),
        target: target.to_owned(),
        image_options: Some(ImageOptions {
            subpath: subpath.to_owned(),
        }),
        volume_options: Some(VolumeOptions {
            subpath: subpath.to_owned(),
            ..VolumeOptions::default()
        }),
        ..Mount::default()
    };
    let with = |mounts| HostConfig {
        mounts: Some(mounts),
        ..none()
    };
    // Of one layer, of several, and a volume with the same links.
    let fill = "echo mine > /vol/mine; ln -s / /vol/app";
    let filled = bench
        .start("fill", fill, with(vec![mount("volume", "vol", "/vol", "")]))
        .await;
    bench.phase(&filled, Phase::Exited).await;
    let mounts = vec![
        mount("image", "busybox", "/one", "data/../data"),
        mount("image", &layers, "/all", "app"),
        mount("image", &layers, "/up", "up"),
        mount("volume", "vol", "/vol", "app"),
    ];
    let show = "cat /one/seed /all/data/seed /up/mine /vol/mine; touch /all/x /up/x /one/x 2>&1 | grep -c Read-only";
    let shown = bench.start("show", show, with(mounts)).await;
    let output = bench.whole_output(&shown).await;
    assert_eq!(output, "from the image\nfrom the image\nmine\nmine\n3\n");
    let mut copied = Vec::new();
    let (_, mut tar) = bench.engine.archive_get(&shown, "/vol/mine").await.unwrap();
    tar.read_to_end(&mut copied).await.unwrap();
    assert!(copied.windows(5).any(|part| part == b"mine\n"));
    for (kind, source, subpath) in [
        ("image", "busybox", "/etc"),
        ("image", "busybox", "a/../.."),
        ("volume", "vol", ".."),
    ] {
        let request = CreateContainer {
            config: shell("true"),
            host_config: with(vec![mount(kind, source, "/x", subpath)]),
            ..CreateContainer::default()
        };
        let refused = bench.engine.create_container(request).await.unwrap_err();
        let expect = format!(
            "invalid mount config for type \"{kind}\": subpath must be a relative path within the volume"
        );
        assert_eq!(refused.to_string(), expect, "{subpath}");
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_copied_into_what_a_stopped_container_has_read_only() {
    let bench = Bench::new().await;
    let host_dir = tempfile::tempdir().unwrap();
    let bind = |target: &str| format!("{}:{target}:ro", host_dir.path().display());
    let host = HostConfig {
        binds: Some(vec![bind("/ro"), "inner:/ro/inner".to_owned()]),
        ..none()
    };
    std::fs::create_dir(host_dir.path().join("inner")).unwrap();
    let script = "test -e /tmp/link && exec sleep 100; ln -s /ro /tmp/link";
    let id = bench.create(shell(script), host).await;
    let put = async |path: &str| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(2);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, "new", &b"hi"[..]).unwrap();
        let body = Box::new(std::io::Cursor::new(tar.into_inner().unwrap()));
        let options = ArchivePutOptions::default();
        bench.engine.archive_put(&id, path, options, body).await
    };
    // As created, after its first end, and in its second life.
    for (phase, paths) in [
        (Phase::Created, &["/ro"][..]),
        (Phase::Exited, &["/ro", "/tmp/link"]),
        (Phase::Running, &["/ro", "/tmp/link"]),
    ] {
        if phase != Phase::Created {
            bench.engine.start(&id).await.unwrap();
            bench.phase(&id, phase).await;
        }
        for path in paths {
            let refused = put(path).await.unwrap_err();
            assert_eq!(refused.to_string(), "mounted volume is marked read-only");
            assert_eq!(refused.kind(), ErrorKind::NotAllowed);
        }
        put("/ro/inner").await.unwrap();
    }
    let left = std::fs::read_dir(host_dir.path()).unwrap().count();
    assert_eq!(left, 1, "the place of the volume, and nothing new");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_seen_exported_and_committed() {
    let bench = Bench::new().await;
    let id = bench
        .create(shell("echo new > /tmp/new; rm /data/seed"), none())
        .await;
    bench.engine.start(&id).await.unwrap();
    bench.phase(&id, Phase::Exited).await;
    let changes = bench.engine.changes(&id).await.unwrap();
    let text: Vec<String> = changes
        .iter()
        .map(|change| format!("{}{}", change.kind, change.path))
        .collect();
    assert_eq!(text, ["0/data", "2/data/seed", "0/tmp", "1/tmp/new"]);
    let mut tar = Vec::new();
    bench
        .engine
        .export(&id)
        .await
        .unwrap()
        .read_to_end(&mut tar)
        .await
        .unwrap();
    let mut archive = tar::Archive::new(&tar[..]);
    let names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert!(
        names.contains(&"tmp/new".to_owned()) && !names.contains(&"data/seed".to_owned()),
        "{names:?}"
    );
    let options = CommitOptions {
        repo: "mine".to_owned(),
        changes: vec!["CMD [\"cat\", \"/tmp/new\"]".to_owned()],
        ..CommitOptions::default()
    };
    let image = bench.engine.commit(&id, options).await.unwrap();
    let config = Config {
        image,
        ..Config::default()
    };
    let id = bench.create(config, none()).await;
    bench.engine.start(&id).await.unwrap();
    bench.phase(&id, Phase::Exited).await;
    assert_eq!(bench.output(&id).await, "new\n");
    bench.end().await;
}
