//! Other people's clients against one engine: docker-py and docker-compose, as their users run them.

mod flags;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use skep_testkit::{Lab, LabSpec, Registry, Running, images};

const IMAGE: &str = "skep-test/busybox:1";

/// Where the engine listens besides, in its host's own namespace.
const TCP: &str = "tcp://127.0.0.1:2375";

/// One host with an engine that has an image, beside a registry that it may push to.
struct Site {
    lab: Lab,
    registry: Registry,
}

fn site() -> Site {
    let mut spec = LabSpec::new(env!("CARGO_BIN_EXE_skep"), 1);
    let flags = [
        "--insecure-registry",
        "198.18.0.0/24",
        "--host",
        TCP,
        "--tls=false",
    ];
    spec.daemon_flags = flags.map(str::to_owned).to_vec();
    let mut lab = Lab::new(&spec).expect("a lab");
    lab.hosts[0].start().expect("a daemon");
    let (client, address) = lab.make_client().expect("a namespace");
    let registry = Registry::start(&client, &address.to_string(), lab.dir()).expect("a registry");
    let image = images::busybox().expect("busybox");
    let import = ["import", "-c", "CMD [\"sh\"]", "-", IMAGE];
    lab.hosts[0].docker_with_input(&import, &image).ok();
    Site { lab, registry }
}

impl Site {
    /// A command on the host, as its user would run it.
    fn command(&self, program: &str) -> Command {
        let host = &self.lab.hosts[0];
        let mut command = host.inside(program);
        command
            .env("DOCKER_HOST", host.docker_host())
            .env("DOCKER_CONFIG", host.dir.join("docker"))
            .env("IMAGE", IMAGE)
            .env("REGISTRY", &self.registry.name)
            .env("ENGINE_TCP", TCP)
            .env("NO_PROXY", "*");
        command
    }
}

/// Runs a command to its end; what it printed, when it went well.
fn run(mut command: Command) -> String {
    let output = command.output().expect("nsenter (Debian: util-linux)");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{command:?}\n{text}");
    text
}

fn here(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn docker_py_drives_the_engine() {
    let python = here("../../target/clients/bin/python");
    assert!(
        python.exists(),
        "{}: `cargo xtask test` makes it",
        python.display()
    );
    let site = site();
    let mut command = site.command(&python.display().to_string());
    command.arg(here("tests/clients/docker_py.py"));
    run(command);
}

/// Which images are there for which platform, and whether a container has them.
#[test]
fn images_are_shown_as_a_tree() {
    let site = site();
    let docker = |line: &str| {
        let mut command = site.command("/usr/bin/env");
        command.arg(docker()).args(line.split(' '));
        run(command)
    };
    let shown = |listing: &str| -> Vec<Vec<String>> {
        let colours = regex::Regex::new("\x1b\\[[0-9;]*m").expect("a pattern");
        let plain = colours.replace_all(listing, "").into_owned();
        let rows = plain.lines().skip_while(|line| !line.starts_with("IMAGE"));
        rows.map(|line| line.split_whitespace().map(str::to_owned).collect())
            .filter(|words: &Vec<String>| !words.is_empty())
            .collect()
    };
    let rows = shown(&docker("images --tree"));
    assert_eq!(rows[0].join(" "), "IMAGE ID DISK USAGE CONTENT SIZE EXTRA");
    assert_eq!(rows[1][0], IMAGE);
    assert_eq!(rows[2][..2], ["└─", "linux/amd64"].map(str::to_owned));
    // Disk usage and size of the content are those of the one platform that is there.
    assert_eq!(rows[1][2..4], rows[2][3..5]);
    assert_eq!((rows[1].len(), rows[2].len()), (4, 5), "{rows:?}");

    docker(&format!("create --name user {IMAGE}"));
    let rows = shown(&docker("images --tree"));
    assert_eq!((rows[1][4].as_str(), rows[2][5].as_str()), ("U", "U"));
    let host = &site.lab.hosts[0];
    let answer = host
        .api("GET", "/v1.50/images/json?manifests=1", None)
        .expect("an answer")
        .json();
    let id = docker("inspect --format {{.Id}} user");
    let manifest = &answer[0]["Manifests"][0];
    assert_eq!(manifest["ImageData"]["Containers"][0], id.trim());
    let path = format!("/v1.50/images/{IMAGE}/json?manifests=1");
    let one = host.api("GET", &path, None).expect("an answer").json();
    assert_eq!(one["Manifests"][0], *manifest);
}

#[test]
fn a_root_file_system_is_imported_from_a_web_server() {
    const SERVER: &str = "127.0.0.1:8099";
    let site = site();
    let files = tempfile::tempdir().expect("a directory");
    std::fs::write(files.path().join("root.tar"), images::busybox().unwrap()).unwrap();
    let mut server = site.command(
        &here("../../target/clients/bin/python")
            .display()
            .to_string(),
    );
    server.args(["-m", "http.server", "8099", "--bind", "127.0.0.1"]);
    server.arg("--directory").arg(files.path());
    let server = Running(server.stderr(Stdio::null()).spawn().expect("a web server"));
    let import = |path: &str| {
        let mut command = site.command("/usr/bin/env");
        command.arg(docker()).args(["import", path, "from-url:1"]);
        let output = command.output().expect("docker");
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8(text).expect("text")
    };
    let missing = format!("http://{SERVER}/none");
    let expected =
        format!("Error response from daemon: failed to GET {missing} with status 404 Not Found: ");
    skep_testkit::eventually("the web server answers", || {
        let said = import(&missing);
        said.starts_with(&expected).then_some(()).ok_or(said)
    });
    let said = import(&format!("http://{SERVER}/root.tar"));
    drop(server);
    let first = format!("Downloading from http://{SERVER}/root.tar\nsha256:");
    assert!(said.starts_with(&first), "{said}");
    let mut command = site.command("/usr/bin/env");
    command.arg(docker());
    command.args(["run", "--rm", "--net", "none"]);
    command.args(["from-url:1", "echo", "hello"]);
    assert_eq!(run(command), "hello\n");
    let said = import(&format!("http://{SERVER}/root.tar"));
    assert_eq!(
        said,
        format!(
            "Error response from daemon: Get \"http://{SERVER}/root.tar\": dial tcp {SERVER}: connect: connection refused\n"
        )
    );
}

#[test]
fn docker_compose_brings_a_project_up_and_down() {
    let site = site();
    let project = here("tests/clients/compose/docker-compose.yml");
    let compose = |args: &[&str]| {
        let mut command = site.command("docker-compose");
        command.arg("-f").arg(&project).args(["-p", "proj"]);
        command.args(args);
        run(command)
    };
    compose(&["up", "-d"]);
    let rows = compose(&["ps"]);
    assert!(
        rows.contains("proj_web_1") && rows.contains("Up (healthy)"),
        "{rows}"
    );
    // The client asked the web server by its name.
    skep_testkit::eventually("the client has its answer", || {
        let logs = compose(&["logs", "--no-color", "client"]);
        if logs.contains("from web") {
            Ok(())
        } else {
            Err(logs)
        }
    });
    let output = compose(&["exec", "-T", "client", "ping", "-c", "1", "-w", "5", "web"]);
    assert!(output.contains("1 packets received"), "{output}");
    compose(&["up", "-d", "--scale", "client=2"]);
    let ids = compose(&["ps", "-q", "client"]);
    assert_eq!(ids.lines().count(), 2, "{ids}");
    compose(&["restart", "-t", "0", "web"]);
    compose(&["down", "-v", "-t", "0"]);
    let host = &site.lab.hosts[0];
    assert_eq!(host.docker(&["ps", "-aq"]).ok(), "");
    assert_eq!(host.docker(&["volume", "ls", "-q"]).ok(), "");
    let networks = host
        .docker(&["network", "ls", "--format", "{{.Name}}"])
        .ok();
    assert!(!networks.contains("proj"), "{networks}");
}

/// Docker's own command line, by its whole path.
fn docker() -> String {
    std::env::split_paths(&std::env::var_os("PATH").expect("a PATH"))
        .map(|dir| dir.join("docker"))
        .find(|file| file.exists())
        .expect("docker (Debian: docker-cli)")
        .display()
        .to_string()
}

#[test]
fn copies_land_where_cp_would_put_them_by_either_command_line() {
    let site = site();
    let long = "n".repeat(120);
    let script = format!(
        "mkdir -p /d/d/sub /up; echo text > /d/d/sub/f; echo long > /d/{long}; ln -s d/sub /d/link; sleep 1000"
    );
    let mut made = site.command("docker");
    made.args(["run", "-d", "--name", "files", IMAGE, "sh", "-c", &script]);
    run(made);
    let tree = |dir: &std::path::Path| {
        let mut find = Command::new("sh");
        find.args(["-c", "find . -printf '%p %y %l\\n' | sort"])
            .current_dir(dir);
        run(find)
    };
    skep_testkit::eventually("the files are there", || {
        let mut ls = site.command("docker");
        ls.args(["exec", "files", "ls", "/d/link/f"]);
        match ls.output().expect("ran").status.success() {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        }
    });
    let mut trees = Vec::new();
    for (program, name) in [
        (docker(), "theirs"),
        (env!("CARGO_BIN_EXE_skep").to_owned(), "ours"),
    ] {
        let dir = site.lab.hosts[0].dir.join(name);
        std::fs::create_dir_all(dir.join("there")).expect("a directory");
        let cp = |from: &str, to: &str| {
            let mut command = site.command(&program);
            command.args(["cp", from, to]).current_dir(&dir);
            run(command)
        };
        cp("files:/d/.", "contents");
        cp("files:/d", "renamed");
        cp("files:/d", "there");
        cp("files:/d/d/.", "there");
        cp("files:/d/d/sub/f", "file");
        cp("contents/.", "files:/up");
        cp("contents/d", &format!("files:/up/{name}"));
        let words = |script: &str| {
            let mut command = Command::new("sh");
            let whole = script.replace("CP", &format!("{program} cp"));
            command.args(["-c", &whole]).current_dir(&dir);
            command.env("DOCKER_HOST", site.lab.hosts[0].docker_host());
            run(command)
        };
        assert!(words("CP files:/d/. - | tar -t").starts_with("./\n./d/\n"));
        assert!(words("CP files:/d - | tar -t").starts_with("d/\nd/d/\n"));
        words("cd contents; tar -c ./d | CP - files:/up");
        trees.push(tree(&dir));
    }
    assert_eq!(trees[0], trees[1]);
    for line in [
        "./contents/d/sub/f f ",
        "./contents/link l d/sub",
        "./renamed/d/sub/f f ",
        "./there/d/d/sub/f f ",
        "./there/sub/f f ",
    ] {
        assert!(trees[0].contains(line), "{line} is not in {}", trees[0]);
    }
    let mut ls = site.command("docker");
    ls.args([
        "exec",
        "files",
        "ls",
        "/up",
        "/up/ours/sub",
        "/up/theirs/sub",
    ]);
    let said = run(ls);
    assert!(said.contains("link") && said.contains(&long), "{said}");
}

/// A stand-in for `ssh`: runs the words after the host's name, as the far end's shell would.
const SSH: &str = r#"#!/bin/sh
while [ "$1" != -- ]; do echo "$1" >> "$0.args"; shift; done
echo "$2" >> "$0.args"
shift 2
exec env -u DOCKER_CONTEXT DOCKER_HOST="$FAR_END" "$@"
"#;

#[test]
fn another_hosts_engine_is_reached_by_ssh() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = site();
    let host = &site.lab.hosts[0];
    let bin = host.dir.join("bin");
    std::fs::create_dir(&bin).expect("a directory");
    let ssh = bin.join("ssh");
    std::fs::write(&ssh, SSH).expect("a script");
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).expect("executable");
    // What the far end calls docker.
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_skep"), bin.join("docker")).expect("a link");
    let path = format!(
        "{}:{}",
        bin.display(),
        std::env::var("PATH").expect("a PATH")
    );
    let docker = docker();
    for program in [env!("CARGO_BIN_EXE_skep"), &docker] {
        let by_ssh = |args: &[&str]| {
            let mut command = site.command(program);
            command
                .env("FAR_END", host.docker_host())
                .env("PATH", &path)
                .env("DOCKER_HOST", "ssh://me@far.example:2222")
                .args(args);
            run(command)
        };
        assert!(by_ssh(&["version"]).contains("Server"), "{program}");
        let said = by_ssh(&["run", "--rm", IMAGE, "echo", "from afar"]);
        assert_eq!(said, "from afar\n", "{program}");
        let images = by_ssh(&["images", "--format", "{{.Repository}}"]);
        assert!(images.contains("skep-test/busybox"), "{images}");
    }
    let args = std::fs::read_to_string(bin.join("ssh.args")).expect("it was called");
    for word in ["me", "2222", "far.example"] {
        assert!(
            args.lines().any(|line| line == word),
            "{word} is not in {args}"
        );
    }
}
