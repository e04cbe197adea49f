//! `tmpcopyup`: a tmpfs that starts with what it covers.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

/// A small directory tree, held in memory between covering and filling.
#[derive(Debug)]
pub(crate) struct Tree {
    mode: u32,
    owner: (u32, u32),
    entries: Vec<(std::ffi::OsString, Node)>,
}

#[derive(Debug)]
enum Node {
    Directory(Tree),
    File {
        mode: u32,
        owner: (u32, u32),
        bytes: Vec<u8>,
    },
    Link {
        owner: (u32, u32),
        target: std::path::PathBuf,
    },
}

impl Tree {
    pub(crate) fn read(dir: &Path) -> io::Result<Self> {
        let meta = fs::metadata(dir)?;
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let (meta, path) = (entry.metadata()?, entry.path());
            let owner = (meta.uid(), meta.gid());
            let node = if meta.is_dir() {
                Node::Directory(Self::read(&path)?)
            } else if meta.is_symlink() {
                Node::Link {
                    owner,
                    target: fs::read_link(&path)?,
                }
            } else if meta.is_file() {
                Node::File {
                    mode: meta.mode() & 0o7777,
                    owner,
                    bytes: fs::read(&path)?,
                }
            } else {
                continue; // sockets and pipes mean nothing to a new container
            };
            entries.push((entry.file_name(), node));
        }
        Ok(Self {
            mode: meta.mode() & 0o7777,
            owner: (meta.uid(), meta.gid()),
            entries,
        })
    }

    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        for (name, node) in &self.entries {
            let path = dir.join(name);
            match node {
                Node::Directory(tree) => {
                    fs::create_dir(&path)?;
                    tree.write(&path)?;
                }
                Node::File { mode, owner, bytes } => {
                    fs::write(&path, bytes)?;
                    chown(&path, Some(owner.0), Some(owner.1))?;
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
                }
                Node::Link { owner, target } => {
                    symlink(target, &path)?;
                    lchown(&path, Some(owner.0), Some(owner.1))?;
                }
            }
        }
        chown(dir, Some(self.owner.0), Some(self.owner.1))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(self.mode))
    }
}
