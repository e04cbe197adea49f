//! Bridges, published ports, names.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use skep_engine::{CreateContainer, RemoveOptions};
use skep_objects::ErrorKind;
use skep_objects::api::container::{Config, HostConfig, PortBinding};
use skep_objects::api::network::{
    EndpointSettings, NetworkConnect, NetworkCreate, NetworkDisconnect,
};

use crate::bench::{Bench, on};
use crate::namespace::in_own_network;

/// Serves a page on port 80.
pub const SERVER: &str = "exec httpd -f -p 80 -h /www";
/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

fn fetch(ip: Ipv4Addr, port: u16) -> std::io::Result<String> {
    let mut text = String::new();
    let mut stream = TcpStream::connect_timeout(&(ip, port).into(), Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /page HTTP/1.0\r\n\r\n")?;
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// The page, from a server that has just been started.
pub fn fetch_soon(ip: Ipv4Addr, port: u16) -> String {
    let begun = std::time::Instant::now();
    loop {
        match fetch(ip, port) {
            Ok(text) => return text,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_port_answers_and_is_taken_once() {
    if !in_own_network("network::a_published_port_answers_and_is_taken_once") {
        return;
    }
    let bench = Bench::with_bridge().await;
    let publish = |port: &str| {
        let binding = PortBinding {
            host_ip: "127.0.0.1".to_owned(),
            host_port: port.to_owned(),
        };
        HostConfig {
            port_bindings: Some([("80/tcp".to_owned(), Some(vec![binding]))].into()),
            ..on("bridge")
        }
    };
    let id = bench.start("web", SERVER, publish("8111")).await;
    let inspect = bench.engine.inspect(&id, false).await.unwrap();
    assert_eq!(inspect.network_settings.ip_address, "172.17.0.2");
    let ports = inspect.network_settings.ports.unwrap();
    assert_eq!(ports["80/tcp"].as_ref().unwrap()[0].host_port, "8111");
    assert!(fetch_soon(Ipv4Addr::LOCALHOST, 8111).ends_with("honey\n"));
    let config = Config {
        image: "busybox".into(),
        cmd: Some(vec!["sleep".into(), "9".into()]),
        ..Config::default()
    };
    let request = CreateContainer {
        config,
        host_config: publish("8111"),
        ..CreateContainer::default()
    };
    let second = bench.engine.create_container(request).await.unwrap().id;
    let error = bench.engine.start(&second).await.unwrap_err().to_string();
    assert!(
        error.contains("Bind for 127.0.0.1:8111 failed: port is already allocated"),
        "{error}"
    );
    bench
        .engine
        .remove(
            &id,
            RemoveOptions {
                force: true,
                ..RemoveOptions::default()
            },
        )
        .await
        .unwrap();
    assert!(fetch(Ipv4Addr::LOCALHOST, 8111).is_err());
    bench.engine.start(&second).await.unwrap();
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_network_find_each_other_by_name() {
    if !in_own_network("network::containers_of_a_network_find_each_other_by_name") {
        return;
    }
    let bench = Bench::with_bridge().await;
    let networks = bench.engine.networks();
    let made = networks
        .create(NetworkCreate {
            name: "hive".to_owned(),
            ..NetworkCreate::default()
        })
        .await
        .unwrap();
    let again = networks
        .create(NetworkCreate {
            name: "hive".to_owned(),
            ..NetworkCreate::default()
        })
        .await
        .unwrap_err();
    assert_eq!(again.to_string(), "network with name hive already exists");
    let web = bench.start("web", SERVER, on("hive")).await;
    let client = bench
        .start(
            "",
            "until wget -qO- http://web/page; do :; done; cat /etc/resolv.conf",
            on("hive"),
        )
        .await;
    let output = bench.whole_output(&client).await;
    assert!(
        output.contains("honey\n") && output.contains("nameserver 127.0.0.11"),
        "{output}"
    );
    let shown = networks.inspect("hive", false).await.unwrap();
    assert_eq!(
        (
            shown.id.as_str(),
            shown.containers.unwrap()[&web].ipv4_address.as_str()
        ),
        (made.id.as_str(), "172.18.0.2/16")
    );
    let refused = networks.remove("hive").await.unwrap_err();
    assert!(
        refused.to_string().contains("has active endpoints"),
        "{refused}"
    );
    assert_eq!(
        networks.remove("bridge").await.unwrap_err().kind(),
        ErrorKind::NotAllowed
    );
    bench
        .engine
        .remove(
            "web",
            RemoveOptions {
                force: true,
                ..RemoveOptions::default()
            },
        )
        .await
        .unwrap();
    networks.remove("hive").await.unwrap();
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_container_joins_and_leaves_networks() {
    if !in_own_network("network::a_running_container_joins_and_leaves_networks") {
        return;
    }
    let bench = Bench::with_bridge().await;
    let networks = bench.engine.networks();
    networks
        .create(NetworkCreate {
            name: "hive".to_owned(),
            ..NetworkCreate::default()
        })
        .await
        .unwrap();
    let web = bench.start("web", SERVER, on("bridge")).await;
    let connect = || NetworkConnect {
        container: "web".to_owned(),
        endpoint_config: None,
    };
    networks.connect("hive", connect()).await.unwrap();
    let error = networks
        .connect("hive", connect())
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "endpoint with name web already exists in network hive"
    );
    let client = bench
        .start(
            "",
            "until wget -qO- http://web/page; do :; done",
            on("hive"),
        )
        .await;
    assert!(bench.whole_output(&client).await.ends_with("honey\n"));
    // It is named in `/etc/hosts` by each address that it has.
    let path = bench.engine.inspect(&web, false).await.unwrap().hosts_path;
    let own = || {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text
            .lines()
            .filter(|line| line.ends_with(&format!("\t{}", &web[..12])));
        lines.map(|line| line[..7].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(own(), ["172.17.", "172.18."]);
    let disconnect = NetworkDisconnect {
        container: web.clone(),
        force: false,
    };
    networks.disconnect("hive", disconnect).await.unwrap();
    assert_eq!(own(), ["172.17."]);
    let shown = bench
        .engine
        .inspect(&web, false)
        .await
        .unwrap()
        .network_settings
        .networks;
    assert_eq!(shown.keys().collect::<Vec<_>>(), ["bridge"]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_ports_come_with_a_network_that_is_joined_later() {
    if !in_own_network("network::links_and_ports_come_with_a_network_that_is_joined_later") {
        return;
    }
    let bench = Bench::with_bridge().await;
    let networks = bench.engine.networks();
    for (name, internal) in [("hive", false), ("inner", true)] {
        let request = NetworkCreate {
            name: name.to_owned(),
            internal,
            ..NetworkCreate::default()
        };
        networks.create(request).await.unwrap();
    }
    bench.start("web", SERVER, on("hive")).await;
    let binding = PortBinding {
        host_ip: String::new(),
        host_port: "8225".to_owned(),
    };
    let host = HostConfig {
        port_bindings: Some([("80/tcp".to_owned(), Some(vec![binding]))].into()),
        ..on("inner")
    };
    let command = "until wget -qO- http://wax/page; do :; done; sleep 1000";
    let late = bench.start("late", command, host).await;
    let ports = async || {
        let shown = bench.engine.inspect(&late, false).await.unwrap();
        let ports = shown.network_settings.ports.unwrap();
        ports["80/tcp"].as_ref().map_or(0, Vec::len)
    };
    // Nothing leads out of an internal network, and nothing in.
    assert_eq!(ports().await, 0);
    let link = EndpointSettings {
        links: Some(vec!["web:wax".to_owned()]),
        ..EndpointSettings::default()
    };
    let connect = NetworkConnect {
        container: late.clone(),
        endpoint_config: Some(link),
    };
    networks.connect("hive", connect).await.unwrap();
    assert_ne!(ports().await, 0);
    let begun = std::time::Instant::now();
    while !bench.output(&late).await.ends_with("honey\n") {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_out_and_the_ports_move_with_the_networks() {
    if !in_own_network("network::the_way_out_and_the_ports_move_with_the_networks") {
        return;
    }
    let bench = Bench::with_bridge().await;
    let networks = bench.engine.networks();
    for name in ["after", "before"] {
        let request = NetworkCreate {
            name: name.to_owned(),
            ..NetworkCreate::default()
        };
        networks.create(request).await.unwrap();
    }
    let binding = PortBinding {
        host_ip: String::new(),
        host_port: "8223".to_owned(),
    };
    let host = HostConfig {
        port_bindings: Some([("80/tcp".to_owned(), Some(vec![binding]))].into()),
        ..on("after")
    };
    let id = bench.start("web", SERVER, host).await;
    assert!(fetch_soon(Ipv4Addr::LOCALHOST, 8223).ends_with("honey\n"));
    let connect = NetworkConnect {
        container: id.clone(),
        endpoint_config: None,
    };
    networks.connect("before", connect).await.unwrap();
    assert!(fetch_soon(Ipv4Addr::LOCALHOST, 8223).ends_with("honey\n"));
    // What the ports and the default route went by is gone; another network takes its place.
    let disconnect = NetworkDisconnect {
        container: id.clone(),
        force: false,
    };
    networks.disconnect("after", disconnect).await.unwrap();
    assert!(fetch_soon(Ipv4Addr::LOCALHOST, 8223).ends_with("honey\n"));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_daemon_keeps_ports_and_addresses() {
    if !in_own_network("network::a_restart_of_the_daemon_keeps_ports_and_addresses") {
        return;
    }
    let bench = Bench::with_bridge().await;
    let binding = PortBinding {
        host_ip: String::new(),
        host_port: "8222".to_owned(),
    };
    let host = HostConfig {
        port_bindings: Some([("80/tcp".to_owned(), Some(vec![binding]))].into()),
        ..on("bridge")
    };
    let id = bench.start("web", SERVER, host).await;
    let before = bench
        .engine
        .inspect(&id, false)
        .await
        .unwrap()
        .network_settings
        .ip_address;
    let gone = bench.gone().await;
    assert!(fetch_soon(Ipv4Addr::LOCALHOST, 8222).ends_with("honey\n"));
    let bench = gone.back().await;
    assert!(
        fetch(Ipv4Addr::LOCALHOST, 8222)
            .unwrap()
            .ends_with("honey\n")
    );
    let after = bench
        .engine
        .inspect(&id, false)
        .await
        .unwrap()
        .network_settings
        .ip_address;
    assert_eq!(before, after);
    let other = bench.start("", "sleep 100", on("bridge")).await;
    let other = bench
        .engine
        .inspect(&other, false)
        .await
        .unwrap()
        .network_settings
        .ip_address;
    assert_ne!(before, other);
    bench.end().await;
}
