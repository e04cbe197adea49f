//! Runtimes by their command lines: ours, and Debian's runc.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Bundle, harness};

/// A runtime's command line.
pub struct Runtime {
    pub program: PathBuf,
    pub leading: Vec<String>,
    pub root: PathBuf,
}

impl Runtime {
    pub fn ours(bundle: &Bundle) -> Self {
        Self {
            program: harness(),
            leading: vec!["oci".into()],
            root: bundle.dir.join("root"),
        }
    }

    pub fn runc(bundle: &Bundle) -> Self {
        let program = ["/usr/sbin/runc", "/usr/bin/runc"]
            .into_iter()
            .map(PathBuf::from)
            .find(|p| p.exists());
        Self {
            program: program.expect("install runc"),
            leading: vec![],
            root: bundle.dir.join("runc-root"),
        }
    }

    pub fn call(&self, args: &[&str]) -> Output {
        Command::new(&self.program)
            .args(&self.leading)
            .arg("--root")
            .arg(&self.root)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.call(args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn fails(&self, args: &[&str]) -> String {
        let output = self.call(args);
        assert!(!output.status.success(), "{args:?} succeeded");
        String::from_utf8_lossy(&output.stderr).trim().to_owned()
    }

    pub fn run(&self, bundle: &Bundle) -> (i32, String, String) {
        bundle.write();
        let output = self.call(&["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code().unwrap(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    pub fn status(&self, id: &str) -> Value {
        serde_json::from_str(&self.ok(&["state", id])).unwrap()
    }
}

/// Created containers keep the caller's streams, so a pipe to us would not end.
pub fn silent(runtime: &Runtime, args: &[&str]) {
    let status = Command::new(&runtime.program)
        .args(&runtime.leading)
        .arg("--root")
        .arg(&runtime.root)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "{args:?}");
}
