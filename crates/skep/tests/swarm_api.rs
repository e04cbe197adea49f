//! What managers answer, row by row: status codes, error texts, filters, versions, and what is
//! never shown. One manager; its services have images that nobody has, so that nothing runs.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skep_testkit::{Cluster, Host, eventually};

/// The answer's status and its text.
fn call(host: &Host, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let answer = host.api(method, path, body).unwrap();
    let text = answer.text();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (answer.status, body)
}

fn get(host: &Host, path: &str) -> Value {
    let (status, body) = call(host, "GET", path, None);
    assert_eq!(status, 200, "{path}: {body}");
    body
}

fn made(host: &Host, path: &str, body: &Value) -> String {
    let (status, answer) = call(host, "POST", path, Some(body));
    assert_eq!(status, 201, "{path}: {answer}");
    let id = answer.get("ID").or(answer.get("Id")).unwrap();
    id.as_str().unwrap().to_owned()
}

fn refused(host: &Host, method: &str, path: &str, body: Option<&Value>, status: u16, text: &str) {
    let (code, answer) = call(host, method, path, body);
    let message = answer["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!((code, message.as_str()), (status, text), "{method} {path}");
}

fn filters(filters: &Value) -> String {
    let text = filters.to_string();
    let hex = text.bytes().map(|byte| format!("%{byte:02x}"));
    format!("filters={}", hex.collect::<String>())
}

/// Names, or ids, of what a list shows.
fn listed(host: &Host, path: &str, wanted: &Value) -> Vec<String> {
    let rows = get(host, &format!("{path}?{}", filters(wanted)));
    let name = |row: &Value| {
        let name = row["Spec"]["Name"].as_str().or(row["ID"].as_str());
        name.unwrap().to_owned()
    };
    let mut names: Vec<String> = rows.as_array().unwrap().iter().map(name).collect();
    names.sort();
    names
}

fn service(name: &str) -> Value {
    json!({
        "Name": name,
        "Labels": {"tier": name},
        "TaskTemplate": {"ContainerSpec": {"Image": "registry.invalid/none:1"},
            "Placement": {"Constraints": ["node.labels.none==1"]}},
        "Mode": {"Replicated": {"Replicas": 2}},
    })
}

fn version(host: &Host, path: &str) -> u64 {
    get(host, path)["Version"]["Index"].as_u64().unwrap()
}

/// Replaces a spec; the leader's loops may change the object between the look and the write.
fn updated(host: &Host, path: &str, query: &str, spec: &Value) -> Value {
    eventually(path, || {
        let now = version(host, path);
        let update = format!("{path}/update?version={now}{query}");
        match call(host, "POST", &update, Some(spec)) {
            (200, answer) => Ok(answer),
            (_, refusal) => Err(refusal.to_string()),
        }
    })
}

#[test]
fn managers_answer_as_docker_s_do() {
    let cluster = Cluster::managers(1)
        .start(env!("CARGO_BIN_EXE_skep"))
        .unwrap();
    let host = &cluster.hosts[0];
    nodes(host);
    services(host);
    credentials(host);
    tasks(host);
    secrets(host);
    configs(host);
    logs(host);
    events(host);
    rebalancing(host);
}

fn nodes(host: &Host) {
    let id = get(host, "/nodes")[0]["ID"].as_str().unwrap().to_owned();
    refused(host, "GET", "/nodes/none", None, 404, "node none not found");
    for path in ["nodes", "services", "tasks", "secrets", "configs"] {
        let path = format!("/{path}?{}", filters(&json!({"color": ["red"]})));
        refused(host, "GET", &path, None, 400, "invalid filter 'color'");
    }
    let path = format!("/nodes?{}", filters(&json!({"role": ["chief"]})));
    refused(
        host,
        "GET",
        &path,
        None,
        400,
        "Invalid role filter: 'chief'",
    );
    let this = [id.clone()];
    for (wanted, expect) in [
        (json!({"id": [&id[..5]]}), &this[..]),
        (json!({"role": {"manager": true}}), &this[..]),
        (json!({"role": ["worker"]}), &[][..]),
        (json!({"membership": ["accepted"]}), &this[..]),
        (json!({"node.label": ["zone"]}), &[][..]),
    ] {
        let rows = get(host, &format!("/nodes?{}", filters(&wanted)));
        let ids: Vec<_> = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n["ID"].clone())
            .collect();
        assert_eq!(ids, expect, "{wanted}");
    }
    let mut spec = get(host, &format!("/nodes/{id}"))["Spec"].clone();
    let update = format!("/nodes/{id}/update");
    let stale = format!("{update}?version=1");
    refused(
        host,
        "POST",
        &stale,
        Some(&spec),
        500,
        "rpc error: code = Unknown desc = update out of sequence",
    );
    spec["Role"] = "worker".into();
    let now = version(host, &format!("/nodes/{id}"));
    refused(
        host,
        "POST",
        &format!("{update}?version={now}"),
        Some(&spec),
        400,
        "rpc error: code = FailedPrecondition desc = attempting to demote the last manager of the swarm",
    );
    refused(
        host,
        "DELETE",
        &format!("/nodes/{id}?force=1"),
        None,
        400,
        &format!(
            "rpc error: code = FailedPrecondition desc = node {id} is a cluster manager and is \
            a member of the raft cluster. It must be demoted to worker before removal"
        ),
    );
}

fn services(host: &Host) {
    let web = made(host, "/services/create", &service("web"));
    made(host, "/services/create", &service("api"));
    refused(
        host,
        "POST",
        "/services/create",
        Some(&service("web")),
        409,
        "rpc error: code = AlreadyExists desc = name conflicts with an existing object: service web already exists",
    );
    refused(
        host,
        "GET",
        "/services/none",
        None,
        404,
        "service none not found",
    );
    for (wanted, expect) in [
        (json!({"name": ["w"]}), &["web"][..]),
        (json!({"name": ["w", "a"]}), &["api", "web"][..]),
        (json!({"label": ["tier"]}), &["api", "web"][..]),
        (json!({"label": ["tier=web"]}), &["web"][..]),
        (json!({"mode": ["global"]}), &[][..]),
        (json!({"mode": ["replicated"], "id": [web]}), &["web"][..]),
        (json!({"runtime": ["plugin"]}), &[][..]),
    ] {
        assert_eq!(listed(host, "/services", &wanted), expect, "{wanted}");
    }
    let row = get(
        host,
        &format!("/services?status=1&{}", filters(&json!({"name": ["web"]}))),
    );
    let counts = json!({"RunningTasks": 0, "DesiredTasks": 2, "CompletedTasks": 0});
    assert_eq!(row[0]["ServiceStatus"], counts);
    let defaults = get(host, "/services/web?insertDefaults=true");
    assert_eq!(defaults["Spec"]["UpdateConfig"]["FailureAction"], "pause");

    let now = version(host, "/services/web");
    let path = format!("/services/web/update?version={now}");
    refused(
        host,
        "POST",
        &path,
        Some(&service("other")),
        501,
        "rpc error: code = Unimplemented desc = renaming services is not supported",
    );
    let mut global = service("web");
    global["Mode"] = json!({"Global": {}});
    refused(
        host,
        "POST",
        &path,
        Some(&global),
        501,
        "rpc error: code = Unimplemented desc = service mode change is not allowed",
    );
    let back = format!("{path}&rollback=previous");
    refused(
        host,
        "POST",
        &back,
        Some(&service("web")),
        400,
        &format!(
            "rpc error: code = FailedPrecondition desc = service {web} does not have a previous spec"
        ),
    );
    // Keys in any case, as Go reads them.
    let mut body = service("web");
    body["tasktemplate"] = body["TaskTemplate"].take();
    body.as_object_mut().unwrap().remove("TaskTemplate");
    body["MODE"] = json!({"replicated": {"replicas": 3}});
    body.as_object_mut().unwrap().remove("Mode");
    let answer = updated(host, "/services/web", "", &body);
    assert_eq!(answer, json!({"Warnings": null}));
    refused(
        host,
        "POST",
        &path,
        Some(&service("web")),
        500,
        "rpc error: code = Unknown desc = update out of sequence",
    );
    let after = get(host, "/services/web");
    assert_eq!(after["Spec"]["Mode"]["Replicated"]["Replicas"], 3);
    assert_eq!(after["PreviousSpec"]["Mode"]["Replicated"]["Replicas"], 2);
    updated(host, "/services/web", "&rollback=previous", &body);
    let after = get(host, "/services/web");
    assert_eq!(after["Spec"]["Mode"]["Replicated"]["Replicas"], 2);
    assert_eq!(after["PreviousSpec"]["Mode"]["Replicated"]["Replicas"], 3);
    eventually("the rollback is done", || {
        let status = get(host, "/services/web")["UpdateStatus"].clone();
        let done = status["State"] == "rollback_completed";
        done.then_some(()).ok_or_else(|| status.to_string())
    });
}

fn credentials(host: &Host) {
    let header = ("X-Registry-Auth", "eyJ1c2VybmFtZSI6Im1lIn0");
    let answer = host.api_with(
        "POST",
        "/services/create",
        header,
        Some(&service("private")),
    );
    assert_eq!(answer.unwrap().status, 201);
    let mut spec = service("private");
    spec["TaskTemplate"]["ForceUpdate"] = 1.into();
    updated(host, "/services/private", "", &spec);
    for path in [
        "/services",
        "/services/private",
        "/services/private?insertDefaults=1",
        "/tasks",
    ] {
        let shown = get(host, path).to_string();
        assert!(
            !shown.contains(header.1) && !shown.contains("RegistryAuth"),
            "{path}"
        );
    }
    let path = format!(
        "/services/private/update?version={}",
        version(host, "/services/private")
    );
    let path = format!("{path}&registryAuthFrom=somewhere");
    refused(
        host,
        "POST",
        &path,
        Some(&spec),
        500,
        "unsupported registryAuthFrom value",
    );
    assert_eq!(call(host, "DELETE", "/services/private", None).0, 200);
}

fn tasks(host: &Host) {
    let why = "no suitable node (scheduling constraints not satisfied on 1 node)";
    let of_web = format!(
        "/tasks?{}",
        filters(&json!({"service": ["web"], "desired-state": ["running"]}))
    );
    eventually("tasks say why they wait", || {
        let answer = get(host, &of_web);
        let tasks = answer.as_array().unwrap();
        let all = tasks.iter().all(|task| task["Status"]["Err"] == why);
        (all && tasks.len() == 2)
            .then_some(())
            .ok_or_else(|| answer.to_string())
    });
    let tasks = get(host, &of_web);
    let first = tasks
        .as_array()
        .unwrap()
        .iter()
        .find(|task| task["Slot"] == 1)
        .unwrap();
    let id = first["ID"].as_str().unwrap();
    assert_eq!(first["Status"]["State"], "pending");
    assert_eq!(get(host, &format!("/tasks/{id}"))["ID"], id);
    assert_eq!(get(host, &format!("/tasks/web.1.{id}"))["ID"], id);
    for (wanted, expect) in [
        (json!({"name": ["web.1"], "desired-state": ["running"]}), 1),
        (json!({"id": [id]}), 1),
        (json!({"service": ["web"], "_up-to-date": ["true"]}), 2),
        (
            json!({"service": ["web", "api"], "desired-state": ["running"]}),
            4,
        ),
        (json!({"node": ["self"], "service": ["web"]}), 0),
        (json!({"label": ["none"]}), 0),
    ] {
        let wanted = wanted
            .to_string()
            .replace("\"self\"", &get(host, "/nodes")[0]["ID"].to_string());
        let wanted: Value = serde_json::from_str(&wanted).unwrap();
        let rows = get(host, &format!("/tasks?{}", filters(&wanted)));
        assert_eq!(rows.as_array().unwrap().len(), expect, "{wanted}");
    }
    let path = format!("/tasks?{}", filters(&json!({"desired-state": ["happy"]})));
    refused(
        host,
        "GET",
        &path,
        None,
        400,
        "Invalid desired_state filter: 'happy'",
    );
    refused(host, "GET", "/tasks/none", None, 404, "task none not found");
}

fn secrets(host: &Host) {
    let secret = json!({"Name": "pass", "Labels": {"a": "b"}, "Data": "aGVsbG8="});
    let id = made(host, "/secrets/create", &secret);
    refused(
        host,
        "POST",
        "/secrets/create",
        Some(&secret),
        409,
        "rpc error: code = AlreadyExists desc = secret pass already exists",
    );
    let shown = get(host, "/secrets/pass");
    assert_eq!(shown["Spec"], json!({"Name": "pass", "Labels": {"a": "b"}}));
    assert_eq!(
        listed(host, "/secrets", &json!({"name": ["pa"], "label": ["a"]})),
        ["pass"]
    );
    assert!(listed(host, "/secrets", &json!({"names": ["pa"]})).is_empty());
    let path = format!(
        "/secrets/pass/update?version={}",
        version(host, "/secrets/pass")
    );
    let other = json!({"Name": "pass", "Data": "b3RoZXI="});
    refused(
        host,
        "POST",
        &path,
        Some(&other),
        400,
        "rpc error: code = InvalidArgument desc = only updates to Labels are allowed",
    );
    let labels = json!({"Name": "pass", "Labels": {"c": "d"}});
    assert_eq!(call(host, "POST", &path, Some(&labels)).0, 200);
    assert_eq!(
        get(host, &format!("/secrets/{id}"))["Spec"]["Labels"],
        json!({"c": "d"})
    );
    let mut user = service("user");
    let target = json!({"Name": "pass", "UID": "0", "GID": "0", "Mode": 292});
    user["TaskTemplate"]["ContainerSpec"]["Secrets"] =
        json!([{"File": target, "SecretID": id, "SecretName": "pass"}]);
    made(host, "/services/create", &user);
    refused(
        host,
        "DELETE",
        "/secrets/pass",
        None,
        400,
        "rpc error: code = InvalidArgument desc = secret 'pass' is in use by the following service: user",
    );
    user["Name"] = "other".into();
    user["TaskTemplate"]["ContainerSpec"]["Secrets"][0]["SecretID"] = "gone".into();
    refused(
        host,
        "POST",
        "/services/create",
        Some(&user),
        400,
        "rpc error: code = InvalidArgument desc = secret not found: pass",
    );
    assert_eq!(
        call(host, "DELETE", "/services/user", None),
        (200, "".into())
    );
    assert_eq!(
        call(host, "DELETE", "/secrets/pass", None),
        (204, "".into())
    );
    refused(
        host,
        "DELETE",
        "/secrets/pass",
        None,
        404,
        "secret pass not found",
    );
}

fn configs(host: &Host) {
    let config = |name: &str| json!({"Name": name, "Data": "aGVsbG8="});
    let mut beginnings: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..40 {
        let id = made(host, "/configs/create", &config(&format!("c{number}")));
        *beginnings.entry(id[..1].to_owned()).or_default() += 1;
    }
    assert_eq!(get(host, "/configs/c7")["Spec"]["Data"], "aGVsbG8=");
    // More ids than letters to begin with.
    let (letter, count) = beginnings.iter().find(|(_, count)| **count > 1).unwrap();
    refused(
        host,
        "GET",
        &format!("/configs/{letter}"),
        None,
        400,
        &format!("config {letter} is ambiguous ({count} matches found)"),
    );
    refused(
        host,
        "POST",
        "/configs/create",
        Some(&json!({"Name": "empty"})),
        400,
        "rpc error: code = InvalidArgument desc = config data must be larger than 0 and less than 1024000 bytes",
    );
    refused(
        host,
        "POST",
        "/configs/create",
        Some(&config("-bad-")),
        400,
        "rpc error: code = InvalidArgument desc = invalid name, only 64 [a-zA-Z0-9-_.] characters \
         allowed, and the start and end character must be [a-zA-Z0-9]",
    );
    assert_eq!(call(host, "DELETE", "/configs/c7", None), (204, "".into()));
}

/// Tasks without a node have no logs, and the stream says so.
fn logs(host: &Host) {
    refused(
        host,
        "GET",
        "/services/web/logs",
        None,
        400,
        "Bad parameters: you must choose at least one stream",
    );
    let answer = host
        .api("GET", "/services/web/logs?stdout=1&stderr=1", None)
        .unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body.first(),
        Some(&3),
        "an error in the stream: {}",
        answer.text()
    );
    let text = answer.text();
    let says = "Error grabbing logs: rpc error: code = Unknown desc = warning: incomplete log \
                stream. some logs could not be retrieved for the following reasons: task ";
    assert!(
        text.contains(says) && text.contains(" has not been scheduled"),
        "{text}"
    );
}

fn events(host: &Host) {
    let path = format!(
        "/events?since=0&until=4000000000&{}",
        filters(&json!({"scope": ["swarm"]}))
    );
    // The stream ends a second from now: what happened in this one is in it.
    let until = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 1;
    let path = path.replace("4000000000", &until.to_string());
    let told = host.api("GET", &path, None).unwrap().text();
    let told: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let has = |kind: &str, action: &str, name: &str, attribute: Option<(&str, &str)>| {
        told.iter().any(|event| {
            event["Type"] == kind
                && event["Action"] == action
                && event["Actor"]["Attributes"]["name"] == name
                && attribute.is_none_or(|(key, value)| event["Actor"]["Attributes"][key] == value)
        })
    };
    assert!(has("service", "create", "web", None), "{told:#?}");
    assert!(
        has("service", "update", "web", Some(("replicas.new", "3"))),
        "{told:#?}"
    );
    let rolled_back = Some(("updatestate.new", "rollback_completed"));
    assert!(has("service", "update", "web", rolled_back), "{told:#?}");
    assert!(has("service", "remove", "private", None), "{told:#?}");
    assert!(has("secret", "create", "pass", None) && has("secret", "remove", "pass", None));
    assert!(has("config", "create", "c7", None) && has("config", "remove", "c7", None));
    assert!(told.iter().all(|event| event["Type"] != "task"));
}

fn rebalancing(host: &Host) {
    let answer = call(host, "POST", "/services/web/rebalance", None);
    assert_eq!(answer, (200, json!({"Warnings": null})));
    assert_eq!(call(host, "POST", "/services/web/rebalance", None), answer);
    let mut global = service("everywhere");
    global["Mode"] = json!({"Global": {}});
    made(host, "/services/create", &global);
    refused(
        host,
        "POST",
        "/services/everywhere/rebalance",
        None,
        400,
        "service everywhere cannot be rebalanced: only replicated services have tasks that can move",
    );
    refused(
        host,
        "POST",
        "/services/none/rebalance",
        None,
        404,
        "service none not found",
    );
}
