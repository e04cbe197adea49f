//! What one sample of a container's counters says.

use serde_json::Value;

use crate::cmd::objects::text;
use crate::output::{Item, Row, bytes_binary, bytes_decimal_to, short_id};

/// A container that has not told its numbers yet.
pub(super) fn unknown(name: &str) -> Item {
    let row = Row::from([
        ("Container", name.to_owned()),
        ("ID", name.to_owned()),
        ("Name", "--".to_owned()),
        ("CPUPerc", "--".to_owned()),
        ("MemUsage", "-- / --".to_owned()),
        ("MemPerc", "--".to_owned()),
        ("NetIO", "--".to_owned()),
        ("BlockIO", "--".to_owned()),
        ("PIDs", "--".to_owned()),
    ]);
    Item::new(row, &Value::Null)
}

/// A container's numbers; `name` is what the user called it.
pub(super) fn item(name: &str, stats: &Value, full: bool) -> Item {
    let id = text(stats, "/id");
    let memory = Memory::of(stats);
    let (read, written) = block_bytes(stats);
    let (received, sent) = network_bytes(stats);
    let decimal = |bytes: f64| bytes_decimal_to(bytes, 3);
    let row = Row::from([
        ("Container", name.to_owned()),
        ("ID", if full { id.to_owned() } else { short_id(id) }),
        (
            "Name",
            text(stats, "/name").trim_start_matches('/').to_owned(),
        ),
        ("CPUPerc", format!("{:.2}%", cpu_percent(stats))),
        (
            "MemUsage",
            format!(
                "{} / {}",
                bytes_binary(memory.used),
                bytes_binary(memory.limit)
            ),
        ),
        ("MemPerc", format!("{:.2}%", memory.percent())),
        (
            "NetIO",
            format!("{} / {}", decimal(received), decimal(sent)),
        ),
        (
            "BlockIO",
            format!("{} / {}", decimal(read), decimal(written)),
        ),
        (
            "PIDs",
            format!("{:.0}", number(stats, "/pids_stats/current")),
        ),
    ]);
    Item::new(row, &Value::Null)
}

fn number(stats: &Value, pointer: &str) -> f64 {
    stats
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or(0.0)
}

/// The share of one CPU's time since the sample before.
fn cpu_percent(stats: &Value) -> f64 {
    let used = number(stats, "/cpu_stats/cpu_usage/total_usage")
        - number(stats, "/precpu_stats/cpu_usage/total_usage");
    let passed = number(stats, "/cpu_stats/system_cpu_usage")
        - number(stats, "/precpu_stats/system_cpu_usage");
    let cpus = match number(stats, "/cpu_stats/online_cpus") {
        0.0 => stats
            .pointer("/cpu_stats/cpu_usage/percpu_usage")
            .and_then(Value::as_array)
            .map_or(0.0, |all| all.len() as f64),
        cpus => cpus,
    };
    if used > 0.0 && passed > 0.0 {
        used / passed * cpus * 100.0
    } else {
        0.0
    }
}

struct Memory {
    used: f64,
    limit: f64,
}

impl Memory {
    fn of(stats: &Value) -> Self {
        let usage = number(stats, "/memory_stats/usage");
        // Pages that only cache files are not the container's use; the first is cgroup v1's.
        let cached = ["total_inactive_file", "inactive_file"]
            .into_iter()
            .filter_map(|name| {
                stats
                    .pointer(&format!("/memory_stats/stats/{name}"))?
                    .as_f64()
            })
            .find(|cached| *cached < usage);
        Self {
            used: usage - cached.unwrap_or(0.0),
            limit: number(stats, "/memory_stats/limit"),
        }
    }

    fn percent(&self) -> f64 {
        if self.limit > 0.0 {
            self.used / self.limit * 100.0
        } else {
            0.0
        }
    }
}

fn block_bytes(stats: &Value) -> (f64, f64) {
    let all = stats
        .pointer("/blkio_stats/io_service_bytes_recursive")
        .and_then(Value::as_array);
    let of = |letter: char| -> f64 {
        let matching = all
            .into_iter()
            .flatten()
            .filter(|one| text(one, "/op").to_ascii_lowercase().starts_with(letter));
        matching.map(|one| number(one, "/value")).sum()
    };
    (of('r'), of('w'))
}

fn network_bytes(stats: &Value) -> (f64, f64) {
    let all = stats["networks"].as_object();
    let of = |name: &str| -> f64 {
        all.into_iter()
            .flatten()
            .map(|(_, one)| number(one, name))
            .sum()
    };
    (of("/rx_bytes"), of("/tx_bytes"))
}
