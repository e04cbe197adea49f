//! Finding and removing what a lab leaves: processes, mounts, namespaces, cgroups.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::Host;
use crate::lab::ip;
use crate::wait::eventually_within;

/// What is left of a lab's containers and networks, in words. Its daemons do not count.
pub fn leaks(dir: &Path, name: &str, hosts: &[Host]) -> Vec<String> {
    let daemons: Vec<u32> = hosts.iter().filter_map(Host::pid).collect();
    let mut found: Vec<String> = processes(dir)
        .into_iter()
        .filter(|(pid, _)| !daemons.contains(pid))
        .map(|(pid, command)| format!("process {pid}: {command}"))
        .collect();
    found.extend(
        mounts(dir)
            .into_iter()
            .map(|mount| format!("mount {}", mount.display())),
    );
    found.extend(
        cgroups(name)
            .into_iter()
            .map(|cgroup| format!("cgroup {}", cgroup.display())),
    );
    for host in hosts {
        found.extend(
            network_leaks(host)
                .into_iter()
                .map(|leak| format!("{}: {leak}", host.name)),
        );
    }
    found
}

/// Interfaces and rules beyond those that a host has of its own.
fn network_leaks(host: &Host) -> Vec<String> {
    let mut found = Vec::new();
    let links = host.inside("ip").args(["-o", "link"]).output();
    let links = links
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    for line in links.lines() {
        let name = line
            .split(": ")
            .nth(1)
            .unwrap_or_default()
            .split('@')
            .next()
            .unwrap_or_default();
        if !matches!(name, "lo" | "eth0" | "docker0" | "") {
            found.push(format!("interface {name}"));
        }
    }
    found
}

/// Removes everything of a lab but its directory.
pub(crate) fn sweep(dir: &Path, name: &str) {
    let gone = || {
        let left = processes(dir)
            .into_iter()
            .map(|(pid, _)| pid)
            .chain(members(name))
            .collect::<Vec<_>>();
        for pid in left.iter().filter_map(|pid| i32::try_from(*pid).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("processes {left:?}"))
        }
    };
    if std::thread::panicking() {
        // Patience that runs out would abort: once is what there is time for.
        for _ in 0..40 {
            if gone().is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
    } else {
        eventually_within(
            std::time::Duration::from_secs(10),
            "the lab's processes end",
            gone,
        );
    }
    for mount in mounts(dir).into_iter().rev() {
        let _ = umount2(&mount, MntFlags::MNT_DETACH);
    }
    for cgroup in cgroups(name).into_iter().rev() {
        let _ = fs::remove_dir(cgroup);
    }
    let spaces = fs::read_dir("/var/run/netns")
        .into_iter()
        .flatten()
        .flatten();
    for space in spaces.filter_map(|entry| entry.file_name().into_string().ok()) {
        if space.starts_with(&format!("{name}-")) {
            let _ = ip(&["netns", "delete", &space]);
        }
    }
    let _ = Command::new("ip")
        .args(["link", "delete", &format!("{name}o")])
        .output();
}

/// Processes whose command line names the lab's directory.
fn processes(dir: &Path) -> Vec<(u32, String)> {
    let needle = dir.to_string_lossy().into_owned();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .filter_map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(&needle).then_some((pid, line))
        })
        .collect()
}

/// Mounts below the lab's directory, outermost first.
fn mounts(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|path| path.starts_with(dir))
        .collect()
}

/// The lab's cgroups in every hierarchy, outermost first.
fn cgroups(name: &str) -> Vec<PathBuf> {
    let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
    roots.extend(
        fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path()),
    );
    let mut found = Vec::new();
    for root in roots {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            if entry
                .file_name()
                .to_string_lossy()
                .starts_with(&format!("{name}-"))
            {
                below(&entry.path(), &mut found);
            }
        }
    }
    found
}

fn below(dir: &Path, found: &mut Vec<PathBuf>) {
    found.push(dir.to_owned());
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            below(&entry.path(), found);
        }
    }
}

/// Processes in the lab's cgroups.
fn members(name: &str) -> Vec<u32> {
    cgroups(name)
        .iter()
        .filter_map(|cgroup| fs::read_to_string(cgroup.join("cgroup.procs")).ok())
        .flat_map(|text| {
            text.lines()
                .filter_map(|line| line.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}
