//! An image registry that every host of a lab reaches.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::http::get_in;
use crate::running::Running;
use crate::wait::eventually;

/// Debian's docker-registry in a namespace of the lab.
#[derive(Debug)]
pub struct Registry {
    _process: Running,
    /// `address:port`, as images name it.
    pub name: String,
}

impl Registry {
    /// Starts one in a namespace; its files lie below `dir`.
    pub fn start(namespace: &Path, address: &str, dir: &Path) -> Result<Self> {
        let root = dir.join("registry");
        fs::create_dir_all(&root)?;
        let config = root.join("config.yml");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 0.0.0.0:5000\n",
            root.join("data").display()
        );
        fs::write(&config, text)?;
        let child = Command::new("nsenter")
            .arg(format!("--net={}", namespace.display()))
            .args(["--", "docker-registry", "serve"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context(
                "docker-registry: install Debian's package docker-registry (cargo xtask test does)",
            )?;
        let registry = Self {
            _process: Running(child),
            name: format!("{address}:5000"),
        };
        let server = registry.name.parse()?;
        eventually("the registry answers", || {
            get_in(namespace, server, "/v2/").map_err(|error| error.to_string())
        });
        Ok(registry)
    }
}
