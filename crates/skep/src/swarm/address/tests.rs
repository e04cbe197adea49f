use super::*;

fn address(interface: &str, ip: &str) -> HostAddress {
    HostAddress {
        interface: interface.into(),
        ip: ip.parse().unwrap(),
        is_up: true,
        is_ours: interface == "docker0",
    }
}

fn host(addresses: &[(&str, &str)]) -> Addresses {
    Addresses::new(addresses.iter().map(|(i, a)| address(i, a)).collect())
}

fn simple() -> Addresses {
    host(&[
        ("lo", "127.0.0.1"),
        ("docker0", "172.17.0.1"),
        ("eth0", "10.1.1.5"),
        ("eth0", "fe80::1"),
    ])
}

#[track_caller]
fn check_advertise(host: &Addresses, told: &str, expect: &str) {
    let listen = host.listen("").unwrap();
    let got = match host.advertise(told, None, listen) {
        Ok(address) => address.to_string(),
        Err(error) => error.to_string(),
    };
    assert_eq!(got, expect);
}

#[test]
fn the_only_address_is_advertised() {
    check_advertise(&simple(), "", "10.1.1.5:2377");
    check_advertise(
        &host(&[("lo", "127.0.0.1"), ("eth0", "2001:db8::7")]),
        "",
        "[2001:db8::7]:2377",
    );
    check_advertise(
        &host(&[("lo", "127.0.0.1")]),
        "",
        "could not find the system's IP address",
    );
}

#[test]
fn several_addresses_are_refused_by_name() {
    check_advertise(
        &host(&[("eth0", "10.1.1.5"), ("eth1", "10.2.2.5")]),
        "",
        "could not choose an IP address to advertise since this system has multiple addresses on \
         different interfaces (10.1.1.5 on eth0 and 10.2.2.5 on eth1)",
    );
    check_advertise(
        &host(&[("eth0", "10.1.1.5"), ("eth0", "10.1.1.6")]),
        "",
        "could not choose an IP address to advertise since this system has multiple addresses on \
         interface eth0 (10.1.1.5 and 10.1.1.6)",
    );
}

#[test]
fn an_address_or_interface_is_taken_as_told() {
    check_advertise(&simple(), "192.0.2.1", "192.0.2.1:2377");
    check_advertise(&simple(), "192.0.2.1:4000", "192.0.2.1:4000");
    check_advertise(&simple(), "eth0", "10.1.1.5:2377");
    check_advertise(&simple(), "eth0:99", "10.1.1.5:99");
    let bad = AddressError::BadAdvertise.to_string();
    check_advertise(&simple(), "eth9", &bad);
    check_advertise(&simple(), "0.0.0.0", &bad);
    check_advertise(&simple(), "eth0:x", &bad);
}

#[test]
fn what_is_listened_on_is_advertised_unless_it_is_all() {
    let host = host(&[("eth0", "10.1.1.5"), ("eth1", "10.2.2.5")]);
    let listen = host.listen("eth1:7000").unwrap();
    assert_eq!(
        host.advertise("", None, listen).unwrap().to_string(),
        "10.2.2.5:7000"
    );
    assert_eq!(
        host.advertise("", Some("eth0"), listen)
            .unwrap()
            .to_string(),
        "10.1.1.5:7000"
    );
    assert_eq!(host.listen("nope"), Err(AddressError::BadListen));
    assert_eq!(
        host.listen("127.0.0.1").unwrap().to_string(),
        "127.0.0.1:2377"
    );
}

#[test]
fn a_host_that_moved_advertises_what_its_interface_has_now() {
    let check = |now: &[(&str, &str)], default: Option<&str>, expect: &str| {
        let before = "10.1.1.5:4000".parse().unwrap();
        let got = match host(now).moved(before, "eth0", default) {
            Ok(address) => address.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "{now:?}");
    };
    let (eth0, eth1) = (("eth0", "10.9.9.5"), ("eth1", "10.2.2.5"));
    check(&[("eth1", "10.1.1.5"), eth0], None, "10.1.1.5:4000");
    check(&[eth1, eth0], None, "10.9.9.5:4000");
    check(&[eth1, eth0], Some("eth1"), "10.2.2.5:4000");
    check(&[("eth1", "10.2.2.5")], None, "10.2.2.5:4000");
    check(
        &[eth1, ("eth2", "10.3.3.5")],
        None,
        "could not choose an IP address to advertise since this system has multiple addresses on \
         different interfaces (10.2.2.5 on eth1 and 10.3.3.5 on eth2)",
    );
}

#[test]
fn a_data_path_has_no_port() {
    assert_eq!(simple().data_path("").unwrap(), None);
    assert_eq!(
        simple().data_path("eth0").unwrap().unwrap().to_string(),
        "10.1.1.5"
    );
    assert_eq!(
        simple().data_path("10.0.0.1:80"),
        Err(AddressError::BadDataPath)
    );
}

#[test]
fn a_manager_without_port_gets_the_default_one() {
    assert_eq!(with_default_port("10.1.1.1").unwrap(), "10.1.1.1:2377");
    assert_eq!(with_default_port("10.1.1.1:99").unwrap(), "10.1.1.1:99");
    assert_eq!(with_default_port("::1").unwrap(), "[::1]:2377");
    assert_eq!(
        with_default_port("host.example:7").unwrap(),
        "host.example:7"
    );
    assert_eq!(with_default_port("host:x"), None);
}

#[test]
fn the_kernel_lists_loopback() {
    let all = host_addresses(|_| false).unwrap();
    assert!(all.iter().any(|a| a.ip.is_loopback()));
}
