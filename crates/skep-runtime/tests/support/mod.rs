//! A bundle in a temporary directory, made from busybox, and checks that nothing of it stays.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod runtime;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use skep_runtime::shim::protocol::{Attach, Event, Exec, Kind, Reply, Request};
use skep_runtime::shim::{
    self, Connection, ExitRecord, LogFile, LogSpec, ShimError, ShimSpec, ShimState,
};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The example that plays the roles of the program; cargo builds it beside the tests.
pub fn harness() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/harness");
    assert!(
        path.exists(),
        "{} is missing: cargo build --examples",
        path.display()
    );
    path
}

/// One container's files, removed at the end with everything that belongs to it.
pub struct Bundle {
    pub id: String,
    pub dir: PathBuf,
    pub config: Value,
    pub spec: ShimSpec,
}

impl Bundle {
    pub fn new(args: &[&str]) -> Self {
        let id = format!(
            "skep-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(&id);
        make_rootfs(&dir.join("rootfs"));
        let log = LogFile {
            path: dir.join("container.log"),
            max_size_bytes: None,
            max_files: 1,
            compress: false,
            attrs: Default::default(),
        };
        let spec = ShimSpec {
            id: id.clone(),
            terminal: false,
            console_size: None,
            open_stdin: false,
            stdin_once: false,
            log: LogSpec::JsonFile(log),
            overlay: None,
            seccomp_filter: None,
            external: None,
        };
        Self {
            config: config(&id, args),
            id,
            dir,
            spec,
        }
    }

    pub fn shell(script: &str) -> Self {
        Self::new(&["sh", "-c", script])
    }

    pub fn terminal(mut self) -> Self {
        self.spec.terminal = true;
        self.config["process"]["terminal"] = true.into();
        self
    }

    pub fn open_stdin(mut self) -> Self {
        self.spec.open_stdin = true;
        self
    }

    /// Sets a value at a JSON pointer whose parents exist.
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = self.config.pointer_mut(parent).unwrap();
        parent[key] = value;
        self
    }

    pub fn add_mount(mut self, mount: Value) -> Self {
        self.config["mounts"].as_array_mut().unwrap().push(mount);
        self
    }

    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    pub fn write(&self) {
        fs::write(self.dir.join("config.json"), self.config.to_string()).unwrap();
        self.spec.save(&self.dir).unwrap();
    }

    pub fn create(&self) -> Result<ShimState, ShimError> {
        self.write();
        shim::spawn(&self.dir, &harness()).unwrap().wait_ready()
    }

    /// Creates, attaches, starts, waits.
    pub fn run(&self) -> Outcome {
        self.create().unwrap_or_else(|e| panic!("create: {e}"));
        let mut connection = self.attach();
        connection.call(&Request::Start).unwrap();
        self.wait(connection)
    }

    pub fn connect(&self) -> Connection {
        Connection::open(&self.dir).unwrap()
    }

    pub fn attach(&self) -> Connection {
        self.attach_as(false)
    }

    pub fn attach_as(&self, lossless: bool) -> Connection {
        let mut connection = self.connect();
        let attach = Attach {
            exec: None,
            stdin: true,
            stdout: true,
            stderr: true,
            lossless,
        };
        assert_eq!(
            connection.call(&Request::Attach(attach)).unwrap(),
            Reply::Ok
        );
        connection
    }

    /// Starts an exec whose output comes on the returned connection.
    pub fn exec(&self, id: &str, args: &[&str]) -> Result<Connection, ShimError> {
        self.exec_process(id, json!({ "args": args }))
    }

    pub fn exec_process(&self, id: &str, more: Value) -> Result<Connection, ShimError> {
        let mut process = self.config["process"].clone();
        process["terminal"] = false.into();
        for (key, value) in more.as_object().unwrap() {
            process[key] = value.clone();
        }
        let mut connection = self.connect();
        let exec = Exec {
            id: id.into(),
            process: serde_json::from_value(process).unwrap(),
            attach: Attach {
                exec: None,
                stdin: true,
                stdout: true,
                stderr: true,
                lossless: false,
            },
            seccomp_filter: None,
        };
        connection.call(&Request::Exec(Box::new(exec)))?;
        Ok(connection)
    }

    /// Collects until the connection's end or an `Exited`.
    pub fn wait(&self, mut connection: Connection) -> Outcome {
        let mut outcome = Outcome::default();
        while let Some(frame) = connection.next_frame().unwrap() {
            match frame.kind {
                Kind::Stdout => outcome
                    .stdout
                    .push_str(&String::from_utf8_lossy(&frame.payload)),
                Kind::Stderr => outcome
                    .stderr
                    .push_str(&String::from_utf8_lossy(&frame.payload)),
                Kind::Event => match frame.event().unwrap() {
                    Event::Exited { exit, .. } => {
                        outcome.exit = exit;
                        return outcome;
                    }
                    Event::OutOfMemory => outcome.saw_oom = true,
                },
                other => panic!("frame of kind {other:?}"),
            }
        }
        panic!("the connection ended without an exit: {outcome:?}");
    }

    /// Text of the log, by stream.
    pub fn logged(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.dir.join("container.log")).unwrap();
        text.lines()
            .map(|line| {
                let entry: Value = serde_json::from_str(line).unwrap();
                let field = |name: &str| entry[name].as_str().unwrap().to_owned();
                assert!(field("time").ends_with('Z'));
                (field("stream"), field("log"))
            })
            .collect()
    }

    pub fn exit_record(&self) -> Option<ExitRecord> {
        ExitRecord::load(&self.dir).unwrap()
    }

    /// Directories in any cgroup tree that carry this container's name.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let base = Path::new("/sys/fs/cgroup");
        let mut roots = vec![base.to_owned()];
        roots.extend(fs::read_dir(base).unwrap().flatten().map(|e| e.path()));
        for root in roots {
            let dir = root.join(&self.id);
            if dir.exists() {
                found.push(dir);
            }
        }
        found
    }

    /// Nothing of this container is on the host, apart from its own directory.
    pub fn assert_clean(&self) {
        assert_eq!(self.cgroups(), Vec::<PathBuf>::new(), "cgroups stay");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&self.id), "mounts stay");
        assert!(!self.dir.join("shim.sock").exists(), "the socket stays");
        assert_eq!(self.processes(), Vec::<String>::new(), "processes stay");
        let said = fs::read_to_string(self.dir.join("shim.log")).unwrap_or_default();
        assert_eq!(said, "", "the shim complained");
    }

    /// Command lines that name this container.
    pub fn processes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            if line.contains(&self.id) {
                found.push(line.replace('\0', " "));
            }
        }
        found
    }

    /// Waits until the shim is gone: its exit comes a moment after its last word.
    pub fn wait_for_shim(&self, state: &ShimState) {
        wait_until("the shim ends", || !state.has_shim());
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if let Ok(Some(state)) = ShimState::load(&self.dir)
            && ExitRecord::load(&self.dir).ok().flatten().is_none()
        {
            let _ = shim::recover(&self.dir);
            drop(state);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[derive(Debug, Default)]
pub struct Outcome {
    pub stdout: String,
    pub stderr: String,
    pub exit: ExitRecord,
    pub saw_oom: bool,
}

/// Polls a condition that the kernel brings about by itself, within a bound.
pub fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !is_true() {
        assert!(
            std::time::Instant::now() < deadline,
            "waited too long until {what}"
        );
        std::thread::yield_now();
    }
}

fn make_rootfs(root: &Path) {
    for dir in ["bin", "dev", "etc", "proc", "sys", "tmp", "home/user"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|p| Path::new(p).exists());
    let busybox = busybox.expect("install busybox-static");
    if fs::hard_link(busybox, root.join("bin/busybox")).is_err() {
        fs::copy(busybox, root.join("bin/busybox")).unwrap();
    }
    for name in [
        "sh", "true", "false", "cat", "echo", "sleep", "id", "ls", "mount", "mkdir", "mknod",
        "hostname", "stat", "tty", "stty", "pwd", "env", "kill", "head", "dd", "yes", "grep", "ps",
        "touch", "readlink", "ip", "dmesg", "unshare", "chroot", "wc", "sysctl", "umount", "rm",
        "seq", "date", "test", "ulimit", "od", "tr", "sort", "cut", "uname", "ionice", "awk",
    ] {
        let _ = std::os::unix::fs::symlink("busybox", root.join("bin").join(name));
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
    )
    .unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\n").unwrap();
}

/// What the engine gives an ordinary container.
pub fn config(id: &str, args: &[&str]) -> Value {
    let caps = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
    ];
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/bin:/usr/bin", "HOME=/root"],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
        },
        "root": { "path": "rootfs" },
        "hostname": "box",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
              "options": ["ro", "nosuid", "noexec", "nodev"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"] },
        ],
        "linux": {
            "cgroupsPath": format!("/{id}"),
            "namespaces": [
                { "type": "mount" }, { "type": "network" }, { "type": "uts" }, { "type": "pid" }, { "type": "ipc" },
            ],
            "resources": { "devices": [
                { "allow": false, "access": "rwm" },
                { "allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm" },
                { "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm" },
                { "allow": true, "type": "c", "major": 1, "minor": 9, "access": "rwm" },
                { "allow": true, "type": "c", "major": 1, "minor": 8, "access": "rwm" },
                { "allow": true, "type": "c", "major": 5, "minor": 0, "access": "rwm" },
                { "allow": true, "type": "c", "major": 5, "minor": 1, "access": "rwm" },
                { "allow": true, "type": "c", "major": 136, "access": "rwm" },
                { "allow": true, "type": "c", "major": 5, "minor": 2, "access": "rwm" },
                { "allow": true, "type": "c", "major": 1, "minor": 7, "access": "rwm" },
            ] },
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
