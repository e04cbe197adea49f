//! What bad input gets: Docker's status and text, and nothing half done.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use skep_testkit::{Host, upload};

use crate::{IMAGE, ask, hosts, import, one_host, run};

/// Expects a refusal with this status, whose text contains this.
#[track_caller]
fn refuses(host: &Host, method: &str, path: &str, body: &Value, status: u16, text: &str) {
    let body = Some(body).filter(|body| !body.is_null());
    let answer = host.api(method, path, body).unwrap();
    let message = answer.json()["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        answer.status == status && message.contains(text),
        "{method} {path}: wanted {status} {text:?}, got {} {}",
        answer.status,
        answer.text()
    );
}

#[test]
fn a_host_refuses_what_makes_no_sense_and_does_nothing_of_it() {
    let mut lab = one_host();
    let host = &lab.hosts[0];
    let create = "/containers/create?name=bad";
    refuses(
        host,
        "POST",
        create,
        &json!({"Image": "nothing"}),
        404,
        "No such image: nothing:latest",
    );
    let image = |more: Value| {
        let mut body = json!({"Image": IMAGE, "Cmd": ["true"], "HostConfig": {}});
        for (key, value) in more.as_object().unwrap() {
            body["HostConfig"][key] = value.clone();
        }
        body
    };
    let bind = json!({"Mounts": [{"Type": "bind", "Source": "/not/here", "Target": "/x"}]});
    refuses(
        host,
        "POST",
        create,
        &image(bind),
        400,
        "invalid mount config for type \"bind\": bind source path does not exist: /not/here",
    );
    let twice = json!({"Binds": ["va:/x", "vb:/x"]});
    refuses(
        host,
        "POST",
        create,
        &image(twice),
        400,
        "Duplicate mount point: /x",
    );
    let policy = json!({"RestartPolicy": {"Name": "sometimes"}});
    refuses(
        host,
        "POST",
        create,
        &image(policy),
        400,
        "invalid restart policy: unknown policy 'sometimes'",
    );
    let runtime = json!({"Runtime": "nothing"});
    refuses(
        host,
        "POST",
        create,
        &image(runtime),
        400,
        "unknown or invalid runtime name: nothing",
    );
    let memory = json!({"Memory": 1000});
    refuses(
        host,
        "POST",
        create,
        &image(memory),
        400,
        "Minimum memory limit allowed is 6MB",
    );
    ask(host, "GET", "/containers/bad/json", None, 404);

    // A network that is not there is found missing at the start at the latest.
    let made = host
        .api(
            "POST",
            create,
            Some(&image(json!({"NetworkMode": "nowhere"}))),
        )
        .unwrap();
    if made.status == 201 {
        refuses(
            host,
            "POST",
            "/containers/bad/start",
            &Value::Null,
            404,
            "network nowhere not found",
        );
        ask(host, "DELETE", "/containers/bad", None, 204);
    } else {
        assert_eq!(made.status, 404, "{}", made.text());
        assert!(
            made.text().contains("network nowhere not found"),
            "{}",
            made.text()
        );
    }

    let published = json!({"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}});
    run(host, "first", published.clone());
    ask(
        host,
        "POST",
        "/containers/create?name=second",
        Some(image(published)),
        201,
    );
    refuses(
        host,
        "POST",
        "/containers/second/start",
        &Value::Null,
        500,
        "Bind for 0.0.0.0:8080 failed: port is already allocated",
    );
    assert_eq!(crate::state(host, "second")["Running"], false);
    ask(host, "POST", "/containers/first/stop?t=0", None, 204);
    ask(host, "POST", "/containers/second/start", None, 204);
    for name in ["first", "second"] {
        ask(
            host,
            "DELETE",
            &format!("/containers/{name}?force=1"),
            None,
            204,
        );
    }

    let words = |body: &[u8]| {
        let answer = upload(&host.socket(), "/images/load", body).unwrap();
        format!("{} {}", answer.status, answer.text())
    };
    let whole = host
        .api("GET", &format!("/images/{IMAGE}/get"), None)
        .unwrap()
        .body;
    let middle = whole.len() / 2;
    let mut corrupt = whole.clone();
    corrupt[middle..middle + 64]
        .iter_mut()
        .for_each(|byte| *byte ^= 0xff);
    ask(host, "DELETE", &format!("/images/{IMAGE}"), None, 200);
    let text = words(&corrupt);
    assert!(text.contains("sha256:"), "{text}");
    for body in [&whole[..middle], b"no archive at all", b""] {
        let text = words(body);
        assert!(
            !text.starts_with("200") || text.contains("errorDetail"),
            "{text}"
        );
    }
    ask(host, "GET", &format!("/images/{IMAGE}/json"), None, 404);
    crate::assert_no_leaks(&mut lab);
}

#[test]
fn bodies_that_are_no_json_or_of_the_wrong_type_are_refused_everywhere() {
    let lab = one_host();
    let host = &lab.hosts[0];
    run(host, "here", json!({}));
    let paths = [
        "/containers/create",
        "/containers/here/exec",
        "/containers/here/update",
        "/volumes/create",
        "/networks/create",
        "/networks/bridge/connect",
        "/networks/bridge/disconnect",
        "/swarm/init",
        "/swarm/join",
    ];
    for path in paths {
        for body in [
            &b"nonsense"[..],
            b"{\"half\":",
            b"[]",
            b"\"text\"",
            b"{} {}",
        ] {
            let answer = crate::daemon_flags::post_json(host, path, body);
            assert_eq!(
                answer.status,
                400,
                "{path} {}: {}",
                String::from_utf8_lossy(body),
                answer.text()
            );
        }
    }
    ask(host, "DELETE", "/containers/here?force=1", None, 204);
}

#[test]
fn a_swarm_refuses_strangers_and_a_host_a_second_swarm() {
    let mut lab = hosts(2);
    for host in &mut lab.hosts {
        host.start().unwrap();
    }
    import(&lab.hosts[0]);
    let (manager, other) = (&lab.hosts[0], &lab.hosts[1]);
    let address = manager.address.to_string();
    let init = json!({"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": address, "Spec": {}});
    ask(manager, "POST", "/swarm/init", Some(init.clone()), 200);
    let swarm = ask(manager, "GET", "/swarm", None, 200);
    let token = swarm["JoinTokens"]["Worker"].as_str().unwrap().to_owned();
    let parts: Vec<&str> = token.split('-').collect();
    let (digest, secret) = (parts[2], parts[3]);
    let join = |token: &str, remote: &str| {
        json!({
            "ListenAddr": "0.0.0.0:2377",
            "AdvertiseAddr": other.address.to_string(),
            "RemoteAddrs": [remote],
            "JoinToken": token,
        })
    };
    let remote = format!("{address}:2377");
    let wrong_secret = format!("SWMTKN-1-{digest}-{}", "0".repeat(secret.len()));
    refuses(
        other,
        "POST",
        "/swarm/join",
        &join(&wrong_secret, &remote),
        400,
        "A valid join token is necessary to join this cluster",
    );
    let wrong_digest = format!("SWMTKN-1-{}-{secret}", "1".repeat(digest.len()));
    refuses(
        other,
        "POST",
        "/swarm/join",
        &join(&wrong_digest, &remote),
        500,
        "remote CA does not match fingerprint. Expected: ",
    );
    refuses(
        other,
        "POST",
        "/swarm/join",
        &join("nonsense", &remote),
        400,
        "invalid join token",
    );
    let nobody = format!("{address}:2399");
    refuses(
        other,
        "POST",
        "/swarm/join",
        &join(&token, &nobody),
        503,
        &format!(
            "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while \
             dialing: dial tcp {nobody}: connect: connection refused\""
        ),
    );
    let info = ask(other, "GET", "/info", None, 200);
    assert_eq!(info["Swarm"]["LocalNodeState"], "inactive");
    ask(
        other,
        "POST",
        "/swarm/join",
        Some(join(&token, &remote)),
        200,
    );
    let again = "This node is already part of a swarm.";
    refuses(
        other,
        "POST",
        "/swarm/join",
        &join(&token, &remote),
        503,
        again,
    );
    refuses(other, "POST", "/swarm/init", &init, 503, again);
    refuses(manager, "POST", "/swarm/init", &init, 503, again);
    refuses(
        manager,
        "POST",
        "/swarm/leave",
        &Value::Null,
        503,
        "Removing the last manager erases all current state of the swarm.",
    );
    services(manager);
    ask(other, "POST", "/swarm/leave", None, 200);
    ask(manager, "POST", "/swarm/leave?force=1", None, 200);
    refuses(
        manager,
        "POST",
        "/swarm/leave",
        &Value::Null,
        503,
        "This node is not part of a swarm",
    );
    refuses(
        manager,
        "GET",
        "/services",
        &Value::Null,
        503,
        "This node is not a swarm manager.",
    );
}

fn services(manager: &Host) {
    let create = "/services/create";
    let service = |more: Value| {
        let mut body = json!({"Name": "bad", "TaskTemplate": {"ContainerSpec": {"Image": IMAGE}}});
        for (key, value) in more.as_object().unwrap() {
            body["TaskTemplate"][key] = value.clone();
        }
        body
    };
    let constraint = json!({"Placement": {"Constraints": ["node.role=manager"]}});
    refuses(
        manager,
        "POST",
        create,
        &service(constraint),
        400,
        "constraint",
    );
    let network = json!({"Networks": [{"Target": "nowhere"}]});
    refuses(
        manager,
        "POST",
        create,
        &service(network),
        404,
        "network nowhere not found",
    );
    ask(
        manager,
        "POST",
        "/networks/create",
        Some(json!({"Name": "local1"})),
        201,
    );
    let local = json!({"Networks": [{"Target": "local1"}]});
    refuses(
        manager,
        "POST",
        create,
        &service(local),
        403,
        "cannot be used with services",
    );
    ask(manager, "DELETE", "/networks/local1", None, 204);
    let missing = json!({"ContainerSpec": {"Image": IMAGE, "Secrets": [{
        "SecretID": "none", "SecretName": "none", "File": {"Name": "x", "UID": "0", "GID": "0", "Mode": 292},
    }]}});
    refuses(
        manager,
        "POST",
        create,
        &service(missing),
        400,
        "secret not found: none",
    );
    refuses(
        manager,
        "POST",
        create,
        &service(json!({"ContainerSpec": {}})),
        400,
        "image",
    );
    refuses(
        manager,
        "POST",
        "/services/none/update?version=1",
        &service(json!({})),
        404,
        "service none not found",
    );
    let list = ask(manager, "GET", "/services", None, 200);
    assert_eq!(list, json!([]), "nothing half done");
}

#[test]
fn a_second_daemon_on_the_same_directory_is_refused() {
    let lab = one_host();
    let host = &lab.hosts[0];
    let mut second = Command::new(env!("CARGO_BIN_EXE_skep"));
    second
        .arg("daemon")
        .arg("--data-root")
        .arg(host.data_root());
    second.arg("--exec-root").arg(host.dir.join("other-run"));
    second.args([
        "--host",
        &format!("unix://{}", host.dir.join("other.sock").display()),
    ]);
    let output = second.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let wanted = format!(
        "the directory {} is in use by another daemon (process ",
        host.data_root().display()
    );
    assert!(text.contains(&wanted), "{text}");
    ask(host, "GET", "/info", None, 200);
}
