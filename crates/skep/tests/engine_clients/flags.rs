//! A table of what each flag of `docker run` does: `tests/clients/run_flags.txt`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use skep_testkit::{Host, images};

use super::{IMAGE, Site, here, site};

const FULL: &str = "skep-test/full:1";

/// One entry of the table.
#[derive(Debug, Default)]
struct Row<'a> {
    script: &'a str,
    expect: Vec<&'a str>,
    code: i32,
}

fn rows(table: &str) -> Vec<Row<'_>> {
    let mut rows: Vec<Row> = Vec::new();
    for line in table.lines() {
        match line.split_at_checked(2) {
            Some(("$ ", script)) => rows.push(Row {
                script,
                ..Row::default()
            }),
            Some(("> ", text)) => rows.last_mut().expect("after a script").expect.push(text),
            Some(("= ", code)) => {
                rows.last_mut().expect("after a script").code = code.parse().expect("a number");
            }
            _ => assert!(line.is_empty() || line.starts_with('#'), "{line}"),
        }
    }
    rows
}

/// A disk of this machine.
fn block() -> String {
    let disks = std::fs::read_dir("/sys/block").expect("/sys/block");
    disks
        .flatten()
        .map(|entry| format!("/dev/{}", entry.file_name().to_string_lossy()))
        .find(|path| Path::new(path).exists())
        .expect("a block device")
}

/// Images and networks that the rows speak of.
fn furnish(host: &Host) {
    let dockerfile = [
        "USER tester",
        "EXPOSE 80 53/udp",
        "VOLUME /data",
        "LABEL of=image",
        "ENV OF_IMAGE=1",
        "CMD [\"sh\"]",
    ];
    let mut import = vec!["import"];
    dockerfile
        .iter()
        .for_each(|line| import.extend(["-c", line]));
    import.extend(["-", FULL]);
    let users = "tester:x:1000:1000::/home/tester:/bin/sh\n";
    let groups = "audio:x:29:tester\ntester:x:1000:\n";
    let image = images::busybox_with(users, groups).expect("busybox");
    host.docker_with_input(&import, &image).ok();
    for line in [
        "--ipv6 --subnet 10.77.0.0/24 --subnet fd00:77::/64 lan",
        "chosen",
        "--config-only --subnet 10.78.0.0/24 only-config",
    ] {
        let args: Vec<&str> = ["network", "create"]
            .into_iter()
            .chain(line.split(' '))
            .collect();
        host.docker(&args).ok();
    }
    for line in [
        "--name sharer --hostname shared",
        "--name limited --ulimit nofile=100:200 --oom-score-adj 300",
    ] {
        let args = ["run", "-d"].into_iter().chain(line.split(' '));
        let args: Vec<&str> = args.chain([IMAGE, "sleep", "1000"]).collect();
        host.docker(&args).ok();
    }
}

/// Runs one row; what is wrong with it.
fn fault(site: &Site, row: &Row, block: &str) -> Option<String> {
    let host = &site.lab.hosts[0];
    let script = row.script.replace("IMAGE", IMAGE).replace("FULL", FULL);
    let mut command = site.command("sh");
    command
        .args(["-c", &format!("exec 2>&1; {script}")])
        .env("DIR", host.dir.join("scratch"))
        .env(
            "CGROUP",
            format!("/{}", host.cgroup().trim_start_matches('/')),
        )
        .env("BLOCK", block);
    let output = command.output().expect("nsenter (Debian: util-linux)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let code = output.status.code().unwrap_or(-1);
    let missing = row.expect.iter().find(|expect| !text.contains(**expect));
    if missing.is_none() && code == row.code {
        return None;
    }
    Some(format!(
        "$ {}\n{text}exit code {code}, wanted {}; missing: {missing:?}\n",
        row.script, row.code
    ))
}

#[test]
fn every_flag_of_docker_run_does_what_it_says() {
    let site = site();
    let host = &site.lab.hosts[0];
    furnish(host);
    std::fs::create_dir_all(host.dir.join("scratch")).expect("a directory");
    let table = std::fs::read_to_string(here("tests/clients/run_flags.txt")).expect("a table");
    let rows = rows(&table);

    let help = host.docker(&["run", "--help"]).ok();
    let flags = regex::Regex::new(r"(?m)^ +(?:-\w, )?(--[a-z0-9-]+)").expect("a pattern");
    let shown: Vec<String> = rows.iter().map(|row| format!("{} ", row.script)).collect();
    let is_shown = |flag: &str| {
        let forms = [format!("{flag} "), format!("{flag}=")];
        shown
            .iter()
            .any(|script| forms.iter().any(|form| script.contains(form)))
    };
    let untried: BTreeSet<&str> = flags
        .captures_iter(&help)
        .map(|found| found.get(1).expect("a group").as_str())
        .filter(|flag| !is_shown(flag))
        .collect();
    assert!(untried.is_empty(), "no row has {untried:?}");

    let block = block();
    let (next, faults) = (Mutex::new(rows.iter()), Mutex::new(String::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let row = next.lock().expect("no panic").next();
                    let Some(row) = row else { return };
                    if let Some(fault) = fault(&site, row, &block) {
                        writeln!(faults.lock().expect("no panic"), "{fault}").expect("written");
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().expect("no panic");
    assert!(faults.is_empty(), "\n{faults}");
}
