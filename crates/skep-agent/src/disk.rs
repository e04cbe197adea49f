//! The tasks of this node on disk, so that a restart without managers goes on with them.
//!
//! ```text
//! worker/tasks
//!   "SKEPTSK1"            8 bytes
//!   SHA-256 of the body  32 bytes
//!   body: length-delimited TasksMessage (each task with its status), then Node as last heard of
//! ```
//!
//! Replaced as a whole (new file, fsync, rename), some moments after a change: what is lost in a crash
//! is found again in the containers. Secrets and registry credentials are not in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prost::Message;
use sha2::{Digest, Sha256};
use skep_objects::swarmkit::task_spec::Runtime;
use skep_objects::swarmkit::{Node, Task, TaskStatus, TasksMessage};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

const MAGIC: &[u8; 8] = b"SKEPTSK1";
const HEADER_BYTES: usize = 8 + 32;
/// Changes within this time are written once.
const GATHER: Duration = Duration::from_millis(50);

/// Why the tasks cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The disk said no.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What came back.
        #[source]
        source: io::Error,
    },
    /// The content is not what was written.
    #[error("task file {path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// By id, each with the status this node gave it.
    pub tasks: BTreeMap<String, Task>,
    /// As the manager last sent it.
    pub node: Option<Node>,
}

impl Saved {
    fn encode(&self) -> Vec<u8> {
        let tasks = TasksMessage {
            tasks: self.tasks.values().map(without_credentials).collect(),
        };
        let mut body = tasks.encode_length_delimited_to_vec();
        if let Some(node) = &self.node {
            body.extend(node.encode_to_vec());
        }
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&Sha256::digest(&body));
        out.extend(body);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() < HEADER_BYTES || &bytes[..8] != MAGIC {
            return Err("it does not start with the mark of a task file");
        }
        let mut body = &bytes[HEADER_BYTES..];
        if Sha256::digest(body).as_slice() != &bytes[8..HEADER_BYTES] {
            return Err("its checksum is wrong");
        }
        let broken = |_| "its content cannot be decoded";
        let tasks = TasksMessage::decode_length_delimited(&mut body).map_err(broken)?;
        let node = if body.is_empty() {
            None
        } else {
            Some(Node::decode(body).map_err(broken)?)
        };
        let tasks = tasks.tasks.into_iter().map(|t| (t.id.clone(), t)).collect();
        Ok(Self { tasks, node })
    }
}

fn without_credentials(task: &Task) -> Task {
    let mut task = task.clone();
    if let Some(Runtime::Container(container)) =
        task.spec.as_mut().and_then(|spec| spec.runtime.as_mut())
    {
        container.pull_options = None;
    }
    task
}

/// Reads the file; nothing saved is not an error.
pub fn load(path: &Path) -> Result<Saved, DiskError> {
    match fs::read(path) {
        Ok(bytes) => Saved::decode(&bytes).map_err(|reason| DiskError::Damaged {
            path: path.to_owned(),
            reason,
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Saved::default()),
        Err(source) => Err(DiskError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        }),
    }
}

fn save(path: &Path, saved: &Saved) -> Result<(), DiskError> {
    let tmp = path.with_extension("tmp");
    let attempt = |action, path: &Path, result: io::Result<()>| {
        result.map_err(|source| DiskError::Io {
            action,
            path: path.to_owned(),
            source,
        })
    };
    let dir = path.parent().unwrap_or(Path::new("/"));
    attempt("create", dir, fs::create_dir_all(dir))?;
    let write = || -> io::Result<()> {
        let mut file = File::create(&tmp)?;
        file.write_all(&saved.encode())?;
        file.sync_all()
    };
    attempt("write", &tmp, write())?;
    attempt("rename", &tmp, fs::rename(&tmp, path))?;
    attempt("sync", dir, File::open(dir).and_then(|d| d.sync_all()))
}

/// What is to be on disk soon; a task of its own writes it.
#[derive(Clone, Debug)]
pub(crate) struct DiskWriter {
    saved: Arc<Mutex<Saved>>,
    changed: Arc<Notify>,
}

impl DiskWriter {
    /// Starts writing changes of `saved` to `path` until `stop`, and then once more.
    pub(crate) fn spawn(
        path: PathBuf,
        saved: Saved,
        stop: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let writer = Self {
            saved: Arc::new(Mutex::new(saved)),
            changed: Arc::default(),
        };
        let handle = tokio::spawn(writer.clone().run(path, stop));
        (writer, handle)
    }

    fn lock(&self) -> MutexGuard<'_, Saved> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_task(&self, task: &Task) {
        self.lock().tasks.insert(task.id.clone(), task.clone());
        self.changed.notify_one();
    }

    pub(crate) fn set_status(&self, task_id: &str, status: &TaskStatus) {
        if let Some(task) = self.lock().tasks.get_mut(task_id) {
            task.status = Some(status.clone());
            self.changed.notify_one();
        }
    }

    pub(crate) fn remove_task(&self, task_id: &str) {
        self.lock().tasks.remove(task_id);
        self.changed.notify_one();
    }

    pub(crate) fn set_node(&self, node: &Node) {
        let mut saved = self.lock();
        if saved.node.as_ref() != Some(node) {
            saved.node = Some(node.clone());
            self.changed.notify_one();
        }
    }

    async fn run(self, path: PathBuf, stop: CancellationToken) {
        let mut is_last = false;
        while !is_last {
            tokio::select! {
                () = self.changed.notified() => tokio::time::sleep(GATHER).await,
                () = stop.cancelled() => is_last = true,
            }
            let saved = self.lock().clone();
            let path = path.clone();
            let written = tokio::task::spawn_blocking(move || save(&path, &saved)).await;
            if let Ok(Err(error)) = written {
                error!(%error, "tasks cannot be saved");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_objects::swarmkit::container_spec::PullOptions;
    use skep_objects::swarmkit::{ContainerSpec, TaskSpec, TaskState};

    fn task(id: &str) -> Task {
        Task {
            id: id.into(),
            spec: Some(
                TaskSpec {
                    runtime: Some(Runtime::Container(ContainerSpec {
                        image: "web".into(),
                        pull_options: Some(PullOptions {
                            registry_auth: "hunter2".into(),
                        }),
                        ..Default::default()
                    })),
                    ..Default::default()
                }
                .into(),
            ),
            status: Some(TaskStatus {
                state: TaskState::Running.into(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn what_was_saved_is_loaded_without_credentials() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("worker/tasks");
        assert_eq!(load(&path).unwrap(), Saved::default());
        let node = Some(Node {
            id: "n".into(),
            ..Default::default()
        });
        let saved = Saved {
            tasks: [("t".to_owned(), task("t"))].into(),
            node,
        };
        save(&path, &saved).unwrap();
        let loaded = load(&path).unwrap();
        assert_eq!(loaded.node, saved.node);
        assert_eq!(loaded.tasks["t"].observed_state(), TaskState::Running);
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(7).any(|w| w == b"hunter2"));
    }

    #[test]
    fn a_damaged_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tasks");
        save(
            &path,
            &Saved {
                tasks: [("t".to_owned(), task("t"))].into(),
                node: None,
            },
        )
        .unwrap();
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(load(&path), Err(DiskError::Damaged { .. })));
        fs::write(&path, b"short").unwrap();
        assert!(matches!(load(&path), Err(DiskError::Damaged { .. })));
    }

    #[tokio::test]
    async fn the_last_change_before_the_end_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tasks");
        let stop = CancellationToken::new();
        let (writer, handle) = DiskWriter::spawn(path.clone(), Saved::default(), stop.clone());
        writer.set_task(&task("a"));
        writer.set_task(&task("b"));
        writer.remove_task("a");
        stop.cancel();
        handle.await.unwrap();
        assert_eq!(load(&path).unwrap().tasks.keys().collect::<Vec<_>>(), ["b"]);
    }
}
