//! A daemon on another host, reached as Docker reaches it: `ssh HOST docker system dial-stdio`.

use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::error::CliError;

/// The streams of a program. It ends when they are dropped.
pub(super) struct Streams {
    _child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

/// Starts `ssh` for `ssh://[user@]host[:port]`.
pub(super) fn connect(host: &str) -> Result<Streams, CliError> {
    let bad = |why: &str| {
        CliError::new(format!(
            "Failed to initialize: ssh host connection is not valid: invalid SSH URL: {why}"
        ))
    };
    let place = host
        .strip_prefix("ssh://")
        .unwrap_or(host)
        .trim_end_matches('/');
    if place.contains('/') {
        return Err(bad("extra path after the host"));
    }
    let (user, place) = match place.rsplit_once('@') {
        Some((user, place)) if !user.contains(':') => (Some(user), place),
        Some(_) => return Err(bad("plain-text password is not supported")),
        None => (None, place),
    };
    let (name, port) = match place.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && !name.is_empty() => (name, Some(port)),
        _ => (place, None),
    };
    if name.is_empty() || name.starts_with('-') {
        return Err(bad("hostname is empty"));
    }
    let mut command = Command::new("ssh");
    command.args(["-o", "ConnectTimeout=30", "-T"]);
    if let Some(user) = user {
        command.args(["-l", user]);
    }
    if let Some(port) = port {
        command.args(["-p", port]);
    }
    let mut child = command
        .args([
            "--",
            name.trim_matches(['[', ']']),
            "docker",
            "system",
            "dial-stdio",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| CliError::new(format!("run ssh for {host}: {error}")))?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(stdin), Some(stdout)) => Ok(Streams {
            _child: child,
            stdin,
            stdout,
        }),
        _ => Err(bad("the program has no streams")),
    }
}

impl AsyncRead for Streams {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(task, buffer)
    }
}

impl AsyncWrite for Streams {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stdin).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stdin).poll_flush(task)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stdin).poll_shutdown(task)
    }
}
