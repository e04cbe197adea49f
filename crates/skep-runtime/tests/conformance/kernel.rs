//! Devices, kernel settings, limits.

use serde_json::{Value, json};

use crate::Expect::{Refused, Says};
use crate::{Row, check};

#[test]
fn devices_kernel_settings_and_limits() {
    let fifo = json!([{ "path": "/dev/pipe", "type": "p", "fileMode": 0o600, "uid": 1, "gid": 2 }]);
    let errno = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }],
    });
    let rows: [Row; 13] = [
        (
            "/linux/devices",
            fifo,
            "stat -c '%F %a %u %g' /dev/pipe",
            Says("fifo 600 1 2"),
        ),
        (
            "",
            Value::Null,
            "for d in null zero full random urandom tty; do test -c /dev/$d || echo $d; done; readlink /dev/ptmx; readlink /dev/fd",
            Says("pts/ptmx\n/proc/self/fd"),
        ),
        (
            "/linux/sysctl",
            json!({ "net.ipv4.ip_default_ttl": "33" }),
            "cat /proc/sys/net/ipv4/ip_default_ttl",
            Says("33"),
        ),
        (
            "/linux/sysctl",
            json!({ "no.such.thing": "1" }),
            "true",
            Refused("/proc/sys/no/such/thing"),
        ),
        (
            "/linux/seccomp",
            errno,
            "mkdir /tmp/x 2>&1 | grep -o 'No space left'",
            Says("No space left"),
        ),
        (
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_NOTIFY" }),
            "true",
            Refused("SCMP_ACT_NOTIFY"),
        ),
        (
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }] }),
            "true",
            Refused("SCMP_ACT_NOTIFY"),
        ),
        (
            "/linux/personality",
            json!({ "domain": "LINUX32" }),
            "uname -m",
            Says("i686"),
        ),
        (
            "/linux/intelRdt",
            json!({ "closID": "x" }),
            "true",
            Refused("linux.intelRdt is not supported"),
        ),
        (
            "/linux/resources",
            json!({ "pids": { "limit": 7 } }),
            "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true",
            Says("7"),
        ),
        (
            "/linux/cgroupsPath",
            json!("/a/../../b"),
            "true",
            Refused("leads upwards"),
        ),
        (
            "/linux/resources",
            json!({ "devices": [{ "allow": false, "access": "rwm" }] }),
            "mknod /tmp/f c 1 1; cat /tmp/f 2>&1 | grep -o 'not permitted'; head -c 3 /dev/zero | wc -c | tr -d ' '",
            Says("not permitted\n3"),
        ),
        (
            "/linux/timeOffsets",
            json!({ "boottime": { "secs": 1 } }),
            "true",
            Says(""),
        ),
    ];
    // Two rows are about this architecture, or one that this machine need not be.
    let is_x86 = cfg!(target_arch = "x86_64");
    rows.into_iter()
        .filter(|row| is_x86 || row.0 != "/linux/personality")
        .for_each(check);
}
