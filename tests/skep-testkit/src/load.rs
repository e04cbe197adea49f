//! Steady load: short requests, one after another, from network namespaces, until told to stop.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

/// Between two requests of a thread.
const PAUSE: Duration = Duration::from_millis(4);
/// Longer than a connection takes whose first packets went to a node that was just lost: its second
/// try is after one second, the third after three.
const CONNECT_LIMIT: Duration = Duration::from_secs(8);
/// What hangs for so long never ends, and is told while it is known what happened around it.
const READ_LIMIT: Duration = Duration::from_secs(4);

/// A request that was not answered as it should be.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When it began.
    pub began: Instant,
    /// Whether the connection was made: the request was in flight.
    pub connected: bool,
    /// Whom it asked from where, when in the life of the load, how long it took, and what came of
    /// it.
    pub text: String,
}

#[derive(Debug)]
struct Shared {
    born: Instant,
    stop: AtomicBool,
    answered: AtomicU64,
    failures: Mutex<Vec<Failure>>,
}

/// Threads that ask.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Nobody asks yet.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                born: Instant::now(),
                stop: AtomicBool::default(),
                answered: AtomicU64::default(),
                failures: Mutex::default(),
            }),
            threads: Vec::new(),
        }
    }

    /// A thread more, which asks these addresses in turn from a namespace.
    pub fn add(&mut self, namespace: &Path, addresses: &[SocketAddr]) {
        let (shared, addresses) = (Arc::clone(&self.shared), addresses.to_vec());
        let namespace = PathBuf::from(namespace);
        self.threads.push(std::thread::spawn(move || {
            let entered =
                File::open(&namespace).map(|file| setns(file, CloneFlags::CLONE_NEWNET).is_ok());
            if !matches!(entered, Ok(true)) {
                shared.fail(Instant::now(), false, format!("enter {namespace:?}"));
                return;
            }
            for address in addresses.iter().cycle() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                shared.ask(*address);
                std::thread::sleep(PAUSE);
            }
        }));
    }

    /// How many requests have been answered.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// The failures since the last call.
    pub fn failures(&self) -> Vec<Failure> {
        let mut failures = self.shared.failures.lock();
        std::mem::take(failures.as_mut().unwrap_or_else(|e| e.get_mut()))
    }

    /// Lets the last requests end.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic of it is told where it happened.
            let _ = thread.join();
        }
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn ask(&self, address: SocketAddr) {
        let began = Instant::now();
        let mut own = None;
        let said = match exchange(address, &mut own) {
            Ok(answer) if answer.starts_with(b"HTTP/1.1 200") => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Ok(answer) => {
                let head = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
                format!("answer {head:?}")
            }
            Err(error) => error.to_string(),
        };
        let (at, took) = (began.duration_since(self.born), began.elapsed());
        let from = own.map_or("not connected".to_owned(), |own| format!("from {own}"));
        let text = format!("{address} {from}: {said}; began at {at:.3?}, took {took:.3?}");
        self.fail(began, own.is_some(), text);
    }

    fn fail(&self, began: Instant, connected: bool, text: String) {
        let failure = Failure {
            began,
            connected,
            text,
        };
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push(failure);
    }
}

/// Asks once; `own` becomes the connection's own address when it is made.
fn exchange(address: SocketAddr, own: &mut Option<SocketAddr>) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
    *own = Some(stream.local_addr()?);
    stream.set_read_timeout(Some(READ_LIMIT))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: load\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
