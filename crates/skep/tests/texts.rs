//! One swarm seen through Docker's command line and through skep's, called by the name `docker`:
//! what they print, their complaints and their exit codes are the same to the letter, ages apart.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use skep_testkit::{Cluster, Host, eventually, images};

/// Questions that change nothing. `NAME` stands for things the test made.
const QUESTIONS: &str = "
node ls
node ls -q
node ls --filter role=worker
node ls --format {{.Hostname}}:{{.Status}}:{{.Availability}}:{{.ManagerStatus}}:{{.TLSStatus}}:{{.EngineVersion}}
node inspect self
node inspect --pretty host2
node inspect nothing
node ps
node ps host2
node ps --no-trunc --filter desired-state=running host2
service ls
service ls -q
service ls --filter name=my-test
service ls --format {{json .}}
service ls --format json
service ls --filter mode=global
service ls --filter nonsense=1
service ps my-test
service ps -q my-test
service ps --no-trunc my-test
service ps nothing
service ps --format {{.Name}}/{{.Node}}/{{.DesiredState}}/{{.Image}} my-test everywhere
service inspect my-test
service inspect --pretty my-test
service inspect --pretty everywhere
service inspect nothing
service inspect --format {{json.Endpoint.VirtualIPs}} my-test
service inspect --format {{.Spec.Name}}{{range.Endpoint.Ports}}-{{.PublishedPort}}{{end}} my-test
service inspect --format {{.CreatedAt}}|{{.Version}}|{{.Spec.Mode.Replicated.Replicas}}|{{.Spec.Labels}}|{{.Endpoint}} my-test
service inspect --format {{.Spec.UpdateConfig.Monitor}}|{{.Spec.TaskTemplate.ContainerSpec.Env}}|{{.PreviousSpec}} my-test
service inspect --format {{.Nonsense}} my-test
service inspect --format {{.Spec.Nonsense}} my-test
service inspect --format {{.UpdateStatus.State}} everywhere
service inspect --format {{upper.Spec.Mode}} my-test
service inspect --format {{len.}} my-test
service inspect --format {{.Spec.Name} my-test
service inspect --format {{.Spec.Name|printf(`%q-%T`)|len}} my-test
service ls --format {{.Nonsense}}
service ls --format {{.Label}}
service ls --format {{join.ID`,`}}
service ls --format raw
service ps --format raw my-test
node ls --format raw
node inspect --format {{.Spec.Role}}|{{.Description.Engine.EngineVersion}}|{{.Status}}|{{.ManagerStatus.Leader}} host1
node inspect --format {{.ManagerStatus.Leader}} host2
node inspect --format {{.Description.Nonsense}} host2
secret ls --format raw
secret inspect --format {{.Spec.Name}}|{{.CreatedAt}}|{{.Spec.Nonsense}} key
config inspect --format {{.Spec.Data}}|{{.Meta.CreatedAt}} page
config inspect --format {{.ID.Nonsense}} page
network inspect --format {{.Created}}|{{.IPAM.Config}}|{{.Nonsense}} ngx_net
volume inspect --format {{.Nonsense}} vol
system df --format {{.Nonsense}}
network ls
network ls --no-trunc
network ls -q --filter driver=overlay
network inspect ngx_net
network inspect -v ngx_net
network inspect ingress
network inspect nothing
secret ls
secret inspect key
secret inspect --pretty key
config ls
config inspect page
config inspect --pretty page
secret inspect nothing
swarm join-token worker
swarm join-token -q manager
swarm join-token nobody
swarm unlock-key
swarm ca
stack ls
stack services shop
stack ps shop
stack ps nothing
stack services nothing
ps
ps -a --no-trunc
ps --format {{.Names}}
ps --filter name=everywhere --format {{.Image}}:{{.Command}}:{{.Status}}
images
images --digests --no-trunc
image inspect web:1
history web:1
inspect my-test
inspect nothing
volume ls
volume inspect vol
volume inspect nothing
version
info
system df
system df -v
context ls
port nothing
top nothing
logs nothing
";

/// What is refused, and how.
const REFUSALS: &str = "
service create
service create --nonsense x
service create --replicas 2 --mode global web:1
service create --endpoint-mode dnsrr -p 81:80 web:1
service create --constraint node.role=manager web:1
service create --name my-test --no-resolve-image web:1
service create --mount type=nonsense,target=/x web:1
service create --limit-memory 1 --no-resolve-image web:1
service create --publish nonsense web:1
service create --restart-condition sometimes --no-resolve-image web:1
service create --network nothing --no-resolve-image web:1
service create --secret nothing --no-resolve-image web:1
service update my-test nonsense
service update --replicas nonsense my-test
service update nothing
service scale my-test
service scale my-test=x
service scale nothing=2
service scale everywhere=2
service rollback nothing
service rollback everywhere
service rm nothing
service nonsense
nonsense
node rm host2
node rm nothing
node demote host1
node promote nothing
node update --availability sometimes host2
node update --role nonsense host2
network rm ngx_net
network rm nothing
network create -d nonsense x
network create -d overlay --subnet nonsense x
secret rm key
secret create key /dev/null
secret create
config rm page
config rm nothing
swarm init
swarm join --token SWMTKN-1-x-y 192.0.2.1:2377
swarm join
swarm leave
swarm unlock
swarm update --task-history-limit nonsense
swarm init --availability sometimes
volume create --driver nonsense vol2
volume rm nothing
stack deploy -c /nonexistent.yml shop
stack deploy shop
stack rm nothing
run nothing-such:1
run --memory nonsense web:1
run --nonsense web:1
run -d --name x -v nonsense:relative web:1
rm nothing
start nothing
stop nothing
kill nothing
exec nothing true
rmi nothing
rmi web:1
tag nothing x
inspect --type nonsense x
";

/// Every placeholder of each table, and every filter of each list.
const TABLES: &str = "
node ls --format {{.ID}}|{{.Self}}|{{.Hostname}}|{{.Status}}|{{.Availability}}|{{.ManagerStatus}}|{{.TLSStatus}}|{{.EngineVersion}}
node ls --format table{{.Hostname}}|{{.Self}}
node ls --format json
node ls --filter id=nothing
node ls --filter name=host
node ls --filter membership=accepted
node ls --filter node.label=x
node ls --filter label=x
node ls --filter nonsense=x
node ls --format {{.Nonsense}}
node ps --format {{.ID}}|{{.Name}}|{{.Image}}|{{.Node}}|{{.DesiredState}}|{{.Error}}|{{.Ports}} host2
node ps --filter name=my-test host2
node ps --filter id=nothing host2
node ps --filter label=x host2
node ps --filter nonsense=x host2
node ps --no-resolve host2
node ps -q host2
service ls --format {{.ID}}|{{.Name}}|{{.Mode}}|{{.Replicas}}|{{.Image}}|{{.Ports}}
service ls --format table{{.Name}}|{{.Ports}}
service ls --filter id=nothing
service ls --filter label=l
service ls --filter label=l=2
service ls --format {{.Nonsense}}
service ps --format {{.ID}}|{{.Name}}|{{.Image}}|{{.Node}}|{{.DesiredState}}|{{.Error}}|{{.Ports}} my-test
service ps --format json everywhere
service ps --filter node=host2 my-test
service ps --filter name=my-test.1 my-test
service ps --filter id=nothing my-test
service ps --filter nonsense=1 my-test
service ps --no-resolve my-test
service inspect --format {{.Spec.TaskTemplate.ContainerSpec.Env}} my-test
service inspect --format {{range my-test
stack ls --format {{.Name}}|{{.Services}}
stack ls --format {{.Orchestrator}}
stack ls --format {{.Namespace}}
stack ls --format json
stack services --format {{.Name}}|{{.Image}}|{{.Replicas}} shop
stack services --filter name=shop_front shop
stack services --filter label=x shop
stack services -q shop
stack services --format json shop
stack ps --format {{.Name}}|{{.Node}}|{{.DesiredState}} shop
stack ps --filter node=host1 shop
stack ps --filter desired-state=running shop
stack ps --no-resolve --no-trunc shop
stack ps -q shop
secret ls --format {{.ID}}|{{.Name}}|{{.Driver}}|{{.Labels}}|{{.CreatedAt}}
secret ls --format json
secret ls --filter name=key
secret ls --filter id=nothing
secret ls --filter label=a=b
secret ls --filter nonsense=x
secret ls -q
config ls --format {{.ID}}|{{.Name}}|{{.Labels}}|{{.UpdatedAt}}
config ls --format json
config ls --filter name=page
config ls --filter label=a
config ls --filter nonsense=x
network ls --format {{.ID}}|{{.Name}}|{{.Driver}}|{{.Scope}}|{{.IPv4}}|{{.IPv6}}|{{.Internal}}|{{.Labels}}|{{.CreatedAt}}
network ls --format json
network ls --filter scope=swarm
network ls --filter scope=nonsense
network ls --filter type=custom
network ls --filter type=builtin
network ls --filter dangling=true
network ls --filter id=nothing
network ls --filter label=x
network ls --filter name=ngx
network ls --filter nonsense=x
volume ls --format {{.Name}}|{{.Driver}}|{{.Scope}}|{{.Mountpoint}}|{{.Labels}}|{{.Links}}|{{.Size}}|{{.Availability}}|{{.Group}}|{{.Status}}
volume ls --format json
volume ls -q --filter dangling=true
volume ls --filter driver=local
volume ls --filter label=a
volume ls --filter name=vol
volume ls --filter nonsense=x
ps --format {{.ID}}|{{.Image}}|{{.Command}}|{{.CreatedAt}}|{{.Ports}}|{{.State}}|{{.Size}}|{{.Names}}|{{.Mounts}}|{{.LocalVolumes}}
ps --no-trunc --format {{.Labels}}
ps --format table{{.Names}}|{{.State}}
ps --format {{.Nonsense}}
ps --filter ancestor=web:1 -q
ps --filter status=nonsense
ps --filter health=none -q
ps --filter network=ngx_net -q
ps --filter volume=vol -q
ps --filter publish=80 -q
ps --filter expose=80 -q
ps --filter is-task=true -q
ps --filter is-task=false -q
ps --filter exited=x
ps --filter before=nothing
ps --filter since=nothing
ps --filter label=com.docker.swarm.service.name=my-test -q
ps --filter nonsense=x
ps -n 1 -q
ps -l -q
images --format {{.ID}}|{{.Repository}}|{{.Tag}}|{{.Digest}}|{{.CreatedAt}}|{{.Size}}|{{.Containers}}|{{.SharedSize}}|{{.UniqueSize}}|{{.VirtualSize}}
images --format json
images --format {{.Nonsense}}
images -q web
images --filter dangling=true
images --filter reference=we*
images --filter before=nothing
images --filter label=x
images --filter nonsense=x
images --tree
history --format {{.ID}}|{{.CreatedBy}}|{{.Size}}|{{.Comment}} web:1
history --no-trunc -q web:1
history --format json web:1
history nothing
context ls --format {{.Name}}|{{.Description}}|{{.DockerEndpoint}}|{{.Error}}|{{.Current}}
context ls -q
context show
system df --format {{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}|{{.Reclaimable}}
system df --format json
plugin ls
plugin ls --filter nonsense=x
info --format {{json.Swarm.LocalNodeState}}
info --format {{.Swarm.ControlAvailable}}|{{.Swarm.Nodes}}|{{.Swarm.Managers}}|{{.Swarm.NodeID}}
info --format {{.Nonsense}}
version --format {{.Server.Version}}|{{.Server.APIVersion}}|{{.Server.Os}}|{{.Server.Arch}}
inspect --format {{.Name}} my-test
inspect --type service --format {{.Spec.Name}} my-test
inspect --type network --format {{.Scope}} ngx_net
inspect --type volume vol
inspect --type container my-test
node inspect --format {{.Spec.Role}}|{{.Status.State}}|{{.ManagerStatus.Leader}} self
node inspect --pretty self
service logs --nonsense my-test
service logs --tail x my-test
service logs nothing
logs --since nonsense nothing
events --since 1 --until 2
events --since 1 --until 2 --format json
events --filter nonsense=x --since 1 --until 2
";

const STACK: &str = r#"
services:
  front:
    image: web:1
    command: ["sleep", "100000"]
    environment: [A=1]
    deploy:
      replicas: 2
  back:
    image: web:1
    command: ["sleep", "100000"]
    deploy:
      placement:
        constraints: [node.role == manager]
"#;

struct Seen {
    cluster: Cluster,
    /// The program under the name `docker`.
    docker: PathBuf,
}

impl Seen {
    fn manager(&self) -> &Host {
        &self.cluster.hosts[0]
    }

    fn make(&self, line: &str) -> String {
        let args: Vec<&str> = line.split(' ').collect();
        self.manager().docker(&args).ok()
    }

    /// Both command lines' answers, as text.
    fn both(&self, line: &str) -> (String, String) {
        // A template has no spaces of its own, so that a line splits at them.
        let line = line
            .replace("{{json.", "{{json .")
            .replace("{{range.", "{{range .");
        let args = split(&line);
        let real = self.manager().docker(&args);
        let mut command = self.manager().inside(&self.docker.to_string_lossy());
        command
            .args(&args)
            .env("DOCKER_HOST", self.manager().docker_host())
            .env("DOCKER_CONFIG", self.cluster.dir().join("config"))
            .stdin(Stdio::null());
        let ours = command.output().unwrap();
        let text = |stdout: &str, stderr: &str, code: i32| {
            normal(&format!(
                "{stdout}--- stderr\n{stderr}--- exit code {code}\n"
            ))
        };
        (
            text(&real.stdout, &real.stderr, real.code),
            text(
                &String::from_utf8_lossy(&ours.stdout),
                &String::from_utf8_lossy(&ours.stderr),
                ours.status.code().unwrap_or(-1),
            ),
        )
    }
}

/// Words of a line; a template is one word.
fn split(line: &str) -> Vec<&str> {
    let mut words: Vec<&str> = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let mut depth = 0_i32;
        let end = rest
            .char_indices()
            .find(|&(at, c)| {
                depth += i32::from(rest[at..].starts_with("{{"));
                depth -= i32::from(rest[at..].starts_with("}}"));
                c == ' ' && depth <= 0
            })
            .map_or(rest.len(), |(at, _)| at);
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    words
}

/// Ages differ between two moments, and columns with them.
fn normal(text: &str) -> String {
    // The two clients are not of one version.
    let text = match (text.starts_with("Client:"), text.find("\nServer:")) {
        (true, Some(at)) => &text[at..],
        _ => text,
    };
    let age = regex::Regex::new(
        r"(?i)(about an? \w+|less than a second|\d+ (seconds?|minutes?|hours?))( ago)?",
    )
    .unwrap();
    let spaces = regex::Regex::new(r"[ ]{2,}").unwrap();
    let moving = regex::Regex::new(
        r"(System Time|Goroutines|File Descriptors|Containers|Running|Stopped):? .*",
    )
    .unwrap();
    let text = age.replace_all(text, "AGE");
    let text = moving.replace_all(&text, "$1");
    let text = spaces.replace_all(&text, "  ");
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

fn seen() -> Seen {
    let cluster = Cluster::managers(1)
        .workers(2)
        .start(env!("CARGO_BIN_EXE_skep"))
        .unwrap();
    let docker = cluster.dir().join("docker");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_skep"), &docker).unwrap();
    std::fs::create_dir_all(cluster.dir().join("config")).unwrap();
    let archive = images::busybox().unwrap();
    for host in &cluster.hosts {
        let change = "CMD [\"sleep\", \"100000\"]";
        let args = ["import", "-c", change, "-c", "EXPOSE 80", "-", "web:1"];
        host.docker_with_input(&args, &archive).ok();
    }
    let seen = Seen { cluster, docker };
    seen.make("network create -d overlay --subnet 10.10.19.0/24 --attachable ngx_net");
    let files = seen.cluster.dir().to_owned();
    std::fs::write(files.join("text"), "something").unwrap();
    std::fs::write(files.join("stack.yml"), STACK).unwrap();
    let text = files.join("text").display().to_string();
    seen.make(&format!("secret create --label a=b key {text}"));
    seen.make(&format!("config create --label a=b page {text}"));
    seen.make("volume create --label a=b vol");
    seen.make("service create -d --name my-test --replicas 3 --network ngx_net --no-resolve-image -p 8881:80 --secret key --config page --mount type=volume,src=vol,dst=/data --label l=1 --env E=1 --limit-memory 64M --reserve-cpu 0.01 --constraint node.role!=nothing --update-parallelism 2 web:1 sleep 100000");
    seen.make("service create -d --name everywhere --mode global --no-resolve-image --endpoint-mode dnsrr --network ngx_net web:1");
    let stack = files.join("stack.yml").display().to_string();
    seen.make(&format!(
        "stack deploy --detach --resolve-image never -c {stack} shop"
    ));
    for (service, count) in [
        ("my-test", 3),
        ("everywhere", 3),
        ("shop_front", 2),
        ("shop_back", 1),
    ] {
        eventually(&format!("{service} runs"), || {
            let line = format!(
                "service ps {service} --filter desired-state=running --format {{{{.CurrentState}}}}"
            );
            let states = seen.make(&line);
            let running = states.lines().filter(|s| s.starts_with("Running")).count();
            if running == count {
                Ok(())
            } else {
                Err(states)
            }
        });
    }
    seen
}

#[test]
fn both_command_lines_say_the_same() {
    let seen = seen();
    let mut differences = String::new();
    let mut count = 0;
    for line in QUESTIONS
        .lines()
        .chain(TABLES.lines())
        .chain(REFUSALS.lines())
        .filter(|line| !line.is_empty())
    {
        let (real, ours) = seen.both(line);
        if real != ours {
            count += 1;
            let _ = writeln!(
                differences,
                "===== {line}\n----- docker\n{real}\n----- skep\n{ours}"
            );
        }
    }
    assert!(count == 0, "{count} answers differ\n{differences}");
}
