//! Flags of `container run` and `container create`.

macro_rules! create_flags {
    () => {
        "
--add-host list
--annotation map @1.43
-a, --attach list
--blkio-weight uint16
--blkio-weight-device list
--cap-add list
--cap-drop list
--cgroup-parent string
--cgroupns string @1.41
--cidfile string
--cpu-count int @windows
--cpu-percent int @windows
--cpu-period int
--cpu-quota int
--cpu-rt-period int @1.25
--cpu-rt-runtime int @1.25
-c, --cpu-shares int
--cpus decimal @1.25
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
--dns-opt list @as:dns-option
--dns-option list
--dns-search list
--domainname string
--entrypoint string
-e, --env list
--env-file list
--expose list
--gpus gpu-request @1.40
--group-add list
--health-cmd string
--health-interval duration
--health-retries int
--health-start-interval duration @1.44
--health-start-period duration @1.29
--health-timeout duration
--help
-h, --hostname string
--init @1.25
-i, --interactive
--io-maxbandwidth bytes @windows
--io-maxiops uint @windows
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
--net network @as:network
--net-alias list @as:network-alias
--network network
--network-alias list
--no-healthcheck
--oom-kill-disable
--oom-score-adj int
--pid string
--pids-limit int
--platform string @1.32
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
--stop-timeout int @1.25
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
