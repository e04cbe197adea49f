//! Networks of a swarm as users make them: both address families, the mesh's own network anew,
//! what is kept apart, and what is left when the last task has gone.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use skep_testkit::{Cluster, Host, Output, Registry, eventually, get_in};

struct Site {
    cluster: Cluster,
    client: PathBuf,
    image: String,
    _registry: Registry,
}

fn in_namespace(namespace: &Path, line: &str) {
    let output = Command::new("nsenter")
        .arg(format!("--net={}", namespace.display()))
        .arg("--")
        .args(line.split(' '))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {said}");
}

/// A command line on a host; `~` is a blank within a word.
fn run(host: &Host, line: &str) -> Output {
    let words = line.split_ascii_whitespace();
    let words: Vec<String> = words.map(|word| word.replace('~', " ")).collect();
    host.docker(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

impl Site {
    /// A manager and a worker, with addresses of both families.
    fn start() -> Self {
        let site = Cluster::managers(1)
            .workers(1)
            .with_nginx(env!("CARGO_BIN_EXE_skep"))
            .unwrap();
        let (cluster, client) = (site.cluster, site.client);
        for (n, host) in cluster.hosts.iter().enumerate() {
            let line = format!("ip -6 addr add fd99::{}/64 dev eth0 nodad", n + 1);
            in_namespace(&host.namespace, &line);
        }
        in_namespace(&client, "ip -6 addr add fd99::50/64 dev eth0 nodad");
        Self {
            cluster,
            client,
            image: site.image,
            _registry: site.registry,
        }
    }

    fn manager(&self) -> &Host {
        &self.cluster.hosts[0]
    }

    fn worker(&self) -> &Host {
        &self.cluster.hosts[1]
    }

    fn docker(&self, line: &str) -> String {
        run(self.manager(), line).ok()
    }

    fn refused(&self, line: &str) -> String {
        run(self.manager(), line).refused()
    }

    /// The page of an address, as seen from a namespace.
    fn page(&self, from: &Path, address: &str, path: &str) -> Result<String, String> {
        let address: SocketAddr = address.parse().unwrap();
        let answer = get_in(from, address, path).map_err(|e| format!("{address}: {e:#}"))?;
        if answer.status == 200 {
            Ok(answer.text())
        } else {
            Err(answer.head)
        }
    }

    fn create(&self, name: &str, flags: &str, command: &str) {
        let image = &self.image;
        self.docker(&format!(
            "service create --quiet --name {name} {flags} {image} {command}"
        ));
    }

    /// The container of a service on a host.
    fn container(&self, host: &Host, service: &str) -> String {
        let filter = format!("label=com.docker.swarm.service.name={service}");
        eventually(&format!("a container of {service}"), || {
            let id = host.docker(&["ps", "-q", "--filter", &filter]).ok();
            if id.is_empty() {
                Err("none".to_owned())
            } else {
                Ok(id)
            }
        })
    }

    fn networks(&self, host: &Host) -> Vec<String> {
        let listed = host
            .docker(&["network", "ls", "--format", "{{.Name}}"])
            .ok();
        listed.lines().map(str::to_owned).collect()
    }

    fn gone(&self, network: &str) {
        eventually(&format!("{network} leaves the worker"), || {
            let left = self.networks(self.worker());
            if left.iter().any(|n| n == network) {
                Err(format!("{left:?}"))
            } else {
                Ok(())
            }
        });
    }
}

/// A service on a network with both families, published: names, addresses, the mesh.
fn both_families(site: &Site) {
    site.docker("network create -d overlay --ipv6 --subnet 10.60.0.0/24 --subnet fd60::/64 dual");
    let shown = site.docker("network inspect --format {{.EnableIPv6}} dual");
    assert_eq!(shown, "true");
    let on_worker = "--constraint node.role==worker";
    site.create("web", &format!("--network dual -p 8080:80 {on_worker}"), "");
    site.create(
        "asker",
        "--network dual --constraint node.role==manager",
        "sleep 10000",
    );
    let asker = site.container(site.manager(), "asker");
    let exec = |line: &str| {
        let all = format!("exec {asker} {line}");
        let said = run(site.manager(), &all);
        if said.code == 0 {
            Ok(said.stdout)
        } else {
            Err(said.stdout + &said.stderr)
        }
    };
    let vips = site.docker("service inspect --format {{json~.Endpoint.VirtualIPs}} web");
    assert!(vips.contains("fd60::"), "{vips}");
    let found = eventually("the name has addresses of both families", || {
        let said = exec("nslookup web")?;
        if said.contains("fd60::") && said.contains("10.60.0.") {
            Ok(said)
        } else {
            Err(said)
        }
    });
    let v6 = found
        .split_whitespace()
        .find(|word| word.starts_with("fd60::"))
        .unwrap();
    eventually("the service answers on IPv6", || {
        exec(&format!("wget -q -O- http://[{v6}]/"))
    });
    let ours = site.docker(&format!(
        "inspect --format {{{{.NetworkSettings.Networks.dual.GlobalIPv6Address}}}} {asker}"
    ));
    assert!(ours.starts_with("fd60::"), "{ours}");
    for node in ["[fd99::1]:8080", "[fd99::2]:8080"] {
        let seen = eventually("the mesh answers on IPv6", || {
            site.page(&site.client, node, "/who")
        });
        assert!(seen.trim().ends_with("fd99::50"), "{node} {seen}");
    }
    for host in &site.cluster.hosts {
        for address in ["[::1]:8080", "127.0.0.1:8080"] {
            site.page(&host.namespace, address, "/").unwrap();
        }
    }
}

/// Containers of one network do not reach another's, not by way of the hosts either.
fn kept_apart(site: &Site) {
    site.docker("network create -d overlay --subnet 10.61.0.0/24 other");
    site.create(
        "alien",
        "--network other --constraint node.role==manager",
        "sleep 10000",
    );
    let alien = site.container(site.manager(), "alien");
    let pid = site.docker(&format!("inspect --format {{{{.State.Pid}}}} {alien}"));
    let inside = PathBuf::from(format!("/proc/{pid}/ns/net"));
    let target = site.container(site.worker(), "web");
    let address = |network: &str| {
        let format = format!("{{{{.NetworkSettings.Networks.{network}.IPAddress}}}}");
        site.worker()
            .docker(&["inspect", "--format", &format, &target])
            .ok()
    };
    for (network, address) in [("dual", address("dual")), ("ingress", address("ingress"))] {
        let asked = site.page(&inside, &format!("{address}:80"), "/");
        assert!(asked.is_err(), "{network}: {asked:?}");
        // Nor does the outside by a route over a node.
        in_namespace(
            &site.client,
            &format!(
                "ip route replace {address}/32 via {}",
                site.worker().address
            ),
        );
        let asked = site.page(&site.client, &format!("{address}:80"), "/");
        assert!(asked.is_err(), "{network}: {asked:?}");
    }
    let named = run(site.manager(), &format!("exec {alien} nslookup web"));
    assert!(!named.stdout.contains("10.60."), "{}", named.stdout);
}

/// Networks come to a node with the first task and go with the last.
fn come_and_go(site: &Site) {
    assert!(!site.networks(site.worker()).contains(&"other".to_owned()));
    assert!(site.networks(site.worker()).contains(&"dual".to_owned()));
    let refused = site.refused("network rm dual");
    assert!(refused.contains("in use"), "{refused}");
    site.docker("service rm web asker alien");
    site.gone("dual");
    for network in ["dual", "other"] {
        eventually("the network is free", || {
            let said = site.manager().docker(&["network", "rm", network]);
            if said.code == 0 {
                Ok(())
            } else {
                Err(said.stderr)
            }
        });
    }
}

/// The mesh's network with other settings.
fn another_ingress(site: &Site) {
    site.create("web", "-p 8080:80", "");
    let refused = site
        .manager()
        .docker_with_input(&["network", "rm", "ingress"], b"y\n")
        .refused();
    let why = "ingress network cannot be removed because service";
    assert!(refused.contains(why), "{refused}");
    site.docker("service rm web");
    eventually("the mesh's network is free", || {
        let said = site
            .manager()
            .docker_with_input(&["network", "rm", "ingress"], b"y\n");
        if said.code == 0 {
            Ok(())
        } else {
            Err(said.stderr)
        }
    });
    let refused = site.refused(&format!(
        "service create --detach --name web -p 8080:80 {}",
        site.image
    ));
    assert!(refused.contains("ingress"), "{refused}");
    site.docker(
        "network create -d overlay --ingress --subnet 10.62.0.0/24 --gateway 10.62.0.2 \
         --opt com.docker.network.driver.mtu=1300 mesh",
    );
    let refused = site.refused("network create -d overlay --ingress more");
    assert!(refused.contains("already"), "{refused}");
    site.create("web", "-p 8080:80 --constraint node.role==worker", "");
    let nodes = [site.manager().address, site.worker().address];
    for node in nodes {
        eventually("the new mesh answers", || {
            site.page(&site.client, &format!("{node}:8080"), "/")
        });
    }
    let id = site.container(site.worker(), "web");
    let said = site
        .worker()
        .docker(&["exec", &id, "ip", "-o", "addr"])
        .ok();
    let line = said
        .lines()
        .find(|line| line.contains("10.62.0."))
        .unwrap_or_default()
        .to_owned();
    let interface = line
        .split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    let links = site
        .worker()
        .docker(&["exec", &id, "ip", "-o", "link", "show", &interface])
        .ok();
    assert!(links.contains("mtu 1250"), "{said} {links}");
    site.docker("service rm web");
}

#[test]
fn networks_of_a_swarm_are_as_their_users_make_them() {
    let site = Site::start();
    both_families(&site);
    kept_apart(&site);
    come_and_go(&site);
    another_ingress(&site);
}
