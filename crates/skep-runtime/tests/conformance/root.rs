//! The root file system and what is mounted in it.

use std::fs;

use serde_json::{Value, json};

use crate::Expect::{Refused, Says};
use crate::support::Bundle;
use crate::support::runtime::Runtime;
use crate::{Row, check};

#[test]
fn the_root_and_its_mounts() {
    let tmpfs = |at: &str, options: Value| {
        json!([
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": at, "type": "tmpfs", "source": "tmpfs", "options": options },
        ])
    };
    let over = json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        { "destination": "/mnt", "type": "tmpfs", "source": "below" },
        { "destination": "/mnt/in", "type": "tmpfs", "source": "within" },
        { "destination": "/mnt", "type": "tmpfs", "source": "above" },
    ]);
    let rows: [Row; 12] = [
        (
            "/root/readonly",
            json!(true),
            "touch /x 2>/dev/null || echo no",
            Says("no"),
        ),
        (
            "/root/path",
            json!("nowhere"),
            "true",
            Refused("no such file or directory"),
        ),
        ("/hostname", json!("hive"), "hostname", Says("hive")),
        (
            "/domainname",
            json!("example.org"),
            "cat /proc/sys/kernel/domainname",
            Says("example.org"),
        ),
        // Absolute since 1.1; older bundles count from the root.
        (
            "/mounts",
            tmpfs("mnt", json!(["size=64k"])),
            "grep -c ' /mnt tmpfs' /proc/mounts",
            Says("1"),
        ),
        (
            "/mounts",
            tmpfs(
                "/mnt",
                json!([
                    "ro", "nosuid", "nodev", "noexec", "noatime", "size=64k", "mode=700"
                ]),
            ),
            "grep ' /mnt ' /proc/mounts | cut -d' ' -f4 | tr , '\\n' | grep -E '^(ro|nosuid|nodev|noexec|noatime|size=64k|mode=700)$' | wc -l",
            Says("7"),
        ),
        (
            "/mounts",
            over,
            "grep /mnt /proc/mounts | cut -d' ' -f1,2",
            Says("below /mnt\nwithin /mnt/in\nabove /mnt"),
        ),
        (
            "/mounts",
            json!([{ "destination": "/mnt", "type": "nosuchfs", "source": "x" }]),
            "true",
            Refused("error mounting \"x\" to rootfs at \"/mnt\""),
        ),
        (
            "/linux/maskedPaths",
            json!(["/etc/passwd", "/home", "/not/there"]),
            "cat /etc/passwd; ls /home; echo end",
            Says("end"),
        ),
        (
            "/linux/readonlyPaths",
            json!(["/etc", "/not/there"]),
            "touch /etc/x 2>/dev/null || echo no; touch /tmp/x && echo yes",
            Says("no\nyes"),
        ),
        (
            "/linux/rootfsPropagation",
            json!("sideways"),
            "true",
            Refused("rootfsPropagation=sideways"),
        ),
        (
            "/linux/mountLabel",
            json!("system_u:object_r:x_t:s0"),
            "true",
            Refused("linux.mountLabel on a kernel without SELinux"),
        ),
    ];
    rows.into_iter().for_each(check);
    for (word, field) in [
        ("shared", "shared:"),
        ("private", "- "),
        ("unbindable", "unbindable"),
        ("rslave", "- "),
    ] {
        let script = "grep ' / / ' /proc/self/mountinfo || cat /proc/self/mountinfo";
        let bundle = Bundle::shell(script).set("/linux/rootfsPropagation", word.into());
        let (code, out, err) = Runtime::ours(&bundle).run(&bundle);
        assert_eq!((code, err.as_str()), (0, ""), "{word}");
        let line = out.lines().find(|line| line.split(' ').nth(4) == Some("/"));
        let line = line.unwrap();
        assert!(line.contains(field), "{word}: {line}");
    }
}

#[test]
fn mounts_with_mapped_ids_show_other_owners() {
    let source = tempdir("idmap");
    fs::write(source.join("file"), "text").unwrap();
    for owned in [source.clone(), source.join("file")] {
        std::os::unix::fs::chown(owned, Some(1000), Some(1001)).unwrap();
    }
    let mount = |options: Value, more: Value| {
        let mut mount = json!({
            "destination": "/mnt", "type": "bind", "source": source, "options": options,
        });
        for (key, value) in more.as_object().unwrap() {
            mount[key] = value.clone();
        }
        mount
    };
    let map = |from: u32| json!([{ "containerID": from, "hostID": 0, "size": 1 }]);
    let maps = json!({ "uidMappings": map(1000), "gidMappings": map(1001) });
    let look = "stat -c '%u %g' /mnt/file; echo x > /mnt/new; stat -c '%u %g' /mnt/new";
    let says = |bundle: Bundle| {
        let (code, out, err) = Runtime::ours(&bundle).run(&bundle);
        bundle.assert_clean();
        (code, out, err)
    };
    let mapped =
        says(Bundle::shell(look).add_mount(mount(json!(["rbind", "idmap"]), maps.clone())));
    assert_eq!(mapped, (0, "0 0\n0 0\n".to_owned(), String::new()));
    // What root made through the mapping belongs, outside, to who it stands for.
    let made = fs::metadata(source.join("new")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 1000);
    let plain = says(Bundle::shell(look).add_mount(mount(json!(["bind"]), json!({}))));
    assert_eq!(
        plain.1, "1000 1001\n1000 1001\n",
        "without, they are as they are"
    );
    for (bundle, why) in [
        (
            Bundle::shell("true")
                .add_mount(mount(json!(["bind"]), json!({ "uidMappings": map(1) }))),
            "uidMappings and gidMappings must be given together",
        ),
        (
            Bundle::shell("true").add_mount(mount(json!(["bind", "idmap"]), json!({}))),
            "there are no mappings",
        ),
        (
            Bundle::shell("true").add_mount(json!({
                "destination": "/mnt", "type": "tmpfs", "source": "tmpfs",
                "uidMappings": map(1), "gidMappings": map(1),
            })),
            "only binds can have id mappings",
        ),
    ] {
        let (code, _, err) = says(bundle);
        assert!(code != 0 && err.contains(why), "{err}");
    }
    fs::remove_dir_all(source).unwrap();
}

fn tempdir(name: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("skep-conformance-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}
