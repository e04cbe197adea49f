use serde_json::json;

use super::*;

const YAML: &str = r#"
cdiVersion: "0.6.0"
kind: "vendor.com/gpu"
devices:
  - name: "0"
    containerEdits:
      deviceNodes:
        - path: /dev/gpu0
          hostPath: /dev/null
  - name: "1"
    containerEdits:
      env: ["GPU=1"]
containerEdits:
  env: ["VENDOR=yes"]
  mounts:
    - hostPath: /usr/lib
      containerPath: /vendor
      options: [ro]
  hooks:
    - hookName: createContainer
      path: /bin/hook
"#;

fn host(requests: Vec<DeviceRequest>) -> HostConfig {
    HostConfig {
        device_requests: Some(requests),
        ..HostConfig::default()
    }
}

fn by_name(names: &[&str]) -> DeviceRequest {
    DeviceRequest {
        driver: "cdi".into(),
        device_ids: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..DeviceRequest::default()
    }
}

fn by_count(count: i64) -> DeviceRequest {
    DeviceRequest {
        count,
        capabilities: Some(vec![vec!["gpu".into()]]),
        ..DeviceRequest::default()
    }
}

fn base() -> Value {
    json!({"process": {"env": ["VENDOR=no", "A=1"]}, "linux": {"devices": [], "resources": {"devices": []}}})
}

fn dir() -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("vendor.yaml"), YAML).unwrap();
    let dirs = vec![dir.path().to_owned()];
    (dir, dirs)
}

#[test]
fn a_device_brings_its_nodes_mounts_and_variables() {
    let (_dir, dirs) = dir();
    let mut spec = base();
    inject(
        &mut spec,
        &host(vec![by_name(&["vendor.com/gpu=0"])]),
        &dirs,
    )
    .unwrap();
    assert_eq!(spec["process"]["env"], json!(["A=1", "VENDOR=yes"]));
    let node = &spec["linux"]["devices"][0];
    assert_eq!(
        (&node["path"], &node["major"]),
        (&json!("/dev/gpu0"), &json!(1))
    );
    assert_eq!(spec["linux"]["resources"]["devices"][0]["access"], "rwm");
    assert_eq!(spec["mounts"][0]["options"], json!(["ro", "rbind"]));
    assert_eq!(spec["hooks"]["createContainer"][0]["path"], "/bin/hook");
}

#[test]
fn gpus_are_counted_out() {
    let (_dir, dirs) = dir();
    let registry = Registry::load(&dirs);
    let names = |count| gpus(&by_count(count), &registry).map_err(|error| error.to_string());
    assert_eq!(names(1).unwrap(), ["vendor.com/gpu=0"]);
    assert_eq!(names(-1).unwrap(), ["vendor.com/gpu=0", "vendor.com/gpu=1"]);
    assert!(
        names(3)
            .unwrap_err()
            .contains("3 devices of vendor.com/gpu asked for, 2 known")
    );
    let named = DeviceRequest {
        device_ids: Some(vec!["1".into()]),
        ..by_count(0)
    };
    assert_eq!(gpus(&named, &registry).unwrap(), ["vendor.com/gpu=1"]);
}

#[test]
fn what_is_not_there_is_refused_with_docker_s_texts() {
    let (_dir, dirs) = dir();
    let error = inject(
        &mut base(),
        &host(vec![by_name(&["vendor.com/gpu=9"])]),
        &dirs,
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "CDI device injection failed: unresolvable CDI devices vendor.com/gpu=9"
    );
    let error = validate(&host(vec![by_count(-1)]), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not select device driver \"\" with capabilities: [[gpu]]"
    );
}

#[test]
fn a_later_directory_goes_before_an_earlier_one() {
    let (_first, mut dirs) = dir();
    let second = tempfile::tempdir().unwrap();
    let other = YAML.replace("GPU=1", "GPU=other");
    std::fs::write(second.path().join("a.yaml"), other).unwrap();
    dirs.push(second.path().to_owned());
    let mut spec = base();
    inject(
        &mut spec,
        &host(vec![by_name(&["vendor.com/gpu=1"])]),
        &dirs,
    )
    .unwrap();
    assert!(
        spec["process"]["env"]
            .as_array()
            .unwrap()
            .contains(&json!("GPU=other"))
    );
}
