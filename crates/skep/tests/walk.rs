//! The tutorial's walk: three hosts, Docker's own command line, nginx from a registry. Numbers in
//! comments are items of the acceptance list.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use skep_testkit::{Host, Lab, LabSpec, Registry, eventually, eventually_within, get_in, images};

const STACK: &str = r#"
version: "3"
services:
  nginx:
    image: IMAGE
    ports:
      - 8888:80
    deploy:
      mode: replicated
      replocas: 3
  pinned:
    image: IMAGE
    ports:
      - "8080:80"
    deploy:
      placement:
        constraints: [node.role == manager]
"#;

struct Walk {
    lab: Lab,
    client: std::path::PathBuf,
    registry: Registry,
}

impl Walk {
    fn start() -> Self {
        let mut spec = LabSpec::new(env!("CARGO_BIN_EXE_skep"), 3);
        spec.daemon_flags = vec!["--insecure-registry".into(), "198.18.0.0/24".into()];
        let mut lab = Lab::new(&spec).unwrap();
        let (client, address) = lab.make_client().unwrap();
        let registry = Registry::start(&client, &address.to_string(), lab.dir()).unwrap();
        for host in &mut lab.hosts {
            host.start().unwrap();
        }
        Self {
            lab,
            client,
            registry,
        }
    }

    fn manager(&self) -> &Host {
        &self.lab.hosts[0]
    }

    fn docker(&self, line: &str) -> String {
        self.manager().docker(&words(line)).ok()
    }

    fn refused(&self, line: &str) -> String {
        self.manager().docker(&words(line)).refused()
    }

    /// Asks a host's published port from outside.
    fn ask(&self, host: usize, port: u16, path: &str) -> Result<String, String> {
        let address = SocketAddr::from((self.lab.hosts[host].address, port));
        let answer = get_in(&self.client, address, path).map_err(|error| error.to_string())?;
        if answer.status == 200 {
            Ok(answer.text())
        } else {
            Err(answer.head)
        }
    }

    /// `(name, node)` of a service's running tasks.
    fn running(&self, service: &str) -> Vec<(String, String)> {
        let lines = self.docker(&format!(
            "service ps {service} --filter desired-state=running --format {{{{.Name}}}}|{{{{.Node}}}}|{{{{.CurrentState}}}}"
        ));
        lines
            .lines()
            .filter_map(|line| {
                let mut cells = line.split('|');
                let (name, node, state) = (cells.next()?, cells.next()?, cells.next()?);
                state
                    .starts_with("Running")
                    .then(|| (name.to_owned(), node.to_owned()))
            })
            .collect()
    }

    fn await_running(&self, service: &str, count: usize) -> Vec<(String, String)> {
        eventually(&format!("{count} tasks of {service} run"), || {
            let running = self.running(service);
            if running.len() == count {
                Ok(running)
            } else {
                Err(format!("{running:?}"))
            }
        })
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

#[test]
fn the_tutorial_works_from_init_to_leave() {
    let mut walk = Walk::start();
    make_the_swarm(&walk);
    let image = push_nginx(&walk);
    first_service(&walk, &image);
    scale_and_drain(&walk);
    names_and_volumes(&walk, &image);
    update_and_roll_back(&walk, &image);
    stacks(&walk, &image);
    lose_a_host(&mut walk);
    leave(walk);
}

/// S31 to S40.
fn make_the_swarm(walk: &Walk) {
    let address = walk.manager().address;
    let said = walk.docker(&format!("swarm init --advertise-addr {address}"));
    assert!(
        said.starts_with("Swarm initialized: current node ("),
        "{said}"
    );
    let join = said
        .lines()
        .find(|line| line.contains("docker swarm join --token"))
        .unwrap()
        .trim()
        .to_owned();
    assert!(
        join.contains("SWMTKN-1-") && join.ends_with(&format!("{address}:2377")),
        "{join}"
    );
    let again = walk.refused("swarm init");
    assert!(again.contains("This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one."), "{again}");
    let bad = format!(
        "swarm join --token SWMTKN-1-{}-{} {address}:2377",
        "0".repeat(50),
        "1".repeat(25)
    );
    walk.lab.hosts[1].docker(&words(&bad)).refused();
    for host in &walk.lab.hosts[1..] {
        let said = host.docker(&words(join.trim_start_matches("docker "))).ok();
        assert_eq!(said, "This node joined a swarm as a worker.");
    }
    let nodes = walk
        .docker("node ls --format {{.Hostname}}|{{.Status}}|{{.Availability}}|{{.ManagerStatus}}");
    assert_eq!(
        nodes,
        "host1|Ready|Active|Leader\nhost2|Ready|Active|\nhost3|Ready|Active|"
    );
    assert!(walk.docker("info").contains("Is Manager: true"));
    let worker = walk.lab.hosts[1].docker(&["node", "ls"]).refused();
    assert!(worker.contains("This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state."), "{worker}");
    // S101: a worker does not know a network that none of its tasks use.
    let id = walk.docker("network create -d overlay nginx_net");
    assert_eq!(id.len(), 25, "{id}");
    assert!(
        !walk.lab.hosts[1]
            .docker(&["network", "ls"])
            .ok()
            .contains("nginx_net")
    );
}

fn push_nginx(walk: &Walk) -> String {
    let image = format!("{}/nginx:1", walk.registry.name);
    let archive = images::nginx().unwrap();
    let command = [
        "import",
        "-c",
        "CMD [\"nginx\"]",
        "-c",
        "EXPOSE 80",
        "-",
        &image,
    ];
    walk.manager().docker_with_input(&command, &archive).ok();
    walk.docker(&format!("push {image}"));
    walk.docker(&format!("tag {image} {}/nginx:2", walk.registry.name));
    walk.docker(&format!("push {}/nginx:2", walk.registry.name));
    // S50: nodes pull for themselves.
    walk.docker(&format!("rmi {image} {}/nginx:2", walk.registry.name));
    image
}

/// S47 to S56, and the mesh with the client's own address.
fn first_service(walk: &Walk, image: &str) {
    let said = walk.docker(&format!(
        "service create --replicas 1 --network nginx_net --name my_nginx -p 80:80 {image}"
    ));
    assert!(
        said.contains("overall progress: 1 out of 1 tasks") && said.contains("converged"),
        "{said}"
    );
    let listed = walk.docker("service ls --format {{.Name}}|{{.Mode}}|{{.Replicas}}|{{.Ports}}");
    assert_eq!(listed, "my_nginx|replicated|1/1|*:80->80/tcp");
    for host in 0..3 {
        let page = eventually("the mesh answers", || walk.ask(host, 80, "/"));
        assert!(page.contains("Welcome to nginx!"), "{page}");
        let who = walk.ask(host, 80, "/who").unwrap();
        assert!(
            who.trim_end().ends_with(" 198.18.0.100"),
            "the client's address is kept: {who}"
        );
    }
    let duplicate = walk.refused(&format!("service create --name my_nginx {image}"));
    assert!(
        duplicate
            .contains("name conflicts with an existing object: service my_nginx already exists"),
        "{duplicate}"
    );
    let taken = walk.refused(&format!("service create --name other -p 80:80 {image}"));
    assert!(
        taken.contains("port '80' is already in use by service 'my_nginx'"),
        "{taken}"
    );
    walk.refused("service create --name bad --constraint node.role=manager x");
}

/// S41 to S43, S57 to S66.
fn scale_and_drain(walk: &Walk) {
    assert!(
        walk.docker("service scale -d my_nginx=5")
            .contains("my_nginx scaled to 5")
    );
    let running = walk.await_running("my_nginx", 5);
    let nodes: BTreeSet<_> = running.iter().map(|(_, node)| node.clone()).collect();
    assert_eq!(nodes.len(), 3, "spread over all nodes: {running:?}");
    assert_eq!(
        walk.docker("node update --availability drain host3"),
        "host3"
    );
    eventually("host3 has no task", || {
        let running = walk.running("my_nginx");
        let moved = running.len() == 5 && running.iter().all(|(_, node)| node != "host3");
        if moved {
            Ok(())
        } else {
            Err(format!("{running:?}"))
        }
    });
    walk.docker("node update --availability active host3");
    // A killed task is replaced (S57).
    let host = &walk.lab.hosts[1];
    let containers = host.docker(&["ps", "-q", "--filter", "name=my_nginx"]).ok();
    let victim = containers
        .lines()
        .next()
        .expect("a task on host2")
        .to_owned();
    host.docker(&["kill", &victim]).ok();
    eventually("another container takes its place", || {
        let now = host.docker(&["ps", "-q", "--filter", "name=my_nginx"]).ok();
        let running = walk.running("my_nginx").len();
        if running == 5 && !now.contains(&victim) {
            Ok(())
        } else {
            Err(format!("{running} run; {now}"))
        }
    });
    let history = walk.docker("service ps my_nginx");
    assert!(history.contains(" \\_ my_nginx."), "{history}");
}

/// S76 to S84, S96 to S115.
fn names_and_volumes(walk: &Walk, image: &str) {
    walk.docker(&format!(
        "service create -d --name tool --mode global --network nginx_net --mount type=volume,src=testvolume,dst=/zjz {image} sleep 100000"
    ));
    walk.await_running("tool", 3);
    for host in &walk.lab.hosts {
        let container = host.docker(&["ps", "-q", "--filter", "name=tool"]).ok();
        let inside = |line: &str| {
            let all = [&["exec", container.as_str()][..], &words(line)].concat();
            host.docker(&all)
        };
        let page = eventually("the service's name answers", || {
            let output = inside("wget -q -O- http://my_nginx/");
            if output.code == 0 {
                Ok(output.stdout)
            } else {
                Err(output.stderr)
            }
        });
        assert!(page.contains("Welcome to nginx!"));
        // One address for the name, one for each task.
        let single = inside("nslookup my_nginx").stdout;
        assert!(single.contains("127.0.0.11"), "{single}");
        eventually("tasks. lists every task", || {
            let all = inside("nslookup tasks.my_nginx").stdout;
            let count = all
                .lines()
                .filter(|line| line.starts_with("Address") && !line.contains("127.0.0.11"))
                .count();
            if count == 5 { Ok(()) } else { Err(all) }
        });
        inside("touch /zjz/here").ok();
        let mountpoint = host
            .docker(&[
                "volume",
                "inspect",
                "testvolume",
                "--format",
                "{{.Mountpoint}}",
            ])
            .ok();
        assert!(Path::new(&mountpoint).join("here").exists(), "{mountpoint}");
    }
    walk.docker("service rm tool");
}

fn update_and_roll_back(walk: &Walk, image: &str) {
    let next = image.replace(":1", ":2");
    walk.docker(&format!(
        "service update -d --update-parallelism 2 --update-monitor 500ms --rollback-monitor 500ms --image {next} my_nginx"
    ));
    let image_of = "service inspect my_nginx --format {{.Spec.TaskTemplate.ContainerSpec.Image}}";
    eventually("the update completes", || {
        let state = walk.docker("service inspect my_nginx --format {{.UpdateStatus.State}}");
        if state == "completed" {
            Ok(())
        } else {
            Err(state)
        }
    });
    assert!(walk.docker(image_of).starts_with(&next));
    walk.docker("service rollback -d my_nginx");
    eventually("the roll-back completes", || {
        let state = walk.docker("service inspect my_nginx --format {{.UpdateStatus.State}}");
        if state == "rollback_completed" {
            Ok(())
        } else {
            Err(state)
        }
    });
    assert!(walk.docker(image_of).starts_with(image));
}

/// S86 to S95.
fn stacks(walk: &Walk, image: &str) {
    let file = walk.lab.dir().join("docker-compose.yml");
    let deploy = |program: fn(&Host, &[&str]) -> skep_testkit::Output| {
        program(
            walk.manager(),
            &[
                "stack",
                "deploy",
                "-c",
                &file.display().to_string(),
                "deploy_deamon",
            ],
        )
    };
    std::fs::write(&file, STACK.replace("IMAGE", image)).unwrap();
    let wrong = deploy(Host::docker).refused();
    assert!(
        wrong.contains("services.nginx.deploy Additional property replocas is not allowed"),
        "{wrong}"
    );
    let hint = deploy(Host::skep).refused();
    assert!(
        hint.contains("services.nginx.deploy Additional property replocas is not allowed"),
        "{hint}"
    );
    assert!(hint.contains("replicas"), "{hint}");
    std::fs::write(
        &file,
        STACK
            .replace("IMAGE", image)
            .replace("replocas", "replicas"),
    )
    .unwrap();
    let said = deploy(Host::docker).ok();
    assert!(
        said.contains("Creating network deploy_deamon_default"),
        "{said}"
    );
    eventually("the stack runs", || {
        let listed = walk.docker("stack services deploy_deamon --format {{.Name}}|{{.Replicas}}");
        let wanted = "deploy_deamon_nginx|3/3\ndeploy_deamon_pinned|1/1";
        if listed == wanted {
            Ok(())
        } else {
            Err(listed)
        }
    });
    assert_eq!(walk.running("deploy_deamon_pinned")[0].1, "host1");
    eventually("the stack's port answers", || walk.ask(2, 8888, "/"));
    let own = walk.manager().skep(&["stack", "ls"]).ok();
    assert!(
        own.starts_with("NAME            SERVICES\ndeploy_deamon   2"),
        "{own}"
    );
    walk.docker("stack rm deploy_deamon");
    eventually("the stack is gone", || {
        let left = walk.docker("network ls --filter name=deploy_deamon -q");
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

/// S19, S60, S66: a host that is cut off.
fn lose_a_host(walk: &mut Walk) {
    walk.lab.cut(2).unwrap();
    eventually_within(
        Duration::from_secs(30),
        "all tasks run on the hosts that are left",
        || {
            let running = walk.running("my_nginx");
            let moved = running.len() == 5 && running.iter().all(|(_, node)| node != "host3");
            if moved {
                Ok(())
            } else {
                Err(format!("{running:?}"))
            }
        },
    );
    walk.lab.mend(2).unwrap();
    eventually("host3 is back", || {
        let state = walk.docker("node ls --filter name=host3 --format {{.Status}}");
        if state == "Ready" { Ok(()) } else { Err(state) }
    });
}

/// S34, S35, S45, and nothing left.
fn leave(walk: Walk) {
    walk.docker("service rm my_nginx");
    for host in walk.lab.hosts[1..].iter().rev() {
        assert_eq!(
            host.docker(&["swarm", "leave"]).ok(),
            "Node left the swarm."
        );
    }
    eventually("host3 is down", || {
        let state = walk.docker("node ls --filter name=host3 --format {{.Status}}");
        if state == "Down" { Ok(()) } else { Err(state) }
    });
    assert_eq!(walk.docker("node rm host3"), "host3");
    let kept = walk.refused("swarm leave");
    assert!(
        kept.contains("Removing the last manager erases all current state of the swarm."),
        "{kept}"
    );
    assert_eq!(walk.docker("swarm leave --force"), "Node left the swarm.");
    let Walk {
        mut lab, registry, ..
    } = walk;
    drop(registry);
    lab.hosts.iter_mut().for_each(Host::stop);
    eventually("nothing is left", || {
        let leaks = lab.leaks();
        if leaks.is_empty() {
            Ok(())
        } else {
            Err(leaks.join("\n"))
        }
    });
}
