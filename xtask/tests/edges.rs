//! The edges between crates are those of ARCHITECTURE.md, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const ALLOWED: [(&str, &[&str]); 13] = [
    (
        "skep",
        &[
            "skep-agent",
            "skep-cli",
            "skep-engine",
            "skep-manager",
            "skep-net",
            "skep-objects",
            "skep-rpc",
            "skep-runtime",
            "skep-store",
            "skep-testkit",
        ],
    ),
    ("skep-cli", &["skep-objects"]),
    ("skep-agent", &["skep-engine", "skep-rpc", "skep-objects"]),
    ("skep-manager", &["skep-store", "skep-rpc", "skep-objects"]),
    ("skep-engine", &["skep-runtime", "skep-net", "skep-objects"]),
    ("skep-store", &["skep-objects"]),
    ("skep-rpc", &["skep-objects"]),
    ("skep-net", &["skep-objects"]),
    ("skep-objects", &[]),
    ("skep-runtime", &[]),
    (
        "skep-fuzz",
        &[
            "skep",
            "skep-cli",
            "skep-engine",
            "skep-net",
            "skep-objects",
            "skep-rpc",
            "skep-runtime",
            "skep-store",
        ],
    ),
    ("skep-testkit", &[]),
    ("xtask", &[]),
];

#[test]
fn crates_depend_only_on_what_the_table_allows() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let Some(allowed) = allowed.get(name) else {
            panic!("{name} is not in the table of edges")
        };
        let edges: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            // Tests may look wider than the code they test.
            .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|dependency| dependency.starts_with("skep"))
            .collect();
        for edge in edges {
            assert!(
                allowed.contains(&edge),
                "{name} -> {edge} is no allowed edge"
            );
        }
    }
}
