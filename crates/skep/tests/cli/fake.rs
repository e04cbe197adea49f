//! A daemon that knows a recorded world, accepts everything, and remembers what it was asked, and which
//! secrets and configs were made.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

/// See the module.
pub struct FakeDaemon {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    seen: Vec<Value>,
    /// By kind.
    made: Vec<(String, Value)>,
}

impl State {
    /// Objects of a kind: the world's, and what was made.
    fn objects(&self, world: &Value, kind: &str) -> Value {
        let made = self.made.iter().filter(|(of, _)| of == kind);
        let known = world[kind].as_array().into_iter().flatten();
        known
            .chain(made.map(|(_, object)| object))
            .cloned()
            .collect()
    }

    fn make(&mut self, kind: &str, spec: Value) -> Value {
        let id = format!("new{kind}{}0123456789012", self.made.len());
        let time = "2020-01-02T06:17:05Z";
        let object = json!({
            "ID": id, "Version": {"Index": 1}, "CreatedAt": time, "UpdatedAt": time, "Spec": spec,
        });
        self.made.push((kind.to_owned(), object));
        json!({"ID": id})
    }
}

impl FakeDaemon {
    /// Listens on a socket until the process ends.
    pub fn start(socket: &Path, world: &Path) -> Self {
        let world: Value = serde_json::from_slice(&std::fs::read(world).unwrap()).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (world, shared) = (Arc::new(world), state.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (world, state) = (world.clone(), shared.clone());
                // A client that goes away ends its connection.
                std::thread::spawn(move || drop(serve(stream, &world, &state)));
            }
        });
        Self { state }
    }

    /// Forgets what it was asked, and what was made.
    pub fn forget(&self) {
        *self.state.lock().unwrap() = State::default();
    }

    /// What it was asked; `dir` is named `$DIR`.
    pub fn seen(&self, dir: &str) -> Vec<Value> {
        let all = Value::Array(self.state.lock().unwrap().seen.clone()).to_string();
        serde_json::from_str(&all.replace(dir, "$DIR")).unwrap()
    }
}

struct Request {
    method: String,
    path: String,
    query: Map<String, Value>,
    body: Option<Value>,
    auth: Option<String>,
}

fn serve(stream: UnixStream, world: &Value, state: &Mutex<State>) -> std::io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    let mut output = stream;
    while let Some(request) = read(&mut input)? {
        let (status, body) = {
            let mut state = state.lock().unwrap();
            if request.path != "/_ping" {
                state.seen.push(noted(&request));
            }
            answer(&request, world, &mut state)
        };
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\nApi-Version: 1.50\r\nSwarm: active/manager\r\nOstype: linux\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        output.write_all(head.as_bytes())?;
        if request.method != "HEAD" {
            output.write_all(body.as_bytes())?;
        }
    }
    Ok(())
}

fn read(input: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut parts = line.split_whitespace();
    let method = parts.next().unwrap_or_default().to_owned();
    let target = parts.next().unwrap_or_default().to_owned();
    let (mut length, mut auth) = (0, None);
    loop {
        let mut header = String::new();
        input.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "x-registry-auth" => auth = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Ok(Some(Request {
        method,
        path: unversioned(path).to_owned(),
        query: pairs(query),
        body: serde_json::from_slice(&body).ok(),
        auth,
    }))
}

/// A path without `/v1.50`.
fn unversioned(path: &str) -> &str {
    match path.strip_prefix("/v1.") {
        Some(rest) => &path[path.len() - rest.len() + rest.find('/').unwrap_or(0)..],
        None => path,
    }
}

fn pairs(query: &str) -> Map<String, Value> {
    let all = query.split('&').filter(|pair| !pair.is_empty());
    all.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = unescaped(value);
        let parsed = value
            .starts_with('{')
            .then(|| serde_json::from_str(&value).ok());
        (
            key.to_owned(),
            parsed.flatten().unwrap_or(Value::String(value)),
        )
    })
    .collect()
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| char::from(byte.unwrap_or(b'0')).to_digit(16).unwrap_or(0);
        match byte {
            b'%' => bytes.push(
                (hex(rest.next()) * 16 + hex(rest.next()))
                    .try_into()
                    .unwrap(),
            ),
            b'+' => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn noted(request: &Request) -> Value {
    let mut noted = json!({"method": request.method, "path": request.path});
    if !request.query.is_empty() {
        noted["query"] = Value::Object(request.query.clone());
    }
    if let Some(body) = &request.body {
        noted["body"] = body.clone();
    }
    if let Some(auth) = &request.auth {
        noted["auth"] = auth.as_str().into();
    }
    noted
}

const KINDS: [&str; 6] = [
    "services", "nodes", "tasks", "secrets", "configs", "networks",
];

fn answer(request: &Request, world: &Value, state: &mut State) -> (u16, Value) {
    let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    let get = request.method == "GET";
    match parts[..] {
        ["_ping"] => (200, Value::Null),
        ["info"] => (200, world["info"].clone()),
        ["swarm"] => (200, world["swarm"].clone()),
        ["swarm", "init"] => (200, world["nodes"][1]["ID"].clone()),
        ["swarm", "unlockkey"] => (200, json!({"UnlockKey": "SWMKEY-1-abc"})),
        ["swarm", ..] => (200, Value::Null),
        ["distribution", name, ..] if name.starts_with("pinned") => {
            (200, world["distribution"].clone())
        }
        ["distribution", ..] => (403, json!({"message": "no such registry"})),
        [kind] if KINDS.contains(&kind) => {
            let filters = request.query.get("filters").unwrap_or(&Value::Null);
            (200, listed(&state.objects(world, kind), filters))
        }
        [kind @ ("secrets" | "configs"), "create"] => {
            let spec = request.body.clone().unwrap_or_default();
            (201, state.make(kind, spec))
        }
        ["networks", "create"] => (201, json!({"Id": "newnetwork0123456789", "Warning": ""})),
        [kind, "create"] => (201, json!({"ID": format!("new{kind}0123456789012")})),
        [kind, reference, ..] if KINDS.contains(&kind) => {
            let reference = unescaped(reference);
            match found(&state.objects(world, kind), &reference) {
                Some(object) if get => (200, object.clone()),
                Some(_) if parts.get(2) == Some(&"update") && kind == "services" => {
                    (200, json!({"Warnings": null}))
                }
                Some(_) => (200, Value::Null),
                None => {
                    let one = &kind[..kind.len() - 1];
                    (
                        404,
                        json!({"message": format!("{one} {reference} not found")}),
                    )
                }
            }
        }
        _ => (404, json!({"message": "page not found"})),
    }
}

fn text<'a>(value: &'a Value, pointers: &[&str]) -> &'a str {
    let mut all = pointers
        .iter()
        .filter_map(|pointer| value.pointer(pointer)?.as_str());
    all.find(|text| !text.is_empty()).unwrap_or_default()
}

fn id(object: &Value) -> &str {
    text(object, &["/ID", "/Id"])
}

fn name(object: &Value) -> &str {
    text(object, &["/Spec/Name", "/Name", "/Description/Hostname"])
}

fn found<'a>(objects: &'a Value, reference: &str) -> Option<&'a Value> {
    let all: Vec<&Value> = objects.as_array()?.iter().collect();
    let by = |is: &dyn Fn(&Value) -> bool| all.iter().copied().find(|object| is(object));
    by(&|object| id(object) == reference)
        .or_else(|| by(&|object| name(object) == reference))
        .or_else(|| by(&|object| id(object).starts_with(reference)))
}

fn listed(objects: &Value, filters: &Value) -> Value {
    let is_wanted = |object: &&Value| {
        filters
            .as_object()
            .into_iter()
            .flatten()
            .all(|(key, values)| {
                let values: Vec<&String> =
                    values.as_object().into_iter().flat_map(Map::keys).collect();
                let any = |is: &dyn Fn(&str) -> bool| values.iter().any(|value| is(value));
                let labels = object
                    .pointer("/Spec/Labels")
                    .or_else(|| object.get("Labels"));
                match key.as_str() {
                    "label" => values.iter().all(|label| {
                        let (key, value) = label.split_once('=').unwrap_or((label, ""));
                        let known = labels.and_then(|labels| labels.get(key));
                        known.is_some_and(|known| !label.contains('=') || known == value)
                    }),
                    "name" if object.get("ServiceID").is_none() => {
                        any(&|wanted| name(object).starts_with(wanted))
                    }
                    "id" => any(&|wanted| id(object).starts_with(wanted)),
                    "service" => any(&|wanted| object["ServiceID"] == wanted),
                    "node" => any(&|wanted| object["NodeID"] == wanted),
                    _ => true,
                }
            })
    };
    objects
        .as_array()
        .into_iter()
        .flatten()
        .filter(is_wanted)
        .cloned()
        .collect()
}
