use super::*;

fn build(line: &str) -> Result<Config, ConfigError> {
    let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Config::build(&Given::parse(&args).expect("good flags"))
}

#[test]
fn settings_reach_the_engine() {
    let config = build(
        "--data-root /d --exec-root /e --bip 10.9.0.1/24 --mtu 1400 --label a=b --dns 1.1.1.1 \
         --default-address-pool base=10.1.0.0/16,size=24 --default-shm-size 128m \
         --default-ulimit nofile=1:2 --log-opt max-size=1m --add-runtime r=/bin/r",
    )
    .expect("good");
    assert_eq!(config.engine.data_root, PathBuf::from("/d"));
    assert_eq!(config.pidfile, PathBuf::from("/e/skep.pid"));
    assert_eq!(
        config.engine.default_bridge.address.as_deref(),
        Some("10.9.0.1/24")
    );
    assert_eq!(config.engine.default_bridge.mtu, 1400);
    assert_eq!(config.engine.default_shm_size, 128 << 20);
    assert_eq!(config.engine.default_ulimits["nofile"], (1, 2));
    assert_eq!(config.engine.default_address_pools[0].size, 24);
    assert_eq!(config.engine.runtimes["r"], PathBuf::from("/bin/r"));
}

#[test]
fn what_changes_nothing_is_not_refused() {
    let line = "--iptables=true --ip6tables --rootless=false --exec-opt native.cgroupdriver=cgroupfs \
                --storage-driver overlay2 --feature containerd-snapshotter=true";
    assert!(build(line).expect("good").idle.is_empty());
    assert!(build("--live-restore=false").expect("good").stop_containers);
    assert!(!build("--live-restore").expect("good").stop_containers);
    assert!(build("--live-restore --stop-containers").is_err());
}

#[test]
fn registries_and_networks_are_set_up_as_said() {
    let config = build(
        "--max-concurrent-downloads 7 --https-proxy http://p:1 --no-proxy a,b --ipv6 \
         --fixed-cidr-v6 fd00:1::/64 --default-network-opt bridge=com.docker.network.driver.mtu=1400 \
         --feature cdi=false --host-gateway-ip 192.0.2.1",
    );
    let engine = config.expect("good").engine;
    assert_eq!(engine.registries.concurrent_downloads, 7);
    assert_eq!(engine.registries.concurrent_uploads, 5);
    assert_eq!(engine.registries.proxies.https, "http://p:1");
    assert_eq!(engine.registries.proxies.none_for, "a,b");
    assert!(engine.default_bridge.ipv6 && engine.cdi_spec_dirs.is_empty());
    let options = &engine.default_network_opts["bridge"];
    assert_eq!(options["com.docker.network.driver.mtu"], "1400");
    assert_eq!(engine.host_gateway_ips.len(), 1);
}

#[test]
fn tls_is_off_only_when_said_so() {
    assert_eq!(build("").expect("good").tls.enabled, None);
    assert_eq!(build("--tls=false").expect("good").tls.enabled, Some(false));
    assert_eq!(build("--tls").expect("good").tls.enabled, Some(true));
    let verify = build("--tlsverify").expect("good").tls;
    assert!(verify.verify && verify.enabled == Some(true));
}

#[test]
fn flags_without_meaning_are_told() {
    let config =
        build("--containerd /x --userland-proxy-path /y --storage-driver overlay2 --debug");
    let config = config.expect("good");
    assert_eq!(config.idle, ["containerd", "userland-proxy-path"]);
    assert_eq!(config.log_level, "debug");
}

#[test]
fn bad_values_are_refused_by_flag() {
    for line in [
        "--mtu x",
        "--label a",
        "--log-level loud",
        "--log-format xml",
        "--dns nowhere",
        "--default-address-pool base=10.0.0.0/8",
        "--default-ulimit nofile=x",
        "--node-generic-resource gpu",
        "--node-generic-resource gpu=-1",
        "--node-generic-resource gpu=UUID1,gpu=2",
        "--service-extras magic",
        "--default-shm-size big",
        "--storage-driver zfs",
        "--storage-opt overlay2.size=1G",
        "--exec-opt native.cgroupdriver=systemd",
        "--feature x=maybe",
        "--iptables=false",
        "--rootless",
        "--init-path /x",
        "--firewall-backend iptables",
        "--oom-score-adjust 2000",
        "--max-concurrent-downloads -1",
        "--bip 10.9.0.1",
        "--bip 10.9.0.1/24 --bridge br0",
        "--bip6 10.9.0.1/24",
        "--fixed-cidr fd00::/64",
        "--default-gateway ::1",
        "--host-gateway-ip x",
        "--default-network-opt bridge=x",
        "--ip ::",
    ] {
        let refusal = build(line).expect_err(line).to_string();
        let flag = line.split([' ', '=']).next().expect("a flag");
        assert!(
            refusal.starts_with(&format!("invalid value for {flag}: ")),
            "{refusal}"
        );
    }
    let refusal = build("--label a=1 --label a=2")
        .expect_err("conflict")
        .to_string();
    assert!(
        refusal.ends_with("conflict labels for a=2 and a=1"),
        "{refusal}"
    );
}
