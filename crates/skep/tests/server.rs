//! The server over a socket, with a real engine and the real control API on a store in memory.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use skep::daemon::{config::Config, flags::Given};
use skep::http::cluster::Manager;
use skep::http::error::Result as ApiResult;
use skep::http::membership::{LogSource, Membership, Outsider};
use skep::http::{Api, server, system::Facts};
use skep_engine::Engine;
use skep_manager::control::{ControlServer, Member, Members};
use skep_objects::api::swarm::{Info, InitRequest, JoinRequest};
use skep_objects::swarmkit as proto;
use skep_store::Store;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
struct NoMembers;

impl Members for NoMembers {
    fn all(&self) -> Vec<Member> {
        Vec::new()
    }

    fn can_remove(&self, _: u64) -> bool {
        false
    }
}

/// A host that is a manager; its swarm is a store in memory.
#[derive(Debug)]
struct OneManager(ControlServer);

#[async_trait::async_trait]
impl Membership for OneManager {
    async fn init(&self, _: InitRequest) -> ApiResult<String> {
        Ok("n1".into())
    }

    async fn join(&self, _: JoinRequest) -> ApiResult<()> {
        Outsider.leave(false).await
    }

    async fn leave(&self, _: bool) -> ApiResult<()> {
        Outsider.leave(false).await
    }

    async fn unlock(&self, _: &str) -> ApiResult<()> {
        Outsider.leave(false).await
    }

    async fn unlock_key(&self) -> ApiResult<String> {
        Ok(String::new())
    }

    async fn info(&self) -> Info {
        Info {
            local_node_state: "active".into(),
            control_available: true,
            ..Info::default()
        }
    }

    fn header(&self) -> String {
        "active/manager".into()
    }

    fn manager(&self) -> ApiResult<Manager> {
        Ok(Arc::new(self.0.clone()))
    }

    fn logs(&self) -> ApiResult<LogSource> {
        Outsider.logs()
    }
}

struct World {
    api: Arc<Api>,
    _dir: tempfile::TempDir,
}

impl World {
    async fn outside_a_swarm() -> Self {
        Self::with(Arc::new(Outsider)).await
    }

    async fn manager() -> Self {
        let store = Store::in_memory();
        let cluster = proto::Cluster {
            id: "c1".into(),
            spec: Some(skep::http::convert::swarm::default_spec()),
            ..Default::default()
        };
        store
            .update(|tx| tx.create_cluster(cluster))
            .await
            .expect("a store that takes it");
        let control = ControlServer::new(store, Arc::new(NoMembers));
        Self::with(Arc::new(OneManager(control))).await
    }

    async fn with(swarm: Arc<dyn Membership>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (data, run) = (path("data"), path("run"));
        // Without a bridge: these tests share the kernel's network with others.
        let flags = [
            "--data-root",
            &data,
            "--exec-root",
            &run,
            "--bridge",
            "none",
        ];
        let flags = flags.map(str::to_owned);
        let config = Config::load(&Given::parse(&flags).expect("flags")).expect("a configuration");
        std::fs::create_dir_all(&config.engine.data_root).expect("a directory");
        let engine = Engine::open(config.engine.clone())
            .await
            .expect("an engine");
        let facts = Facts::gather(&config);
        Self {
            api: Arc::new(Api::new(engine, swarm, facts)),
            _dir: dir,
        }
    }

    fn connect(&self) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("a socket");
        let stop = CancellationToken::new();
        tokio::spawn(server::connection(self.api.clone(), theirs, None, stop));
        ours
    }

    async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Response<Incoming> {
        let io = TokioIo::new(self.connect());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
            .await
            .expect("a connection");
        tokio::spawn(connection);
        let path = path
            .replace('{', "%7B")
            .replace('}', "%7D")
            .replace('"', "%22");
        let method: Method = method.parse().expect("a method");
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "d");
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = request
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        sender.send_request(request).await.expect("an answer")
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let response = self.send(method, path, body).await;
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn refused(&self, method: &str, path: &str, body: Option<Value>, expect: (u16, &str)) {
        let (status, answer) = self.ask(method, path, body).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!((status, message), expect, "{method} {path}");
    }
}

fn nginx() -> Value {
    json!({
        "Name": "web",
        "Labels": {"tier": "web"},
        "TaskTemplate": {"ContainerSpec": {"Image": "nginx:latest", "Init": false}},
        "Mode": {"Replicated": {"Replicas": 2}},
        "EndpointSpec": {"Mode": "vip"}
    })
}

#[tokio::test]
async fn ping_tells_who_we_are() {
    let world = World::manager().await;
    for method in ["GET", "HEAD"] {
        let response = world.send(method, "/_ping", None).await;
        assert_eq!(response.status(), StatusCode::OK);
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or("")
                .to_owned()
        };
        assert_eq!(header("api-version"), "1.51");
        assert_eq!(header("ostype"), "linux");
        assert_eq!(header("docker-experimental"), "false");
        assert_eq!(header("swarm"), "active/manager");
        assert_eq!(
            header("cache-control"),
            "no-cache, no-store, must-revalidate"
        );
        assert!(header("server").starts_with("Docker/"));
    }
}

#[tokio::test]
async fn routes_that_do_not_exist_are_not_found_in_every_version() {
    let world = World::outside_a_swarm().await;
    for path in ["/nope", "/v1.43/nope", "/v1.43/containers/x/nope", "/v1.24"] {
        world
            .refused("GET", path, None, (404, "page not found"))
            .await;
    }
    let text = "client version 1.99 is too new. Maximum supported API version is 1.51";
    world.refused("GET", "/v1.99/info", None, (400, text)).await;
}

#[tokio::test]
async fn what_skep_does_not_do_is_refused_by_name() {
    let world = World::outside_a_swarm().await;
    for (method, path) in [
        ("POST", "/build"),
        ("POST", "/session"),
        ("POST", "/plugins/pull"),
        ("GET", "/containers/x/checkpoints"),
    ] {
        let (status, answer) = world.ask(method, path, None).await;
        assert_eq!(status, 501, "{path}");
        assert!(
            answer["message"]
                .as_str()
                .is_some_and(|text| text.contains("skep")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_host_outside_any_swarm_says_so() {
    let world = World::outside_a_swarm().await;
    let text = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" \
                to connect this node to swarm and try again.";
    for path in [
        "/nodes",
        "/services",
        "/tasks",
        "/secrets",
        "/configs",
        "/swarm",
        "/services/x",
    ] {
        world.refused("GET", path, None, (503, text)).await;
    }
    world
        .refused("POST", "/services/create", Some(nginx()), (503, text))
        .await;
    let overlay = json!({"Name": "n", "Driver": "overlay"});
    world
        .refused("POST", "/networks/create", Some(overlay), (503, text))
        .await;
    let not_a_member = "This node is not part of a swarm";
    world
        .refused("POST", "/swarm/leave", None, (503, not_a_member))
        .await;
}

#[tokio::test]
async fn a_service_is_found_by_id_name_and_prefix() {
    let world = World::manager().await;
    let (status, created) = world
        .ask("POST", "/v1.50/services/create", Some(nginx()))
        .await;
    assert_eq!((status, &created["Warnings"]), (201, &Value::Null));
    let id = created["ID"].as_str().expect("an id").to_owned();
    for reference in [&id, "web", &id[..10]] {
        let (status, found) = world
            .ask("GET", &format!("/services/{reference}"), None)
            .await;
        assert_eq!(
            (status, found["ID"].as_str()),
            (200, Some(id.as_str())),
            "{reference}"
        );
        assert_eq!(found["Spec"]["TaskTemplate"]["Runtime"], "container");
    }
    let (_, listed) = world.ask("GET", "/services?status=true", None).await;
    assert_eq!(
        listed[0]["ServiceStatus"],
        json!({"RunningTasks": 0, "DesiredTasks": 2, "CompletedTasks": 0})
    );
    let (_, listed) = world
        .ask("GET", r#"/services?filters={"mode":{"global":true}}"#, None)
        .await;
    assert_eq!(listed, json!([]), "an empty list, not null");
    world
        .refused(
            "GET",
            "/services/nope",
            None,
            (404, "service nope not found"),
        )
        .await;
}

#[tokio::test]
async fn an_update_needs_the_version_that_it_changes() {
    let world = World::manager().await;
    world.ask("POST", "/services/create", Some(nginx())).await;
    let (_, found) = world.ask("GET", "/services/web", None).await;
    let version = found["Version"]["Index"].as_u64().expect("a version");
    let mut spec = found["Spec"].clone();
    spec["Mode"]["Replicated"]["Replicas"] = 5.into();
    let path = |version: u64| format!("/services/web/update?version={version}");
    let (status, answer) = world.ask("POST", &path(version), Some(spec.clone())).await;
    assert_eq!((status, answer), (200, json!({"Warnings": null})));
    let stale = "rpc error: code = Unknown desc = update out of sequence";
    world
        .refused("POST", &path(version), Some(spec.clone()), (500, stale))
        .await;
    let text = "invalid service version '': strconv.ParseUint: parsing \"\": invalid syntax";
    world
        .refused("POST", "/services/web/update", Some(spec), (400, text))
        .await;
}

#[tokio::test]
async fn credentials_go_in_and_never_out() {
    let world = World::manager().await;
    let io = TokioIo::new(world.connect());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    let request = Request::post("/services/create")
        .header("host", "d")
        .header("content-type", "application/json")
        .header("x-registry-auth", "c2VjcmV0")
        .body(Full::new(Bytes::from(nginx().to_string())))
        .expect("a request");
    assert_eq!(
        sender
            .send_request(request)
            .await
            .expect("an answer")
            .status(),
        201
    );
    let (_, found) = world.ask("GET", "/services/web", None).await;
    assert!(!found.to_string().contains("c2VjcmV0"));
}

#[tokio::test]
async fn bad_bodies_are_refused() {
    let world = World::manager().await;
    let (status, _) = world
        .ask("POST", "/services/create", Some(json!([1])))
        .await;
    assert_eq!(status, 400);
    world.ask("POST", "/services/create", Some(nginx())).await;
    let text = "rpc error: code = AlreadyExists desc = name conflicts with an existing object: service web already exists";
    world
        .refused("POST", "/services/create", Some(nginx()), (409, text))
        .await;
    let filter = r#"/services?filters={"color":["red"]}"#;
    world
        .refused("GET", filter, None, (400, "invalid filter 'color'"))
        .await;
}

#[tokio::test]
async fn secrets_configs_and_networks_are_made_and_removed() {
    let world = World::manager().await;
    for (noun, body) in [
        (
            "secrets",
            json!({"Name": "s", "Labels": {}, "Data": "aGVsbG8="}),
        ),
        (
            "configs",
            json!({"Name": "s", "Labels": {}, "Data": "aGVsbG8="}),
        ),
    ] {
        let (status, created) = world
            .ask("POST", &format!("/{noun}/create"), Some(body))
            .await;
        assert_eq!(status, 201, "{created}");
        let (_, listed) = world.ask("GET", &format!("/{noun}"), None).await;
        assert_eq!(listed[0]["ID"], created["ID"]);
        let data = if noun == "secrets" {
            Value::Null
        } else {
            json!("aGVsbG8=")
        };
        assert_eq!(listed[0]["Spec"]["Data"], data);
        let (status, _) = world.ask("DELETE", &format!("/{noun}/s"), None).await;
        assert_eq!(status, 204);
    }
    let overlay = json!({"Name": "net1", "Driver": "overlay", "Attachable": true});
    let (status, created) = world
        .ask("POST", "/networks/create", Some(overlay.clone()))
        .await;
    assert_eq!(status, 201, "{created}");
    let (_, found) = world.ask("GET", "/networks/net1?scope=swarm", None).await;
    assert_eq!(
        (&found["Id"], &found["Scope"]),
        (&created["Id"], &json!("swarm"))
    );
    let taken = "network with name net1 already exists";
    world
        .refused("POST", "/networks/create", Some(overlay), (409, taken))
        .await;
}

#[tokio::test]
async fn events_are_sent_as_they_happen() {
    let world = World::outside_a_swarm().await;
    let response = world.send("GET", "/events", None).await;
    let mut body = response.into_body();
    world
        .api
        .engine
        .events()
        .publish("volume", "create", "v1", Default::default());
    let frame = body.frame().await.expect("an event").expect("a frame");
    let event: Value = serde_json::from_slice(frame.data_ref().expect("data")).expect("JSON");
    assert_eq!(
        (&event["Type"], &event["Action"]),
        (&json!("volume"), &json!("create"))
    );
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let world = World::outside_a_swarm().await;
    let io = TokioIo::new(world.connect());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    for path in ["/version", "/info", "/containers/json?all=1"] {
        let request = Request::get(path)
            .header("host", "d")
            .body(Full::new(Bytes::new()));
        let response = sender
            .send_request(request.expect("a request"))
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        response.into_body().collect().await.expect("a body");
    }
}
