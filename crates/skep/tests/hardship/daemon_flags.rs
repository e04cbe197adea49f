//! The daemon's own settings: flags, daemon.json, sockets, TLS, several daemons on one kernel.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use skep_testkit::{Answer, Host, eventually, get_in, request};

use crate::{ask, hosts, import, run, state};

/// POSTs bytes that claim to be JSON.
pub fn post_json(host: &Host, path: &str, body: &[u8]) -> Answer {
    let mut stream = UnixStream::connect(host.socket()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: skep\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    stream.write_all(body).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_owned(),
        body: body.as_bytes().to_vec(),
    }
}

fn daemon(args: &[&str]) -> (Option<i32>, String) {
    // One that starts after all is ended, and its text tells.
    let mut command = Command::new("timeout");
    command.args(["20", env!("CARGO_BIN_EXE_skep"), "daemon"]);
    command.args(args).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        output.status.code(),
        text + &String::from_utf8_lossy(&output.stdout),
    )
}

#[test]
fn what_starts_dockerd_starts_skep_and_what_is_unknown_does_not() {
    let unknown = daemon(&["--no-such-flag"]);
    assert_eq!(unknown.0, Some(125), "{}", unknown.1);
    assert!(
        unknown.1.starts_with("unknown flag: --no-such-flag"),
        "{}",
        unknown.1
    );
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let roots = ["--data-root", &at("data"), "--exec-root", &at("run")];
    let host = ["--host", "tcp://127.0.0.1:0"];
    let clear = daemon(&[&roots[..], &host].concat());
    assert_eq!(clear.0, Some(1));
    assert!(
        clear
            .1
            .contains("refusing to serve tcp://127.0.0.1:0 without TLS"),
        "{}",
        clear.1
    );
    let group = format!("unix://{}", at("sock"));
    let group = daemon(&[&roots[..], &["--host", &group, "--group", "nosuchgroup"]].concat());
    assert!(
        group.1.contains("group nosuchgroup not found"),
        "{}",
        group.1
    );
    for unsafe_to_ignore in [
        "--userns-remap=default",
        "--authorization-plugin=opa",
        "--selinux-enabled",
        "--iptables=false",
        "--storage-driver=zfs",
        "--storage-opt=overlay2.size=1G",
        "--exec-opt=native.cgroupdriver=systemd",
        "--rootless",
        "--init-path=/bin/tini",
    ] {
        let refused = daemon(&[&roots[..], &[unsafe_to_ignore]].concat());
        assert_eq!(refused.0, Some(1), "{}", refused.1);
        let name = unsafe_to_ignore.split('=').next().unwrap();
        assert!(refused.1.contains(name), "{}", refused.1);
    }

    let mut lab = hosts(1);
    let idle = [
        "--containerd",
        "/x/y.sock",
        "--containerd-namespace",
        "n",
        "--containerd-plugins-namespace",
        "p",
        "--ip-forward-no-drop",
        "--raw-logs",
    ];
    lab.hosts[0].start_with(&idle).unwrap();
    let log = fs::read_to_string(lab.hosts[0].dir.join("daemon.log")).unwrap();
    for flag in idle.iter().filter(|flag| flag.starts_with("--")) {
        let name = flag.split('=').next().unwrap();
        let line = format!("flag {name} has no meaning here and is ignored");
        assert_eq!(log.matches(&line).count(), 1, "{line}\n{log}");
    }
}

#[test]
fn settings_of_the_daemon_reach_containers() {
    let mut lab = hosts(1);
    let flags = [
        "--no-new-privileges",
        "--init",
        "--default-ipc-mode",
        "shareable",
        "--default-cgroupns-mode",
        "host",
        "--default-ulimit",
        "nofile=123:456",
        "--default-shm-size",
        "8m",
        "--dns",
        "192.0.2.1",
        "--ip",
        "127.0.0.1",
    ];
    lab.hosts[0].start_with(&flags).unwrap();
    import(&lab.hosts[0]);
    let host = &lab.hosts[0];
    run(
        host,
        "set",
        json!({"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}),
    );
    let says = |command: &str| host.docker(&["exec", "set", "sh", "-c", command]).ok();
    assert!(says("cat /proc/1/status").contains("NoNewPrivs:\t1"));
    assert!(
        says("cat /proc/1/cmdline").contains("init"),
        "{}",
        says("cat /proc/1/cmdline")
    );
    assert!(says("cat /proc/1/limits").contains("123                  456"));
    assert!(says("cat /etc/resolv.conf").contains("192.0.2.1"));
    let shm = says("busybox df -k /dev/shm");
    assert!(shm.contains(" 8192 "), "{shm}");
    // Who joins sees the same memory, and nothing of it is left behind.
    run(host, "guest", json!({"IpcMode": "container:set"}));
    says("echo word > /dev/shm/note");
    let told = host.docker(&["exec", "guest", "cat", "/dev/shm/note"]);
    assert_eq!(told.ok(), "word");
    let shown = ask(host, "GET", "/containers/set/json", None, 200);
    assert_eq!(shown["HostConfig"]["IpcMode"], "shareable");
    assert_eq!(shown["HostConfig"]["CgroupnsMode"], "host");
    assert_eq!(
        shown["NetworkSettings"]["Ports"]["80/tcp"][0]["HostIp"],
        "127.0.0.1"
    );
    ask(host, "POST", "/containers/set/restart?t=0", None, 204);
    assert_eq!(says("ls /dev/shm"), "", "a new run has new memory");
    ask(host, "DELETE", "/containers/guest?force=1", None, 204);
    ask(host, "DELETE", "/containers/set?force=1", None, 204);
    crate::assert_no_leaks(&mut lab);
}

#[test]
fn sighup_reloads_and_says_so_and_the_end_is_as_asked() {
    let mut lab = hosts(1);
    let file = lab.hosts[0].dir.join("daemon.json");
    fs::write(&file, r#"{"labels": ["a=1"], "debug": false}"#).unwrap();
    let path = file.display().to_string();
    let metrics = "0.0.0.0:9323";
    lab.hosts[0]
        .start_with(&["--config-file", &path, "--metrics-addr", metrics])
        .unwrap();
    import(&lab.hosts[0]);
    let host = &lab.hosts[0];
    assert_eq!(
        ask(host, "GET", "/info", None, 200)["Labels"],
        json!(["a=1"])
    );
    let begin = ask(host, "GET", "/info", None, 200)["SystemTime"]
        .as_str()
        .unwrap()
        .to_owned();
    fs::write(
        &file,
        r#"{"labels": ["a=2"], "debug": true, "insecure-registries": ["r.test:5000"],
            "max-concurrent-downloads": 9, "shutdown-timeout": 7, "features": {"cdi": true},
            "runtimes": {"other": {"path": "/usr/sbin/runc"}}}"#,
    )
    .unwrap();
    host.signal(Signal::SIGHUP);
    eventually("the labels are new", || {
        let info = ask(host, "GET", "/info", None, 200);
        let right = info["Labels"] == json!(["a=2"]) && info["Debug"] == true;
        if right {
            Ok(())
        } else {
            Err(info["Labels"].to_string())
        }
    });
    // Until a second is over: times of the command line have no more digits.
    let begin = format!("{}Z", &begin[..19]);
    eventually("an event tells of it", || {
        let until = ["events", "--since", &begin, "--until", "0s"];
        let said = host.docker(&[&until[..], &["--filter", "type=daemon"]].concat());
        let told = said.stdout.contains("daemon reload")
            && said.stdout.contains("max-concurrent-downloads=9")
            && said.stdout.contains("shutdown-timeout=7")
            && said.stdout.contains("features={\"cdi\":true}");
        if told {
            Ok(())
        } else {
            Err(said.stdout + &said.stderr)
        }
    });
    let info = ask(host, "GET", "/info", None, 200);
    assert_eq!(info["Runtimes"]["other"]["path"], "/usr/sbin/runc");
    // Another runtime too is told which system calls are open.
    let look = ["grep", "Seccomp:", "/proc/self/status"];
    let body = json!({"Image": crate::IMAGE, "Cmd": look, "HostConfig": {"Runtime": "other"}});
    ask(
        host,
        "POST",
        "/containers/create?name=elsewhere",
        Some(body),
        201,
    );
    ask(host, "POST", "/containers/elsewhere/start", None, 204);
    ask(host, "POST", "/containers/elsewhere/wait", None, 200);
    let said = host.docker(&["logs", "elsewhere"]).ok();
    assert_eq!(said, "Seccomp:\t2");
    ask(host, "DELETE", "/containers/elsewhere", None, 204);
    // A file that cannot be used changes nothing.
    fs::write(&file, r#"{"no-such-key": 1}"#).unwrap();
    host.signal(Signal::SIGHUP);
    eventually("the refusal is logged", || {
        let log = fs::read_to_string(host.dir.join("daemon.log")).unwrap();
        let text = "the following directives don't match any configuration option: no-such-key";
        if log.contains(text) { Ok(()) } else { Err(log) }
    });
    assert_eq!(
        ask(host, "GET", "/info", None, 200)["Labels"],
        json!(["a=2"])
    );
    let address = SocketAddr::from((host.address, 9323));
    let text = get_in(&host.namespace, address, "/metrics").unwrap().text();
    assert!(text.contains("engine_daemon_"), "{text}");

    let lives = run(host, "lives", json!({}));
    lab.hosts[0].stop();
    fs::remove_file(&file).unwrap();
    assert!(!lab.hosts[0].socket().exists(), "its socket goes with it");
    lab.hosts[0].start_with(&["--stop-containers"]).unwrap();
    assert_eq!(
        state(&lab.hosts[0], &lives)["Running"],
        true,
        "it outlived the first daemon"
    );
    lab.hosts[0].stop();
    lab.hosts[0].start().unwrap();
    assert_eq!(
        state(&lab.hosts[0], &lives)["Running"],
        false,
        "and was stopped with the second"
    );
    ask(&lab.hosts[0], "DELETE", "/containers/lives", None, 204);
    crate::assert_no_leaks(&mut lab);
}

#[test]
fn the_socket_is_for_its_owner_and_group_only() {
    let mut lab = hosts(1);
    lab.hosts[0].start_with(&["--group", "65533"]).unwrap();
    let meta = fs::metadata(lab.hosts[0].socket()).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o660);
    assert_eq!((meta.uid(), meta.gid()), (0, 65533));
    let socket = lab.hosts[0].socket();
    let nobody = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "docker"])
        .args(["--host", &format!("unix://{}", socket.display()), "info"])
        .env("HOME", "/tmp")
        .output()
        .expect("setpriv (Debian: util-linux)");
    let text = String::from_utf8_lossy(&nobody.stderr).to_lowercase();
    assert!(
        !nobody.status.success() && text.contains("permission denied"),
        "{text}"
    );
}

/// A CA with a certificate for a server and one for a client, by openssl.
fn certificates(dir: &Path, address: &str) {
    let script = format!(
        r#"set -e; cd {}
        openssl ecparam -genkey -name prime256v1 -noout -out ca-key.pem
        openssl req -x509 -new -key ca-key.pem -subj /CN=ca -days 2 -out ca.pem
        printf 'subjectAltName=IP:{address}\nextendedKeyUsage=serverAuth\n' > server.cnf
        printf 'extendedKeyUsage=clientAuth\n' > client.cnf
        for who in server client; do
          openssl ecparam -genkey -name prime256v1 -noout -out $who-key.pem
          openssl req -new -key $who-key.pem -subj /CN=$who -out $who.csr
          openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile $who.cnf -out $who.pem
        done"#,
        dir.display()
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(
        output.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn tcp_is_served_to_those_with_a_certificate() {
    let mut lab = hosts(1);
    let dir = lab.hosts[0].dir.clone();
    let address = lab.hosts[0].address.to_string();
    certificates(&dir, &address);
    let at = |name: &str| dir.join(name).display().to_string();
    let tcp = format!("tcp://{address}:2376");
    let (ca, cert, key) = (at("ca.pem"), at("server.pem"), at("server-key.pem"));
    let tls = [
        "--tlsverify",
        "--tlscacert",
        &ca,
        "--tlscert",
        &cert,
        "--tlskey",
        &key,
    ];
    lab.hosts[0]
        .start_with(&[&["--host", &tcp][..], &tls].concat())
        .unwrap();
    let host = &lab.hosts[0];
    let docker = |options: &[&str]| {
        let mut command = host.inside("docker");
        command.args(["--host", &tcp]).args(options).args([
            "version",
            "--format",
            "{{.Server.Version}}",
        ]);
        command.env("DOCKER_CONFIG", dir.join("docker"));
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.success(),
            text + &String::from_utf8_lossy(&output.stdout),
        )
    };
    let (cert, key) = (at("client.pem"), at("client-key.pem"));
    let (works, text) = docker(&[
        "--tlsverify",
        "--tlscacert",
        &ca,
        "--tlscert",
        &cert,
        "--tlskey",
        &key,
    ]);
    assert!(works, "{text}");
    let (works, text) = docker(&["--tlsverify", "--tlscacert", &ca]);
    assert!(!works, "without a certificate: {text}");
    let (works, text) = docker(&[]);
    assert!(!works && text.contains("HTTP"), "in the clear: {text}");
    // The server's own certificate is no client's.
    let (cert, key) = (at("server.pem"), at("server-key.pem"));
    let (works, text) = docker(&[
        "--tlsverify",
        "--tlscacert",
        &ca,
        "--tlscert",
        &cert,
        "--tlskey",
        &key,
    ]);
    assert!(!works, "{text}");
    lab.hosts[0].stop();
    let clear = format!("tcp://{address}:2375");
    lab.hosts[0]
        .start_with(&["--host", &clear, "--tls=false"])
        .unwrap();
    let host = &lab.hosts[0];
    let server = SocketAddr::from((host.address, 2375));
    assert_eq!(
        get_in(&host.namespace, server, "/_ping").unwrap().text(),
        "OK"
    );
    let log = fs::read_to_string(dir.join("daemon.log")).unwrap();
    assert!(log.contains("serving the API in the clear"), "{log}");
}

/// Two daemons in one network namespace, each a swarm of its own.
#[test]
fn two_daemons_share_a_network_namespace() {
    let mut lab = hosts(1);
    lab.hosts[0].start().unwrap();
    import(&lab.hosts[0]);
    let host = &lab.hosts[0];
    let second = host.dir.join("second");
    fs::create_dir(&second).unwrap();
    let socket = second.join("skep.sock");
    let log = fs::File::create(second.join("log")).unwrap();
    let mut child = host
        .inside(env!("CARGO_BIN_EXE_skep"))
        .arg("daemon")
        .arg("--data-root")
        .arg(second.join("data"))
        .arg("--exec-root")
        .arg(second.join("run"))
        .args(["--host", &format!("unix://{}", socket.display())])
        .args(["--bridge", "second0", "--fixed-cidr", "10.99.0.0/24"])
        .args(["--cgroup-parent", &format!("{}-second", host.cgroup())])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let shared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| share(host, &socket)));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    if let Err(panic) = shared {
        eprintln!(
            "--- log of the second\n{}",
            fs::read_to_string(second.join("log")).unwrap()
        );
        std::panic::resume_unwind(panic);
    }
    ask(
        &lab.hosts[0],
        "DELETE",
        "/containers/one?force=1",
        None,
        204,
    );
}

fn share(host: &Host, socket: &Path) {
    let other = |method: &str, path: &str, body: Option<&serde_json::Value>| {
        request(socket, method, path, body).map_err(|error| error.to_string())
    };
    eventually("the second answers", || {
        other("GET", "/_ping", None).map(drop)
    });
    run(host, "one", json!({}));
    let listed = other("GET", "/containers/json?all=1", None).unwrap();
    assert_eq!(
        listed.json(),
        json!([]),
        "what the first has is not the second's"
    );
    let init = |port: u16, data: u16| {
        json!({
            "ListenAddr": format!("0.0.0.0:{port}"), "AdvertiseAddr": format!("{}:{port}", host.address),
            "DataPathPort": data, "Spec": {},
        })
    };
    ask(host, "POST", "/swarm/init", Some(init(2377, 4789)), 200);
    let answer = other("POST", "/swarm/init", Some(&init(2378, 4790))).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let nodes = other("GET", "/nodes", None).unwrap().json();
    assert_eq!(nodes.as_array().map(Vec::len), Some(1), "{nodes}");
    assert_eq!(
        ask(host, "GET", "/nodes", None, 200)
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let left = other("POST", "/swarm/leave?force=1", None).unwrap();
    assert_eq!(left.status, 200, "{}", left.text());
    assert_eq!(state(host, "one")["Running"], true);
    ask(host, "POST", "/swarm/leave?force=1", None, 200);
}
