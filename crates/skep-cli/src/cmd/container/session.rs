//! A terminal's session with a container: streams both ways, window sizes, signals.

use std::io::{IsTerminal as _, Write as _};

use futures::StreamExt as _;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};

use crate::client::{Hijacked, Output, StreamKind, url};
use crate::context::Context;
use crate::error::CliError;

/// Ctrl-P, Ctrl-Q.
const DETACH: [u8; 2] = [0x10, 0x11];

/// Signals that go on to the container.
const PROXIED: [(SignalKind, &str); 4] = [
    (SignalKind::interrupt(), "INT"),
    (SignalKind::terminate(), "TERM"),
    (SignalKind::hangup(), "HUP"),
    (SignalKind::quit(), "QUIT"),
];

/// What a session is about.
pub(super) struct Session<'a> {
    pub(super) context: &'a Context,
    /// `/containers/ID` or `/exec/ID`.
    pub(super) path: String,
    pub(super) tty: bool,
    pub(super) stdin: bool,
    /// Whether signals go on to the container.
    pub(super) proxy: bool,
    pub(super) detach_keys: Vec<u8>,
}

/// The terminal in raw mode, until dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> Option<Self> {
        let old = tcgetattr(std::io::stdin()).ok()?;
        let mut raw = old.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(old))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Refuses a terminal session whose input is none.
pub(super) fn check_terminal(tty: bool, stdin: bool) -> Result<(), CliError> {
    if tty && stdin && !std::io::stdin().is_terminal() {
        return Err(CliError::new("the input device is not a TTY"));
    }
    Ok(())
}

/// `ctrl-p,ctrl-q` as bytes; empty gives Docker's own. They matter only at a terminal.
pub(super) fn detach_keys(text: &str, tty: bool) -> Result<Vec<u8>, CliError> {
    if text.is_empty() || !tty {
        return Ok(DETACH.to_vec());
    }
    text.split(',')
        .map(|key| match key.strip_prefix("ctrl-").map(str::as_bytes) {
            Some([letter @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => {
                Ok(letter & 0x1f)
            }
            None if key.len() == 1 => Ok(key.as_bytes()[0]),
            _ => Err(CliError::new(format!("Unknown character: '{key}'")).with_code(125)),
        })
        .collect()
}

/// Rows and columns of the terminal that output goes to; zeros where it goes elsewhere.
pub(super) fn console_size() -> [u16; 2] {
    match tcgetwinsize(std::io::stdout()) {
        Ok(size) => [size.ws_row, size.ws_col],
        Err(_) => [0, 0],
    }
}

/// Docker's word for who leaves a session by the detach keys.
pub(super) fn detached() -> CliError {
    CliError::new("read escape sequence")
}

impl Session<'_> {
    /// Copies until the container's output ends; false where the user detached.
    pub(super) async fn run(&self, connection: Hijacked) -> Result<bool, CliError> {
        let raw = (self.tty && self.stdin).then(Raw::enter);
        let (mut outputs, mut writer) = connection.outputs(self.tty);
        let input = async {
            if !self.stdin {
                return std::future::pending().await;
            }
            let mut stdin = tokio::io::stdin();
            let mut buffer = vec![0; 16 << 10];
            let mut matched = 0;
            loop {
                let count = stdin.read(&mut buffer).await.unwrap_or(0);
                if count == 0 {
                    break;
                }
                if self.tty && escaped(&self.detach_keys, &mut matched, &buffer[..count]) {
                    return true;
                }
                if writer.write_all(&buffer[..count]).await.is_err()
                    || writer.flush().await.is_err()
                {
                    break;
                }
            }
            // The container may have closed its input already.
            let _ = writer.shutdown().await;
            std::future::pending().await
        };
        let signals = self.signals();
        tokio::pin!(input, signals);
        let result = loop {
            tokio::select! {
                output = outputs.next() => match output {
                    None => break Ok(true),
                    Some(Ok(output)) => write(&output)?,
                    Some(Err(error)) => break Err(error),
                },
                _ = &mut input => break Ok(false),
                result = &mut signals => { let () = result?; },
            }
        };
        drop(raw);
        result
    }

    /// Tells the daemon the size of the terminal's window.
    pub(super) async fn resize(&self) {
        self.resize_to(console_size()).await;
    }

    /// The same by way of another size, so that a program draws its prompt for who came later.
    pub(super) async fn redraw(&self) {
        let [rows, columns] = console_size();
        if rows != 0 || columns != 0 {
            let other = [rows.saturating_add(1), columns.saturating_add(1)];
            self.resize_to(other).await;
        }
        self.resize().await;
    }

    async fn resize_to(&self, [rows, columns]: [u16; 2]) {
        if rows == 0 && columns == 0 {
            return;
        }
        let (height, width) = (rows.to_string(), columns.to_string());
        let path = url(
            &format!("{}/resize", self.path),
            &[("h", &height), ("w", &width)],
        );
        // A container that has ended has no window.
        let _ = self.context.client.post_empty(&path).await;
    }

    async fn signals(&self) -> Result<(), CliError> {
        let mut window = signal(SignalKind::window_change())?;
        let mut listeners = Vec::new();
        if self.proxy && !self.tty {
            for (kind, name) in PROXIED {
                listeners.push((signal(kind)?, name));
            }
        }
        loop {
            let any = std::future::poll_fn(|task| {
                for (listener, name) in &mut listeners {
                    if listener.poll_recv(task).is_ready() {
                        return std::task::Poll::Ready(*name);
                    }
                }
                std::task::Poll::Pending
            });
            tokio::select! {
                _ = window.recv() => if self.tty { self.resize().await },
                name = any => {
                    let path = url(&format!("{}/kill", self.path), &[("signal", name)]);
                    let _ = self.context.client.post_empty(&path).await;
                }
            }
        }
    }
}

/// Whether the keys have been pressed one after the other.
fn escaped(keys: &[u8], matched: &mut usize, bytes: &[u8]) -> bool {
    for byte in bytes {
        *matched = match keys.get(*matched) {
            Some(key) if key == byte => *matched + 1,
            _ => usize::from(keys.first() == Some(byte)),
        };
        if *matched == keys.len() {
            return true;
        }
    }
    false
}

/// An output to where it belongs.
pub(super) fn write(output: &Output) -> Result<(), CliError> {
    match output.kind {
        StreamKind::Stdout => {
            let mut out = std::io::stdout().lock();
            out.write_all(&output.bytes)?;
            out.flush()?;
        }
        StreamKind::Stderr => std::io::stderr().lock().write_all(&output.bytes)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_count_only_in_order() {
        let keys = detach_keys("", true).unwrap();
        assert_eq!(detach_keys("ctrl-x,y", true).unwrap(), [0x18, b'y']);
        assert!(detach_keys("ctrl-", true).is_err());
        let mut matched = 0;
        assert!(!escaped(&keys, &mut matched, b"a\x11\x10"));
        assert!(!escaped(&keys, &mut matched, b"b\x10"));
        assert!(escaped(&keys, &mut matched, b"\x11"));
    }
}
