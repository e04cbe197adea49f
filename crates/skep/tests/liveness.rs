//! A node whose cable is pulled: how soon it is noticed, what its swarm does without it, and that it
//! finds its way back.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use skep_testkit::{Cluster, Host, Running, eventually, eventually_within, get_in, images};

const IMAGE: &str = "box:1";
const PORT: u16 = 8080;
const REPLICAS: usize = 6;
/// Says where it is, and serves.
const SERVE: &str = "echo line-$NODE; exec httpd -f -p 80 -h /";
/// As many busy processes as make a load of 50.
const BUSY: &str = "for i in $(seq 50); do while :; do :; done & done; wait";
/// Longer than a node may be silent before it is called down.
const BUSY_FOR: Duration = Duration::from_secs(5);
/// What the machine that tests run on may add to what is promised.
const NOTICED: Duration = Duration::from_secs(6);
const ELSEWHERE: Duration = Duration::from_secs(20);

struct Site {
    cluster: Cluster,
}

impl Site {
    fn start() -> Self {
        let cluster = Cluster::managers(1).workers(2);
        let cluster = cluster.start(env!("CARGO_BIN_EXE_skep")).unwrap();
        let image = images::busybox().unwrap();
        for host in &cluster.hosts {
            host.docker_with_input(&["import", "-", IMAGE], &image).ok();
        }
        let site = Self { cluster };
        site.docker(&["network", "create", "-d", "overlay", "inner"]);
        let (replicas, publish) = (REPLICAS.to_string(), format!("{PORT}:80"));
        let flags = ["--detach", "--no-resolve-image", "--network", "inner"];
        let mut create = vec![
            "service",
            "create",
            "--name",
            "web",
            "--replicas",
            &replicas,
        ];
        create.extend(flags);
        create.extend(["-p", &publish, "--update-parallelism", "0"]);
        create.extend(["--env", "NODE={{.Node.Hostname}}"]);
        create.extend([IMAGE, "sh", "-c", SERVE]);
        site.docker(&create);
        site
    }

    fn manager(&self) -> &Host {
        &self.cluster.hosts[0]
    }

    fn docker(&self, args: &[&str]) -> String {
        self.manager().docker(args).ok()
    }

    fn ask(&self, path: &str) -> Value {
        self.manager().api("GET", path, None).unwrap().json()
    }

    /// The state of the third host's node.
    fn third(&self) -> String {
        let nodes = self.ask("/nodes");
        let is_third = |node: &&Value| node["Description"]["Hostname"] == "host3";
        let node = nodes.as_array().unwrap().iter().find(is_third).unwrap();
        node["Status"]["State"].as_str().unwrap().to_owned()
    }

    fn third_id(&self) -> String {
        self.docker(&["node", "inspect", "--format", "{{.ID}}", "host3"])
    }

    /// The tasks that are to run, all of which do, as `node/address`.
    fn tasks(&self) -> Result<BTreeSet<(String, String)>, String> {
        let wanted = "/tasks?filters={%22desired-state%22:[%22running%22]}";
        let tasks = self.ask(wanted);
        let tasks = tasks.as_array().unwrap();
        let running = tasks.iter().filter(|t| t["Status"]["State"] == "running");
        if tasks.len() != REPLICAS || running.count() != REPLICAS {
            return Err(format!("{} tasks, not all running", tasks.len()));
        }
        let place = |task: &Value| {
            let attachments = task["NetworksAttachments"].as_array().unwrap();
            let is_inner = |a: &&Value| a["Network"]["Spec"]["Name"] == "inner";
            let inner = attachments.iter().find(is_inner).unwrap();
            let address = inner["Addresses"][0].as_str().unwrap();
            let address = address.split('/').next().unwrap();
            let node = task["NodeID"].as_str().unwrap();
            (node.to_owned(), address.to_owned())
        };
        Ok(tasks.iter().map(place).collect())
    }

    /// Until there are tasks on all nodes, or on all but the third.
    fn wait_for_tasks(&self, within: Duration, on_third: bool) {
        let third = self.third_id();
        eventually_within(within, "all tasks run where they can", || {
            let tasks = self.tasks()?;
            if tasks.iter().any(|(node, _)| *node == third) == on_third {
                Ok(())
            } else {
                Err(format!("{tasks:?}"))
            }
        });
    }

    /// How often a node was called down since this second.
    fn times_down(&self, since: &str) -> usize {
        let now = self.now();
        let events = self.docker(&[
            "events",
            "--since",
            since,
            "--until",
            &now,
            "--filter",
            "type=node",
            "--format",
            "{{json .Actor.Attributes}}",
        ]);
        events
            .lines()
            .filter(|line| line.contains("\"state.new\":\"down\""))
            .count()
    }

    fn now(&self) -> String {
        let info = self.docker(&["info", "--format", "{{.SystemTime}}"]);
        assert!(!info.is_empty());
        info
    }
}

/// The service's running containers on a host.
fn containers(host: &Host) -> Vec<String> {
    let filter = "label=com.docker.swarm.service.name=web";
    let ids = host.docker(&["ps", "-q", "--filter", filter]).ok();
    ids.lines().map(str::to_owned).collect()
}

/// Lines of `service logs --follow` as they come.
struct Follower {
    _process: Running,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Follower {
    fn start(host: &Host) -> Self {
        let mut child = Command::new("docker")
            .args([
                "--host",
                &host.docker_host(),
                "service",
                "logs",
                "--follow",
                "web",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self {
            _process: Running(child),
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for so many lines with this word.
    fn wait_for(&mut self, word: &str, count: usize) {
        let matching = |seen: &[String]| seen.iter().filter(|l| l.contains(word)).count();
        while matching(&self.seen) < count {
            let line = self.lines.recv_timeout(Duration::from_secs(60));
            self.seen
                .push(line.unwrap_or_else(|e| panic!("{word}: {e}: {:?}", self.seen)));
        }
    }
}

#[test]
fn a_node_that_is_cut_off_is_noticed_and_made_whole_when_it_returns() {
    let site = Site::start();
    let began = site.now();
    site.wait_for_tasks(ELSEWHERE, true);
    let mut follower = Follower::start(site.manager());
    for host in ["host1", "host2", "host3"] {
        follower.wait_for(&format!("line-{host}"), 1);
    }
    a_busy_node_is_not_called_down(&site, &began);

    let third = site.third_id();
    site.cluster.cut(2).unwrap();
    let cut = Instant::now();
    // Nobody knows yet: it is asked, and given up when it is called down.
    logs_name_the_missing_node(&site, &third);
    let noticed = eventually_within(NOTICED, "the cut is noticed", || {
        let state = site.third();
        if state == "down" {
            Ok(cut.elapsed())
        } else {
            Err(state)
        }
    });
    site.wait_for_tasks(ELSEWHERE, false);
    eprintln!(
        "noticed {noticed:?} after the cut, tasks elsewhere after {:?}",
        cut.elapsed()
    );
    // Now it is known.
    logs_name_the_missing_node(&site, &third);
    // Whoever follows goes on with those that are there, and hears of the new tasks.
    let on = |host: &str, seen: &[String]| {
        let word = format!("line-{host}");
        seen.iter().filter(|l| l.contains(&word)).count()
    };
    eventually("the new tasks' lines come", || {
        follower.seen.extend(follower.lines.try_iter());
        let lines = on("host1", &follower.seen) + on("host2", &follower.seen);
        if lines >= REPLICAS {
            Ok(())
        } else {
            Err(format!("{:?}", follower.seen))
        }
    });

    site.cluster.mend(2).unwrap();
    eventually("the node is back", || {
        let state = site.third();
        if state == "ready" { Ok(()) } else { Err(state) }
    });
    let host = &site.cluster.hosts[2];
    eventually("its stale tasks have stopped", || {
        let left = containers(host);
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
    site.docker(&["service", "update", "--quiet", "--force", "web"]);
    site.wait_for_tasks(ELSEWHERE, true);
    everybody_reaches_everybody(&site);
    site.docker(&["service", "rm", "web"]);
    for host in &site.cluster.hosts {
        eventually("no container is left", || {
            let left = host.docker(&["ps", "-aq"]).ok();
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
    }
}

/// It answers late, but it answers.
fn a_busy_node_is_not_called_down(site: &Site, since: &str) {
    let host = &site.cluster.hosts[2];
    let busy = host.docker(&["run", "-d", IMAGE, "sh", "-c", BUSY]).ok();
    // What must not happen in this time has no event.
    std::thread::sleep(BUSY_FOR);
    assert_eq!(site.third(), "ready");
    host.docker(&["rm", "-f", &busy]).ok();
    assert_eq!(site.times_down(since), 0, "a busy node was called down");
}

/// The others' lines come, and who could not be asked is told as Docker tells it.
fn logs_name_the_missing_node(site: &Site, third: &str) {
    let said = site.manager().docker(&["service", "logs", "web"]);
    for host in ["host1", "host2"] {
        let line = format!("line-{host}");
        assert!(
            said.stdout.contains(&line),
            "{} {}",
            said.stdout,
            said.stderr
        );
    }
    assert!(!said.stdout.contains("line-host3"), "{}", said.stdout);
    let begins = format!(
        "Error grabbing logs: rpc error: code = Unknown desc = warning: incomplete log stream. \
         some logs could not be retrieved for the following reasons: node {third} "
    );
    // Docker's texts for a node that is known to be lost, and for one that is lost while it is asked.
    let reasons = ["is not available", "disconnected unexpectedly"];
    let is_told = |reason: &&str| said.stderr.contains(&format!("{begins}{reason}"));
    assert!(reasons.iter().any(is_told), "{}", said.stderr);
}

/// Names, tables and forwarding are right on every node, also for those that never went away.
fn everybody_reaches_everybody(site: &Site) {
    let addresses: BTreeSet<String> = eventually("all tasks run", || {
        Ok(site
            .tasks()?
            .into_iter()
            .map(|(_, address)| address)
            .collect())
    });
    for host in &site.cluster.hosts {
        let asking = eventually("a task on each node", || {
            containers(host)
                .into_iter()
                .next()
                .ok_or_else(|| host.name.clone())
        });
        eventually("names follow the tasks", || {
            let named = host.docker(&["exec", &asking, "nslookup", "tasks.web"]);
            // What follows the name server's own address.
            let found = named.stdout.rsplit(":53").next().unwrap_or_default();
            let found = found
                .lines()
                .filter_map(|line| line.strip_prefix("Address"));
            let found = found
                .filter_map(|line| line.rsplit(' ').next())
                .map(str::to_owned);
            let found: BTreeSet<String> = found.collect();
            if found == addresses {
                Ok(())
            } else {
                Err(format!("{}: {found:?}", host.name))
            }
        });
        let pid = host.docker(&["inspect", "--format", "{{.State.Pid}}", &asking]);
        let inside = PathBuf::from(format!("/proc/{}/ns/net", pid.ok()));
        for address in &addresses {
            let address = SocketAddr::new(address.parse().unwrap(), 80);
            let page = get_in(&inside, address, "/etc/hostname");
            let page = page.unwrap_or_else(|e| panic!("{} to {address}: {e:#}", host.name));
            assert_eq!(page.status, 200);
        }
        // Each task in turn, whichever node is asked.
        let inside = format!("/proc/{}/ns/net", host.pid().unwrap());
        for asked in &site.cluster.hosts {
            let address = SocketAddr::from((asked.address, PORT));
            for _ in 0..REPLICAS {
                let page = get_in(Path::new(&inside), address, "/etc/hostname");
                let page = page.unwrap_or_else(|e| panic!("{} {address}: {e:#}", host.name));
                assert_eq!(page.status, 200);
            }
        }
    }
}
