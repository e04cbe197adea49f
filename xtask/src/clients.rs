//! Other people's Python programs that tests run against skep: docker-py, and Ansible with its
//! modules for Docker, in an environment of their own, `target/clients`.
//!
//! The package `ansible` brings some hundred collections; only Docker's are taken out of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::run;

/// What is installed; a change of a version installs anew.
const PACKAGES: [&str; 4] = [
    "docker==7.1.0",
    // docker-py attaches by websocket with it.
    "websocket-client==1.8.0",
    "ansible-core==2.19.14",
    // Ansible's modules for stacks import it.
    "jsondiff==2.2.1",
];
/// The package of all collections that goes with this core.
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

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients")
}

/// Makes the environment, unless it is there as it should be.
pub fn install() -> Result<()> {
    let directory = directory();
    let stamp = directory.join("installed");
    let wanted = format!("{}\n{COLLECTIONS}\n", PACKAGES.join("\n"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    eprintln!(
        "xtask: installing {} into {}",
        PACKAGES.join(" "),
        directory.display()
    );
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&directory))
        .context("make a Python environment (Debian: python3-venv)")?;
    let python = directory.join("bin/python");
    let pip = |args: &[&str]| {
        let mut command = Command::new(&python);
        command.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
        command.args(args);
        command
    };
    run(pip(&["install"]).args(PACKAGES))?;
    let folder = directory.join("download");
    run(pip(&["download", "--no-deps", COLLECTIONS, "--dest"]).arg(&folder))?;
    run(Command::new(&python)
        .args(["-c", UNPACK])
        .arg(&folder)
        .arg(directory.join("collections")))?;
    std::fs::remove_dir_all(&folder)?;
    std::fs::write(&stamp, wanted)?;
    Ok(())
}
