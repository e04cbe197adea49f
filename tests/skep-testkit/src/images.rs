//! File systems of real programs, from what Debian's packages put on this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// busybox with its usual names, as `docker import` takes it.
pub fn busybox() -> Result<Vec<u8>> {
    let mut tar = Archive::new();
    tar.busybox()?;
    tar.finish()
}

/// The same with more users and groups: lines of `/etc/passwd` and `/etc/group`.
pub fn busybox_with(users: &str, groups: &str) -> Result<Vec<u8>> {
    let mut tar = Archive::new();
    tar.programs()?;
    tar.text("etc/passwd", &format!("{PASSWD}{users}"))?;
    tar.text("etc/group", &format!("{GROUP}{groups}"))?;
    tar.finish()
}

/// nginx with the libraries it needs, and busybox beside it.
pub fn nginx() -> Result<Vec<u8>> {
    let mut tar = Archive::new();
    tar.busybox()?;
    let nginx = program("nginx", "nginx-light")?;
    tar.program(&nginx, "usr/sbin/nginx")?;
    tar.text("etc/nginx/nginx.conf", NGINX_CONF)?;
    tar.text(
        "usr/share/nginx/html/index.html",
        "<h1>Welcome to nginx!</h1>\n",
    )?;
    for dir in ["var/log/nginx", "var/lib/nginx", "run"] {
        tar.directory(dir)?;
    }
    tar.finish()
}

/// Files that compress to about half, `count` of 100 kB: what layers of real images are like.
pub fn bulk(seed: usize, count: usize) -> Result<Vec<u8>> {
    const BLOCK: usize = 4096;
    let mut tar = Archive::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (u64::try_from(seed)? + 1);
    let mut next = move || {
        // xorshift64: the same bytes on every machine.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    for number in 0..count {
        let mut content = Vec::with_capacity(100 * 1024);
        while content.len() < 100 * 1000 {
            let start = content.len();
            while content.len() < start + BLOCK {
                content.extend(next());
            }
            content.extend(b"the quick brown fox jumps over the lazy dog and on. ".repeat(78));
        }
        let name = format!("usr/share/bulk{seed}/{}/{number}", number % 16);
        tar.file(&name, &content, 0o644)?;
    }
    tar.finish()
}

const NGINX_CONF: &str = "\
daemon off;
error_log /dev/stderr;
events {}
http {
  access_log /dev/stdout;
  server {
    listen 80;
    listen [::]:80;
    root /usr/share/nginx/html;
    location = /who { return 200 \"$hostname $remote_addr\\n\"; }
  }
}
";

const BUSYBOX_NAMES: [&str; 30] = [
    "sh", "ls", "cat", "echo", "sleep", "id", "hostname", "wget", "nslookup", "ping", "ip", "kill",
    "mount", "touch", "true", "false", "env", "ps", "dd", "grep", "head", "nc", "mkdir", "mknod",
    "stat", "tty", "readlink", "sort", "tr", "wc",
];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

struct Archive {
    tar: tar::Builder<Vec<u8>>,
    made: BTreeSet<PathBuf>,
}

impl Archive {
    fn new() -> Self {
        Self {
            tar: tar::Builder::new(Vec::new()),
            made: BTreeSet::new(),
        }
    }

    fn busybox(&mut self) -> Result<()> {
        self.programs()?;
        self.text("etc/passwd", PASSWD)?;
        self.text("etc/group", GROUP)
    }

    fn programs(&mut self) -> Result<()> {
        let busybox = program("busybox", "busybox-static")?;
        self.file("bin/busybox", &fs::read(&busybox)?, 0o755)?;
        for name in BUSYBOX_NAMES {
            self.link(&format!("bin/{name}"), "busybox")?;
        }
        ["tmp", "root", "dev", "proc", "sys"]
            .into_iter()
            .try_for_each(|dir| self.directory(dir))
    }

    /// A program and the libraries that the loader finds for it.
    fn program(&mut self, path: &Path, target: &str) -> Result<()> {
        self.file(target, &fs::read(path)?, 0o755)?;
        let output = Command::new("ldd")
            .arg(path)
            .output()
            .context("start ldd")?;
        for word in String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
        {
            let name = word.trim_start_matches('/').to_owned();
            if self.made.insert(PathBuf::from(&name)) {
                let content = fs::read(word).with_context(|| format!("read {word}"))?;
                self.append(&name, &content, 0o755)?;
            }
        }
        Ok(())
    }

    fn text(&mut self, name: &str, content: &str) -> Result<()> {
        self.file(name, content.as_bytes(), 0o644)
    }

    fn file(&mut self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        self.append(name, content, mode)
    }

    fn append(&mut self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        if let Some(dir) = Path::new(name)
            .parent()
            .and_then(Path::to_str)
            .filter(|dir| !dir.is_empty())
        {
            self.directory(dir)?;
        }
        let mut header = header(tar::EntryType::Regular, mode);
        header.set_size(content.len() as u64);
        Ok(self.tar.append_data(&mut header, name, content)?)
    }

    fn directory(&mut self, name: &str) -> Result<()> {
        let path = PathBuf::from(name);
        if !self.made.insert(path.clone()) {
            return Ok(());
        }
        if let Some(dir) = path
            .parent()
            .and_then(Path::to_str)
            .filter(|dir| !dir.is_empty())
        {
            self.directory(dir)?;
        }
        let mode = if name == "tmp" { 0o1777 } else { 0o755 };
        Ok(self.tar.append_data(
            &mut header(tar::EntryType::Directory, mode),
            name,
            std::io::empty(),
        )?)
    }

    fn link(&mut self, name: &str, target: &str) -> Result<()> {
        Ok(self
            .tar
            .append_link(&mut header(tar::EntryType::Symlink, 0o777), name, target)?)
    }

    fn finish(self) -> Result<Vec<u8>> {
        Ok(self.tar.into_inner()?)
    }
}

fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

fn program(name: &str, package: &str) -> Result<PathBuf> {
    for dir in ["/usr/sbin", "/usr/bin", "/bin", "/sbin"] {
        let path = Path::new(dir).join(name);
        if path.exists() {
            return Ok(path);
        }
    }
    bail!("{name}: install Debian's package {package} (cargo xtask test does)")
}
