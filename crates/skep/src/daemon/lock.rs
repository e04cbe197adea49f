//! One daemon a directory: a lock that ends with the process, and the pid file that others read.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// Why the daemon cannot have its directories.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A file or directory cannot be made.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another daemon has them.
    #[error("failed to start daemon: the directory {} is in use by another daemon (process {pid})", path.display())]
    Taken {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        pid: String,
    },
    /// The pid file names a living process.
    #[error("failed to start daemon, ensure it is not running or delete {}: process with PID {pid} is still running", path.display())]
    Running {
        /// The pid file.
        path: PathBuf,
        /// Who.
        pid: u32,
    },
}

/// Holds a directory until dropped, or until the process ends however it does.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LockError {
    let path = path.to_owned();
    move |source| LockError::Io {
        doing,
        path,
        source,
    }
}

impl DirLock {
    /// Makes the directory if need be, and takes it.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        std::fs::create_dir_all(dir).map_err(io("create directory", dir))?;
        let path = dir.join("daemon.lock");
        let mut options = File::options();
        let file = options
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path);
        let mut file = file.map_err(io("open", &path))?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            // Only for the text; without it the refusal stands all the same.
            let _ = file.read_to_string(&mut pid);
            return Err(LockError::Taken {
                path: dir.to_owned(),
                pid: pid.trim().to_owned(),
            });
        }
        file.set_len(0).map_err(io("write", &path))?;
        write!(file, "{}", std::process::id()).map_err(io("write", &path))?;
        Ok(Self { _file: file })
    }
}

/// The pid file, removed when dropped.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes our process id, unless the file names another living process.
    pub fn write(path: &Path) -> Result<Self, LockError> {
        let before = std::fs::read_to_string(path).ok();
        let before = before.and_then(|text| text.trim().parse::<u32>().ok());
        if let Some(pid) = before.filter(|pid| *pid != std::process::id())
            && is_daemon(pid)
        {
            return Err(LockError::Running {
                path: path.to_owned(),
                pid,
            });
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(io("create directory", parent))?;
        }
        std::fs::write(path, std::process::id().to_string()).map_err(io("write", path))?;
        Ok(Self(path.to_owned()))
    }
}

/// Whether a living process is what we are. Numbers are used again, so a stranger does not count;
/// nor does one that has ended and that nobody has asked about yet.
fn is_daemon(pid: u32) -> bool {
    let name = |of: &str| std::fs::read_to_string(format!("/proc/{of}/comm")).ok();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    let lives = state.is_some_and(|state| !matches!(state, 'Z' | 'X'));
    lives && name(&pid.to_string()).is_some_and(|theirs| Some(theirs) == name("self"))
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Nothing depends on it: a stale one is seen through by the next daemon.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_on_the_same_directory_is_refused() {
        let dir = std::env::temp_dir().join(format!("skep-lock-{}", std::process::id()));
        let first = DirLock::take(&dir).expect("free");
        let refusal = DirLock::take(&dir).expect_err("taken").to_string();
        assert!(
            refusal.contains(&format!("process {}", std::process::id())),
            "{refusal}"
        );
        drop(first);
        DirLock::take(&dir).expect("free again");
        std::fs::remove_dir_all(&dir).expect("removable");
    }
}
