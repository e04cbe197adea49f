//! Who may be in a swarm, and for how long: roots that change under running nodes, certificates that
//! run out, unlock keys, join tokens, nodes that were removed.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use skep_objects::swarmkit::NodeRole;
use skep_rpc::identity::{
    Csr, NODE_LIFE, NodeCertificate, NodeCertificateRequest, NodeFiles, RootBundle, SigningRoot,
};
use skep_testkit::{Cluster, Host, Lab, eventually};
use time::{Duration, OffsetDateTime};

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn swarm(host: &Host) -> Value {
    host.api("GET", "/swarm", None).unwrap().json()
}

/// What the node's own certificate says.
fn certificate(host: &Host) -> NodeCertificate {
    let path = host.data_root().join("swarm/certificates/swarm-node.crt");
    NodeCertificate::from_pem(&fs::read(path).unwrap()).unwrap()
}

#[track_caller]
fn contains(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} in {text}");
}

/// The certificates of a rotation's end, as the command prints them.
fn rotate(host: &Host, options: &str) -> String {
    let line = format!("swarm ca --rotate {options}");
    let said = host.docker(&words(line.trim_end())).ok();
    contains(&said, "rotated TLS certificates:");
    contains(&said, "rotated CA certificates:");
    let begin = said.find("-----BEGIN CERTIFICATE-----").unwrap();
    said[begin..].trim_end().to_owned()
}

#[test]
fn roots_change_under_a_running_swarm() {
    let mut cluster = Cluster::managers(2)
        .workers(1)
        .start(env!("CARGO_BIN_EXE_skep"))
        .unwrap();
    own_root(&cluster);
    a_node_that_is_down(&mut cluster);
    let root = given_root(&cluster);
    certificates_run_out(&mut cluster, &root);
    external_signer(&cluster);
}

fn own_root(lab: &Lab) {
    let host = &lab.hosts[0];
    let (before, tokens) = (
        host.docker(&["swarm", "ca"]).ok(),
        swarm(host)["JoinTokens"].clone(),
    );
    let new = rotate(host, "");
    assert_ne!(new, before);
    assert_eq!(host.docker(&["swarm", "ca"]).ok(), new);
    assert_eq!(host.skep(&["swarm", "ca"]).ok(), new);
    assert_ne!(swarm(host)["JoinTokens"], tokens, "tokens name the root");
    for other in &lab.hosts {
        let path = other
            .data_root()
            .join("swarm/certificates/swarm-root-ca.crt");
        eventually(
            "every node trusts the new root only",
            || match fs::read_to_string(&path) {
                Ok(pem) if pem.trim_end() == new => Ok(()),
                other => Err(format!("{other:?}")),
            },
        );
    }
}

fn a_node_that_is_down(lab: &mut Lab) {
    lab.hosts[2].kill();
    let manager = &lab.hosts[0];
    let old = manager.docker(&["swarm", "ca"]).ok();
    manager.docker(&words("swarm ca --rotate --detach")).ok();
    eventually("the others have new certificates", || {
        let line = "node ls --format {{.Hostname}}|{{.TLSStatus}}";
        let said = manager.docker(&words(line)).ok();
        if said == "host1|Ready\nhost2|Ready\nhost3|Needs Rotation" {
            Ok(())
        } else {
            Err(said)
        }
    });
    assert_eq!(swarm(manager)["RootRotationInProgress"], true);
    assert_eq!(
        manager.docker(&["swarm", "ca"]).ok(),
        old,
        "the old one is trusted still"
    );
    lab.hosts[2].start().unwrap();
    let manager = &lab.hosts[0];
    eventually("the rotation ends when the node is back", || {
        match &swarm(manager)["RootRotationInProgress"] {
            Value::Bool(false) => Ok(()),
            other => Err(other.to_string()),
        }
    });
    assert_ne!(manager.docker(&["swarm", "ca"]).ok(), old);
    is_ready(manager, "host3");
}

fn is_ready(manager: &Host, name: &str) {
    eventually("the node is ready", || {
        let line = format!("node ls --filter name={name} --format {{{{.Status}}}}");
        let output = manager.docker(&words(&line));
        match output.stdout.trim_end() {
            "Ready" => Ok(()),
            said => Err(format!("{said} {}", output.stderr)),
        }
    });
}

/// A root of the user's own, with its key.
fn given_root(lab: &Lab) -> SigningRoot {
    let host = &lab.hosts[0];
    let root = SigningRoot::create(OffsetDateTime::now_utc()).unwrap();
    let (cert, key) = (lab.dir().join("root.pem"), lab.dir().join("root-key.pem"));
    fs::write(&cert, root.cert_pem()).unwrap();
    fs::write(&key, root.key_pem()).unwrap();
    let options = format!("--ca-cert {} --ca-key {}", cert.display(), key.display());
    let new = rotate(host, &options);
    assert_eq!(new.as_bytes(), root.cert_pem().trim_ascii_end());
    let alone = host.docker(&words(&format!(
        "swarm ca --rotate --ca-key {}",
        key.display()
    )));
    assert_ne!(alone.code, 0, "a key alone signs nothing");
    root
}

/// Gives a stopped worker a certificate that was issued at another time.
fn replace_certificate(host: &Host, root: &SigningRoot, issued: OffsetDateTime) {
    let files = NodeFiles::new(&host.data_root().join("swarm"));
    let credentials = files.load(None).unwrap();
    let csr = credentials.key().csr().unwrap();
    let old = credentials.certificate();
    let request = NodeCertificateRequest {
        csr: &csr,
        node_id: old.node_id(),
        role: NodeRole::Worker,
        cluster_id: old.cluster_id(),
        life: Duration::hours(1),
    };
    let chain = NodeCertificate::from_pem(&root.sign(&request, issued).unwrap()).unwrap();
    files.save(credentials.key(), &chain, None).unwrap();
}

/// A certificate lives from an hour before it is issued; this one for two hours.
fn certificates_run_out(lab: &mut Lab, root: &SigningRoot) {
    lab.hosts[0]
        .docker(&words("swarm update --cert-expiry 2h"))
        .ok();
    let refused = lab.hosts[0].docker(&words("swarm update --cert-expiry 59m"));
    contains(
        &refused.refused(),
        "minimum certificate expiry time is: 1h0m0s",
    );
    lab.hosts[2].stop();
    let now = OffsetDateTime::now_utc();
    // Beyond four fifths of its life, and valid still.
    replace_certificate(&lab.hosts[2], root, now - Duration::minutes(40));
    let stale = certificate(&lab.hosts[2]).not_after();
    assert!(stale > now && stale < now + Duration::minutes(30));
    lab.hosts[2].start().unwrap();
    let until = eventually("the certificate is renewed", || {
        let until = certificate(&lab.hosts[2]).not_after();
        if until > stale {
            Ok(until)
        } else {
            Err(until.to_string())
        }
    });
    let life = until - OffsetDateTime::now_utc();
    assert!(
        life > Duration::minutes(110) && life <= Duration::hours(2),
        "{life}"
    );

    lab.hosts[2].stop();
    replace_certificate(&lab.hosts[2], root, now - Duration::hours(3));
    lab.hosts[2].start().unwrap();
    let (manager, worker) = (&lab.hosts[0], &lab.hosts[2]);
    let info = worker.docker(&["info"]).ok();
    contains(&info, "Swarm: error");
    contains(&info, "Swarm certificates have expired.");
    let token = manager.docker(&words("swarm join-token -q worker")).ok();
    let join = format!("swarm join --token {token} {}:2377", manager.address);
    worker.docker(&words(&join)).ok();
    contains(&worker.docker(&["info"]).ok(), "Swarm: active");
    // What it was before is a node that is down: it goes, so that rotations end.
    let line = "node ls --filter name=host3 --format {{.ID}}|{{.Status}}";
    let nodes = manager.docker(&words(line)).ok();
    let old = nodes.lines().find_map(|line| line.strip_suffix("|Down"));
    let old = old.map_or_else(
        || {
            let own = worker
                .docker(&words("info --format {{.Swarm.NodeID}}"))
                .ok();
            let other = nodes.lines().find(|line| !line.starts_with(&own)).unwrap();
            other.split('|').next().unwrap().to_owned()
        },
        str::to_owned,
    );
    manager.docker(&["node", "rm", "--force", &old]).ok();
}

/// A root whose key the managers never see.
fn external_signer(lab: &Lab) {
    let host = &lab.hosts[0];
    let root = SigningRoot::create(OffsetDateTime::now_utc()).unwrap();
    let cert = lab.dir().join("external.pem");
    fs::write(&cert, root.cert_pem()).unwrap();
    fs::write(lab.dir().join("external-key.pem"), root.key_pem()).unwrap();
    let options = |url: &str| {
        let cert = cert.display();
        format!("--ca-cert {cert} --external-ca protocol=cfssl,url={url},cacert={cert}")
    };
    let nobody = options("https://127.0.0.1:1/sign");
    let refused = host.docker(&words(&format!("swarm ca --rotate {nobody}")));
    contains(
        &refused.refused(),
        "there must be at least one valid, reachable external CA corresponding to the desired CA \
         certificate",
    );
    let listener = in_namespace(host, || TcpListener::bind("127.0.0.1:0").unwrap());
    let url = format!("https://{}/sign", listener.local_addr().unwrap());
    let tls = server_config(lab);
    let signer = SigningRoot::new(root.cert_pem(), root.key_pem().as_bytes(), &[]).unwrap();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            sign_one(stream, &tls, &signer);
        }
    });
    let new = rotate(host, &options(&url));
    assert_eq!(new.as_bytes(), root.cert_pem().trim_ascii_end());
    let trusted = RootBundle::from_pem(root.cert_pem()).unwrap();
    for host in &lab.hosts {
        let now = OffsetDateTime::now_utc();
        trusted.validate(&certificate(host), now).unwrap();
    }
    // The key is elsewhere: without a signer nothing can be changed to.
    let lost = host.docker(&words(
        "swarm update --external-ca protocol=cfssl,url=https://127.0.0.1:1/",
    ));
    contains(
        &lost.refused(),
        "corresponding to the current CA certificate",
    );
}

/// Runs something on a thread in the host's network namespace; sockets made there stay there.
fn in_namespace<T: Send + 'static>(host: &Host, run: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = fs::File::open(&host.namespace).unwrap();
    let thread = std::thread::spawn(move || {
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        run()
    });
    thread.join().unwrap()
}

/// With a certificate for 127.0.0.1 that the external root signed.
fn server_config(lab: &Lab) -> Arc<ServerConfig> {
    let script = "set -e
        printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth\\n' > signer.cnf
        openssl ecparam -genkey -name prime256v1 -noout -out signer-key.pem
        openssl req -new -key signer-key.pem -subj /CN=signer -out signer.csr
        openssl x509 -req -in signer.csr -CA external.pem -CAkey external-key.pem \
          -CAcreateserial -days 2 -extfile signer.cnf -out signer.pem";
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(lab.dir())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "openssl (Debian: openssl): {said}");
    let cert = CertificateDer::from_pem_file(lab.dir().join("signer.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(lab.dir().join("signer-key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    Arc::new(config)
}

/// Answers one request of CFSSL's; a connection that only looks whether somebody is there ends.
fn sign_one(stream: TcpStream, tls: &Arc<ServerConfig>, root: &SigningRoot) {
    let connection = rustls::ServerConnection::new(Arc::clone(tls)).unwrap();
    let mut reader = BufReader::new(rustls::StreamOwned::new(connection, stream));
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let csr = Csr::parse(body["certificate_request"].as_str().unwrap().as_bytes()).unwrap();
    let name = &body["subject"]["names"][0];
    let request = NodeCertificateRequest {
        csr: &csr,
        node_id: body["subject"]["CN"].as_str().unwrap(),
        role: match name["OU"].as_str() {
            Some("swarm-manager") => NodeRole::Manager,
            _ => NodeRole::Worker,
        },
        cluster_id: name["O"].as_str().unwrap(),
        life: NODE_LIFE,
    };
    let chain = root.sign(&request, OffsetDateTime::now_utc()).unwrap();
    let text = json!({
        "success": true,
        "result": {"certificate": String::from_utf8(chain).unwrap()},
        "errors": [],
    });
    let text = text.to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    );
    let stream = reader.get_mut();
    let _ = stream.write_all(answer.as_bytes());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

#[test]
fn keys_and_tokens_open_what_they_are_for_and_no_longer() {
    let mut cluster = Cluster::managers(1)
        .workers(2)
        .start(env!("CARGO_BIN_EXE_skep"))
        .unwrap();
    locked_managers(&mut cluster);
    tokens(&cluster);
    removed_nodes(&cluster);
}

fn locked_managers(lab: &mut Lab) {
    let said = lab.hosts[0]
        .docker(&words("swarm update --autolock=true"))
        .ok();
    let key = said
        .split_whitespace()
        .find(|word| word.starts_with("SWMKEY-1-"))
        .unwrap()
        .to_owned();
    let shown = lab.hosts[0].docker(&words("swarm unlock-key -q")).ok();
    assert_eq!(shown, key);
    is_sealed(&lab.hosts[0]);
    let restart = |lab: &mut Lab| {
        lab.hosts[0].kill();
        lab.hosts[0].start().unwrap();
        let refused = lab.hosts[0].docker(&words("node ls")).refused();
        contains(
            &refused,
            "Swarm is encrypted and needs to be unlocked before it can be used.",
        );
    };
    let unlock = |host: &Host, key: &str| {
        host.docker_with_input(&["swarm", "unlock"], format!("{key}\n").as_bytes())
    };
    restart(lab);
    contains(
        &unlock(
            &lab.hosts[0],
            "SWMKEY-1-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        )
        .refused(),
        "swarm could not be unlocked: invalid key provided",
    );
    unlock(&lab.hosts[0], &key).ok();
    is_ready(&lab.hosts[0], "host2");
    contains(
        &unlock(&lab.hosts[0], &key).refused(),
        "swarm is not locked",
    );

    let said = lab.hosts[0]
        .docker(&words("swarm unlock-key --rotate -q"))
        .ok();
    let new = said.trim().to_owned();
    assert_ne!(new, key);
    sealed_with(&lab.hosts[0], &new);
    restart(lab);
    contains(
        &unlock(&lab.hosts[0], &key).refused(),
        "swarm could not be unlocked: invalid key provided",
    );
    // By hand, as on a terminal.
    for (program, is_right) in [("docker", false), (env!("CARGO_BIN_EXE_skep"), true)] {
        let key = if is_right { &new } else { &key };
        let said = on_terminal(&lab.hosts[0], &format!("{program} swarm unlock"), key);
        contains(&said, "unlock key:");
        // docker asks before it switches the echo off; skep the other way round.
        let is_echoed = is_right && said.contains(key.as_str());
        assert!(!is_echoed, "the key is not echoed: {said}");
        assert_eq!(said.contains("invalid key provided"), !is_right, "{said}");
    }
    is_ready(&lab.hosts[0], "host2");
    lab.hosts[0]
        .docker(&words("swarm update --autolock=false"))
        .ok();
    eventually("the key file is open", || {
        NodeFiles::new(&lab.hosts[0].data_root().join("swarm"))
            .load(None)
            .map(drop)
            .map_err(|error| error.to_string())
    });
    lab.hosts[0].kill();
    lab.hosts[0].start().unwrap();
    is_ready(&lab.hosts[0], "host2");
}

/// The key file follows the swarm's settings a moment later.
fn is_sealed(host: &Host) {
    let files = NodeFiles::new(&host.data_root().join("swarm"));
    eventually("the key file is sealed", || match files.load(None) {
        Err(error) if error.is_locked() => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

fn sealed_with(host: &Host, key: &str) {
    let files = NodeFiles::new(&host.data_root().join("swarm"));
    let kek = skep_rpc::identity::Kek::parse(key).unwrap();
    eventually("the key file is sealed with the new key", || {
        let loaded = files.load(Some(&kek));
        loaded.map(drop).map_err(|error| error.to_string())
    });
}

/// What a command says on a terminal on which `typed` is typed.
fn on_terminal(host: &Host, command: &str, typed: &str) -> String {
    let mut child = host
        .inside("script")
        .args(["-qec", command, "/dev/null"])
        .env("DOCKER_HOST", host.docker_host())
        .env("DOCKER_CONFIG", host.dir.join("docker"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("start script (Debian: bsdutils)");
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut said = Vec::new();
    // What is typed before the question would be echoed, as on any terminal.
    while !String::from_utf8_lossy(&said).contains("key:") {
        let mut part = [0; 256];
        let read = stdout.read(&mut part).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&part[..read]);
    }
    stdin.write_all(format!("{typed}\n").as_bytes()).unwrap();
    stdout.read_to_end(&mut said).unwrap();
    drop(stdin);
    child.wait().unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

fn tokens(lab: &Lab) {
    let (manager, worker) = (&lab.hosts[0], &lab.hosts[2]);
    let token = |host: &Host| host.docker(&words("swarm join-token -q worker")).ok();
    let old = token(manager);
    let as_manager = manager.docker(&words("swarm join-token -q manager")).ok();
    let new = manager
        .docker(&words("swarm join-token --rotate -q worker"))
        .ok();
    assert_eq!(token(manager), new);
    assert_ne!(new, old);
    let kept = manager.docker(&words("swarm join-token -q manager")).ok();
    assert_eq!(kept, as_manager, "the other one stays");
    worker.docker(&words("swarm leave")).ok();
    let join =
        |token: &str, to: &str| worker.docker(&words(&format!("swarm join --token {token} {to}")));
    let remote = format!("{}:2377", manager.address);
    contains(
        &join(&old, &remote).refused(),
        "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this \
         cluster",
    );
    contains(
        &join("SWMTKN-2-no-token", &remote).refused(),
        "invalid join token",
    );
    // Itself, where no manager listens.
    let own = format!("{}:2377", worker.address);
    contains(
        &join(&new, &own).refused(),
        &format!("transport: Error while dialing: dial tcp {own}: connect: connection refused"),
    );
    let said = join(&new, &remote).ok();
    assert_eq!(said, "This node joined a swarm as a worker.");
    contains(
        &join(&new, &remote).refused(),
        "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and \
         join another one.",
    );
}

fn removed_nodes(lab: &Lab) {
    let (manager, worker) = (&lab.hosts[0], &lab.hosts[1]);
    let id = worker
        .docker(&words("info --format {{.Swarm.NodeID}}"))
        .ok();
    contains(
        &manager.docker(&["node", "rm", &id]).refused(),
        "is not down and can't be removed",
    );
    manager.docker(&["node", "rm", "--force", &id]).ok();
    eventually("the node hears of it", || {
        let error = worker.docker(&words("info --format {{.Swarm.Error}}")).ok();
        if error.contains("PermissionDenied") || error.contains("unauthorized") {
            Ok(())
        } else {
            Err(error)
        }
    });
    let nodes = manager
        .docker(&words("node ls --format {{.Hostname}}"))
        .ok();
    assert!(!nodes.contains("host2"), "{nodes}");
    // It comes back as another node.
    worker.docker(&words("swarm leave --force")).ok();
    let token = manager.docker(&words("swarm join-token -q worker")).ok();
    let join = format!("swarm join --token {token} {}:2377", manager.address);
    worker.docker(&words(&join)).ok();
    let again = worker
        .docker(&words("info --format {{.Swarm.NodeID}}"))
        .ok();
    assert_ne!(again, id);
    is_ready(manager, "host2");
}
