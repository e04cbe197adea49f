//! Each parser for a moment. `cargo xtask fuzz NAME SECONDS` runs one longer.

use std::time::Duration;

/// So many inputs, or so much time on a slow machine.
const MOST: u64 = 3_000;
const TIME: Duration = Duration::from_secs(3);

fn briefly(name: &str) {
    let target = skep_fuzz::find(name).expect("a target of this name");
    let given = std::env::var("SKEP_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("SKEP_SEED={seed} replays this");
    let outcome = skep_fuzz::drive(&target, seed, MOST, TIME);
    let count = outcome.inputs;
    assert!(count > 10, "only {count} inputs");
}

#[test]
fn every_target_has_a_test() {
    let names: Vec<_> = skep_fuzz::TARGETS
        .iter()
        .map(|target| target.name)
        .collect();
    assert_eq!(names, TESTED);
}

macro_rules! targets {
    ($($name:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                briefly(stringify!($name));
            }
        )*
    };
}

targets! {
    image_reference
    tar_layer
    image_archive
    manifest
    create_container
    service_spec
    multiplexed
    dns_packet
    wal_record
    raft_entry
    snapshot
    rpc_message
    stack_file
    oci_config
    user_files
    join_token
    request_body
    swarm_body
    registry_auth
    log_record
    shim_frame
    netlink_answer
    template
    task_template
}
