//! `docker top`: processes of a container in `ps`'s columns.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use skep_objects::api::container::TopResponse;

use crate::core::Core;
use crate::error::{EngineError, Result};

/// Clock ticks a second, which is a constant of the kernel's interface.
const TICKS: u64 = 100;

impl Core {
    pub(crate) async fn top(
        self: &Arc<Self>,
        reference: &str,
        ps_args: &str,
    ) -> Result<TopResponse> {
        let container = self.containers.find(reference)?;
        let state = container.state();
        if !state.running {
            return Err(container.not_running());
        }
        if state.restarting {
            return Err(EngineError::conflict(format!(
                "Container {} is restarting, wait until the container is running",
                container.id
            )));
        }
        let pids = match self.with_cgroup(&container, |cgroup| cgroup.pids()).await {
            Err(error) => return Err(self.told_running(&container, reference, error).await),
            Ok(pids) => pids,
        };
        let args = ps_args.to_owned();
        let response = self
            .blocking(move || {
                if matches!(args.as_str(), "" | "-ef") {
                    Ok(full(&pids))
                } else {
                    by_ps(&args, &pids)
                }
            })
            .await??;
        self.publish(&container, "top", std::collections::BTreeMap::new());
        Ok(response)
    }
}

/// The columns of `ps -ef`, read from `/proc`.
fn full(pids: &[i32]) -> TopResponse {
    let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
        .map(str::to_owned)
        .into();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let boot = boot_time();
    TopResponse {
        processes: pids
            .iter()
            .filter_map(|pid| row(*pid, &passwd, boot))
            .collect(),
        titles,
    }
}

fn row(pid: i32, passwd: &str, boot: u64) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let ppid = fields.get(1)?;
    let cpu_ticks = number(11)? + number(12)?;
    let started = boot + number(19)? / TICKS;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let age = now.saturating_sub(started);
    let share = (cpu_ticks * 100 / TICKS)
        .checked_div(age)
        .unwrap_or(0)
        .min(99);
    let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = cmdline
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(String::from_utf8_lossy)
        .collect::<Vec<_>>()
        .join(" ");
    let command = if command.is_empty() {
        format!("[{name}]")
    } else {
        command
    };
    let seconds = cpu_ticks / TICKS;
    let time = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    Some(vec![
        user(pid, passwd)?,
        pid.to_string(),
        (*ppid).to_owned(),
        share.to_string(),
        start_text(started, age),
        terminal(number(4)?),
        time,
        command,
    ])
}

fn user(pid: i32, passwd: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let uid = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))?
        .split_whitespace()
        .nth(1)?;
    let entry = passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(uid));
    Some(
        entry
            .and_then(|line| line.split(':').next())
            .unwrap_or(uid)
            .to_owned(),
    )
}

/// `pts/0` by its device number; `?` without a terminal.
fn terminal(device: u64) -> String {
    let (major, minor) = (
        (device >> 8) & 0xfff,
        (device & 0xff) | ((device >> 12) & 0xfff00),
    );
    match major {
        136..=143 => format!("pts/{}", minor + (major - 136) * 256),
        4 => format!("tty{minor}"),
        _ => "?".to_owned(),
    }
}

/// The time of day within a day, the date before that.
fn start_text(started: u64, age: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_secs(started);
    let text = crate::timestamp::text(at);
    if age < 86_400 {
        text.get(11..16).unwrap_or("?").to_owned()
    } else {
        text.get(5..10).unwrap_or("?").to_owned()
    }
}

fn boot_time() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    stat.lines()
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
        .unwrap_or(0)
}

/// Other columns: the host's `ps`, and of its rows those of the container.
fn by_ps(args: &str, pids: &[i32]) -> Result<TopResponse> {
    if args
        .split_whitespace()
        .any(|arg| arg == "-q" || arg == "--deselect")
    {
        return Err(EngineError::invalid("Couldn't find PID field in ps output"));
    }
    let ps = |more: Option<String>| {
        std::process::Command::new("ps")
            .args(args.split_whitespace())
            .args(more)
            .output()
            .map_err(|error| {
                EngineError::NotSupported(format!(
                    "top with arguments, as there is no ps on this host ({error}),"
                ))
            })
    };
    // Asked for by number they are there whatever else was chosen; some options do not go with that.
    let numbers: Vec<String> = pids.iter().map(ToString::to_string).collect();
    let mut output = ps(Some(format!("-q{}", numbers.join(","))))?;
    if !output.status.success() {
        output = ps(None)?;
    }
    if !output.status.success() {
        return Err(EngineError::invalid(format!(
            "ps: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let wanted: BTreeSet<String> = pids.iter().map(ToString::to_string).collect();
    parse_ps(&text, &wanted)
}

fn parse_ps(text: &str, wanted: &BTreeSet<String>) -> Result<TopResponse> {
    let mut lines = text.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let pid = titles
        .iter()
        .position(|title| title == "PID")
        .ok_or_else(|| EngineError::invalid("Couldn't find PID field in ps output"))?;
    let mut processes = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.get(pid).is_some_and(|pid| wanted.contains(*pid)) {
            // The last column has the spaces.
            let (first, rest) = words.split_at(titles.len().saturating_sub(1).min(words.len()));
            let mut row: Vec<String> = first.iter().map(|word| (*word).to_owned()).collect();
            row.push(rest.join(" "));
            processes.push(row);
        }
    }
    Ok(TopResponse { processes, titles })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_other_processes_are_left_out() {
        let text = "  PID COMMAND\n    1 init\n   42 sleep 100\n";
        let response = parse_ps(text, &BTreeSet::from(["42".to_owned()])).unwrap();
        assert_eq!(response.processes, [["42", "sleep 100"]]);
        assert!(parse_ps("COMMAND\n", &BTreeSet::new()).is_err());
    }

    #[test]
    fn terminals_are_named_by_their_number() {
        assert_eq!(
            (terminal(0), terminal(34_816), terminal(34_817)),
            ("?".into(), "pts/0".into(), "pts/1".into())
        );
    }

    #[test]
    fn this_process_is_a_row() {
        let own = i32::try_from(std::process::id()).unwrap();
        let response = full(&[own]);
        assert_eq!(response.processes[0][1], own.to_string());
        assert_eq!(response.titles.len(), response.processes[0].len());
    }
}
