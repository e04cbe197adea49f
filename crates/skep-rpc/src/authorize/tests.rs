use super::*;
use crate::forward::write_headers;

struct Trust;

impl ClusterTrust for Trust {
    fn cluster_id(&self) -> String {
        "c1".into()
    }
    fn node_id(&self) -> String {
        "me".into()
    }
    fn is_blacklisted(&self, node_id: &str) -> bool {
        node_id == "removed"
    }
}

fn node(node_id: &str, role: NodeRole, cluster_id: &str) -> Peer {
    Peer {
        remote_addr: Some("10.0.0.9:4000".parse().unwrap()),
        certificate: Some(PeerCertificate {
            node_id: node_id.into(),
            role,
            cluster_id: cluster_id.into(),
        }),
        is_local: false,
    }
}

fn ask(method: &methods::Method, peer: &Peer, headers: &HeaderMap) -> bool {
    let path = format!("/{}/{}", method.service, method.name);
    authorize(&path, peer, headers, &Trust).is_ok()
}

fn via(peer: &Peer) -> HeaderMap {
    let mut headers = HeaderMap::new();
    write_headers(&mut headers, peer);
    headers
}

#[test]
fn each_method_is_open_to_its_roles_and_no_other() {
    let plain = HeaderMap::new();
    let manager = node("m", NodeRole::Manager, "c1");
    let worker = node("w", NodeRole::Worker, "c1");
    let nobody = Peer::default();
    let strangers = [
        node("m", NodeRole::Manager, "c2"),
        node("removed", NodeRole::Manager, "c1"),
        node("removed", NodeRole::Worker, "c1"),
        nobody.clone(),
    ];
    for method in methods::all() {
        let (anyone, members) = (
            method.allowed == Allowed::Anyone,
            method.allowed != Allowed::Managers,
        );
        assert!(ask(&method, &manager, &plain), "{method:?}");
        assert_eq!(ask(&method, &worker, &plain), members, "{method:?}");
        for stranger in &strangers {
            assert_eq!(
                ask(&method, stranger, &plain),
                anyone,
                "{method:?} {stranger:?}"
            );
            // Handed on by a manager they are no more than they were.
            assert_eq!(
                ask(&method, &manager, &via(stranger)),
                anyone,
                "{method:?} {stranger:?}"
            );
            // And nobody but a manager can hand on.
            assert!(
                !ask(&method, stranger, &via(&manager)),
                "{method:?} {stranger:?}"
            );
        }
        assert!(!ask(&method, &worker, &via(&manager)), "{method:?}");
        assert_eq!(ask(&method, &manager, &via(&worker)), members, "{method:?}");
        assert!(ask(&method, &manager, &via(&manager)), "{method:?}");
        assert!(
            ask(
                &method,
                &Peer {
                    is_local: true,
                    ..nobody.clone()
                },
                &plain
            ),
            "{method:?}"
        );
    }
}

#[test]
fn every_generated_method_is_in_the_table() {
    // The generated client code names each path once.
    let generated = concat!(
        include_str!(concat!(env!("OUT_DIR"), "/docker.swarmkit.v1.rs")),
        include_str!(concat!(env!("OUT_DIR"), "/skep.v1.rs"))
    );
    let mut found = 0;
    for piece in generated
        .split('"')
        .filter(|p| p.starts_with("/docker.") || p.starts_with("/skep."))
    {
        assert!(methods::find(piece).is_some(), "{piece}");
        found += 1;
    }
    assert!(found >= methods::all().count(), "{found}");
}

#[test]
fn a_forwarded_call_acts_for_its_origin() {
    let manager = node("m", NodeRole::Manager, "c1");
    let worker = node("w", NodeRole::Worker, "c1");
    let path = "/docker.swarmkit.v1.Dispatcher/Heartbeat";
    let caller = authorize(path, &manager, &via(&worker), &Trust).unwrap();
    assert_eq!(
        (caller.node_id.as_str(), caller.role),
        ("w", Some(NodeRole::Worker))
    );
    assert_eq!(caller.forwarded_by.as_deref(), Some("m"));
    assert_eq!(caller.remote_addr.as_deref(), Some("10.0.0.9:4000"));
}

#[test]
fn a_removed_node_is_nobody_to_the_ca() {
    let path = "/docker.swarmkit.v1.NodeCA/IssueNodeCertificate";
    let peer = node("removed", NodeRole::Worker, "c1");
    let caller = authorize(path, &peer, &HeaderMap::new(), &Trust).unwrap();
    assert_eq!((caller.node_id.as_str(), caller.role), ("", None));
}

/// Withdraws the certificate of `w` when told to.
#[derive(Default)]
struct Changing(std::sync::atomic::AtomicBool);

impl ClusterTrust for Changing {
    fn cluster_id(&self) -> String {
        "c1".into()
    }
    fn node_id(&self) -> String {
        "me".into()
    }
    fn is_blacklisted(&self, node_id: &str) -> bool {
        node_id == "w" && self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_stream_of_a_node_that_is_removed_gives_nothing_more() {
    use http_body_util::{BodyExt as _, StreamBody};
    use hyper::body::Frame;
    use tower::ServiceExt as _;

    let (frames, stream) = tokio::sync::mpsc::channel(4);
    let stream = std::sync::Mutex::new(Some(stream));
    let serve = tower::service_fn(move |_: Request<()>| {
        let stream = stream.lock().unwrap().take().unwrap();
        let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
        let body = Body::new(StreamBody::new(stream));
        std::future::ready(Ok::<_, Status>(Response::new(body)))
    });
    let trust = Arc::new(Changing::default());
    let service = AuthorizeLayer::new(trust.clone()).layer(serve);
    let mut request = Request::new(());
    *request.uri_mut() = "/docker.swarmkit.v1.Dispatcher/Session".parse().unwrap();
    request
        .extensions_mut()
        .insert(node("w", NodeRole::Worker, "c1"));
    let mut body = service.oneshot(request).await.unwrap().into_body();
    let send = |text: &'static str| {
        let frame = Frame::data(bytes::Bytes::from_static(text.as_bytes()));
        frames.try_send(Ok::<_, Status>(frame)).unwrap();
    };
    send("one");
    let first = body.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "one");
    trust.0.store(true, std::sync::atomic::Ordering::Relaxed);
    send("two");
    let last = body.frame().await.unwrap().unwrap();
    let status = Status::from_header_map(&last.into_trailers().unwrap()).unwrap();
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    assert!(body.frame().await.is_none());
}
