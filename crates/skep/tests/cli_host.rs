//! One daemon, two command lines: Docker's own and skep's under the name `docker` walk through what a
//! host can do, each with objects of its own, and print the same.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::LazyLock;

use regex::Regex;
use skep_testkit::{Lab, LabSpec, Registry, images};

/// A daemon, and a directory with `docker` in it for each command line.
struct Bench {
    lab: Lab,
    registry: Registry,
    dirs: [PathBuf; 2],
    /// Lines that the two answer differently, or not as they should.
    wrong: RefCell<Vec<String>>,
}

/// What a line printed, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

/// What each calls its objects: names that nothing else has in it.
const WHO: [&str; 2] = ["uno7", "duo7"];

impl Bench {
    fn new() -> Self {
        let docker = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|dir| dir.join("docker"))
            .find(|file| file.is_file())
            .expect("docker: install Docker's command line (Debian's package docker-cli)");
        let mut spec = LabSpec::new(env!("CARGO_BIN_EXE_skep"), 1);
        spec.daemon_flags = vec!["--insecure-registry".into(), "198.18.0.0/24".into()];
        let mut lab = Lab::new(&spec).unwrap();
        let (client, address) = lab.make_client().unwrap();
        let registry = Registry::start(&client, &address.to_string(), lab.dir()).unwrap();
        lab.hosts[0].start().unwrap();
        std::fs::write(lab.dir().join("busybox.tar"), images::busybox().unwrap()).unwrap();
        let programs = [docker, PathBuf::from(env!("CARGO_BIN_EXE_skep"))];
        let dirs = WHO.map(|who| lab.dir().join(who));
        for (dir, program) in dirs.iter().zip(programs) {
            std::fs::create_dir_all(dir.join("config")).unwrap();
            std::os::unix::fs::symlink(program, dir.join("docker")).unwrap();
            std::fs::write(dir.join("file"), "from the host\n").unwrap();
        }
        Self {
            lab,
            registry,
            dirs,
            wrong: RefCell::default(),
        }
    }

    /// Runs a line; `{me}` is the command line's own name for objects, `{reg}` the registry.
    fn run(&self, who: usize, line: &str) -> Told {
        let host = &self.lab.hosts[0];
        let line = line
            .replace("{me}", WHO[who])
            .replace("{reg}", &self.registry.name);
        let dir = &self.dirs[who];
        let output = host
            .inside("timeout")
            .args(["60", "sh", "-c", &line])
            .env(
                "PATH",
                format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", dir.display()),
            )
            .env("DOCKER_HOST", host.docker_host())
            .env("DOCKER_CONFIG", dir.join("config"))
            .env("TZ", "UTC")
            .current_dir(dir)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| self.masked(who, &String::from_utf8_lossy(bytes));
        Told {
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            code: output.status.code(),
        }
    }

    /// Without what differs from one object to the next: ids, names, addresses, ages.
    fn masked(&self, who: usize, text: &str) -> String {
        static MASKS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
            [
                (r"\b[0-9a-f]{64}\b", "<id>"),
                (r"\b[0-9a-f]{12}\b", "<short>"),
                (r"\b172\.\d+\.\d+\.\d+\b", "<ip>"),
                (r"(?i)\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b", "<mac>"),
                (r"(less than a second|about a minute|an hour|\d+ (seconds?|minutes?)|about an hour)( ago)?", "<age>"),
                (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( \+0000 UTC|Z)", "<time>"),
            ]
            .map(|(pattern, mask)| (Regex::new(&format!("(?i){pattern}")).unwrap(), mask))
            .into()
        });
        let mut text = text.replace(WHO[who], "<me>");
        text = text.replace(&self.dirs[who].display().to_string(), "<dir>");
        for (pattern, mask) in MASKS.iter() {
            text = pattern.replace_all(&text, *mask).into_owned();
        }
        // Columns are as wide as what is masked.
        static GAPS: LazyLock<Regex> = LazyLock::new(|| Regex::new(" {2,}").unwrap());
        GAPS.replace_all(&text, "  ").into_owned()
    }

    /// Both say the same; what it is.
    #[track_caller]
    fn same(&self, line: &str) -> Told {
        let [docker, skep] = [0, 1].map(|who| self.run(who, line));
        if docker != skep {
            self.note(format!("{line}\n  docker: {docker:?}\n  skep:   {skep:?}"));
        }
        docker
    }

    /// Both say the same and succeed.
    #[track_caller]
    fn good(&self, line: &str) -> String {
        let told = self.same(line);
        if told.code != Some(0) {
            self.note(format!("{line} fails: {told:?}"));
        }
        told.stdout
    }

    /// Both say the same and fail with this exit code.
    #[track_caller]
    fn bad(&self, line: &str, code: i32) -> String {
        let told = self.same(line);
        if told.code != Some(code) {
            self.note(format!("{line} does not end with {code}: {told:?}"));
        }
        told.stderr
    }

    /// Both say this and nothing else.
    fn says(&self, line: &str, text: &str) {
        let said = self.good(line);
        if said != text {
            self.note(format!("{line} says {said:?}"));
        }
    }

    fn note(&self, what: String) {
        self.wrong.borrow_mut().push(what);
    }
}

#[test]
fn both_command_lines_tell_the_same_of_one_host() {
    let bench = Bench::new();
    images_come_and_go(&bench);
    containers_live(&bench);
    containers_are_looked_at(&bench);
    files_are_copied(&bench);
    volumes_and_networks(&bench);
    the_registry(&bench);
    the_daemon(&bench);
    everything_goes(&bench);
    let wrong = bench.wrong.borrow();
    assert!(
        wrong.is_empty(),
        "{} lines are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn images_come_and_go(bench: &Bench) {
    bench.run(
        0,
        "docker import -c 'CMD [\"sh\"]' ../busybox.tar busybox:latest",
    );
    bench.good("docker images busybox");
    bench.good("docker image inspect -f '{{json .Config.Cmd}} {{.Os}}' busybox");
    bench.good("docker history --format '{{.Comment}} {{.Size}}' busybox");
    bench.good("docker tag busybox {me}/box:1");
    bench.good("docker save -o img.tar {me}/box:1");
    assert!(bench.good("docker rmi {me}/box:1").contains("Untagged"));
    assert!(
        bench
            .good("docker load -i img.tar")
            .contains("Loaded image")
    );
    bench.good("docker image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}' {me}/box");
    bench.bad("docker image inspect nope", 1);
    bench.bad("docker rmi nope", 1);
    bench.bad("docker run --pull never nope", 125);
}

fn containers_live(bench: &Bench) {
    bench.says("docker run --rm --network none busybox echo hi", "hi\n");
    bench.bad(
        "docker run --rm --network none busybox sh -c 'echo out; echo err >&2; exit 7'",
        7,
    );
    bench.bad(
        "docker run --rm --network none busybox /no/such/program",
        127,
    );
    bench.bad("docker run --rm --network none busybox /etc", 126);
    bench.says(
        "echo in | docker run -i --rm --network none busybox cat",
        "in\n",
    );
    bench.good("docker run -d --name {me} -l a=b -e X=y -m 64m --hostname h busybox sh -c 'echo started; sleep 1000'");
    bench.bad("docker run -d --name {me} busybox true", 125);
    bench.says(
        "docker exec -e Z=1 {me} sh -c 'echo $X$Z; hostname'",
        "y1\nh\n",
    );
    bench.bad("docker exec {me} sh -c 'exit 3'", 3);
    bench.bad("docker exec nope ls", 1);
    bench.good("docker update --memory 48m --memory-swap 96m {me}");
    bench.good("docker pause {me}");
    bench.bad("docker exec {me} true", 1);
    bench.good("docker unpause {me}");
    bench.good("docker rename {me} {me}-2");
    bench.good("docker rename {me}-2 {me}");
    bench.good("docker restart -t 0 {me}");
    bench.good("docker kill -s KILL {me}");
    bench.says("docker wait {me}", "137\n");
    bench.bad("docker attach {me}", 1);
    bench.bad("docker kill {me}", 1);
    bench.good("docker start {me}");
    bench.bad("docker rm {me}", 1);
}

fn containers_are_looked_at(bench: &Bench) {
    bench.good("docker ps --filter name={me} --format '{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Labels}} {{.Networks}}'");
    bench.good("docker ps -a --filter name={me}");
    bench.good("docker ps -q --no-trunc -f name={me}");
    bench.good("docker inspect -f '{{.Name}} {{.HostConfig.Memory}} {{.Config.Env}} {{.State.Status}} {{.HostConfig.RestartPolicy.Name}}' {me}");
    bench.good("docker inspect --type container -f '{{json .Config.Labels}}' {me}");
    bench.good("docker container inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}' {me}");
    bench.good("docker logs --tail 1 {me}");
    bench.good("docker stats --no-stream --format '{{.Name}} {{.PIDs}}' {me}");
    bench.good("docker port {me}");
    bench.bad("docker inspect nope", 1);
    bench.bad("docker logs nope", 1);
    bench.bad("docker ps --format '{{.Nope}}'", 1);
    bench.bad("docker ps -f nope=1", 1);
    bench.bad("docker ps --nope", 125);
    bench.bad("docker inspect -f '{{.Nope}}' {me}", 1);
    bench.bad("docker nope", 1);
}

fn files_are_copied(bench: &Bench) {
    bench.good("docker cp file {me}:/tmp/there");
    bench.says("docker exec {me} cat /tmp/there", "from the host\n");
    bench.good("docker exec {me} sh -c 'mkdir -p /d/sub; echo deep > /d/sub/f; ln -s f /d/sub/l'");
    bench.good("docker cp {me}:/d out && find out | sort && cat out/sub/f");
    bench.good("docker cp out {me}:/e && docker exec {me} ls -R /e");
    bench.good("docker cp {me}:/d/sub/f - | tar t");
    bench.good("tar c file | docker cp - {me}:/tmp && docker exec {me} cat /tmp/file");
    bench.bad("docker cp nofile {me}:/x", 1);
    bench.bad("docker cp {me}:/nope .", 1);
    bench.good("docker diff {me} | sort");
    bench.good("docker commit -m note -c 'CMD [\"true\"]' {me} {me}/made");
    bench.good("docker image inspect -f '{{json .Config.Cmd}} {{.Comment}}' {me}/made");
    bench.good("docker export {me} | tar t | grep -c tmp/there");
}

fn volumes_and_networks(bench: &Bench) {
    bench.good("docker volume create -d local --label l=1 {me}-v");
    bench.good("docker volume ls -f name={me}-v");
    bench.good(
        "docker volume inspect -f '{{.Name}} {{.Driver}} {{json .Labels}} {{.Options}}' {me}-v",
    );
    bench
        .good("docker run --rm --network none -v {me}-v:/data busybox sh -c 'echo kept > /data/f'");
    bench.good("docker run --rm --network none --mount type=volume,src={me}-v,dst=/d,readonly busybox cat /d/f");
    bench.bad("docker volume rm nope", 1);
    bench.good("docker volume rm {me}-v");
    bench.good("docker network create --label l=1 {me}-n");
    bench.bad("docker network create {me}-n", 1);
    bench.good("docker network ls -f name={me}-n");
    bench.good("docker network connect --alias other {me}-n {me}");
    bench.good("docker network inspect -f '{{.Name}} {{.Driver}} {{len .Containers}} {{json .Labels}}' {me}-n");
    bench.bad("docker network rm {me}-n", 1);
    bench.good("docker network disconnect {me}-n {me}");
    bench.good("docker network rm {me}-n");
    bench.bad("docker network inspect nope", 1);
}

fn the_registry(bench: &Bench) {
    assert!(
        bench
            .good("echo pw | docker login -u me --password-stdin {reg} 2>/dev/null")
            .contains("Login Succeeded")
    );
    bench.good("docker tag busybox {reg}/{me}:1");
    bench.good("docker push -q {reg}/{me}:1");
    bench.good("docker rmi {reg}/{me}:1");
    bench.good("docker pull -q {reg}/{me}:1");
    bench.good("docker image ls --format '{{.Repository}} {{.Tag}}' {reg}/{me}");
    bench.bad("docker pull -q {reg}/nothing", 1);
    bench.good("docker logout {reg}");
}

fn the_daemon(bench: &Bench) {
    bench.good(
        "docker info -f '{{.OSType}} {{.Driver}} {{.Swarm.LocalNodeState}} {{.Name}} {{.ID}}'",
    );
    bench.good("docker info | sed -n '/^Server:/,$p' | grep -v -e '^Server' -e '^ Images' -e Containers -e 'Debug' -e 'Plugins:'");
    bench.good("docker version -f '{{.Server.Version}} {{.Server.APIVersion}} {{.Server.Os}}'");
    bench.good("docker events --since 1h --until 0s -f container={me} -f event=rename --format '{{.Type}} {{.Action}} {{index .Actor.Attributes \"oldName\"}}'");
    bench.good("docker events --since 1h --until 0s -f container={me} -f event=pause");
    bench.bad("docker -H unix:///nowhere ps", 1);
    bench.bad("docker system nope", 1);
    bench.good("docker system df --format '{{.Type}} {{.TotalCount}}'");
    bench.good("docker context ls");
    bench.good("docker plugin ls");
}

fn everything_goes(bench: &Bench) {
    bench.good("docker stop -t 0 {me}");
    bench.good("docker container prune -f --filter label=nothing");
    bench.good("docker rm {me}");
    bench.good("docker rm -f {me}");
    bench.good("docker rmi -f {me}/made {me}/box:1 | grep -c Untagged");
    bench.good("docker system prune -f --filter label=nothing");
    bench.good("docker volume prune -f");
    bench.good("docker network prune -f");
}
