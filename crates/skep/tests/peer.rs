//! A real peer: Debian's dockerd in one swarm with skep, as worker and as manager, both ways round.
//! What differs is written down in docs/design/peers.md. The control plane only: containers of both
//! kinds do not reach each other over an overlay.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use skep_testkit::{Host, Lab, LabSpec, Registry, eventually, images};

/// Says what it was given, and ends when told to.
const TALK: &str = "cat /run/secrets/word /saying; echo host $(hostname); trap 'exit 0' TERM; while :; do sleep 0.1; done";

struct Peers {
    lab: Lab,
    /// What the services run; kept until the lab is gone.
    _registry: Registry,
    image: String,
}

impl Peers {
    /// Hosts that run skep, but for the ones named.
    fn start(hosts: usize, dockerds: &[usize]) -> Self {
        let mut spec = LabSpec::new(env!("CARGO_BIN_EXE_skep"), hosts);
        spec.daemon_flags = ["--insecure-registry", "198.18.0.0/24", "--log-level=debug"]
            .map(str::to_owned)
            .to_vec();
        let mut lab = Lab::new(&spec).unwrap();
        let (client, address) = lab.make_client().unwrap();
        let registry = Registry::start(&client, &address.to_string(), lab.dir()).unwrap();
        for (number, host) in lab.hosts.iter_mut().enumerate() {
            if dockerds.contains(&number) {
                host.start_dockerd(&["--insecure-registry", "198.18.0.0/24"])
                    .unwrap();
            } else {
                host.start().unwrap();
            }
        }
        let image = format!("{}/busybox:1", registry.name);
        let skep = (0..hosts).find(|n| !dockerds.contains(n)).unwrap();
        let imported = lab.hosts[skep]
            .docker_with_input(&["import", "-", &image], &images::busybox().unwrap());
        imported.ok();
        lab.hosts[skep].docker(&["push", &image]).ok();
        Self {
            lab,
            _registry: registry,
            image,
        }
    }

    fn host(&self, number: usize) -> &Host {
        &self.lab.hosts[number]
    }

    fn docker(&self, host: usize, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        self.host(host).docker(&words).ok()
    }

    fn init(&self, host: usize) {
        let address = self.host(host).address;
        self.docker(host, &format!("swarm init --advertise-addr {address}"));
    }

    fn join(&self, host: usize, role: &str, manager: usize) {
        let token = self.docker(manager, &format!("swarm join-token -q {role}"));
        let address = self.host(manager).address;
        let said = self.docker(host, &format!("swarm join --token {token} {address}:2377"));
        assert_eq!(said, format!("This node joined a swarm as a {role}."));
    }

    /// A global service with a secret, a config, a network and a published port: what tasks can be
    /// given, on every node.
    fn make_service(&self, manager: usize) {
        let host = self.host(manager);
        host.docker_with_input(&["secret", "create", "word", "-"], b"hush\n")
            .ok();
        host.docker_with_input(&["config", "create", "saying", "-"], b"hello\n")
            .ok();
        self.docker(manager, "network create -d overlay net");
        let all = "service create -d --name talk --mode global --network net --secret word --config saying -p 8080:80 --update-parallelism 0";
        let mut words: Vec<&str> = all.split(' ').collect();
        words.extend([&self.image, "sh", "-c", TALK]);
        host.docker(&words).ok();
    }

    /// Hosts on which a task of the service runs whose environment is this, as a manager says.
    fn await_everywhere(&self, manager: usize, hosts: &[&str]) {
        let line = "service ps talk --filter desired-state=running --format {{.Node}}|{{.CurrentState}}|{{.Error}}";
        eventually("the service runs on every node", || {
            let said = self.docker(manager, line);
            let mut nodes: Vec<_> = said
                .lines()
                .filter_map(|l| l.split_once("|Running"))
                .map(|(node, _)| node)
                .collect();
            nodes.sort_unstable();
            if nodes == hosts && said.lines().count() == hosts.len() {
                Ok(())
            } else {
                Err(said)
            }
        });
    }

    /// What every task said is in the service's logs.
    fn check_logs(&self, manager: usize, tasks: usize) {
        eventually("every task's lines are in the logs", || {
            let said = self.docker(manager, "service logs --raw talk");
            let count = |line: &str| said.lines().filter(|l| *l == line).count();
            let hosts = said.lines().filter(|l| l.starts_with("host ")).count();
            if count("hush") == tasks && count("hello") == tasks && hosts == tasks {
                Ok(())
            } else {
                Err(said)
            }
        });
    }

    /// The same where tasks that ended are still remembered: those that run are in it.
    fn check_logs_of_running(&self, manager: usize, tasks: usize) {
        for id in self.running_ids(manager) {
            eventually("a running task's lines are in its logs", || {
                let said = self.docker(manager, &format!("service logs --raw {id}"));
                if said.starts_with("hush\nhello\nhost ") {
                    Ok(())
                } else {
                    Err(said)
                }
            });
        }
        assert_eq!(self.running_ids(manager).len(), tasks);
    }

    /// Every task is replaced by one that has another environment.
    fn update(&self, manager: usize, value: &str, hosts: &[&str]) {
        let old = self.running_ids(manager);
        self.docker(
            manager,
            &format!("service update -d --env-add V={value} talk"),
        );
        eventually("every task is replaced", || {
            let new = self.running_ids(manager);
            if new.iter().all(|id| !old.contains(id)) {
                Ok(())
            } else {
                Err(self.docker(manager, "service ps talk"))
            }
        });
        self.await_everywhere(manager, hosts);
    }

    fn running_ids(&self, manager: usize) -> Vec<String> {
        let line = "service ps -q --no-trunc --filter desired-state=running talk";
        let said = self.docker(manager, line);
        said.lines().map(str::to_owned).collect()
    }

    /// Waits until `manager` shows these `hostname|status|manager status`.
    fn await_nodes(&self, manager: usize, nodes: &[&str]) {
        eventually("the nodes are as they should be", || {
            let line = "node ls --format {{.Hostname}}|{{.Status}}|{{.ManagerStatus}}";
            let words: Vec<&str> = line.split(' ').collect();
            let output = self.host(manager).docker(&words);
            let mut said: Vec<_> = output.stdout.lines().collect();
            said.sort_unstable();
            if said == nodes {
                Ok(())
            } else {
                Err(format!("{said:?} {}", output.stderr))
            }
        });
    }

    fn remove_service(&self, manager: usize, dockerd: usize) {
        self.docker(manager, "service rm talk");
        eventually("no container is left on dockerd", || {
            let said = self.docker(dockerd, "ps -aq");
            if said.is_empty() { Ok(()) } else { Err(said) }
        });
    }
}

#[test]
fn a_dockerd_works_under_skep_managers_and_shares_their_quorum() {
    let peers = Peers::start(3, &[1]);
    let all = ["host1", "host2", "host3"];
    peers.init(0);
    peers.join(1, "worker", 0);
    peers.await_nodes(0, &["host1|Ready|Leader", "host2|Ready|"]);
    peers.make_service(0);
    peers.await_everywhere(0, &all[..2]);
    peers.check_logs(0, 2);
    peers.update(0, "1", &all[..2]);
    peers.docker(0, "node update --availability drain host2");
    peers.await_everywhere(0, &all[..1]);
    peers.docker(0, "node update --availability active host2");
    peers.await_everywhere(0, &all[..2]);
    // The certificate is renewed under another root, and the node stays.
    peers.docker(0, "swarm ca --rotate -q");
    peers.await_nodes(0, &["host1|Ready|Leader", "host2|Ready|"]);

    // A quorum of both kinds: dockerd is handed the leadership, and gives it back.
    peers.docker(0, "node promote host2");
    peers.await_nodes(1, &["host1|Ready|Leader", "host2|Ready|Reachable"]);
    peers.join(2, "manager", 1);
    let mixed = [
        "host1|Ready|Leader",
        "host2|Ready|Reachable",
        "host3|Ready|Reachable",
    ];
    peers.await_nodes(1, &mixed);
    peers.await_everywhere(1, &all);
    peers.docker(0, "node demote host1");
    let demoted = peers.docker(2, "node ls --format {{.Hostname}}");
    assert_eq!(demoted, "host1\nhost2\nhost3");
    eventually("one of the two others leads", || {
        let said =
            peers
                .host(2)
                .docker(&["node", "ls", "--format", "{{.Hostname}}|{{.ManagerStatus}}"]);
        let said = said.stdout;
        if said.contains("host1|\n") && said.contains("Leader") {
            Ok(())
        } else {
            Err(said)
        }
    });
    peers.update(2, "2", &all);
    peers.docker(2, "node demote host2");
    peers.await_nodes(2, &["host1|Ready|", "host2|Ready|", "host3|Ready|Leader"]);
    peers.update(2, "3", &all);
    peers.check_logs_of_running(2, 3);
    peers.remove_service(2, 1);
    peers.docker(1, "swarm leave");
    peers.await_nodes(2, &["host1|Ready|", "host2|Down|", "host3|Ready|Leader"]);
}

#[test]
fn a_skep_works_under_dockerd_and_takes_its_swarm_over() {
    let peers = Peers::start(2, &[0]);
    let all = ["host1", "host2"];
    peers.init(0);
    peers.join(1, "worker", 0);
    peers.await_nodes(0, &["host1|Ready|Leader", "host2|Ready|"]);
    peers.make_service(0);
    peers.await_everywhere(0, &all);
    peers.check_logs(0, 2);
    peers.update(0, "1", &all);
    peers.docker(0, "node update --availability drain host2");
    peers.await_everywhere(0, &all[..1]);
    peers.docker(0, "node update --availability active host2");
    peers.await_everywhere(0, &all);
    peers.docker(0, "swarm ca --rotate -q");
    // The unlock key comes with the role.
    peers.docker(0, "swarm update --autolock=true");
    peers.docker(0, "node promote host2");
    peers.await_nodes(1, &["host1|Ready|Leader", "host2|Ready|Reachable"]);
    assert_eq!(
        peers.docker(1, "swarm unlock-key -q"),
        peers.docker(0, "swarm unlock-key -q")
    );
    peers.docker(0, "node demote host1");
    peers.await_nodes(1, &["host1|Ready|", "host2|Ready|Leader"]);
    peers.update(1, "2", &all);
    peers.check_logs_of_running(1, 2);
    peers.remove_service(1, 0);
}
