//! skep's command line against recordings of Docker's: the same words to the same daemon must give
//! the same requests, texts and exit codes.
//!
//! The daemon is a fake one that answers out of `golden/cli/world.json`; it answered Docker's client
//! 28.2 when the cases were recorded. Cases are in `golden/cli/*.json`, a file a group.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

mod fake;
mod same;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use fake::FakeDaemon;

#[derive(Debug, Deserialize)]
struct Case {
    line: String,
    code: i32,
    stdout: String,
    stderr: String,
    requests: Vec<Value>,
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/cli")
        .join(name)
}

/// The words of a line, as a shell has them.
fn words(line: &str) -> Vec<String> {
    let (mut all, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    for letter in line.chars() {
        match (letter, quote) {
            (c, Some(q)) if c == q => quote = None,
            (c, Some(_)) => word.push(c),
            ('"' | '\'', None) => (quote, begun) = (Some(letter), true),
            (' ', None) => {
                if begun || !word.is_empty() {
                    all.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (c, None) => word.push(c),
        }
    }
    if begun || !word.is_empty() {
        all.push(word);
    }
    all
}

/// Runs every case of a group, and tells all that differ.
fn check(group: &str) {
    let dir = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(golden("files")).unwrap() {
        let file = file.unwrap().path();
        std::fs::copy(&file, dir.path().join(file.file_name().unwrap())).unwrap();
    }
    let daemon = FakeDaemon::start(&dir.path().join("d.sock"), &golden("world.json"));
    let text = std::fs::read_to_string(golden(&format!("{group}.json"))).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    assert!(!cases.is_empty());
    let differ: Vec<String> = cases
        .iter()
        .filter_map(|case| compare(case, dir.path(), &daemon))
        .collect();
    assert!(
        differ.is_empty(),
        "{} of {} cases differ:\n{}",
        differ.len(),
        cases.len(),
        differ.join("\n")
    );
}

fn compare(case: &Case, dir: &Path, daemon: &FakeDaemon) -> Option<String> {
    daemon.forget();
    let output = Command::new(env!("CARGO_BIN_EXE_skep"))
        .args(words(&case.line))
        .current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", dir)
        .env("DOCKER_CONFIG", dir.join(".docker"))
        .env(
            "DOCKER_HOST",
            format!("unix://{}", dir.join("d.sock").display()),
        )
        .env("FROM_ENV", "from env")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        same::text(&text.replace(&*dir.to_string_lossy(), "$DIR"), &case.line)
    };
    let requests = daemon.seen(&dir.to_string_lossy());
    let got = (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
        same::requests(&requests, &case.line),
    );
    let expected = (
        Some(case.code),
        same::text(&case.stdout, &case.line),
        same::text(&case.stderr, &case.line),
        same::requests(&case.requests, &case.line),
    );
    (got != expected).then(|| format!("--- {}\n{got:#?}\n--- docker's\n{expected:#?}", case.line))
}

#[test]
fn service_create() {
    check("create");
}

#[test]
fn service_update_scale_rollback_and_rm() {
    check("update");
}

#[test]
fn service_ls_ps_and_inspect() {
    check("show");
}

#[test]
fn secrets_configs_nodes_and_the_swarm() {
    check("objects");
}

#[test]
fn stacks() {
    check("stack");
}
