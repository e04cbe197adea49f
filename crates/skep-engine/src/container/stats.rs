//! `docker stats`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use skep_objects::api::encode::ZERO_TIME;
use skep_objects::api::stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats,
    ThrottlingData,
};
use skep_runtime::cgroup;

use super::Container;
use crate::core::Core;
use crate::engine::BoxStream;
use crate::error::Result;
use crate::timestamp;

const PERIOD: Duration = Duration::from_secs(1);

impl Core {
    pub(crate) async fn stats(
        self: &Arc<Self>,
        reference: &str,
        stream: bool,
        one_shot: bool,
    ) -> Result<BoxStream<Stats>> {
        let container = self.containers.find(reference)?;
        let core = self.clone();
        let once = !stream;
        // A single answer has a predecessor a second before it, unless that is not wanted.
        let first = if once && !one_shot && container.state().running {
            let before = core.sample(&container).await;
            tokio::time::sleep(PERIOD).await;
            Some(before)
        } else {
            None
        };
        let state = (core, container, first, false);
        let samples =
            futures::stream::unfold(state, move |(core, container, before, begun)| async move {
                if begun {
                    if once {
                        return None;
                    }
                    tokio::time::sleep(PERIOD).await;
                }
                let gone = core.containers.get(&container.id).is_none();
                if gone {
                    return None;
                }
                let mut now = core.sample(&container).await;
                if let Some(before) = &before {
                    now.preread.clone_from(&before.read);
                    now.precpu_stats = before.cpu_stats.clone();
                }
                Some((now.clone(), (core, container, Some(now), true)))
            });
        Ok(samples.boxed())
    }

    /// A reading; empty of a container that does not run.
    async fn sample(self: &Arc<Self>, container: &Arc<Container>) -> Stats {
        let (name, state) =
            container.with(|record, state| (format!("/{}", record.name), state.clone()));
        let mut stats = Stats {
            name,
            id: container.id.clone(),
            read: timestamp::text(SystemTime::now()),
            preread: ZERO_TIME.to_owned(),
            ..Stats::default()
        };
        if !state.running || state.restarting {
            stats.read = ZERO_TIME.to_owned();
            return stats;
        }
        match self.with_cgroup(container, |cgroup| cgroup.stats()).await {
            Ok(reading) => fill(&mut stats, &reading),
            Err(error) => {
                tracing::debug!(container.id = %container.id, %error, "no reading of a container")
            }
        }
        if !state.netns.is_empty() {
            let netns = state.netns.clone();
            if let Ok(interfaces) = self
                .networks
                .kernel("read counters", move |net| net.statistics(&netns))
                .await
            {
                stats.networks = interfaces
                    .into_iter()
                    .map(|(name, counters)| (name, network(&counters)))
                    .collect();
            }
        }
        stats
    }
}

fn network(counters: &skep_net::InterfaceStats) -> NetworkStats {
    NetworkStats {
        rx_bytes: counters.rx_bytes,
        rx_packets: counters.rx_packets,
        rx_errors: counters.rx_errors,
        rx_dropped: counters.rx_dropped,
        tx_bytes: counters.tx_bytes,
        tx_packets: counters.tx_packets,
        tx_errors: counters.tx_errors,
        tx_dropped: counters.tx_dropped,
    }
}

fn fill(stats: &mut Stats, reading: &cgroup::Stats) {
    let (periods, throttled_periods, throttled_time) = reading.cpu_throttling;
    stats.pids_stats = PidsStats {
        current: reading.pids_current,
        limit: reading.pids_limit.unwrap_or(0),
    };
    stats.cpu_stats = CpuStats {
        cpu_usage: CpuUsage {
            total_usage: reading.cpu_total_ns,
            percpu_usage: reading.cpu_per_cpu_ns.clone(),
            usage_in_kernelmode: reading.cpu_system_ns,
            usage_in_usermode: reading.cpu_user_ns,
        },
        system_cpu_usage: host_cpu_ns(),
        online_cpus: std::thread::available_parallelism()
            .map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
        throttling_data: ThrottlingData {
            periods,
            throttled_periods,
            throttled_time,
        },
    };
    stats.memory_stats = MemoryStats {
        usage: reading.memory_usage_bytes,
        max_usage: reading.memory_max_usage_bytes,
        stats: reading.memory_stat.clone(),
        failcnt: reading.memory_failcnt,
        limit: reading
            .memory_limit_bytes
            .map_or_else(host_memory, |limit| limit.min(host_memory())),
    };
    let entries = |list: &[(u64, u64, String, u64)]| -> Option<Vec<BlkioEntry>> {
        let entry = |(major, minor, op, value): &(u64, u64, String, u64)| BlkioEntry {
            major: *major,
            minor: *minor,
            op: op.clone(),
            value: *value,
        };
        Some(list.iter().map(entry).collect())
    };
    let unknown = || {
        if reading.is_v2 {
            None
        } else {
            Some(Vec::new())
        }
    };
    stats.blkio_stats = BlkioStats {
        io_service_bytes_recursive: entries(&reading.blkio_bytes),
        io_serviced_recursive: if reading.is_v2 {
            None
        } else {
            entries(&reading.blkio_operations)
        },
        io_queue_recursive: unknown(),
        io_service_time_recursive: unknown(),
        io_wait_time_recursive: unknown(),
        io_merged_recursive: unknown(),
        io_time_recursive: unknown(),
        sectors_recursive: unknown(),
    };
}

/// CPU time of the whole host in nanoseconds, idle time included.
fn host_cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in these.
    let ticks: u64 = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|word| word.parse::<u64>().ok())
        .sum();
    ticks.saturating_mul(10_000_000)
}

fn host_memory() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let facts: BTreeMap<&str, u64> = info
        .lines()
        .filter_map(|line| {
            let (key, rest) = line.split_once(':')?;
            Some((key, rest.split_whitespace().next()?.parse::<u64>().ok()?))
        })
        .collect();
    facts
        .get("MemTotal")
        .copied()
        .unwrap_or(0)
        .saturating_mul(1024)
}
