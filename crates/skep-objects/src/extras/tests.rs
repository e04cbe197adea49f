use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn read(pairs: &[(&str, &str)]) -> Result<Extras, ExtraError> {
    Extras::read(&labels(pairs), None)
}

#[test]
fn every_label_is_read() {
    let extras = read(&[
        ("skep.privileged", "true"),
        (
            "skep.device",
            "/dev/fuse, /dev/null:/dev/x:r,/dev/zero:rw,vendor.com/gpu=0",
        ),
        ("skep.gpus", "all"),
        ("skep.pid", "host"),
        ("skep.ipc", "shareable"),
        ("skep.shm-size", "1.5m"),
        ("skep.security-opt", "seccomp=unconfined,no-new-privileges"),
        ("skep.placement.strategy", "binpack"),
    ])
    .unwrap();
    assert!(extras.privileged);
    let devices: Vec<_> = extras
        .devices
        .iter()
        .map(|d| (d.path_in_container.as_str(), d.cgroup_permissions.as_str()))
        .collect();
    assert_eq!(
        devices,
        [("/dev/fuse", "rwm"), ("/dev/x", "r"), ("/dev/zero", "rw")]
    );
    assert_eq!(extras.named_devices, ["vendor.com/gpu=0"]);
    assert_eq!(extras.gpus.as_ref().unwrap().count, -1);
    assert_eq!(
        (extras.pid.as_str(), extras.ipc.as_str()),
        ("host", "shareable")
    );
    assert_eq!(extras.shm_bytes, Some(3 << 19));
    assert_eq!(extras.security, ["seccomp=unconfined", "no-new-privileges"]);
    assert_eq!(extras.used().count(), Extra::ALL.len());
}

#[test]
fn a_container_label_goes_over_one_of_the_service() {
    let (own, service) = (
        labels(&[("skep.privileged", "false")]),
        labels(&[("skep.privileged", "true"), ("skep.pid", "host")]),
    );
    let extras = Extras::read(&own, Some(&service)).unwrap();
    assert!(!extras.privileged);
    assert_eq!(extras.used().collect::<Vec<_>>(), [Extra::Pid]);
}

#[test]
fn mistakes_name_the_label() {
    for (label, value, reason) in [
        ("skep.privileged", "perhaps", "must be true or false"),
        ("skep.device", "dev/x", "dev/x is not an absolute path"),
        ("skep.device", "/dev/x:/y:q", "invalid mode for device: q"),
        ("skep.gpus", "many", "invalid count (many)"),
        (
            "skep.gpus",
            "device=0,colour=red",
            "unexpected key 'colour'",
        ),
        ("skep.pid", "container:x", "must be host"),
        ("skep.ipc", "mine", "must be host, none"),
        ("skep.shm-size", "0", "must be a size"),
        ("skep.security-opt", "magic", "invalid --security-opt"),
        ("skep.security-opt", "[1]", "is not a JSON array of texts"),
    ] {
        let error = read(&[(label, value)]).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!(
                "invalid value {value:?} of label {label}: {reason}"
            )),
            "{error}"
        );
    }
}

#[test]
fn gpus_are_read_as_run_reads_them() {
    let request =
        parse_gpus("\"device=0,1\",driver=nvidia,\"capabilities=utility,compute\"").unwrap();
    assert_eq!(request.device_ids.unwrap(), ["0", "1"]);
    assert_eq!((request.count, request.driver.as_str()), (0, "nvidia"));
    assert_eq!(
        request.capabilities.unwrap()[0],
        ["compute", "gpu", "utility"]
    );
    assert_eq!(parse_gpus("2").unwrap().count, 2);
    assert!(parse_gpus("count=1,device=0").is_err());
    assert!(parse_gpus("\"device=0").is_err());
}

#[test]
fn parts_with_commas_travel_as_json() {
    for parts in [
        vec!["a".to_owned(), "b=c".to_owned()],
        vec!["seccomp={\"a\":1,\"b\":[2]}".to_owned()],
    ] {
        assert_eq!(split_parts(&join_parts(&parts)), parts);
    }
}

#[test]
fn a_node_may_refuse_some() {
    let extras = read(&[("skep.device", "/dev/fuse"), ("skep.shm-size", "1m")]).unwrap();
    let refused = |text: &str| AllowedExtras::parse(text).unwrap().refused(&extras);
    assert_eq!(refused("all"), None);
    assert_eq!(refused("none"), Some(Extra::Device));
    assert_eq!(refused("device"), Some(Extra::ShmSize));
    assert_eq!(refused("device, shm-size"), None);
    assert!(AllowedExtras::parse("everything").is_err());
}
