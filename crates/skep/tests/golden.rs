//! Recorded answers and requests of the real engine, through our types and conversions.
//!
//! Every recording must come out as it went in: same keys, same nulls, same numbers and times.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use skep::http::convert;
use skep_objects::api::{self, decode};
use skep_objects::swarmkit as proto;

fn golden(name: &str) -> Value {
    let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{path}: {err}"));
    serde_json::from_str(&text).unwrap_or_else(|err| panic!("{path}: {err}"))
}

/// The bodies that the command line sent to paths that contain `path`.
fn requests(name: &str, path: &str) -> Vec<Value> {
    let file = format!(
        "{}/tests/golden/requests/{name}.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&file).unwrap_or_else(|err| panic!("{file}: {err}"));
    let (_, calls) = text
        .split_once("--- requests\n")
        .expect("a list of requests");
    let mut bodies = Vec::new();
    for call in calls
        .split("\nPOST ")
        .skip(usize::from(!calls.starts_with("POST ")))
    {
        let (line, rest) = call.split_once('\n').unwrap_or((call, ""));
        if line.contains(path) {
            let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            bodies.push(stream.next().expect("a body").expect("JSON"));
        }
    }
    assert!(!bodies.is_empty(), "no request to {path} in {name}");
    bodies
}

/// Keys sorted, whole floats as integers: what no client can tell apart.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            entries
                .into_iter()
                .map(|(k, v)| (k.clone(), normal(v)))
                .collect()
        }
        Value::Array(items) => items.iter().map(normal).collect(),
        other => other.clone(),
    }
}

fn assert_same(what: &str, got: &Value, expect: &Value) {
    let (got, expect) = (normal(got), normal(expect));
    if got != expect {
        let pretty = |v: &Value| serde_json::to_string_pretty(v).expect("JSON");
        let (got, expect) = (pretty(&got), pretty(&expect));
        let differ = got
            .lines()
            .zip(expect.lines())
            .enumerate()
            .find(|(_, (a, b))| a != b);
        panic!("{what} differs at {differ:?}\n--- got\n{got}\n--- expect\n{expect}");
    }
}

/// `name` decodes as `T` and prints the same.
fn check<T: DeserializeOwned + Serialize>(name: &str) {
    let expect = golden(name);
    let typed: T = decode::from_value(expect.clone()).unwrap_or_else(|err| panic!("{name}: {err}"));
    assert_same(name, &serde_json::to_value(typed).expect("JSON"), &expect);
}

#[test]
fn recorded_answers_survive_our_types() {
    check::<Vec<api::service::Service>>("services-status");
    check::<api::service::Service>("service-full");
    check::<Vec<api::task::Task>>("tasks");
    check::<Vec<api::node::Node>>("nodes");
    check::<Vec<api::network::Network>>("networks");
    check::<api::network::Network>("network-ingress");
    check::<Vec<api::secret::Secret>>("secrets");
    check::<Vec<api::config::Config>>("configs");
    check::<api::swarm::Swarm>("swarm");
    check::<api::system::Info>("info");
    check::<api::system::Version>("version");
    check::<api::volume::VolumeList>("volumes");
    check::<api::volume::Volume>("volume-vol1");
}

#[test]
fn service_specs_survive_the_managers() {
    for service in golden("services-status").as_array().expect("a list") {
        for key in ["Spec", "PreviousSpec"] {
            let Some(expect) = service.get(key) else {
                continue;
            };
            let spec = decode::from_value(expect.clone()).expect("a spec");
            let message = convert::service::to_spec(spec).expect("a good spec");
            let back = serde_json::to_value(convert::service::from_spec(&message)).expect("JSON");
            assert_same(key, &back, expect);
        }
    }
}

#[test]
fn what_the_command_line_sends_is_what_the_engine_showed() {
    let body = requests("service-create-full", "/services/create").remove(0);
    let spec = decode::from_value(body).expect("a spec");
    let message = convert::service::to_spec(spec).expect("a good spec");
    let back = serde_json::to_value(convert::service::from_spec(&message)).expect("JSON");
    assert_same("full", &back, &golden("service-full")["Spec"]);
}

#[test]
fn every_recorded_service_body_is_accepted() {
    for (name, path) in [
        ("service-create-nginx", "/services/create"),
        ("service-create-job", "/services/create"),
        ("service-create-global", "/services/create"),
        ("service-create-dnsrr", "/services/create"),
        ("service-create-pending", "/services/create"),
        ("stack-deploy", "/services/create"),
        ("service-update", "/services/"),
    ] {
        for body in requests(name, path) {
            let spec: api::service::ServiceSpec = decode::from_value(body).expect(name);
            convert::service::to_spec(spec).expect(name);
        }
    }
}

#[test]
fn health_checks_are_read_in_both_spellings() {
    for key in ["Healthcheck", "HealthCheck"] {
        let body = format!(r#"{{"TaskTemplate":{{"ContainerSpec":{{"{key}":{{"Retries":3}}}}}}}}"#);
        let spec: api::service::ServiceSpec = decode::from_json(body.as_bytes()).expect(key);
        let container = spec.task_template.container_spec.expect("a container");
        assert_eq!(container.healthcheck.expect(key).retries, 3);
    }
}

#[test]
fn old_clients_put_networks_beside_the_task() {
    let body = br#"{"Networks":[{"Target":"n1","Aliases":["a"]}],"TaskTemplate":{}}"#;
    let spec = decode::from_json(body).expect("a spec");
    let message = convert::service::to_spec(spec).expect("a good spec");
    assert_eq!(message.task.expect("a task").networks[0].target, "n1");
}

#[test]
fn words_that_no_message_has_are_refused() {
    for (body, text) in [
        (
            r#"{"Mode":{"Global":{},"Replicated":{}}}"#,
            "must specify only one service mode",
        ),
        (
            r#"{"UpdateConfig":{"Order":"sideways"}}"#,
            "unrecognized update order sideways",
        ),
        (
            r#"{"RollbackConfig":{"FailureAction":"cry"}}"#,
            "unrecognized update failure action cry",
        ),
        (
            r#"{"TaskTemplate":{"RestartPolicy":{"Condition":"maybe"}}}"#,
            "invalid RestartCondition: \"maybe\"",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{"Mounts":[{"Type":"floppy"}]}}}"#,
            "invalid MountType: \"floppy\"",
        ),
    ] {
        let spec = decode::from_json(body.as_bytes()).expect(body);
        let refusal = convert::service::to_spec(spec).expect_err(body);
        assert_eq!(refusal.to_string(), text);
    }
}

#[test]
fn node_specs_survive_the_managers() {
    for node in golden("nodes").as_array().expect("a list") {
        let spec = decode::from_value(node["Spec"].clone()).expect("a spec");
        let message = proto::Node {
            spec: Some(convert::node::to_spec(spec).expect("a good spec")),
            ..proto::Node::default()
        };
        let back = serde_json::to_value(convert::node::from_node(&message).spec).expect("JSON");
        assert_same("Spec", &back, &node["Spec"]);
    }
}

#[test]
fn secrets_and_configs_survive_the_managers() {
    for config in golden("configs").as_array().expect("a list") {
        let spec = decode::from_value(config["Spec"].clone()).expect("a spec");
        let message = proto::Config {
            spec: Some(convert::secret::to_config_spec(spec)),
            ..proto::Config::default()
        };
        let back = serde_json::to_value(convert::secret::from_config(&message).spec).expect("JSON");
        assert_same("Spec", &back, &config["Spec"]);
    }
    let body = requests("secret-create", "/secrets/create").remove(0);
    let spec = convert::secret::to_secret_spec(decode::from_value(body).expect("a spec"));
    assert_eq!(spec.data, b"hello");
    let message = proto::Secret {
        spec: Some(spec),
        ..proto::Secret::default()
    };
    let back = serde_json::to_value(convert::secret::from_secret(&message).spec).expect("JSON");
    assert_eq!(back.get("Data"), None, "a secret's data never leaves");
}

#[test]
fn the_swarm_spec_gets_defaults_where_the_user_said_nothing() {
    let body = requests("swarm-init", "/swarm/init").remove(0);
    let request: api::swarm::InitRequest = decode::from_value(body).expect("a request");
    let spec = convert::swarm::to_spec(request.spec, convert::swarm::default_spec()).expect("good");
    let cluster = proto::Cluster {
        spec: Some(spec),
        ..proto::Cluster::default()
    };
    let mut back = serde_json::to_value(convert::swarm::from_cluster(&cluster).spec).expect("JSON");
    // The recorded swarm was updated after its making.
    back["Orchestration"]["TaskHistoryRetentionLimit"] = 7.into();
    assert_same("Spec", &back, &golden("swarm")["Spec"]);
}

#[test]
fn the_issuer_is_told_from_the_root_certificate() {
    let expect = golden("swarm")["TLSInfo"].clone();
    let root = expect["TrustRoot"]
        .as_str()
        .expect("PEM")
        .as_bytes()
        .to_vec();
    let root_ca = proto::RootCa {
        ca_cert: root,
        ..proto::RootCa::default()
    };
    let cluster = proto::Cluster {
        root_ca: Some(root_ca),
        ..proto::Cluster::default()
    };
    let back = convert::swarm::from_cluster_info(&cluster).tls_info;
    assert_same(
        "TLSInfo",
        &serde_json::to_value(back).expect("JSON"),
        &expect,
    );
}

#[test]
fn swarm_networks_are_listed_as_managers_know_them() {
    let body = requests("network-create", "/networks/create").remove(0);
    let spec = convert::network::to_spec(decode::from_value(body).expect("a network"));
    let ipam = proto::IpamOptions {
        driver: Some(proto::Driver {
            name: "default".into(),
            ..proto::Driver::default()
        }),
        configs: vec![proto::IpamConfig {
            subnet: "10.50.0.0/24".into(),
            gateway: "10.50.0.1".into(),
            ..proto::IpamConfig::default()
        }],
    };
    let vni = (
        "com.docker.network.driver.overlay.vxlanid_list".into(),
        "4097".into(),
    );
    let network = proto::Network {
        id: "te6u9zhra3000p5a2gjgs2h8h".into(),
        meta: Some(proto::Meta {
            created_at: Some(prost_types::Timestamp {
                seconds: 1_795_414_623,
                nanos: 874_769_426,
            }),
            ..proto::Meta::default()
        }),
        spec: Some(spec),
        driver_state: Some(proto::Driver {
            name: "overlay".into(),
            options: [vni].into(),
        }),
        ipam: Some(ipam),
        ..proto::Network::default()
    };
    let back = serde_json::to_value(convert::network::from_network(&network)).expect("JSON");
    let list = golden("networks");
    let expect = list
        .as_array()
        .expect("a list")
        .iter()
        .find(|n| n["Name"] == "net1");
    assert_same("net1", &back, expect.expect("net1"));
}
