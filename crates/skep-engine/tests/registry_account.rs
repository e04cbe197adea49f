//! Signing in at a registry and searching it, against a registry of a few lines on loopback.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use base64::Engine as _;
use skep_engine::image::{ImageError, Images, RegistryAuth, RegistryConfig};
use skep_objects::ErrorKind;

/// How the registry wants to be convinced.
#[derive(Clone, Copy)]
enum Way {
    Open,
    Basic,
    Bearer,
}

/// Serves on a free port; its thread ends with the process.
fn registry(way: Way) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let own = address.clone();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            answer(&stream, way, &own);
        }
    });
    address
}

fn answer(stream: &TcpStream, way: Way, own: &str) {
    let mut lines = BufReader::new(stream).lines();
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    let mut authorization = String::new();
    for line in lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
    {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("authorization: ") {
            authorization = line[line.len() - value.len()..].to_owned();
        }
    }
    let good = format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode("me:secret")
    );
    let path = first.split(' ').nth(1).unwrap_or_default();
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
        ("/token?account=me&client_id=docker&service=reg", _) if authorization == good => {
            (200, String::new(), r#"{"token":"t0k3n"}"#.to_owned())
        }
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

async fn login(way: Way, password: &str) -> Result<(), ImageError> {
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
