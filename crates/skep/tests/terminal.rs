//! What is drawn at a terminal while a swarm converges: by Docker's command line and by skep's the
//! same, once all is still. And what skep's has besides: strategies of placement, rebalancing,
//! completion of words.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use skep_testkit::{Cluster, Host, eventually, images};

struct Stage {
    cluster: Cluster,
    skep: PathBuf,
}

impl Stage {
    fn start() -> Self {
        let cluster = Cluster::managers(1)
            .workers(1)
            .start(env!("CARGO_BIN_EXE_skep"))
            .unwrap();
        let archive = images::busybox().unwrap();
        for host in &cluster.hosts {
            let change = "CMD [\"sleep\", \"100000\"]";
            let args = ["import", "-c", change, "-", "web:1"];
            host.docker_with_input(&args, &archive).ok();
        }
        let skep = cluster.dir().join("bin/docker");
        std::fs::create_dir_all(cluster.dir().join("bin")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_skep"), &skep).unwrap();
        Self { cluster, skep }
    }

    fn manager(&self) -> &Host {
        &self.cluster.hosts[0]
    }

    fn make(&self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        self.manager().skep(&words).ok()
    }

    /// What a program leaves on a terminal so wide, when it was typed to.
    fn screen(&self, program: &str, line: &str, columns: u16, typed: &str) -> Vec<String> {
        self.session(program, line, columns, typed).0
    }

    /// The same, and the program's exit code.
    fn session(
        &self,
        program: &str,
        line: &str,
        columns: u16,
        typed: &str,
    ) -> (Vec<String>, Option<i32>) {
        let mut command = self.manager().inside("script");
        command
            .args([
                "-qec",
                &format!("stty cols {columns} rows 40; exec {program} {line}"),
            ])
            .arg("/dev/null")
            .env("DOCKER_HOST", self.manager().docker_host())
            .env("DOCKER_CONFIG", self.cluster.dir().join("config"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(input);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (rendered(&text), output.status.code())
    }

    /// The same line by both, with a name of its own for each in the place of NAME.
    fn both(&self, line: &str, columns: u16) -> (Vec<String>, Vec<String>) {
        let screen = |program: &str, name: &str| {
            let shown = self.screen(program, &line.replace("NAME", name), columns, "");
            shown
                .iter()
                .map(|line| without_ids(line).replace(name, "NAME"))
                .collect()
        };
        (
            screen("/usr/bin/env docker", "one"),
            screen(&self.skep.to_string_lossy(), "two"),
        )
    }

    /// How many tasks of a service run, a count a node.
    fn spread(&self, service: &str) -> Vec<usize> {
        let line = format!(
            "service ps {service} --filter desired-state=running --format {{{{.Node}}}}|{{{{.CurrentState}}}}"
        );
        let listed = self.make(&line);
        let on = |host: &str| {
            let prefix = format!("{host}|Running");
            listed.lines().filter(|l| l.starts_with(&prefix)).count()
        };
        vec![on("host1"), on("host2")]
    }
}

/// Whoever leaves a container by the detach keys is told so, unless it was started in the same breath.
fn detaching(stage: &Stage) {
    let programs = [
        "/usr/bin/env docker".to_owned(),
        stage.skep.display().to_string(),
    ];
    for (number, program) in programs.iter().enumerate() {
        let name = format!("tty{number}");
        stage.make(&format!("run -dit --name {name} web:1 sh"));
        let left = |line: &str| {
            let (shown, code) = stage.session(program, line, 80, "xy");
            let told = shown
                .iter()
                .any(|line| line.contains("read escape sequence"));
            (code, told)
        };
        let lines = [
            (format!("attach --detach-keys x,y {name}"), (Some(1), true)),
            (
                format!("exec -it --detach-keys x,y {name} sh"),
                (Some(1), true),
            ),
            (
                format!("run -it --detach-keys x,y --name {name}b web:1 sh"),
                (Some(0), false),
            ),
        ];
        for (line, expected) in lines {
            assert_eq!(left(&line), expected, "{program} {line}");
        }
        stage.make(&format!("stop -t 0 {name}"));
        let line = format!("start -ai --detach-keys x,y {name}");
        assert_eq!(left(&line), (Some(0), false), "{program} {line}");
        stage.make(&format!("rm -f {name} {name}b"));
    }
}

fn without_ids(line: &str) -> String {
    let id = regex::Regex::new(r"\b[a-z0-9]{25}\b").unwrap();
    id.replace_all(line, "ID").into_owned()
}

/// The lines that a terminal shows in the end.
fn rendered(text: &str) -> Vec<String> {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0_usize, 0_usize);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\r' => column = 0,
            '\n' => row += 1,
            '\x1b' => {
                letters.next_if_eq(&'[');
                let mut count = String::new();
                while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                    count.push(digit);
                }
                let count: usize = count.parse().unwrap_or(1);
                match letters.next() {
                    Some('A') => row = row.saturating_sub(count),
                    Some('B') => row += count,
                    Some('K') => lines[row].clear(),
                    Some('J') => lines.truncate(row + 1),
                    _ => {}
                }
            }
            letter => {
                let line = &mut lines[row];
                if line.len() <= column {
                    line.resize(column + 1, ' ');
                }
                line[column] = letter;
                column += 1;
            }
        }
        if lines.len() <= row {
            lines.resize(row + 1, Vec::new());
        }
    }
    let text = |line: Vec<char>| line.into_iter().collect::<String>().trim_end().to_owned();
    let mut lines: Vec<String> = lines.into_iter().map(text).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

#[test]
fn services_converge_on_the_screen_as_with_docker() {
    let mut stage = Stage::start();
    progress(&stage);
    updates(&stage);
    interrupted(&stage);
    placement(&stage);
    detaching(&stage);
    rebalancing(&stage);
    completion(&stage);
    rotation(&stage);
    locked(&mut stage);
}

/// Making and scaling, on a wide terminal and on a narrow one. (Docker's ends an update when it happens to
/// see that the update has ended, with whatever it shows then.)
fn progress(stage: &Stage) {
    let monitor = "--update-monitor 200ms --rollback-monitor 200ms --stop-signal SIGKILL";
    let create =
        format!("service create --no-resolve-image --name NAME --replicas 3 {monitor} web:1");
    for (line, columns) in [
        (create.as_str(), 120),
        ("service scale NAME=2", 80),
        ("service scale NAME=4", 120),
    ] {
        let (docker, skep) = stage.both(line, columns);
        assert_eq!(skep, docker, "{line}");
        assert!(!skep.is_empty(), "{line}");
    }
    stage.make("service rm one two");
}

/// Updates that fail, go back and are asked back; jobs and global services.
fn updates(stage: &Stage) {
    let quick = "--update-monitor 200ms --rollback-monitor 200ms --restart-delay 10s --stop-signal SIGKILL --stop-grace-period 0s";
    let create =
        format!("service create --no-resolve-image --name NAME --replicas 2 {quick} web:1");
    let job = "service create --no-resolve-image --name NAME-job --mode replicated-job --replicas 3 --max-concurrent 2 --restart-condition none web:1 true";
    let update = "service update --no-resolve-image --update-monitor 3s";
    // The lines of tasks that fail are seen at different moments.
    for (line, has_tasks) in [
        (create.clone(), true),
        (format!("{update} --args false NAME"), false),
        ("service rollback NAME".to_owned(), true),
        (format!("{update} --args false --update-failure-action rollback NAME"), false),
        ("service update --quiet --args 100001 NAME".to_owned(), true),
        ("service update --detach --args 100002 NAME".to_owned(), true),
        (format!("service create --no-resolve-image --name NAME-global --mode global {quick} --constraint node.role==worker web:1"), true),
        (job.to_owned(), true),
        ("service update --force NAME-job".to_owned(), true),
        ("service create --no-resolve-image --name NAME-jobs --mode global-job --constraint node.role==worker web:1 true".to_owned(), true),
        ("service create --no-resolve-image --name NAME-many --replicas 21 --update-monitor 200ms --stop-signal SIGKILL web:1".to_owned(), true),
    ] {
        let (docker, skep) = stage.both(&line, 120);
        let kept = |shown: Vec<String>| -> Vec<String> {
            let is_kept = |line: &String| {
                let is_task = line.split_once(':').is_some_and(|(id, _)| id.contains('/'));
                let is_moment = is_task || line.starts_with("overall progress") || line.starts_with("verify")
                    // Told only where it has not converged by then.
                    || line == "rollback: rollback completed";
                has_tasks || !is_moment
            };
            shown.into_iter().filter(is_kept).collect()
        };
        let (docker, skep) = (kept(docker), kept(skep));
        assert_eq!(skep, docker, "{line}");
        assert!(!skep.is_empty(), "{line}");
    }
    let paused = stage.make("service ls --format {{.Name}}");
    assert!(paused.contains("one-many"), "{paused}");
    for name in ["one", "two"] {
        stage.make(&format!(
            "service rm {name} {name}-global {name}-job {name}-jobs {name}-many"
        ));
    }
}

/// What is not there yet comes without those who asked for it.
fn interrupted(stage: &Stage) {
    let line = "service create --no-resolve-image --name NAME --constraint node.role==none web:1";
    let screen = |program: &str, name: &str| {
        let program = format!("timeout --foreground -s INT 1 {program}");
        let shown = stage.screen(&program, &line.replace("NAME", name), 120, "");
        let shown = shown.iter().map(|line| without_ids(line));
        shown.collect::<Vec<_>>()
    };
    let mut docker = screen("/usr/bin/env docker", "one");
    let skep = screen(&stage.skep.to_string_lossy(), "two");
    // Docker's program may end before its last words are out.
    let said = "Use `docker service ps ID` to check progress.";
    if docker.last().is_none_or(|last| last != said) {
        docker.push(said.to_owned());
    }
    assert_eq!(skep, docker);
    stage.make("service rm one two");
}

fn placement(stage: &Stage) {
    stage.make("service create -q --no-resolve-image --name packed --replicas 4 --placement-strategy binpack --update-monitor 100ms --stop-signal SIGKILL web:1");
    let mut spread = stage.spread("packed");
    spread.sort_unstable();
    assert_eq!(spread, [0, 4], "one node has them all");
    stage.make("swarm update --placement-strategy binpack");
    stage.make("service create -q --no-resolve-image --name also --replicas 4 --update-monitor 100ms --stop-signal SIGKILL web:1");
    let mut spread = stage.spread("also");
    spread.sort_unstable();
    assert_eq!(spread, [0, 4], "the swarm's own strategy holds");
    stage.make("swarm update --placement-strategy spread");
    let format = "{{range $name, $value := .Spec.Labels}}{{$name}}={{$value}}{{end}}";
    let shown = stage
        .manager()
        .docker(&["service", "inspect", "--format", format, "packed"]);
    assert_eq!(shown.ok(), "skep.placement.strategy=binpack");
    stage.make("service rm packed also");
}

/// A node comes back: nothing moves until it is asked for, and then it is shown.
fn rebalancing(stage: &Stage) {
    stage.make("node update --availability drain host2");
    stage.make("service create -q --no-resolve-image --name moved --replicas 4 --update-monitor 100ms --stop-signal SIGKILL web:1");
    assert_eq!(stage.spread("moved"), [4, 0]);
    stage.make("node update --availability active host2");
    let program = stage.skep.to_string_lossy().into_owned();
    let shown = stage.screen(&program, "service rebalance moved", 120, "");
    let last = shown.last().unwrap();
    assert!(last.contains("Service moved converged"), "{shown:?}");
    assert!(
        shown
            .iter()
            .any(|line| line.starts_with("overall progress: 4 out of 4 tasks")),
        "{shown:?}"
    );
    eventually("both nodes have as many", || {
        let spread = stage.spread("moved");
        if spread == [2, 2] {
            Ok(())
        } else {
            Err(format!("{spread:?}"))
        }
    });
}

/// bash, with the script that skep prints, knows what the swarm has.
fn completion(stage: &Stage) {
    let bash = |line: &str| {
        let script = format!(
            "source <(docker completion bash); COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; _docker_complete; echo \"${{COMPREPLY[*]}}\""
        );
        let mut command = stage.manager().inside("bash");
        let path = std::env::var("PATH").unwrap();
        let bin = stage.cluster.dir().join("bin");
        command
            .args(["-c", &script])
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("DOCKER_HOST", stage.manager().docker_host())
            .env("DOCKER_CONFIG", stage.cluster.dir().join("config"));
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    };
    for (line, expected) in [
        ("docker service ro", "rollback"),
        ("docker service inspect m", "moved"),
        ("docker service scale mo", "moved="),
        ("docker node update --availability d", "drain"),
        ("docker node update --availability=d", "drain"),
        ("docker node inspect ", "self host1 host2"),
        ("docker network inspect ing", "ingress"),
        ("docker run web:", "1"),
    ] {
        assert_eq!(bash(line), expected, "{line}");
    }
    stage.make("service rm moved");
}

/// Every node gets a certificate of a new root, on a wide terminal and on a narrow one.
fn rotation(stage: &Stage) {
    let digest = regex::Regex::new("sha256:[0-9a-f]{64}").unwrap();
    let drawn = |shown: Vec<String>| -> Vec<String> {
        let above = shown
            .iter()
            .take_while(|line| !line.contains("BEGIN CERTIFICATE"));
        above
            .map(|line| digest.replace(line, "DIGEST").into_owned())
            .collect()
    };
    for columns in [120, 80] {
        let (docker, skep) = stage.both("swarm ca --rotate", columns);
        let (docker, skep) = (drawn(docker), drawn(skep));
        assert_eq!(skep, docker);
        assert_eq!(skep.len(), 3, "{skep:?}");
        assert!(skep[2].ends_with("2/2 nodes"), "{skep:?}");
    }
}

/// A manager that starts locked is unlocked at a terminal, with the key typed and not shown.
fn locked(stage: &mut Stage) {
    let said = stage.make("swarm update --autolock");
    let key = said
        .split_whitespace()
        .find(|word| word.starts_with("SWMKEY-"));
    let key = key.unwrap().to_owned();
    assert_eq!(stage.make("swarm unlock-key -q"), key);
    let program = stage.skep.to_string_lossy().into_owned();
    for program in ["/usr/bin/env docker", &program] {
        stage.cluster.hosts[0].stop();
        stage.cluster.hosts[0].start().unwrap();
        let refused = stage.manager().docker(&["node", "ls"]).refused();
        assert!(
            refused.contains("Swarm is encrypted and needs to be unlocked"),
            "{refused}"
        );
        let wrong = stage.screen(program, "swarm unlock", 80, "SWMKEY-1-AAAA\n");
        assert!(
            wrong.iter().any(|line| line.contains("invalid")),
            "{wrong:?}"
        );
        let shown = stage.screen(program, "swarm unlock", 80, &format!("{key}\n"));
        assert!(
            shown.iter().any(|line| line.contains("Enter unlock key:")),
            "{shown:?}"
        );
        eventually("the manager serves again", || {
            let listed = stage.manager().docker(&["node", "ls", "-q"]);
            if listed.code == 0 {
                Ok(())
            } else {
                Err(listed.stderr)
            }
        });
    }
}
