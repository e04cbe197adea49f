//! Network namespaces: made and entered on threads of their own, which end afterwards. A thread of
//! the async runtime never changes its namespace.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::error::NetError;

/// An open network namespace; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Netns {
    file: Arc<File>,
    path: PathBuf,
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn io_error(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NetError {
    let path = path.to_owned();
    move |source| NetError::Io {
        attempt,
        path,
        source,
    }
}

/// Runs a closure on a thread that ends with it.
fn on_thread<T: Send>(
    path: &Path,
    f: impl FnOnce() -> Result<T, NetError> + Send,
) -> Result<T, NetError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, f);
        let thread = thread.map_err(io_error("start thread for", path))?;
        let died = || io_error("work in", path)(io::Error::other("the thread panicked"));
        thread.join().unwrap_or_else(|_| Err(died()))
    })
}

impl Netns {
    /// The calling thread's own namespace.
    pub fn current() -> Result<Netns, NetError> {
        Netns::at(Path::new("/proc/thread-self/ns/net"))
    }

    fn at(path: &Path) -> Result<Netns, NetError> {
        let file = File::open(path).map_err(io_error("open network namespace", path))?;
        Ok(Netns {
            file: Arc::new(file),
            path: path.to_owned(),
        })
    }

    /// Opens a pinned namespace; `None` if there is no pin, or nothing is pinned to the file.
    pub fn open(pin: &Path) -> Result<Option<Netns>, NetError> {
        match fs::metadata(pin) {
            Ok(_) if is_pinned(pin) => Netns::at(pin).map(Some),
            Ok(_) => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error("open network namespace", pin)(e)),
        }
    }

    /// Makes a namespace, runs `f` in it, and pins it to a file.
    pub fn create<T: Send>(
        pin: &Path,
        f: impl FnOnce() -> Result<T, NetError> + Send,
    ) -> Result<(Netns, T), NetError> {
        File::create(pin).map_err(io_error("create", pin))?;
        let made = on_thread(pin, || {
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|e| io_error("make network namespace", pin)(e.into()))?;
            let out = f()?;
            let own = Path::new("/proc/thread-self/ns/net");
            mount(Some(own), pin, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(|e| io_error("pin network namespace", pin)(e.into()))?;
            Ok(out)
        });
        match made.and_then(|out| Ok((Netns::at(pin)?, out))) {
            Ok(netns) => Ok(netns),
            Err(e) => {
                // The first failure is the one to tell.
                let _ = Netns::unpin(pin);
                Err(e)
            }
        }
    }

    /// Unpins a namespace and removes the file; it ends when no process is in it.
    pub fn unpin(pin: &Path) -> Result<(), NetError> {
        while is_pinned(pin) {
            umount2(pin, MntFlags::MNT_DETACH)
                .map_err(|e| io_error("unpin network namespace", pin)(e.into()))?;
        }
        match fs::remove_file(pin) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error("remove", pin)(e)),
            _ => Ok(()),
        }
    }

    /// Whether it is the namespace that the process began in.
    pub fn is_process_own(&self) -> bool {
        self.is(Path::new("/proc/self/ns/net"))
    }

    fn is(&self, other: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let id = |m: fs::Metadata| (m.dev(), m.ino());
        let other = fs::metadata(other).map(id);
        matches!((other, self.file.metadata().map(id)), (Ok(a), Ok(b)) if a == b)
    }

    /// Runs a closure in the namespace: on the calling thread if it is there, else on one of its own.
    pub fn run<T: Send>(
        &self,
        f: impl FnOnce() -> Result<T, NetError> + Send,
    ) -> Result<T, NetError> {
        if self.is(Path::new("/proc/thread-self/ns/net")) {
            return f();
        }
        on_thread(&self.path, || {
            setns(self.as_fd(), CloneFlags::CLONE_NEWNET)
                .map_err(|e| io_error("enter network namespace", &self.path)(e.into()))?;
            f()
        })
    }
}

/// Makes sockets in the host's namespace.
#[derive(Debug, Clone)]
pub(crate) struct HostSockets {
    host: Netns,
    /// Whether the daemon's threads are in it, as they are outside tests.
    at_home: bool,
}

impl HostSockets {
    pub fn new(host: Netns) -> Self {
        let at_home = host.is_process_own();
        Self { host, at_home }
    }

    /// Runs what makes a socket.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        if self.at_home {
            return f();
        }
        let failed = |source| NetError::Socket {
            attempt: "make socket".into(),
            source,
        };
        self.host
            .run(|| f().map_err(failed))
            .map_err(io::Error::other)
    }
}

/// Whether a namespace is mounted on the file.
fn is_pinned(pin: &Path) -> bool {
    /// `NSFS_MAGIC`.
    const NSFS: i64 = 0x6e73_6673;
    nix::sys::statfs::statfs(pin).is_ok_and(|s| s.filesystem_type().0 == NSFS)
}

/// Writes a network sysctl of the calling thread's namespace: `ipv4/conf/all/rp_filter`. A sysctl
/// that this kernel does not have is no error.
pub(crate) fn sysctl(name: &str, value: &str) -> Result<(), NetError> {
    let path = Path::new("/proc/sys/net").join(name);
    if fs::read_to_string(&path).is_ok_and(|old| old.trim() == value) {
        return Ok(());
    }
    match fs::write(&path, value) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(io_error("set sysctl", &path)(e)),
        Ok(()) => Ok(()),
    }
}
