//! A root whose key an external CA keeps: here a small stand-in for CFSSL.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use skep_objects::swarmkit::{CaConfig, ExternalCa, UpdateClusterRequest};
use skep_rpc::identity::{Csr, NodeCertificateRequest, RootBundle, SigningRoot};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Signs what it is asked to; notes the requests.
struct FakeCfssl {
    url: String,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl FakeCfssl {
    async fn start(root: &SigningRoot) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/api/v1/cfssl/sign",
            listener.local_addr().unwrap()
        );
        let root = SigningRoot::new(root.cert_pem(), root.key_pem().as_bytes(), &[]).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                answer(stream, &root, &noted).await;
            }
        });
        Self { url, asked }
    }
}

async fn answer(mut stream: TcpStream, root: &SigningRoot, asked: &Mutex<Vec<Value>>) {
    let mut bytes = Vec::new();
    let body = loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.unwrap_or(0);
        if read == 0 {
            return; // It was only looked whether somebody is there.
        }
        bytes.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str::<Value>(body)
        {
            break body;
        }
    };
    let csr = Csr::parse(body["certificate_request"].as_str().unwrap().as_bytes()).unwrap();
    let name = &body["subject"]["names"][0];
    let request = NodeCertificateRequest {
        csr: &csr,
        node_id: body["subject"]["CN"].as_str().unwrap(),
        role: if name["OU"] == "swarm-manager" {
            NodeRole::Manager
        } else {
            NodeRole::Worker
        },
        cluster_id: name["O"].as_str().unwrap(),
        life: NODE_LIFE,
    };
    let chain = root.sign(&request, OffsetDateTime::now_utc()).unwrap();
    asked.lock().unwrap().push(body);
    let text = json!({
        "success": true,
        "result": {"certificate": String::from_utf8(chain).unwrap()},
        "errors": [],
        "messages": [],
    })
    .to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
    stream.write_all((head + &text).as_bytes()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_external_ca_signs_for_the_root_that_it_was_named_for() {
    within(async {
        let world = founded().await;
        let root = SigningRoot::create(OffsetDateTime::now_utc()).unwrap();
        let cfssl = FakeCfssl::start(&root).await;
        let control = world.manager.control();
        let clusters = control.list_clusters(Request::new(ListClustersRequest::default()));
        let cluster = clusters.await.unwrap().into_inner().clusters.remove(0);
        let mut spec = cluster.spec.clone().unwrap();
        let external = |url: &str| ExternalCa {
            url: url.to_owned(),
            ca_cert: root.cert_pem().to_vec(),
            ..Default::default()
        };
        spec.ca_config = Some(CaConfig {
            signing_ca_cert: root.cert_pem().to_vec(),
            // One that cannot be reached does not matter while another can.
            external_cas: vec![external("http://127.0.0.1:1/"), external(&cfssl.url)],
            ..spec.ca_config.unwrap_or_default()
        });
        let request = UpdateClusterRequest {
            cluster_id: cluster.id.clone(),
            cluster_version: cluster.meta.unwrap().version,
            spec: Some(spec),
            rotation: None,
        };
        control.update_cluster(Request::new(request)).await.unwrap();

        // During the rotation the new root signs, and those who trust the old one accept it.
        let credentials = world.join(false).await;
        let certificate = credentials.certificate();
        let now = OffsetDateTime::now_utc();
        let new = RootBundle::from_pem(root.cert_pem()).unwrap();
        new.validate(certificate, now).unwrap();
        credentials.roots().validate(certificate, now).unwrap();
        assert_ne!(credentials.roots().pem(), new.pem());
        let asked = cfssl.asked.lock().unwrap().clone();
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert_eq!(asked[0]["subject"]["CN"], certificate.node_id());
        assert_eq!(asked[0]["subject"]["names"][0]["O"], cluster.id.as_str());
        assert_eq!(
            asked[0]["hosts"],
            json!(["swarm-worker", certificate.node_id()])
        );
        world.manager.stop().await;
    })
    .await;
}
