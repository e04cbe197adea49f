//! What a container may and may not do, and what its shim bears. Needs root and busybox-static.
#![allow(clippy::unwrap_used, reason = "a test panics")]

mod support;

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Resource, Rlimit};
use serde_json::json;
use skep_runtime::cgroup::Cgroup;
use skep_runtime::shim::protocol::{Attach, Event, Kind, Refusal, RefusalKind, Request, encode};
use skep_runtime::shim::{LogSpec, ShimError, ShimState};
use support::{Bundle, harness, wait_until};

fn started(bundle: &Bundle) -> ShimState {
    let state = bundle.create().unwrap_or_else(|e| panic!("create: {e}"));
    bundle.connect().call(&Request::Start).unwrap();
    state
}

fn kill(bundle: &Bundle) {
    bundle
        .connect()
        .call(&Request::Signal {
            signal: 9,
            exec: None,
            all: false,
        })
        .unwrap();
}

fn stdin_frame(text: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(Kind::Stdin, text, &mut frame);
    frame
}

#[test]
fn dockers_default_filter_is_in_force() {
    let mut bundle = Bundle::shell(
        "grep Seccomp: /proc/self/status; unshare -U true; umount /proc; mount -t tmpfs x /tmp; ls / > /dev/null && echo fine",
    );
    let caps = bundle.config["process"]["capabilities"]["bounding"].clone();
    let caps: Vec<&str> = caps
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c.as_str().unwrap())
        .collect();
    let dir = bundle.dir.clone();
    bundle.spec.seccomp_filter = Some(skep_runtime::seccomp::default_filter(caps, &dir).unwrap());
    let outcome = bundle.run();
    assert_eq!(outcome.stdout, "Seccomp:\t2\nfine\n");
    assert_eq!(
        outcome.stderr.matches("Operation not permitted").count()
            + outcome.stderr.matches("ermission denied").count(),
        3,
        "{}",
        outcome.stderr
    );
}

#[test]
fn rights_that_the_host_lacks_are_left_out_and_limits_cut_down() {
    // CAP_SYS_RESOURCE may be missing here, and asking for every capability must not fail for it.
    let all = json!([
        "CAP_SYS_ADMIN",
        "CAP_SYS_RESOURCE",
        "CAP_CHOWN",
        "CAP_NET_ADMIN",
        "CAP_CHECKPOINT_RESTORE"
    ]);
    let bundle = Bundle::shell(
        "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj > /dev/null && echo ran",
    )
    .set(
        "/process/capabilities",
        json!({ "bounding": all, "effective": all, "permitted": all }),
    )
    .set("/process/oomScoreAdj", json!(-500))
    .set(
        "/process/rlimits",
        json!([{ "type": "RLIMIT_NOFILE", "soft": 5_000_000_000u64, "hard": 5_000_000_000u64 }]),
    );
    let outcome = bundle.run();
    assert_eq!(outcome.exit.code, 0, "{}", outcome.stderr);
    assert!(outcome.stdout.ends_with("ran\n"));
}

#[test]
fn links_in_the_image_do_not_lead_mounts_astray() {
    let bundle = Bundle::shell("ls /proc/self/status").add_mount(json!({
        "destination": "/link/inside", "type": "tmpfs", "source": "tmpfs", "options": []
    }));
    let outside = bundle.dir.join("outside");
    fs::create_dir(&outside).unwrap();
    let up = "../".repeat(20);
    std::os::unix::fs::symlink(
        format!("{up}{}", outside.display()),
        bundle.rootfs().join("link"),
    )
    .unwrap();
    // Resolved inside the root the target does not exist: refused, and nothing made outside.
    assert!(bundle.create().is_err());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);

    let bundle = Bundle::shell("true");
    fs::remove_dir(bundle.rootfs().join("proc")).unwrap();
    std::os::unix::fs::symlink("/tmp", bundle.rootfs().join("proc")).unwrap();
    let error = bundle.create().unwrap_err().to_string();
    assert!(
        error.contains("error mounting \"proc\" to rootfs at \"/proc\""),
        "{error}"
    );
}

#[test]
fn the_init_reaps_orphans_passes_signals_and_keeps_the_code() {
    let with_init = |script: &str| {
        let bundle = Bundle::new(&["/sbin/docker-init", "--", "sh", "-c", script]);
        bundle.add_mount(json!({
            "destination": "/sbin/docker-init", "type": "bind", "source": harness(), "options": ["bind", "ro"]
        }))
    };
    let outcome = with_init("(sleep 0 & exec true) ; echo $$; exit 5").run();
    assert_eq!((outcome.stdout.as_str(), outcome.exit.code), ("2\n", 5));
    let bundle = with_init("trap 'exit 9' TERM; echo up > /tmp/up; while :; do sleep 1; done");
    started(&bundle);
    let attached = bundle.attach();
    wait_until("the trap is set", || {
        bundle.rootfs().join("tmp/up").exists()
    });
    bundle
        .connect()
        .call(&Request::Signal {
            signal: 15,
            exec: None,
            all: false,
        })
        .unwrap();
    assert_eq!(bundle.wait(attached).exit.code, 9);
}

#[test]
fn a_paused_container_stands_still_and_refuses_execs() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let state = started(&bundle);
    let cgroup = Cgroup::open(state.cgroup.clone());
    cgroup.freeze().unwrap();
    assert!(cgroup.is_frozen());
    let Err(ShimError::Refused(Refusal { kind, message })) = bundle.exec("e", &["true"]) else {
        panic!("ran")
    };
    assert_eq!(
        (kind, message.as_str()),
        (RefusalKind::Conflict, "the container is paused")
    );
    cgroup.thaw().unwrap();
    assert_eq!(
        bundle.wait(bundle.exec("e", &["true"]).unwrap()).exit.code,
        0
    );
    // A kill gets through a pause.
    cgroup.freeze().unwrap();
    let attached = bundle.attach();
    kill(&bundle);
    assert_eq!(bundle.wait(attached).exit.code, 137);
    bundle.wait_for_shim(&state);
    bundle.assert_clean();
}

#[test]
fn limits_change_while_it_runs_and_consumption_is_read() {
    let bundle = Bundle::shell("while :; do :; done");
    let state = started(&bundle);
    let cgroup = Cgroup::open(state.cgroup.clone());
    for limit in [64, 32, 128] {
        let bytes = limit << 20;
        let resources = json!({ "memory": { "limit": bytes, "swap": bytes * 2 }, "pids": { "limit": limit }, "cpu": { "shares": 512 } });
        cgroup
            .apply(&serde_json::from_value(resources).unwrap())
            .unwrap();
        let stats = cgroup.stats().unwrap();
        assert_eq!(stats.memory_limit_bytes, Some(bytes));
        assert_eq!(stats.pids_limit, Some(limit));
        assert!(stats.memory_usage_bytes > 0 && stats.pids_current == 1);
    }
    let before = cgroup.stats().unwrap().cpu_total_ns;
    wait_until("cpu time passes", || {
        cgroup.stats().unwrap().cpu_total_ns > before + 1_000_000
    });
    assert_eq!(cgroup.pids().unwrap(), [state.pid]);
}

#[test]
fn the_out_of_memory_killer_is_noticed() {
    let limit = 16 << 20;
    let mut bundle = Bundle::shell("dd if=/dev/zero of=/dev/shm/x bs=1M count=64");
    bundle.config["linux"]["resources"]["memory"] = json!({ "limit": limit });
    let outcome = bundle.run();
    assert!(outcome.exit.oom_killed && outcome.saw_oom, "{outcome:?}");
}

#[test]
fn a_client_that_reads_nothing_holds_nobody_up_for_long() {
    let bundle = Bundle::shell("head -c 20000000 /dev/zero | tr '\\0' x; echo done > /tmp/done");
    bundle.create().unwrap();
    let _never_reads = bundle.attach();
    let begin = Instant::now();
    bundle.connect().call(&Request::Start).unwrap();
    wait_until("all is written", || {
        bundle.rootfs().join("tmp/done").exists()
    });
    assert!(begin.elapsed() < Duration::from_secs(9));
    wait_until("it ended", || bundle.exit_record().is_some());
    let logged: usize = bundle.logged().iter().map(|(_, text)| text.len()).sum();
    assert_eq!(logged, 20_000_000, "the log has everything all the same");
}

#[test]
fn an_exec_and_a_client_that_is_waited_for_lose_nothing_however_late_they_read() {
    const SIZE: usize = 4_000_000;
    let flood = format!("head -c {SIZE} /dev/zero | tr '\\0' x");
    let bundle = Bundle::shell(&format!(
        "until test -f /tmp/go; do sleep 0.01; done; {flood}; exit 5"
    ));
    bundle.create().unwrap();
    let (patient, impatient) = (bundle.attach_as(true), bundle.attach());
    bundle.connect().call(&Request::Start).unwrap();
    let script = format!("{flood}; exit 3");
    let exec = bundle.exec("dump", &["sh", "-c", &script]).unwrap();
    poll(exec.stream(), PollFlags::IN);
    std::fs::write(bundle.rootfs().join("tmp/go"), "").unwrap();
    // Nobody reads. The one that may be let go tells when patience has run out.
    poll(impatient.stream(), PollFlags::empty());
    for (client, code) in [(exec, 3), (patient, 5)] {
        let outcome = bundle.wait(client);
        assert_eq!((outcome.stdout.len(), outcome.exit.code), (SIZE, code));
    }
}

/// Waits for events, or for the end of the connection.
fn poll(stream: &std::os::unix::net::UnixStream, events: PollFlags) {
    let mut fds = [PollFd::new(stream, events)];
    let patience = Timespec::try_from(Duration::from_secs(30)).unwrap();
    assert_eq!(rustix::event::poll(&mut fds, Some(&patience)).unwrap(), 1);
}

#[test]
fn a_shim_without_room_for_clients_keeps_its_container_and_takes_them_later() {
    const FILES: u64 = 64;
    let bundle = Bundle::new(&["sleep", "1000"]);
    let state = started(&bundle);
    let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
    let limit = |current| Rlimit {
        current,
        maximum: hard,
    };
    let shim = rustix::process::Pid::from_raw(state.shim_pid);
    rustix::process::prlimit(shim, Resource::Nofile, limit(Some(FILES))).unwrap();
    let mut clients: Vec<_> = (0..FILES + 10).map(|_| bundle.connect()).collect();
    wait_until("no more are taken", || {
        let said = std::fs::read_to_string(bundle.dir.join("shim.log")).unwrap_or_default();
        said.contains("accept")
    });
    let mut last = clients.pop().unwrap();
    drop(clients);
    last.call(&Request::Hello).unwrap();
    assert!(state.is_alive());
}

#[test]
fn a_part_of_a_mount_is_looked_up_within_it() {
    let bundle = Bundle::shell(
        "ls /part; touch /part/x 2>/dev/null || echo read-only; ls /layers; grep -c ' /layers ' /proc/self/mounts",
    );
    let data = bundle.dir.join("data");
    let more = bundle.dir.join("more");
    for dir in [&data, &more] {
        std::fs::create_dir_all(dir.join("etc")).unwrap();
    }
    std::fs::write(data.join("etc/own"), "").unwrap();
    std::fs::write(more.join("etc/upper"), "").unwrap();
    std::os::unix::fs::symlink("/etc", data.join("link")).unwrap();
    let layers = format!("lowerdir={}:{}", more.display(), data.display());
    let bundle = bundle
        .add_mount(json!({
            "destination": "/part", "type": "bind", "source": data,
            "options": ["rbind", "rprivate", "rro", "x-skep.subpath=link"],
        }))
        .add_mount(json!({
            "destination": "/layers", "type": "overlay", "source": "overlay",
            "options": ["ro", layers, "x-skep.subpath=../link"],
        }));
    let outcome = bundle.run();
    assert_eq!(
        outcome.stdout, "own\nread-only\nown\nupper\n1\n",
        "{outcome:?}"
    );
    let nowhere = Bundle::new(&["true"]).add_mount(json!({
        "destination": "/part", "type": "bind", "source": "/etc",
        "options": ["rbind", "x-skep.subpath=no/such"],
    }));
    let refused = nowhere.create().unwrap_err().to_string();
    assert!(refused.contains("no such file or directory"), "{refused}");
}

#[test]
fn a_terminal_covers_no_other_file_than_a_console() {
    for kind in ["link", "fifo"] {
        let mut bundle = Bundle::new(&["tty"]).terminal();
        let dev = bundle.dir.join("dev");
        std::fs::create_dir(&dev).unwrap();
        let console = dev.join("console");
        match kind {
            "link" => std::os::unix::fs::symlink("/etc/passwd", &console).unwrap(),
            _ => rustix::fs::mknodat(
                rustix::fs::CWD,
                &console,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o600),
                0,
            )
            .unwrap(),
        }
        bundle.config["mounts"][1] = json!({
            "destination": "/dev", "type": "bind", "source": dev, "options": ["rbind", "rprivate"],
        });
        let refused = bundle.create().unwrap_err().to_string();
        assert!(refused.contains("bind /dev/console"), "{kind}: {refused}");
    }
}

#[test]
fn a_slow_client_gets_every_byte() {
    let bundle = Bundle::shell("seq 1 200000");
    let outcome = bundle.run();
    let expect: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert!(
        outcome.stdout == expect,
        "{} of {} bytes",
        outcome.stdout.len(),
        expect.len()
    );
}

#[test]
fn many_clients_share_output_and_input() {
    let bundle = Bundle::new(&["cat"]).open_stdin();
    bundle.create().unwrap();
    let mut clients: Vec<_> = (0..3).map(|_| bundle.attach()).collect();
    bundle.connect().call(&Request::Start).unwrap();
    clients[0].send(&stdin_frame(b"from 0\n")).unwrap();
    for client in &mut clients[..2] {
        assert_eq!(client.next_frame().unwrap().unwrap().payload, b"from 0\n");
    }
    let mut last = clients.pop().unwrap();
    assert_eq!(last.next_frame().unwrap().unwrap().payload, b"from 0\n");
    last.send(&stdin_frame(b"last\n")).unwrap();
    assert_eq!(last.next_frame().unwrap().unwrap().payload, b"last\n");
    last.call(&Request::CloseStdin { exec: None }).unwrap();
    assert_eq!(bundle.wait(last).exit.code, 0);
    for client in clients {
        assert_eq!(bundle.wait(client).exit.code, 0);
    }
}

#[test]
fn input_ends_with_its_first_client_when_asked_so() {
    let mut bundle = Bundle::new(&["cat"]).open_stdin();
    bundle.spec.stdin_once = true;
    let state = bundle.create().unwrap();
    let mut client = bundle.attach();
    client.call(&Request::Start).unwrap();
    client.send(&stdin_frame(b"x\n")).unwrap();
    drop(client);
    wait_until("cat saw the end", || bundle.exit_record().is_some());
    assert_eq!(bundle.exit_record().unwrap().code, 0);
    assert_eq!(bundle.logged(), [("stdout".into(), "x\n".to_owned())]);
    bundle.wait_for_shim(&state);
}

#[test]
fn execs_have_users_terminals_and_input_of_their_own() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let state = started(&bundle);
    let user = json!({ "args": ["id"], "user": { "uid": 1000, "gid": 1000, "additionalGids": [5] }, "cwd": "/tmp" });
    let outcome = bundle.wait(bundle.exec_process("user", user).unwrap());
    assert_eq!(outcome.stdout, "uid=1000(user) gid=1000(user) groups=5\n");
    let terminal = json!({
        "args": ["sh", "-c", "tty; stty size; read x; echo got $x"], "terminal": true,
        "consoleSize": { "height": 30, "width": 90 },
    });
    let mut connection = bundle.exec_process("tty", terminal).unwrap();
    connection.send(&stdin_frame(b"word\n")).unwrap();
    let outcome = bundle.wait(connection);
    // The terminal echoes the word somewhere among them.
    assert!(
        outcome.stdout.contains("/dev/pts/0\r\n") && outcome.stdout.contains("30 90\r\n"),
        "{:?}",
        outcome.stdout
    );
    assert!(outcome.stdout.ends_with("got word\r\n"));
    let mut connection = bundle.exec("input", &["wc", "-c"]).unwrap();
    connection
        .send(&stdin_frame(&vec![b'x'; 1_000_000]))
        .unwrap();
    connection
        .call(&Request::CloseStdin {
            exec: Some("input".into()),
        })
        .unwrap();
    assert_eq!(bundle.wait(connection).stdout.trim(), "1000000");
    kill(&bundle);
    bundle.wait_for_shim(&state);
    bundle.assert_clean();
}

#[test]
fn an_exec_dies_with_the_container_and_its_client_is_told() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    started(&bundle);
    let exec = bundle.exec("long", &["sleep", "1000"]).unwrap();
    let mut watcher = bundle.connect();
    watcher.call(&Request::Subscribe).unwrap();
    kill(&bundle);
    assert_eq!(bundle.wait(exec).exit.code, 137);
    let mut ended = Vec::new();
    while let Some(frame) = watcher.next_frame().unwrap() {
        if let Event::Exited { exec, exit } = frame.event().unwrap() {
            ended.push((exec, exit.code));
        }
    }
    ended.sort();
    assert_eq!(ended, [(None, 137), (Some("long".into()), 137)]);
}

#[test]
fn many_execs_leave_nothing_behind() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let state = started(&bundle);
    let descriptors = || {
        fs::read_dir(format!("/proc/{}/fd", state.shim_pid))
            .unwrap()
            .count()
    };
    let files = || fs::read_dir(&bundle.dir).unwrap().count();
    let run = |n: u32| {
        drop(bundle.wait(bundle.exec(&format!("{n}"), &["true"]).unwrap()));
        assert!(bundle.exec(&format!("bad{n}"), &["nope"]).is_err());
    };
    run(0);
    wait_until("clients are gone", || descriptors() <= 12);
    let before = (descriptors(), files());
    (1..20).for_each(run);
    wait_until("descriptors are closed", || descriptors() <= before.0);
    assert_eq!(files(), before.1);
    // The last refused one tells why, and ends after that.
    let cgroup = Cgroup::open(state.cgroup.clone());
    wait_until("the refused end", || cgroup.pids().unwrap() == [state.pid]);
}

#[test]
fn processes_outside_the_pid_namespace_end_with_the_container() {
    let namespaces =
        json!([{ "type": "mount" }, { "type": "network" }, { "type": "uts" }, { "type": "ipc" }]);
    let bundle =
        Bundle::shell("sleep 1000 & echo started; exit 6").set("/linux/namespaces", namespaces);
    let outcome = bundle.run();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.exit.code),
        ("started\n", 6)
    );
    bundle.wait_for_shim(&ShimState::load(&bundle.dir).unwrap().unwrap());
    bundle.assert_clean();
}

#[test]
fn a_signal_can_reach_every_process() {
    let bundle = Bundle::shell(
        "(trap 'echo child; exit' USR1; echo c > /tmp/c; while :; do sleep 0.01; done) & trap 'echo parent' USR1; echo p > /tmp/p; wait; wait",
    );
    started(&bundle);
    let attached = bundle.attach();
    wait_until("both are ready", || {
        ["tmp/c", "tmp/p"]
            .iter()
            .all(|f| bundle.rootfs().join(f).exists())
    });
    bundle
        .connect()
        .call(&Request::Signal {
            signal: 10,
            exec: None,
            all: true,
        })
        .unwrap();
    let outcome = bundle.wait(attached);
    let mut lines: Vec<&str> = outcome.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["child", "parent"]);
}

#[test]
fn a_program_that_cannot_be_executed_ends_with_255_and_says_why() {
    let bundle = Bundle::new(&["/garbage"]);
    fs::write(bundle.rootfs().join("garbage"), "\x7fELF nonsense").unwrap();
    fs::set_permissions(
        bundle.rootfs().join("garbage"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let outcome = bundle.run();
    assert_eq!(
        (outcome.stderr.as_str(), outcome.exit.code),
        ("exec /garbage: exec format error\n", 255)
    );
}

#[test]
fn a_long_log_is_rotated_while_it_is_written() {
    let mut bundle = Bundle::shell("seq 1 20000");
    let LogSpec::JsonFile(log) = &mut bundle.spec.log else {
        panic!()
    };
    (log.max_size_bytes, log.max_files) = (Some(100_000), 3);
    log.attrs.insert("tag".into(), "t".into());
    bundle.run();
    let size = |name: &str| {
        fs::metadata(bundle.dir.join(name))
            .map(|m| m.len())
            .unwrap_or(0)
    };
    assert!(size("container.log.1") > 50_000 && size("container.log.1") <= 110_000);
    assert!(size("container.log.2") > 50_000 && size("container.log.3") == 0);
    let logged = bundle.logged();
    assert_eq!(logged.last().unwrap().1, "20000\n");
    let text = fs::read_to_string(bundle.dir.join("container.log")).unwrap();
    assert!(text.contains(r#","attrs":{"tag":"t"},"time":"#));
}

#[test]
fn rotated_logs_are_compressed_when_asked() {
    let mut bundle = Bundle::shell("seq 1 20000");
    let LogSpec::JsonFile(log) = &mut bundle.spec.log else {
        panic!()
    };
    (log.max_size_bytes, log.max_files, log.compress) = (Some(100_000), 4, true);
    bundle.run();
    wait_until("the last is compressed", || {
        !bundle.dir.join("container.log.1").exists()
    });
    let mut text = String::new();
    for name in ["container.log.2.gz", "container.log.1.gz"] {
        let file = fs::File::open(bundle.dir.join(name)).unwrap();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
    }
    text += &fs::read_to_string(bundle.dir.join("container.log")).unwrap();
    let numbers: Vec<u32> = text
        .lines()
        .map(|l| {
            serde_json::from_str::<serde_json::Value>(l).unwrap()["log"]
                .as_str()
                .unwrap()
                .trim()
                .parse()
                .unwrap()
        })
        .collect();
    assert!(
        numbers.windows(2).all(|w| w[0] + 1 == w[1]),
        "no entry is lost between files"
    );
    assert_eq!(numbers.last(), Some(&20_000));
}

#[test]
fn nonsense_on_the_socket_costs_its_sender_only() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    started(&bundle);
    for bytes in [
        vec![0xff; 64],
        stdin_frame(b"x"),
        vec![5, 0, 0, 0, 0, b'{', b'}', b'}', b'}', b'}'],
        vec![1],
    ] {
        let mut connection = bundle.connect();
        // Whatever the answer is.
        let _ = connection.send(&bytes);
    }
    let mut connection = bundle.connect();
    let mut stream = connection.stream();
    stream.write_all(&Request::Hello.to_bytes()[..3]).unwrap();
    stream.write_all(&Request::Hello.to_bytes()[3..]).unwrap();
    let frame = connection.next_frame().unwrap().unwrap();
    assert_eq!(frame.kind, Kind::Reply);
    let missing = Request::Attach(Attach {
        exec: Some("none".into()),
        ..Attach::default()
    });
    assert_eq!(
        connection.call(&missing).unwrap_err().to_string(),
        "no exec none runs here"
    );
}

#[test]
fn a_terminal_is_resized() {
    let bundle = Bundle::shell(
        "trap 'stty size; exit' WINCH; echo up > /tmp/up; while :; do sleep 0.01; done",
    )
    .terminal();
    started(&bundle);
    let mut attached = bundle.attach();
    wait_until("the trap is set", || {
        bundle.rootfs().join("tmp/up").exists()
    });
    attached
        .call(&Request::Resize {
            exec: None,
            rows: 11,
            columns: 22,
        })
        .unwrap();
    assert_eq!(bundle.wait(attached).stdout, "11 22\r\n");
}

#[test]
fn the_working_directory_is_made_and_must_be_reachable() {
    let outcome = Bundle::new(&["pwd"])
        .set("/process/cwd", "/made/deep".into())
        .run();
    assert_eq!(outcome.stdout, "/made/deep\n");
    let bundle = Bundle::new(&["pwd"])
        .set("/process/cwd", "/closed".into())
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
        .set("/process/capabilities", json!({}));
    fs::create_dir(bundle.rootfs().join("closed")).unwrap();
    fs::set_permissions(
        bundle.rootfs().join("closed"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    let error = bundle.create().unwrap_err().to_string();
    assert!(
        error.contains("chdir to cwd (\"/closed\") set in config.json failed: permission denied"),
        "{error}"
    );
}

#[test]
fn new_namespaces_of_every_kind_are_given() {
    let kinds = ["mnt", "net", "uts", "pid", "ipc", "cgroup"];
    let bundle = Bundle::shell("for n in mnt net uts pid ipc cgroup; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup | grep -c ':/$'; hostname; cat /proc/sys/kernel/domainname")
        .set("/domainname", "example".into())
        .set(
        "/linux/namespaces",
        json!([
            { "type": "mount" }, { "type": "network" }, { "type": "uts" }, { "type": "pid" }, { "type": "ipc" }, { "type": "cgroup" },
        ]),
    );
    let outcome = bundle.run();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    for (kind, line) in kinds.iter().zip(&lines) {
        let own = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert!(
            line.starts_with(kind) && *line != own.to_str().unwrap(),
            "{line}"
        );
    }
    assert_eq!(lines[6..], ["10", "box", "example"], "{}", outcome.stderr);
}
