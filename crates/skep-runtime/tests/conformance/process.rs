//! Properties of the process.

use std::path::Path;

use serde_json::{Value, json};

use crate::Expect::{Refused, Says};
use crate::{Row, check};

#[test]
fn properties_of_the_process() {
    let limits = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
    let user = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 7], "umask": 0o27 });
    let kill = json!(["CAP_KILL"]);
    let capabilities = json!({
        "bounding": kill, "effective": kill, "permitted": kill, "inheritable": [], "ambient": [],
    });
    let status = "/proc/self/status";
    let rows: [Row; 17] = [
        (
            "/process/env",
            json!(["PATH=/bin", "A=b c"]),
            "echo $A",
            Says("b c"),
        ),
        ("/process/cwd", json!("/tmp"), "pwd", Says("/tmp")),
        (
            "/process/cwd",
            json!("tmp"),
            "pwd",
            Refused("Cwd must be an absolute path"),
        ),
        (
            "/process/args",
            json!([]),
            "true",
            Refused("args must not be empty"),
        ),
        (
            "/process/args",
            json!(["nope"]),
            "true",
            Refused("executable file not found in $PATH"),
        ),
        (
            "/process/user",
            user,
            "id -u; id -g; id -G; umask",
            Says("1000\n1001\n1001 5 7\n0027"),
        ),
        (
            "/process/rlimits",
            limits.clone(),
            "ulimit -Sn; ulimit -Hn",
            Says("100\n200"),
        ),
        (
            "/process/rlimits",
            json!([limits[0], limits[0]]),
            "true",
            Refused("RLIMIT_NOFILE"),
        ),
        (
            "/process/rlimits",
            json!([{ "type": "RLIMIT_NOTHING", "soft": 1, "hard": 1 }]),
            "true",
            Refused("RLIMIT_NOTHING"),
        ),
        (
            "/process/noNewPrivileges",
            json!(true),
            "grep NoNewPrivs /proc/self/status | cut -f2",
            Says("1"),
        ),
        (
            "/process/capabilities",
            capabilities,
            "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f2",
            Says(
                "0000000000000000\n0000000000000020\n0000000000000020\n0000000000000020\n0000000000000000",
            ),
        ),
        (
            "/process/oomScoreAdj",
            json!(77),
            "cat /proc/self/oom_score_adj",
            Says("77"),
        ),
        (
            "/process/ioPriority",
            json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 }),
            "ionice",
            Says("idle"),
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_BATCH", "nice": 5 }),
            "cut -d' ' -f19,41 /proc/self/stat",
            Says("5 3"),
        ),
        (
            "/process/execCPUAffinity",
            json!({ "initial": "0", "final": "0" }),
            "echo of no concern to the first process",
            Says("of no concern to the first process"),
        ),
        (
            "",
            Value::Null,
            "readlink /proc/self/fd/0",
            Says("/dev/null"),
        ),
        (
            "",
            Value::Null,
            "cat /proc/sys/kernel/hostname; echo $$",
            Says("box\n1"),
        ),
    ];
    assert!(Path::new(status).exists());
    rows.into_iter().for_each(check);
}
