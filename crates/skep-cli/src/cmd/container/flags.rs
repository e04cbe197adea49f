//! Flags of `container run` and `container create`, and which of them are refused.

use crate::error::CliError;
use crate::grammar::Matches;

macro_rules! create_flags {
    () => {
        "
--add-host list
--annotation map
-a, --attach list
--blkio-weight uint16
--blkio-weight-device list
--cap-add list
--cap-drop list
--cgroup-parent string
--cgroupns string
--cidfile string
--cpu-count int
--cpu-percent int
--cpu-period int
--cpu-quota int
--cpu-rt-period int
--cpu-rt-runtime int
-c, --cpu-shares int
--cpus decimal
--cpuset-cpus string
--cpuset-mems string
--device list
--device-cgroup-rule list
--device-read-bps list
--device-read-iops list
--device-write-bps list
--device-write-iops list
--disable-content-trust bool=true
--dns list
--dns-option list
--dns-search list
--domainname string
--entrypoint string
-e, --env list
--env-file list
--expose list
--gpus gpu-request
--group-add list
--health-cmd string
--health-interval duration
--health-retries int
--health-start-interval duration
--health-start-period duration
--health-timeout duration
-h, --hostname string
--init
-i, --interactive
--io-maxbandwidth bytes
--io-maxiops uint
--ip string
--ip6 string
--ipc string
--isolation string
--kernel-memory bytes
-l, --label list
--label-file list
--link list
--link-local-ip list
--log-driver string
--log-opt list
--mac-address string
-m, --memory bytes
--memory-reservation bytes
--memory-swap bytes
--memory-swappiness int
--mount mount
--name string
--network network
--network-alias list
--no-healthcheck
--oom-kill-disable
--oom-score-adj int
--pid string
--pids-limit int
--platform string
--privileged
-p, --publish list
-P, --publish-all
--pull string=missing
-q, --quiet
--read-only
--restart string=no
--rm
--runtime string
--security-opt list
--shm-size bytes
--stop-signal string
--stop-timeout int
--storage-opt list
--sysctl map
--tmpfs list
-t, --tty
--ulimit ulimit
--use-api-socket
-u, --user string
--userns string
--uts string
-v, --volume list
--volume-driver string
--volumes-from list
-w, --workdir string"
    };
}

/// Flags of `container create`.
pub(super) const CREATE: &str = create_flags!();

/// Flags of `container run`.
pub(super) const RUN: &str = concat!(
    create_flags!(),
    "\n-d, --detach\n--detach-keys string\n--sig-proxy bool=true"
);

/// Flags that Docker knows and that mean nothing here.
const REFUSED: [&str; 9] = [
    "cpu-count",
    "cpu-percent",
    "disable-content-trust",
    "gpus",
    "io-maxbandwidth",
    "io-maxiops",
    "kernel-memory",
    "use-api-socket",
    "isolation",
];

/// Refuses by name what would otherwise be ignored.
pub(super) fn refuse_unsupported(matches: &Matches) -> Result<(), CliError> {
    match REFUSED.iter().find(|flag| matches.given(flag)) {
        Some(flag) => Err(CliError::new(format!("--{flag} is not supported")).with_code(125)),
        None => Ok(()),
    }
}
