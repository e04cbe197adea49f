//! Ansible for the client tests: its core and its modules for Docker, in the tests' Python.
//!
//! The package `ansible` brings some hundred collections; only Docker's are taken out of it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::run;

/// Ansible's core, and what its modules for stacks import.
const PACKAGES: [&str; 2] = ["ansible-core==2.19.14", "jsondiff==2.2.1"];
/// The package of all collections that goes with it.
const COLLECTIONS: &str = "ansible==12.3.0";

const UNPACK: &str = r#"
import glob, sys, zipfile
folder, target = sys.argv[1:]
wanted = ("docker", "library_inventory_filtering_v1")
starts = tuple(f"ansible_collections/community/{name}/" for name in wanted)
with zipfile.ZipFile(glob.glob(folder + "/ansible-*.whl")[0]) as wheel:
    for name in wheel.namelist():
        if name.startswith(starts) and "/tests/" not in name:
            wheel.extract(name, target)
"#;

/// Adds Ansible to the Python environment in this directory, unless it is there.
pub fn install(environment: &Path) -> Result<()> {
    let collections = environment.join("collections");
    let python = environment.join("bin/python");
    if environment.join("bin/ansible-playbook").exists() && collections.exists() {
        return Ok(());
    }
    let pip = |args: &[&str]| {
        let mut command = Command::new(&python);
        command.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
        command.args(args);
        command
    };
    run(pip(&["install"]).args(PACKAGES))?;
    let folder = environment.join("download");
    run(pip(&["download", "--no-deps", COLLECTIONS, "--dest"]).arg(&folder))?;
    run(Command::new(&python)
        .args(["-c", UNPACK])
        .arg(&folder)
        .arg(&collections))?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
