//! Signing in at a registry, searching it, and pulling with a token, through a proxy and without,
//! against a registry of a few lines on loopback.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use sha2::Digest as _;
use skep_engine::image::{
    ImageError, Images, Progress, Proxies, PullOptions, RegistryAuth, RegistryConfig,
};
use skep_objects::ErrorKind;
use skep_objects::reference::Reference;

/// How the registry wants to be convinced.
#[derive(Debug, Clone, Copy)]
enum Way {
    Open,
    Basic,
    Bearer,
}

/// Serves on a free port; its thread ends with the process.
fn registry(way: Way) -> String {
    overheard(way, &Heard::default())
}

/// What registries were told of who asks: the values of `Authorization`.
type Heard = Arc<Mutex<Vec<String>>>;

/// The same; every header that names somebody is kept.
fn overheard(way: Way, heard: &Heard) -> String {
    let heard = heard.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let own = address.clone();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            answer(&stream, way, &own, &heard);
        }
    });
    address
}

fn answer(stream: &TcpStream, way: Way, own: &str, heard: &Heard) {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines();
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    let (mut authorization, mut length) = (String::new(), 0);
    for line in lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
    {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("authorization: ") {
            authorization = line[line.len() - value.len()..].to_owned();
            heard.lock().unwrap().push(authorization.clone());
        }
        if let Some(value) = lower.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    let mut form = vec![0; length];
    reader.read_exact(&mut form).unwrap();
    let form = String::from_utf8(form).unwrap();
    let good = format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode("me:secret")
    );
    let path = first.split(' ').nth(1).unwrap_or_default();
    // As a proxy is asked.
    let path = path.strip_prefix("http://far.test:5000").unwrap_or(path);
    let may_pull = authorization == "Bearer for-pulls";
    let refusal =
        r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#;
    let (status, head, body) = match (path, way) {
        ("/v2/", Way::Open) => (200, String::new(), "{}".to_owned()),
        ("/v2/", Way::Basic) if authorization == good => (200, String::new(), "{}".to_owned()),
        ("/v2/", Way::Basic) => (401, "WWW-Authenticate: Basic realm=\"r\"\r\n".to_owned(), refusal.to_owned()),
        ("/v2/", Way::Bearer) if authorization == "Bearer t0k3n" => (200, String::new(), "{}".to_owned()),
        ("/v2/", Way::Bearer) => (
            401,
            format!("WWW-Authenticate: Bearer realm=\"http://{own}/token\",service=\"reg\"\r\n"),
            "{}".to_owned(),
        ),
        ("/token?account=me&client_id=docker&offline_token=true&service=reg", _)
            if authorization == good =>
        {
            let given = r#"{"token":"t0k3n","refresh_token":"l4st1ng"}"#;
            (200, String::new(), given.to_owned())
        }
        ("/token", _) if form.contains("grant_type=refresh_token&refresh_token=l4st1ng&service=reg") => {
            let access = match form.contains("&scope=repository%3Aa%2Fweb%3Apull") {
                true => "for-pulls",
                false => "t0k3n",
            };
            (200, String::new(), format!(r#"{{"access_token":"{access}","expires_in":1}}"#))
        }
        ("/v2/a/web/manifests/1", _) if may_pull => {
            let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
            (200, kind.to_owned(), image().manifest)
        }
        (path, _) if may_pull && path.ends_with(&image().config_digest) => {
            (200, String::new(), image().config)
        }
        (path, _) if may_pull && path.ends_with(&image().layer_digest) => {
            (200, String::new(), image().layer)
        }
        ("/v2/a/long/manifests/1", _) => (200, String::new(), "x".repeat(9 << 20)),
        (path, _) if path.starts_with("/v2/a/web") => (401, String::new(), refusal.to_owned()),
        ("/v1/search?q=web&n=3", _) => (
            200,
            String::new(),
            r#"{"results":[{"name":"a/web","star_count":7,"is_official":false,"description":"d"}]}"#.to_owned(),
        ),
        (path, _) if path.starts_with("/token") => (401, String::new(), refusal.to_owned()),
        _ => (404, String::new(), String::new()),
    };
    let mut stream = stream;
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\n{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}

/// An image of one layer, which is plain text as far as this test goes.
struct Image {
    manifest: String,
    config: String,
    config_digest: String,
    layer: String,
    layer_digest: String,
}

fn image() -> Image {
    let digest = |text: &str| format!("sha256:{}", hex::encode(sha2::Sha256::digest(text)));
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, "hello", &b"world"[..])
        .unwrap();
    let layer = String::from_utf8(tar.into_inner().unwrap()).unwrap();
    let layer_digest = digest(&layer);
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
    })
    .to_string();
    let config_digest = digest(&config);
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config_digest, "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer_digest, "size": layer.len(),
        }],
    });
    Image {
        manifest: manifest.to_string(),
        config,
        config_digest,
        layer,
        layer_digest,
    }
}

/// What `login` gives is kept in place of the password, and is all that a pull needs.
#[tokio::test]
async fn a_token_that_lasts_is_given_for_a_password_and_exchanged_for_each_pull() {
    let (_dir, images) = images();
    let address = registry(Way::Bearer);
    let token = images.login(&address, &credentials("secret")).await;
    let token = token.unwrap();
    assert_eq!(token, "l4st1ng");
    let auth = RegistryAuth {
        username: "<token>".to_owned(),
        identitytoken: token,
        ..RegistryAuth::default()
    };
    images.login(&address, &auth).await.unwrap();
    let name = Reference::parse(&format!("{address}/a/web:1")).unwrap();
    let options = PullOptions {
        auth: auth.clone(),
        ..PullOptions::default()
    };
    let pulled = images.pull(&name, &options, &Progress::none()).await;
    let image = images.by_id(&pulled.unwrap().id).unwrap();
    let file = images.lower_dirs(&image)[0].join("hello");
    assert_eq!(std::fs::read(file).unwrap(), b"world");

    let wrong = RegistryAuth {
        identitytoken: "other".to_owned(),
        ..auth
    };
    let refused = images.login(&address, &wrong).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    let options = PullOptions {
        auth: wrong,
        ..PullOptions::default()
    };
    let refused = images.pull(&name, &options, &Progress::none()).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("incorrect username or password"), "{text}");
}

#[tokio::test]
async fn a_registry_is_reached_by_way_of_a_proxy() {
    let config = RegistryConfig {
        insecure: vec!["far.test:5000".to_owned()],
        proxies: Proxies {
            http: format!("http://{}", registry(Way::Basic)),
            ..Proxies::default()
        },
        ..RegistryConfig::default()
    };
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path(), config).unwrap();
    let login = images.login("far.test:5000", &credentials("secret")).await;
    login.unwrap();
    // This host's own registries are not the proxy's concern.
    let near = images.login(&registry(Way::Open), &credentials("x")).await;
    near.unwrap();
    let name = Reference::parse("far.test:5000/a/web:1").unwrap();
    let options = PullOptions {
        auth: RegistryAuth {
            registrytoken: "for-pulls".to_owned(),
            ..RegistryAuth::default()
        },
        ..PullOptions::default()
    };
    let pulled = images.pull(&name, &options, &Progress::none()).await;
    pulled.unwrap();
}

/// Docker Hub's password is Docker Hub's, whatever the mirror asks for.
#[tokio::test]
async fn a_mirror_is_not_shown_what_is_meant_for_the_hub() {
    let by_password = credentials("secret");
    let by_token = RegistryAuth {
        username: "<token>".to_owned(),
        identitytoken: "l4st1ng".to_owned(),
        ..RegistryAuth::default()
    };
    for (way, auth) in [
        (Way::Basic, &by_password),
        (Way::Bearer, &by_password),
        (Way::Bearer, &by_token),
    ] {
        let (heard, proxied) = (Heard::default(), Heard::default());
        let mirror = overheard(way, &heard);
        let config = RegistryConfig {
            mirrors: vec![format!("http://{mirror}/")],
            // The way to the Hub ends here.
            proxies: Proxies {
                https: format!("http://{}", overheard(Way::Open, &proxied)),
                ..Proxies::default()
            },
            ..RegistryConfig::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let images = Images::open(dir.path(), config).unwrap();
        let pull = async |auth: RegistryAuth| {
            let options = PullOptions {
                auth,
                ..PullOptions::default()
            };
            let name = Reference::parse("a/web:1").unwrap();
            let pulled = images.pull(&name, &options, &Progress::none()).await;
            pulled.is_ok()
        };
        assert!(!pull(auth.clone()).await);
        assert_eq!(*heard.lock().unwrap(), [""; 0]);
        // Who says that they are the mirror's is believed.
        let given = RegistryAuth {
            serveraddress: format!("http://{mirror}"),
            ..auth.clone()
        };
        let done = pull(given).await;
        let told = !heard.lock().unwrap().is_empty();
        assert!(told || done, "{way:?}");
    }
}

fn images() -> (tempfile::TempDir, Images) {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path(), RegistryConfig::default()).unwrap();
    (dir, images)
}

fn credentials(password: &str) -> RegistryAuth {
    RegistryAuth {
        username: "me".to_owned(),
        password: password.to_owned(),
        ..RegistryAuth::default()
    }
}

async fn login(way: Way, password: &str) -> Result<String, ImageError> {
    let (_dir, images) = images();
    images.login(&registry(way), &credentials(password)).await
}

#[tokio::test]
async fn good_credentials_open_every_kind_of_registry_and_bad_ones_none() {
    for way in [Way::Open, Way::Basic, Way::Bearer] {
        login(way, "secret").await.unwrap();
    }
    for way in [Way::Basic, Way::Bearer] {
        let error = login(way, "wrong").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        let text = error.to_string();
        assert!(text.starts_with("Get \"http://127.0.0.1:"), "{text}");
        assert!(
            text.ends_with("/v2/\": unauthorized: incorrect username or password"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_manifest_that_does_not_end_is_refused() {
    let (_dir, images) = images();
    let name = format!("{}/a/long:1", registry(Way::Open)).parse().unwrap();
    let options = PullOptions::default();
    let pulled = images.pull(&name, &options, &Progress::none()).await;
    assert_eq!(
        pulled.unwrap_err().to_string(),
        "invalid answer of the registry: it is too large"
    );
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named() {
    let (_dir, images) = images();
    let error = images
        .login("127.0.0.1:1", &credentials("x"))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("Get \"http://127.0.0.1:1/v2/\": "),
        "{error}"
    );
}

#[tokio::test]
async fn a_search_asks_the_registry_that_the_term_names() {
    let (_dir, images) = images();
    let address = registry(Way::Open);
    let term = format!("{address}/web");
    let found = images
        .search(&term, Some(3), &RegistryAuth::default())
        .await
        .unwrap();
    assert_eq!((found[0].name.as_str(), found[0].star_count), ("a/web", 7));
    assert!(
        images
            .search(&term, Some(0), &RegistryAuth::default())
            .await
            .is_err()
    );
    assert!(
        images
            .search("http://x", None, &RegistryAuth::default())
            .await
            .is_err()
    );
}
