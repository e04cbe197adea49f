//! A daemon with canned answers that notes what it is asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A request.
pub struct Asked {
    pub method: String,
    pub path: String,
    /// Those that a daemon acts upon.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Headers that transcripts tell.
const TOLD: [&str; 3] = ["x-registry-auth", "x-registry-config", "x-test"];

/// See the module. Its threads end with the process.
pub struct Canned {
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Canned {
    pub fn serve(socket: &Path, answers: &Path) -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let listener = UnixListener::bind(socket).unwrap();
        let (noted, answers) = (asked.clone(), answers.to_owned());
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (noted, answers) = (noted.clone(), answers.clone());
                std::thread::spawn(move || connection(stream, &noted, &answers));
            }
        });
        Self { asked }
    }

    /// What was asked since the last call, without the agreement on a version.
    pub fn taken(&self) -> Vec<Asked> {
        let all = std::mem::take(&mut *self.asked.lock().unwrap());
        // Docker listens for events even where it tells the numbers once.
        let is_aside = |path: &str| {
            path == "/_ping"
                || path.ends_with("/events?filters=%7B%22type%22%3A%7B%22container%22%3Atrue%7D%7D")
        };
        all.into_iter()
            .filter(|asked| !is_aside(&asked.path))
            .collect()
    }
}

fn connection(stream: UnixStream, noted: &Mutex<Vec<Asked>>, answers: &Path) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some((asked, upgrade)) = read(&mut reader, &mut writer) {
        let (method, path) = (asked.method.clone(), asked.path.clone());
        let body = asked.body.clone();
        let (bare, query) = path.split_once('?').unwrap_or((&path, ""));
        let bare = bare
            .strip_prefix("/v1.")
            .and_then(|rest| rest.split_once('/'))
            .map_or(bare, |(_, rest)| rest);
        noted.lock().unwrap().push(asked);
        let answer =
            super::canned::answer(&method, bare.trim_start_matches('/'), query, &body, answers);
        let head_only = method == "HEAD";
        let sent = if upgrade {
            // The stream follows the head, and ends.
            let head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
            let _ = writer.write_all(head.as_bytes());
            let _ = writer.write_all(&answer.body);
            let _ = writer.shutdown(std::net::Shutdown::Write);
            let mut rest = Vec::new();
            let _ = reader.read_to_end(&mut rest);
            return;
        } else {
            let mut head = format!(
                "HTTP/1.1 {} X\r\nApi-Version: 1.50\r\nOstype: linux\r\nServer: Docker/28.2.2 (linux)\r\nSwarm: active/manager\r\nDocker-Experimental: false\r\nContent-Length: {}\r\n",
                answer.status,
                answer.body.len()
            );
            for (name, value) in &answer.headers {
                head += &format!("{name}: {value}\r\n");
            }
            writer.write_all((head + "\r\n").as_bytes()).and_then(|()| {
                if head_only {
                    Ok(())
                } else {
                    writer.write_all(&answer.body)
                }
            })
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Reads one request; whether it wants to take the connection over.
fn read(reader: &mut BufReader<UnixStream>, writer: &mut UnixStream) -> Option<(Asked, bool)> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut chunked, mut upgrade) = (0, false, false);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        match name.as_str() {
            "content-length" => length = value.parse().ok()?,
            "transfer-encoding" => chunked = value == "chunked",
            "upgrade" => upgrade = true,
            "expect" => drop(writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")),
            name if TOLD.contains(&name) => headers.push((name.to_owned(), value.to_owned())),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    if chunked {
        body = read_chunks(reader)?;
    } else {
        reader.read_exact(&mut body).ok()?;
    }
    Some((
        Asked {
            method,
            path,
            headers,
            body,
        },
        upgrade,
    ))
}

fn read_chunks(reader: &mut BufReader<UnixStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// What the daemon says.
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let json = ("Content-Type", "application/json".to_owned());
        Self {
            status,
            headers: vec![json],
            body: body.into(),
        }
    }

    fn error(status: u16, message: &str) -> Self {
        Self::new(status, serde_json::json!({"message": message}).to_string())
    }
}

/// A file of the answers, with `"@unix-60"` and `"@rfc-60"` as times before now.
fn file(answers: &Path, name: &str) -> Answer {
    let path: PathBuf = answers.join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let mut told = String::new();
    for part in text.split_inclusive('"') {
        match part
            .strip_suffix('"')
            .and_then(|part| part.strip_prefix('@'))
            .and_then(|part| part.split_once('-'))
        {
            Some(("unix", ago)) => {
                told.pop();
                told += &(now - ago.parse::<u64>().unwrap()).to_string();
            }
            Some(("rfc", ago)) => {
                let then = i64::try_from(now - ago.parse::<u64>().unwrap()).unwrap();
                let then = OffsetDateTime::from_unix_timestamp(then).unwrap();
                told += &(then.format(&Rfc3339).unwrap() + "\"");
            }
            _ => told += part,
        }
    }
    Answer::new(200, told)
}

/// A frame of a multiplexed stream.
fn frame(kind: u8, text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[kind, 0, 0, 0], &length[..], text.as_bytes()].concat()
}

/// An archive with one file and one folder.
fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut head = tar::Header::new_gnu();
    head.set_size(6);
    head.set_mode(0o644);
    head.set_cksum();
    builder
        .append_data(&mut head, "hello.txt", &b"hello\n"[..])
        .unwrap();
    builder.into_inner().unwrap()
}

/// The answer to a request. Names that contain `missing` are not there; `refused` is.
pub fn answer(method: &str, path: &str, query: &str, body: &[u8], answers: &Path) -> Answer {
    let parts: Vec<&str> = path.split('/').collect();
    let kind = parts[0].trim_end_matches('s');
    let name = parts.get(1).copied().unwrap_or_default();
    let body_text = String::from_utf8_lossy(body);
    if path.contains("missing")
        || query.contains("missing") && !query.contains("condition") && method != "GET"
    {
        let text = match kind {
            "image" => "No such image: missing:latest".to_owned(),
            "container" => "No such container: missing".to_owned(),
            "network" => "network missing not found".to_owned(),
            "volume" => "get missing: no such volume".to_owned(),
            kind => format!("{kind} missing not found"),
        };
        return Answer::error(404, &text);
    }
    if name == "refused" {
        return Answer::error(409, "You cannot do that to refused: it is busy");
    }
    match (method, parts.as_slice()) {
        (_, ["_ping"]) => Answer::new(200, "OK"),
        ("GET", ["version" | "info" | "swarm" | "networks" | "volumes"]) => file(answers, &format!("{path}.json")),
        ("GET", ["system", "df"]) => file(answers, "df.json"),
        ("GET", ["events"]) if !query.contains("until") => Answer::new(200, ""),
        ("GET", ["events"]) => file(answers, "events.json"),
        ("GET", ["containers", "json"]) => file(answers, "containers.json"),
        ("GET", ["nodes", id]) => Answer::new(200, serde_json::json!({"ID": id, "Version": {"Index": 1},
            "CreatedAt": "2026-11-23T06:17:53Z", "UpdatedAt": "2026-11-23T06:17:53Z",
            "Spec": {"Labels": {"a": "<b&c>"}, "Role": "worker", "Availability": "active"},
            "Description": {"Hostname": id, "Platform": {}, "Resources": {}, "Engine": {}, "TLSInfo": {}}, "Status": {"State": "ready"}}).to_string()),
        ("GET", ["tasks"]) if query.contains("sick") => Answer::error(500, "the tasks cannot be told"),
        ("GET", ["tasks"]) if query.contains("idle") => Answer::new(200, "[]"),
        ("GET", ["tasks"]) => Answer::new(200, serde_json::json!([{"ID": "t1t1t1t1t1t1t1", "ServiceID": "s1", "NodeID": "busy", "Slot": 1,
            "Spec": {"ContainerSpec": {"Image": "nginx:1"}}, "DesiredState": "running",
            "Status": {"State": "running", "Timestamp": "2006-11-23T06:17:53Z"}}]).to_string()),
        ("GET", ["services", id]) => Answer::new(200, serde_json::json!({"ID": id, "Spec": {"Name": "web"}}).to_string()),
        ("GET", ["images", "json"]) => file(answers, "images.json"),
        ("GET", ["images", "search"]) => file(answers, "search.json"),
        ("GET", ["images", "get"] | ["images", _, "get"]) | ("GET", ["containers", _, "export"]) => Answer::new(200, "a tar"),
        ("GET", ["images", .., "json"]) => file(answers, "image.json"),
        ("GET", ["images", .., "history"]) => file(answers, "history.json"),
        ("GET", ["networks", "ingress"]) => file(answers, "network-ingress.json"),
        ("GET", ["networks", _]) if query.contains("verbose") => file(answers, "network-verbose.json"),
        ("GET", ["networks" | "volumes", _]) => file(answers, &format!("{kind}.json")),
        ("GET", ["containers", "stopped", "json"]) => file(answers, "stopped.json"),
        ("GET", ["containers", _, "json"]) => file(answers, "container.json"),
        ("GET", ["containers", id, "stats"]) => {
            let mut answer = file(answers, "stats.json");
            let text = String::from_utf8(answer.body).unwrap().replace('\n', " ");
            let head = format!("{{\"id\": \"{id:0<64}\", \"name\": \"/{}\",", &id[..id.len().min(6)]);
            answer.body = (text.replacen('{', &head, 1) + "\n").into_bytes();
            answer
        }
        ("GET", ["containers", _, "top"]) => file(answers, "top.json"),
        ("GET", ["containers", _, "changes"]) => file(answers, "changes.json"),
        ("GET", ["containers", _, "logs"]) => Answer {
            status: 200,
            headers: vec![("Content-Type", "application/vnd.docker.multiplexed-stream".to_owned())],
            body: [frame(1, "out\n"), frame(2, "err\n")].concat(),
        },
        ("HEAD" | "GET", ["containers", _, "archive"]) => {
            use base64::Engine as _;
            let is_dir = query.contains("dir");
            let mode = if is_dir { 2_147_484_141_u64 } else { 420 };
            let stat = serde_json::json!({"name": if is_dir { "dir" } else { "hello.txt" }, "size": 6, "mode": mode, "mtime": "2026-11-23T06:17:53Z", "linkTarget": ""});
            let stat = base64::engine::general_purpose::STANDARD.encode(stat.to_string());
            let mut answer = Answer::new(200, archive());
            answer.headers = vec![("Content-Type", "application/x-tar".to_owned()), ("X-Docker-Container-Path-Stat", stat)];
            answer
        }
        ("POST", ["containers", "create"]) if body_text.contains("\"Image\":\"missing") => Answer::error(404, "No such image: missing:latest"),
        ("POST", ["containers", "create"]) => Answer::new(201, serde_json::json!({"Id": "c0".repeat(32), "Warnings": if body_text.contains("warn") { vec!["something is odd"] } else { vec![] }}).to_string()),
        ("POST", ["containers", _, "attach"]) => Answer::new(101, [frame(1, "hello\n"), frame(2, "oops\n")].concat()),
        ("POST", ["containers", "slow", "wait"]) => Answer::new(200, "{\"StatusCode\":137}"),
        ("POST", ["containers", _, "wait"]) => Answer::new(200, "{\"StatusCode\":3}"),
        ("POST", ["containers", _, "exec"]) => Answer::new(201, "{\"Id\":\"e1\"}"),
        ("POST", ["exec", _, "start"]) => Answer::new(101, frame(1, "executed\n")),
        ("GET", ["exec", _, "json"]) => Answer::new(200, "{\"ID\":\"e1\",\"Running\":false,\"ExitCode\":5}"),
        ("POST", ["containers", _, "update"]) => Answer::new(200, "{\"Warnings\":[\"a warning\"]}"),
        ("POST", ["commit"]) => Answer::new(201, format!("{{\"Id\":\"sha256:{}\"}}", "ab".repeat(32))),
        ("POST", ["containers", "prune"]) => Answer::new(200, "{\"ContainersDeleted\":[\"aaa\",\"bbb\"],\"SpaceReclaimed\":2048}"),
        ("POST", ["images", "prune"]) => Answer::new(200, "{\"ImagesDeleted\":[{\"Untagged\":\"a:1\"},{\"Deleted\":\"sha256:abcd\"}],\"SpaceReclaimed\":1000}"),
        ("POST", ["networks", "prune"]) => Answer::new(200, "{\"NetworksDeleted\":[\"n1\"]}"),
        ("POST", ["volumes", "prune"]) => Answer::new(200, "{\"VolumesDeleted\":[\"v1\"],\"SpaceReclaimed\":3000000}"),
        ("POST", ["build", "prune"]) => Answer::new(200, "{\"CachesDeleted\":[\"b1\"],\"SpaceReclaimed\":5}"),
        ("POST", ["auth"]) if body_text.contains("wrong") => Answer::error(401, "Get \"https://registry.example/v2/\": unauthorized: incorrect username or password"),
        ("POST", ["auth"]) => Answer::new(200, "{\"IdentityToken\":\"\",\"Status\":\"Login Succeeded\"}"),
        ("POST", ["networks", "create"]) => Answer::new(201, "{\"Id\":\"0123456789abcdef\",\"Warning\":\"\"}"),
        ("POST", ["volumes", "create"]) => {
            let name = serde_json::from_slice::<serde_json::Value>(body).unwrap()["Name"].as_str().unwrap_or_default().to_owned();
            Answer::new(201, serde_json::json!({"Name": if name.is_empty() { "random".to_owned() } else { name }, "Driver": "local"}).to_string())
        }
        ("POST", ["images", "load"]) => Answer::new(200, "{\"stream\":\"Loaded image: a:1\\n\"}\n"),
        ("POST", ["images", "create"]) if query.contains("fromSrc") => Answer::new(200, "{\"status\":\"sha256:abcd\"}\n"),
        ("POST", ["images", "create"]) => file(answers, "pull.json"),
        ("POST", ["images", .., "push"]) => file(answers, "push.json"),
        ("POST", ["images", .., "tag"]) => Answer::new(201, ""),
        ("DELETE", ["images", ..]) => Answer::new(200, "[{\"Untagged\":\"a:1\"},{\"Untagged\":\"a@sha256:12\"},{\"Deleted\":\"sha256:abcd\"}]"),
        ("GET", ["distribution", ..]) => Answer::error(401, "denied"),
        ("POST" | "PUT" | "DELETE", _) => Answer::new(204, ""),
        _ => Answer::error(404, "page not found"),
    }
}
