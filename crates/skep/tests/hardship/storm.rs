//! A storm of operations from several clients while the daemon is killed at random moments: what it
//! says after each start is true, everything can be removed, and nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use skep_testkit::{Host, eventually, images, request, upload};

use crate::random::{Random, seed};
use crate::{IMAGE, ask, files, one_host, rules, run};

const ROUNDS: u64 = 6;
const CLIENTS: u64 = 4;

#[test]
fn a_storm_of_operations_and_crashes_leaves_a_true_state_and_no_trace() {
    let mut lab = one_host();
    let mut random = Random::new(seed());
    // Everything that is made once and stays has been made before the comparison.
    let ports = json!({"PortBindings": {"80/tcp": [{"HostPort": ""}]}});
    let first = run(&lab.hosts[0], "first", ports);
    ask(
        &lab.hosts[0],
        "DELETE",
        &format!("/containers/{first}?force=1"),
        None,
        204,
    );
    lab.hosts[0].stop();
    lab.hosts[0].start().unwrap();
    let before = (files(&lab.hosts[0]), rules(&lab.hosts[0]));

    let mut outcomes = BTreeMap::new();
    for round in 0..ROUNDS {
        let calm = AtomicBool::new(false);
        let socket = lab.hosts[0].socket();
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    let random = Random::new(random.below(u64::MAX >> 12));
                    let mut client = Client {
                        socket: &socket,
                        random,
                        number,
                        outcomes: BTreeMap::new(),
                    };
                    let calm = &calm;
                    scope.spawn(move || client.storm(calm))
                })
                .collect();
            // The moment of the crash is what this test is about: nothing could be waited for.
            std::thread::sleep(Duration::from_millis(200 + random.below(1200)));
            lab.hosts[0].kill();
            calm.store(true, Ordering::Relaxed);
            for client in clients {
                for (outcome, count) in client.join().unwrap() {
                    *outcomes.entry(outcome).or_insert(0) += count;
                }
            }
        });
        lab.hosts[0].start().unwrap();
        eventually(&format!("the state is true after crash {round}"), || {
            truth(&lab.hosts[0])
        });
    }
    eprintln!("{outcomes:#?}");
    let succeeded: u64 = outcomes
        .iter()
        .filter(|(k, _)| (200..400).contains(&k.1))
        .map(|(_, n)| n)
        .sum();
    assert!(succeeded > 20, "hardly anything was done: {outcomes:?}");

    remove_all(&lab.hosts[0]);
    crate::assert_no_leaks(&mut lab);
    // What a crash left half made goes with the next start.
    lab.hosts[0].start().unwrap();
    let known: BTreeSet<_> = before.0.iter().collect();
    let now = files(&lab.hosts[0]);
    let more: Vec<_> = now.iter().filter(|path| !known.contains(path)).collect();
    assert!(more.is_empty(), "files are left: {more:#?}");
    assert_eq!(rules(&lab.hosts[0]), before.1, "nft rules are left");
}

struct Client<'a> {
    socket: &'a Path,
    random: Random,
    number: u64,
    outcomes: BTreeMap<(String, u16), u64>,
}

impl Client<'_> {
    fn storm(&mut self, calm: &AtomicBool) -> BTreeMap<(String, u16), u64> {
        while !calm.load(Ordering::Relaxed) {
            self.one();
        }
        std::mem::take(&mut self.outcomes)
    }

    /// One operation; a daemon that is not there any more refuses it.
    fn one(&mut self) {
        // Names are shared among clients now and then, so that they meet.
        let name = format!(
            "c{}-{}",
            self.random.below(2) * self.number,
            self.random.below(4)
        );
        let other = format!("n{}", self.random.below(3));
        let image = format!("copy{}:1", self.random.below(3));
        let force = self.random.pick(&["", "?force=1", "?force=1&v=1"]);
        match self.random.below(22) {
            0..=4 => self.create(&name, &other),
            5..=7 => self.ask("POST", "start", &format!("/containers/{name}/start"), None),
            8 => self.ask(
                "POST",
                "stop",
                &format!("/containers/{name}/stop?t=0"),
                None,
            ),
            9 => self.ask("POST", "kill", &format!("/containers/{name}/kill"), None),
            10 => self.ask(
                "POST",
                "restart",
                &format!("/containers/{name}/restart?t=0"),
                None,
            ),
            11 | 12 => self.ask("DELETE", "rm", &format!("/containers/{name}{force}"), None),
            13 => self.exec(&name),
            14 => {
                let verb = self.random.pick(&["pause", "unpause"]);
                self.ask("POST", verb, &format!("/containers/{name}/{verb}"), None);
            }
            15 => self.ask(
                "GET",
                "logs",
                &format!("/containers/{name}/logs?stdout=1"),
                None,
            ),
            16 => {
                let body = json!({"Name": other, "Labels": {"storm": "1"}});
                self.ask("POST", "volume create", "/volumes/create", Some(body));
                self.ask("DELETE", "volume rm", &format!("/volumes/{other}"), None);
            }
            17 => {
                let body = json!({"Name": other});
                self.ask("POST", "network create", "/networks/create", Some(body));
            }
            18 => {
                let verb = self.random.pick(&["connect", "disconnect"]);
                let body = json!({"Container": name});
                self.ask(
                    "POST",
                    verb,
                    &format!("/networks/{other}/{verb}"),
                    Some(body),
                );
            }
            19 => self.ask("DELETE", "network rm", &format!("/networks/{other}"), None),
            20 => {
                let (repo, tag) = image.split_once(':').unwrap();
                let path = format!("/images/{IMAGE}/tag?repo={repo}&tag={tag}");
                self.ask("POST", "tag", &path, None);
                self.ask("DELETE", "rmi", &format!("/images/{image}"), None);
            }
            _ => self.load(&image),
        }
    }

    fn create(&mut self, name: &str, other: &str) {
        let command = self
            .random
            .pick(&["sleep 1000", "true", "echo hello; exit 3"]);
        let network = self.random.pick(&["bridge", "none", "host", other]);
        let policy = self.random.pick(&["no", "always", "on-failure"]);
        let binds = self.random.pick(&["", "/data", "vol:/data"]);
        let auto_remove = policy == "no" && self.random.below(3) == 0;
        let ports = if network == "bridge" {
            json!({"80/tcp": [{"HostPort": ""}]})
        } else {
            json!({})
        };
        let mut body = json!({
            "Image": IMAGE,
            "Cmd": ["sh", "-c", command],
            "HostConfig": {
                "NetworkMode": network,
                "RestartPolicy": {"Name": policy},
                "AutoRemove": auto_remove,
                "PortBindings": ports,
                "StopTimeout": 0,
            },
        });
        match binds {
            "" => {}
            "/data" => body["Volumes"] = json!({"/data": {}}),
            bind => body["HostConfig"]["Binds"] = json!([bind]),
        }
        self.ask(
            "POST",
            "create",
            &format!("/containers/create?name={name}"),
            Some(body),
        );
        self.ask("POST", "start", &format!("/containers/{name}/start"), None);
    }

    fn exec(&mut self, name: &str) {
        let body = json!({"Cmd": ["true"], "AttachStdout": true});
        let path = format!("/containers/{name}/exec");
        if let Ok(made) = request(self.socket, "POST", &path, Some(&body)) {
            let id = made.json()["Id"].as_str().unwrap_or("none").to_owned();
            self.ask(
                "POST",
                "exec",
                &format!("/exec/{id}/start"),
                Some(json!({"Detach": false})),
            );
        }
    }

    /// An image of its own, with content that no other has.
    fn load(&mut self, image: &str) {
        let files = images::bulk(usize::try_from(self.random.below(1 << 30)).unwrap(), 2).unwrap();
        let (repo, tag) = image.split_once(':').unwrap();
        let path = format!("/images/create?fromSrc=-&repo={repo}&tag={tag}");
        let status = upload(self.socket, &path, &files).map_or(0, |answer| answer.status);
        *self
            .outcomes
            .entry(("import".to_owned(), status))
            .or_insert(0) += 1;
    }

    fn ask(&mut self, method: &str, what: &str, path: &str, body: Option<Value>) {
        // No answer is that of a daemon that was killed meanwhile.
        let status = request(self.socket, method, path, body.as_ref()).map_or(0, |answer| {
            assert!(
                answer.status < 500,
                "{method} {path}: {} {}",
                answer.status,
                answer.text()
            );
            answer.status
        });
        *self.outcomes.entry((what.to_owned(), status)).or_insert(0) += 1;
    }
}

/// Whether the daemon's word and the kernel's are the same.
fn truth(host: &Host) -> Result<(), String> {
    let list = host.api("GET", "/containers/json?all=1", None);
    let list = list.map_err(|error| error.to_string())?.json();
    let mut known = BTreeSet::new();
    for container in list.as_array().ok_or("no list")? {
        let id = container["Id"].as_str().ok_or("no id")?.to_owned();
        let shown = host.api("GET", &format!("/containers/{id}/json"), None);
        let state = shown.map_err(|error| error.to_string())?.json()["State"].clone();
        let processes = processes_of(host, &id);
        let runs = state["Running"] == true && state["Restarting"] == false;
        if runs && !processes.contains(&state["Pid"].as_u64().unwrap_or(0)) {
            return Err(format!(
                "{id} has pid {}, the kernel {processes:?}",
                state["Pid"]
            ));
        }
        if !runs && !processes.is_empty() {
            return Err(format!(
                "{id} is {}, the kernel has {processes:?}",
                state["Status"]
            ));
        }
        known.insert(id);
    }
    for cgroup in cgroups(host) {
        let id = cgroup.file_name().unwrap().to_string_lossy().into_owned();
        if !known.contains(&id) {
            return Err(format!("cgroup {} of no container", cgroup.display()));
        }
    }
    Ok(())
}

/// The cgroups of a host's containers, in the hierarchy of pids or the only one.
fn cgroups(host: &Host) -> Vec<PathBuf> {
    let roots = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
    let root = roots.iter().find(|root| Path::new(root).is_dir()).unwrap();
    let dir = Path::new(root).join(host.cgroup().trim_start_matches('/'));
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

fn processes_of(host: &Host, id: &str) -> Vec<u64> {
    let mine = cgroups(host)
        .into_iter()
        .find(|cgroup| cgroup.ends_with(id));
    let text = mine.and_then(|cgroup| fs::read_to_string(cgroup.join("cgroup.procs")).ok());
    text.unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect()
}

/// Removes everything over the API, which must work.
fn remove_all(host: &Host) {
    for container in list(host, "/containers/json?all=1", "") {
        let id = container["Id"].as_str().unwrap().to_owned();
        let answer = host
            .api("DELETE", &format!("/containers/{id}?force=1&v=1"), None)
            .unwrap();
        // A --rm container may go by itself meanwhile.
        assert!(
            matches!(answer.status, 204 | 404),
            "{id}: {} {}",
            answer.status,
            answer.text()
        );
    }
    eventually("all containers are gone", || {
        let left = list(host, "/containers/json?all=1", "");
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
    for volume in list(host, "/volumes", "Volumes") {
        ask(
            host,
            "DELETE",
            &format!("/volumes/{}", volume["Name"].as_str().unwrap()),
            None,
            204,
        );
    }
    for network in list(host, "/networks", "") {
        let name = network["Name"].as_str().unwrap();
        if !matches!(name, "bridge" | "host" | "none") {
            ask(host, "DELETE", &format!("/networks/{name}"), None, 204);
        }
    }
    for image in list(host, "/images/json?all=1", "") {
        let is_base = image["RepoTags"]
            .as_array()
            .is_some_and(|tags| tags.contains(&json!(IMAGE)));
        if !is_base {
            let id = image["Id"].as_str().unwrap();
            ask(host, "DELETE", &format!("/images/{id}?force=1"), None, 200);
        }
    }
    for tag in ["copy0:1", "copy1:1", "copy2:1"] {
        let answer = host.api("DELETE", &format!("/images/{tag}"), None).unwrap();
        assert!(
            matches!(answer.status, 200 | 404),
            "{tag}: {}",
            answer.text()
        );
    }
}

fn list(host: &Host, path: &str, field: &str) -> Vec<Value> {
    let answer = ask(host, "GET", path, None, 200);
    let list = if field.is_empty() {
        &answer
    } else {
        &answer[field]
    };
    list.as_array().cloned().unwrap_or_default()
}
