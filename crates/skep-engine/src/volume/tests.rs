use super::*;

fn open(dir: &Path) -> Volumes {
    Volumes::open(dir.to_owned(), Events::new()).unwrap()
}

fn named(name: &str) -> VolumeCreate {
    VolumeCreate {
        name: name.to_owned(),
        ..VolumeCreate::default()
    }
}

#[tokio::test]
async fn a_volume_survives_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).create(named("vol1")).await.unwrap();
    let volume = open(dir.path()).inspect("vol1").await.unwrap();
    assert_eq!(
        volume.mountpoint,
        dir.path().join("vol1/_data").display().to_string()
    );
}

#[tokio::test]
async fn a_volume_whose_making_was_cut_short_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let half = dir.path().join("half");
    std::fs::create_dir_all(half.join("_data")).unwrap();
    std::fs::write(half.join("volume.json.new"), "{").unwrap();
    let volumes = open(dir.path());
    assert!(volumes.inspect("half").await.is_err());
    assert!(!half.exists());
}

#[tokio::test]
async fn a_removal_that_was_cut_short_leaves_a_volume_or_nothing_and_data_is_never_lost() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = open(dir.path());
    for name in ["emptied", "lost"] {
        volumes.create(named(name)).await.unwrap();
    }
    let at = |path: &str| dir.path().join(path);
    std::fs::remove_dir_all(at("emptied/_data")).unwrap();
    std::fs::write(at("lost/_data/file"), "precious").unwrap();
    std::fs::remove_file(at("lost/volume.json")).unwrap();
    std::fs::create_dir_all(at("rest")).unwrap();
    std::fs::write(at("rest/volume.json.damaged"), "{").unwrap();

    let volumes = open(dir.path());
    assert!(volumes.inspect("rest").await.is_err() && !at("rest").exists());
    assert!(at("emptied/_data").is_dir());
    for name in ["emptied", "lost"] {
        volumes.inspect(name).await.unwrap();
    }
    assert_eq!(std::fs::read(at("lost/_data/file")).unwrap(), b"precious");
    for name in ["emptied", "lost"] {
        volumes.remove(name, false).await.unwrap();
        assert!(!at(name).exists());
    }
}

#[tokio::test]
async fn creating_again_is_no_error_unless_the_options_differ() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = open(dir.path());
    volumes.create(named("vol1")).await.unwrap();
    volumes.create(named("vol1")).await.unwrap();
    let options =
        [("type", "tmpfs"), ("device", "tmpfs")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let other = VolumeCreate {
        driver_opts: Some(options.into_iter().collect()),
        ..named("vol1")
    };
    assert_eq!(
        volumes.create(other).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
}

#[tokio::test]
async fn a_volume_in_use_is_not_removed_and_names_its_user() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = open(dir.path());
    volumes.create(named("vol1")).await.unwrap();
    volumes.hold("vol1", "c0ffee");
    let error = volumes.remove("vol1", true).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "remove vol1: volume is in use - [c0ffee]"
    );
    volumes.release("vol1", "c0ffee");
    volumes.remove("vol1", false).await.unwrap();
    assert_eq!(
        volumes.inspect("vol1").await.unwrap_err().to_string(),
        "get vol1: no such volume"
    );
}

#[tokio::test]
async fn prune_takes_anonymous_volumes_only_unless_told() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = open(dir.path());
    volumes.create(named("vol1")).await.unwrap();
    let anonymous = volumes.create(VolumeCreate::default()).await.unwrap();
    let pruned = volumes.prune(&Filters::default()).await.unwrap();
    assert_eq!(pruned.volumes_deleted, Some(vec![anonymous.name]));
    let pruned = volumes
        .prune(&Filters::default().with("all", "true"))
        .await
        .unwrap();
    assert_eq!(pruned.volumes_deleted, Some(vec!["vol1".to_owned()]));
}

#[tokio::test]
async fn names_that_leave_the_directory_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = open(dir.path());
    for name in ["../up", "a/b", "a", ".hidden"] {
        assert_eq!(
            volumes.create(named(name)).await.unwrap_err().kind(),
            ErrorKind::InvalidArgument,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_volume_is_filled_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = open(dir.path());
    volumes.create(named("vol1")).await.unwrap();
    let file = dir.path().join("vol1/_data/file");
    let half = |into: &Path| {
        std::fs::write(into.join("file"), "ha").unwrap();
        Err(EngineError::invalid("a full disk"))
    };
    volumes.fill("vol1", half).unwrap_err();
    assert!(!file.exists());
    let whole = |into: &Path| {
        std::fs::write(into.join("file"), "whole").unwrap();
        Ok(())
    };
    volumes.fill("vol1", whole).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"whole");
    volumes.fill("vol1", |_| panic!("it is not empty")).unwrap();
    let left = std::fs::read_dir(dir.path().join("vol1")).unwrap().count();
    assert_eq!(left, 2, "the record and the content");
}

#[tokio::test]
async fn a_filling_that_was_cut_short_is_made_good_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = open(dir.path());
    for name in ["begun", "whole"] {
        volumes.create(named(name)).await.unwrap();
    }
    let at = |path: &str| dir.path().join(path);
    for (place, name) in [
        ("begun/_filling", "a"),
        ("whole/_filled", "b"),
        ("whole/_data", "a"),
    ] {
        std::fs::create_dir_all(at(place)).unwrap();
        std::fs::write(at(place).join(name), place).unwrap();
    }
    // Moved before the crash, or a container's own: it stays.
    std::fs::write(at("whole/_filled/a"), "second").unwrap();
    std::fs::create_dir(at(".removed-x")).unwrap();

    let volumes = open(dir.path());
    assert_eq!(
        volumes
            .list(&Filters::default())
            .await
            .unwrap()
            .volumes
            .unwrap()
            .len(),
        2
    );
    assert_eq!(std::fs::read_dir(at("begun/_data")).unwrap().count(), 0);
    assert_eq!(
        std::fs::read(at("whole/_data/b")).unwrap(),
        b"whole/_filled"
    );
    assert_eq!(std::fs::read(at("whole/_data/a")).unwrap(), b"whole/_data");
    assert!(!at("begun/_filling").exists() && !at("whole/_filled").exists());
}
