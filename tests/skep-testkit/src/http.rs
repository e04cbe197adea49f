//! A small blocking HTTP client: for unix sockets, and from within network namespaces.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(30);

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// The body, chunks joined.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// Asks over a unix socket.
pub fn request(socket: &Path, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
    let stream =
        UnixStream::connect(socket).with_context(|| format!("connect {}", socket.display()))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    exchange(stream, method, path, "skep", &json_body(body))
}

/// The same with one more header.
pub fn request_with(
    socket: &Path,
    method: &str,
    path: &str,
    (name, value): (&str, &str),
    body: Option<&Value>,
) -> Result<Answer> {
    let stream =
        UnixStream::connect(socket).with_context(|| format!("connect {}", socket.display()))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let host = format!("skep\r\n{name}: {value}");
    exchange(stream, method, path, &host, &json_body(body))
}

/// POSTs bytes over a unix socket.
pub fn upload(socket: &Path, path: &str, body: &[u8]) -> Result<Answer> {
    let stream =
        UnixStream::connect(socket).with_context(|| format!("connect {}", socket.display()))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    exchange(
        stream,
        "POST",
        path,
        "skep",
        &("application/x-tar", body.to_vec()),
    )
}

/// Asks over TCP from this namespace.
pub fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    exchange(stream, "GET", path, &address.to_string(), &json_body(None))
}

/// Asks over TCP from another network namespace, on a thread that enters it.
pub fn get_in(namespace: &Path, address: SocketAddr, path: &str) -> Result<Answer> {
    let (namespace, path) = (PathBuf::from(namespace), path.to_owned());
    let thread = std::thread::spawn(move || {
        let file =
            File::open(&namespace).with_context(|| format!("open {}", namespace.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
        get(address, &path)
    });
    match thread.join() {
        Ok(answer) => answer,
        Err(_) => bail!("the asking thread panicked"),
    }
}

/// Media type and bytes.
type Body = (&'static str, Vec<u8>);

fn json_body(body: Option<&Value>) -> Body {
    (
        "application/json",
        body.map(|body| body.to_string().into_bytes())
            .unwrap_or_default(),
    )
}

fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    host: &str,
    body: &Body,
) -> Result<Answer> {
    let (kind, body) = body;
    let kind = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Type: {kind}\r\n")
    };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{kind}Content-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let split = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .context("no HTTP answer")?;
    let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .context("no HTTP status")?;
    let body = &bytes[split + 4..];
    let chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    let body = if chunked {
        dechunk(body)?
    } else {
        body.to_vec()
    };
    Ok(Answer { status, head, body })
}

fn dechunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest
            .windows(2)
            .position(|window| window == b"\r\n")
            .context("a chunk without a size")?;
        let size = std::str::from_utf8(&rest[..end])?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(rest.get(..size).context("a chunk that ends early")?);
        rest = rest.get(size + 2..).context("a chunk that ends early")?;
    }
}
