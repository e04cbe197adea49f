//! Three managers as processes, and all that may happen to one of them, while a client writes. What
//! was acknowledged is there in the end, on every manager, and no task has noticed anything.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use skep_testkit::{Host, Lab, LabSpec, eventually, images, request};

/// Longest pause of a writer that any of this may cost on a loaded machine.
const PAUSE: Duration = Duration::from_secs(15);
/// Size of the third manager's disk.
const SMALL_DISK: &str = "size=96m";

#[test]
fn managers_lose_nothing_that_they_acknowledged() {
    let mut site = Site::new();
    site.the_leader_is_killed();
    site.the_leader_stands_still();
    site.a_follower_stands_still();
    site.the_leader_is_cut_off();
    site.a_disk_is_full();
    site.a_leader_stops_as_planned();
    site.a_manager_moves();
    site.end();
}

struct Site {
    lab: Lab,
    writer: Arc<Writer>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Containers of each host, with their processes, as they were in the beginning.
    containers: Vec<BTreeSet<String>>,
}

/// Creates services one after the other.
struct Writer {
    sockets: Vec<PathBuf>,
    /// The manager that it asks.
    via: AtomicUsize,
    stop: AtomicBool,
    /// Names that were acknowledged, and when the last one was.
    acknowledged: Mutex<(Vec<String>, Instant)>,
    longest_pause: Mutex<Duration>,
}

impl Writer {
    fn run(&self) {
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            number += 1;
            let name = format!("w{number}");
            let via = self.via.load(Ordering::Relaxed);
            let answer = request(
                &self.sockets[via],
                "POST",
                "/services/create",
                Some(&empty(&name, 0)),
            );
            if answer.is_ok_and(|answer| answer.status == 201) {
                let mut acknowledged = self.acknowledged.lock().unwrap();
                let pause = acknowledged.1.elapsed();
                acknowledged.0.push(name);
                acknowledged.1 = Instant::now();
                let mut longest = self.longest_pause.lock().unwrap();
                *longest = pause.max(*longest);
            }
        }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().0.len()
    }
}

/// A service without tasks, whose labels take so many bytes.
fn empty(name: &str, bytes: usize) -> Value {
    json!({
        "Name": name,
        "Labels": {"weight": "x".repeat(bytes)},
        "TaskTemplate": {"ContainerSpec": {"Image": "none:1"}},
        "Mode": {"Replicated": {"Replicas": 0}},
    })
}

impl Site {
    fn new() -> Self {
        let spec = LabSpec::new(env!("CARGO_BIN_EXE_skep"), 3);
        let mut lab = Lab::new(&spec).unwrap();
        let small = lab.hosts[2].data_root();
        fs::create_dir_all(&small).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SMALL_DISK, "tmpfs"])
            .arg(&small)
            .status();
        assert!(mounted.unwrap().success(), "mount a tmpfs");
        for host in &mut lab.hosts {
            host.start().unwrap();
        }
        form_swarm(&lab);
        let sockets = lab.hosts.iter().map(Host::socket).collect();
        let writer = Arc::new(Writer {
            sockets,
            via: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            acknowledged: Mutex::new((Vec::new(), Instant::now())),
            longest_pause: Mutex::default(),
        });
        let containers = run_tasks(&lab);
        let thread = std::thread::spawn({
            let writer = writer.clone();
            move || writer.run()
        });
        Site {
            lab,
            writer,
            thread: Some(thread),
            containers,
        }
    }

    /// The leader, as a manager sees it.
    fn leader(&self, asked: usize) -> usize {
        eventually("there is a leader", || leader_of(&self.lab.hosts[asked]))
    }

    /// The leader, and a manager that is another one; the writer asks the latter from now on.
    fn leader_and_other(&self) -> (usize, usize) {
        let leader = self.leader(self.writer.via.load(Ordering::Relaxed));
        let other = (leader + 1) % 3;
        self.writer.via.store(other, Ordering::Relaxed);
        // Nor does it wait for an answer of the one before, which may be about to stand still.
        self.writes(2, "by another manager");
        (leader, other)
    }

    /// Waits until so many more writes were acknowledged.
    fn writes(&self, more: usize, during: &str) {
        let before = self.writer.count();
        eventually(&format!("writes are accepted: {during}"), || {
            let now = self.writer.count() - before;
            if now >= more {
                Ok(())
            } else {
                Err(format!("{now} of {more}"))
            }
        });
    }

    /// Waits until all managers answer the leader.
    fn all_reachable(&self) {
        let asked = self.writer.via.load(Ordering::Relaxed);
        eventually("all managers are reachable", || {
            let nodes = self.lab.hosts[asked].api("GET", "/nodes", None);
            let nodes = nodes.map_err(|error| error.to_string())?.json();
            let reachable = nodes.as_array().into_iter().flatten();
            let reachable =
                reachable.filter(|node| node["ManagerStatus"]["Reachability"] == "reachable");
            match reachable.count() {
                3 => Ok(()),
                _ => Err(nodes.to_string()),
            }
        });
    }

    fn the_leader_is_killed(&mut self) {
        let (leader, _) = self.leader_and_other();
        self.writes(3, "before the leader is killed");
        self.lab.hosts[leader].kill();
        self.writes(10, "after the leader was killed");
        self.lab.hosts[leader].start().unwrap();
        self.all_reachable();
    }

    fn the_leader_stands_still(&mut self) {
        let (leader, other) = self.leader_and_other();
        self.lab.hosts[leader].signal(Signal::SIGSTOP);
        self.writes(10, "while the leader stands still");
        assert_ne!(self.leader(other), leader);
        self.lab.hosts[leader].signal(Signal::SIGCONT);
        self.all_reachable();
        self.writes(5, "after it goes on");
    }

    fn a_follower_stands_still(&mut self) {
        let (leader, other) = self.leader_and_other();
        let third = 3 - leader - other;
        self.lab.hosts[third].signal(Signal::SIGSTOP);
        self.writes(20, "while a follower stands still");
        self.lab.hosts[third].signal(Signal::SIGCONT);
        self.all_reachable();
        // Whoever comes back disturbs nobody.
        assert_eq!(self.leader(other), leader);
    }

    fn the_leader_is_cut_off(&mut self) {
        let (leader, other) = self.leader_and_other();
        self.lab.cut(leader).unwrap();
        // What it was asked for may not be acknowledged: nobody else would know of it.
        let cut_off =
            self.lab.hosts[leader].api("POST", "/services/create", Some(&empty("cut-off", 0)));
        let cut_off = cut_off.is_ok_and(|answer| answer.status == 201);
        self.writes(10, "while the leader is cut off");
        assert_ne!(self.leader(other), leader);
        self.lab.mend(leader).unwrap();
        self.all_reachable();
        let found = self.lab.hosts[other]
            .api("GET", "/services/cut-off", None)
            .unwrap();
        assert!(
            !cut_off || found.status == 200,
            "acknowledged without a quorum, and lost"
        );
    }

    fn a_disk_is_full(&mut self) {
        // The writer asks a manager that has room.
        self.writer.via.store(0, Ordering::Relaxed);
        let filler = self.lab.hosts[2].data_root().join("filler");
        fill(&filler);
        // More than was written ahead.
        for number in 0..14 {
            let heavy = empty(&format!("heavy{number}"), 100_000);
            eventually("a heavy service is created", || {
                let answer = self.lab.hosts[0].api("POST", "/services/create", Some(&heavy));
                let answer = answer.map_err(|error| error.to_string())?;
                // One that was not acknowledged may have come about all the same.
                match answer.status {
                    201 | 409 => Ok(()),
                    _ => Err(answer.text()),
                }
            });
        }
        self.writes(10, "while a manager's disk is full");
        // The two others acknowledge without it: it may hear of this later.
        let log = self.lab.hosts[2].dir.join("daemon.log");
        eventually(
            "the manager without room says so",
            || match fs::read_to_string(&log).map_err(|error| error.to_string())? {
                text if text.contains("disk full: this manager is read-only") => Ok(()),
                text => Err(text),
            },
        );
        fs::remove_file(&filler).unwrap();
        self.all_reachable();
        eventually("the manager has caught up", || {
            let log = fs::read_to_string(self.lab.hosts[2].dir.join("daemon.log")).unwrap();
            if log.contains("disk has room again") {
                Ok(())
            } else {
                Err(log)
            }
        });
    }

    fn a_leader_stops_as_planned(&mut self) {
        let (leader, other) = self.leader_and_other();
        self.lab.hosts[leader].stop();
        self.writes(5, "after the leader was stopped");
        assert_ne!(self.leader(other), leader);
        self.lab.hosts[leader].start().unwrap();
        self.all_reachable();
    }

    /// A host gets another address: the others learn it from the manager itself.
    fn a_manager_moves(&mut self) {
        let (leader, other) = self.leader_and_other();
        let moving = 3 - leader - other;
        self.lab.hosts[moving].stop();
        let host = &self.lab.hosts[moving];
        let moved = "198.18.0.77";
        // In this order: a second address of a network goes with the first.
        for change in [&format!("del {}/24", host.address), "add 198.18.0.77/24"] {
            let mut command = host.inside("ip");
            command
                .arg("address")
                .args(change.split(' '))
                .args(["dev", "eth0"]);
            assert!(command.status().unwrap().success(), "ip address {change}");
        }
        self.lab.hosts[moving].start().unwrap();
        eventually("the others know the new address", || {
            let nodes = self.lab.hosts[other].api("GET", "/nodes", None);
            let nodes = nodes.map_err(|error| error.to_string())?.json();
            let known = nodes.as_array().into_iter().flatten().any(|node| {
                let manager = &node["ManagerStatus"];
                manager["Addr"] == format!("{moved}:2377") && manager["Reachability"] == "reachable"
            });
            if known {
                Ok(())
            } else {
                Err(nodes.to_string())
            }
        });
        self.writes(5, "after a manager moved");
    }

    fn end(mut self) {
        self.writer.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        let pause = *self.writer.longest_pause.lock().unwrap();
        assert!(pause < PAUSE, "writes stood still for {pause:?}");
        let acknowledged = self.writer.acknowledged.lock().unwrap().0.clone();
        for host in &self.lab.hosts {
            let services = host.api("GET", "/services", None).unwrap().json();
            let names: BTreeSet<&str> = services
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|service| service["Spec"]["Name"].as_str())
                .collect();
            let lost: Vec<_> = acknowledged
                .iter()
                .filter(|name| !names.contains(name.as_str()))
                .collect();
            assert!(
                lost.is_empty(),
                "{}: {lost:?} of {} are lost",
                host.name,
                acknowledged.len()
            );
        }
        for (host, before) in self.lab.hosts.iter().zip(&self.containers) {
            assert_eq!(containers(host), *before, "tasks of {}", host.name);
        }
        println!("{} writes, longest pause {pause:?}", acknowledged.len());
    }
}

/// Hosts 1 to 3 become managers of one swarm.
fn form_swarm(lab: &Lab) {
    let first = &lab.hosts[0];
    let address = first.address.to_string();
    let body = json!({"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": address, "Spec": {}});
    let answer = first.api("POST", "/swarm/init", Some(&body)).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let swarm = first.api("GET", "/swarm", None).unwrap().json();
    for host in &lab.hosts[1..] {
        let body = json!({
            "ListenAddr": "0.0.0.0:2377",
            "AdvertiseAddr": host.address.to_string(),
            "RemoteAddrs": [format!("{address}:2377")],
            "JoinToken": swarm["JoinTokens"]["Manager"],
        });
        let answer = host.api("POST", "/swarm/join", Some(&body)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// Runs a task on each host; answers the containers.
fn run_tasks(lab: &Lab) -> Vec<BTreeSet<String>> {
    let archive = images::busybox().unwrap();
    for host in &lab.hosts {
        let loaded = host
            .upload("/images/create?fromSrc=-&repo=steady&tag=1", &archive)
            .unwrap();
        assert_eq!(loaded.status, 200, "{}", loaded.text());
    }
    let body = json!({
        "Name": "steady",
        "TaskTemplate": {"ContainerSpec": {"Image": "steady:1", "Command": ["sleep", "100000"]}},
        "Mode": {"Global": {}},
    });
    let answer = lab.hosts[0]
        .api("POST", "/services/create", Some(&body))
        .unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let running = |host: &Host| {
        eventually(&format!("{} runs its task", host.name), || {
            let containers = containers(host);
            if containers.len() == 1 {
                Ok(containers)
            } else {
                Err(format!("{containers:?}"))
            }
        })
    };
    lab.hosts.iter().map(running).collect()
}

/// The containers that run on a host: id and process.
fn containers(host: &Host) -> BTreeSet<String> {
    let list = host.api("GET", "/containers/json", None).unwrap().json();
    let ids = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["Id"].as_str());
    let with_process = |id: &str| {
        let container = host
            .api("GET", &format!("/containers/{id}/json"), None)
            .unwrap()
            .json();
        format!("{id} {}", container["State"]["Pid"])
    };
    ids.map(with_process).collect()
}

/// Number of the host that leads, as a manager sees it.
fn leader_of(host: &Host) -> Result<usize, String> {
    let nodes = host
        .api("GET", "/nodes", None)
        .map_err(|error| error.to_string())?
        .json();
    let leader = nodes
        .as_array()
        .into_iter()
        .flatten()
        .find(|node| node["ManagerStatus"]["Leader"] == true);
    let name = leader.and_then(|node| node["Description"]["Hostname"].as_str());
    let number = name.and_then(|name| name.strip_prefix("host")?.parse::<usize>().ok());
    number
        .map(|number| number - 1)
        .ok_or_else(|| nodes.to_string())
}

/// Fills what is left of a file system.
fn fill(path: &PathBuf) {
    let mut file = fs::File::create(path).unwrap();
    for bytes in [1 << 20, 4096] {
        while file.write_all(&vec![1; bytes]).is_ok() {}
    }
}
