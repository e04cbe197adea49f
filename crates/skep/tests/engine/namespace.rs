//! Tests that have the kernel's network for themselves.

use std::process::Command;

/// Whether this process is in a namespace of its own; if not, the test was run in one instead: it starts
/// itself again below `unshare --net`. `test` is its name with its module.
pub fn in_own_network(test: &str) -> bool {
    if std::env::var_os("SKEP_TEST_NETNS").is_some() {
        assert!(
            Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status()
                .unwrap()
                .success()
        );
        return true;
    }
    let status = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("SKEP_TEST_NETNS", "1")
        .status()
        .unwrap();
    assert!(status.success());
    false
}
