//! Figures of this host: dockerd's, and what the process uses.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use skep_engine::metrics::{BUCKETS, Histogram};

use super::{EVENTS, family};
use crate::http::Api;
use crate::http::system::ENGINE_VERSION;

/// All figures of this host.
pub(super) async fn figures(api: &Api) -> String {
    let mut out = String::new();
    machine(&mut out, api);
    activity(&mut out, api).await;
    actions(&mut out, api);
    health(&mut out, api);
    networks(&mut out, api).await;
    process(&mut out);
    out
}

fn plain(value: f64) -> [(String, f64); 1] {
    [(String::new(), value)]
}

fn machine(out: &mut String, api: &Api) {
    let facts = &api.facts;
    let labels = format!(
        "{{architecture=\"{}\",commit=\"{}\",daemon_id=\"{}\",graphdriver=\"overlay2\",kernel=\"{}\",os=\"{}\",os_type=\"linux\",os_version=\"{}\",version=\"{ENGINE_VERSION}\"}}",
        std::env::consts::ARCH,
        crate::http::system::COMMIT,
        facts.id(),
        facts.kernel,
        facts.operating_system,
        facts.os_version,
    );
    family(
        out,
        "engine_daemon_engine_info",
        "gauge",
        "The engine and the machine it runs on",
        &[(labels, 1.0)],
    );
    family(
        out,
        "engine_daemon_engine_cpus_cpus",
        "gauge",
        "The number of CPUs of the machine",
        &plain(facts.cpus as f64),
    );
    family(
        out,
        "engine_daemon_engine_memory_bytes",
        "gauge",
        "The memory of the machine",
        &plain(facts.memory as f64),
    );
}

async fn activity(out: &mut String, api: &Api) {
    let containers = api.count_containers().await;
    let states = [
        ("paused", containers.paused),
        ("running", containers.running),
        ("stopped", containers.stopped),
    ];
    let samples = states.map(|(state, count)| (format!("{{state=\"{state}\"}}"), count as f64));
    family(
        out,
        "engine_daemon_container_states_containers",
        "gauge",
        "The containers by state",
        &samples,
    );
    family(
        out,
        "engine_daemon_events_subscribers_total",
        "gauge",
        "The clients that follow events",
        &plain(api.engine.events().listeners() as f64),
    );
    family(
        out,
        "engine_daemon_events_total",
        "counter",
        "Events since metrics are served",
        &plain(EVENTS.load(Ordering::Relaxed) as f64),
    );
}

/// How long the engine took for what it was asked.
fn actions(out: &mut String, api: &Api) {
    let metrics = api.engine.metrics();
    for (name, help, label, times) in [
        (
            "engine_daemon_container_actions_seconds",
            "The number of seconds it takes to process each container action",
            "action",
            metrics.container_actions(),
        ),
        (
            "engine_daemon_image_actions_seconds",
            "The number of seconds it takes to process each image action",
            "action",
            api.engine.images().times().by_action(),
        ),
        (
            "engine_daemon_network_actions_seconds",
            "The number of seconds it takes to process each network action",
            "action",
            metrics.network_actions(),
        ),
        (
            "engine_daemon_host_info_functions_seconds",
            "The number of seconds it takes to call functions gathering info about the host",
            "function",
            vec![("system_info", metrics.system_info.read())],
        ),
    ] {
        let mut samples = Vec::new();
        for (value, histogram) in times {
            samples.extend(histogram_samples(
                &format!("{label}=\"{value}\""),
                &histogram,
            ));
        }
        family(out, name, "histogram", help, &samples);
    }
}

fn health(out: &mut String, api: &Api) {
    let metrics = api.engine.metrics();
    for (name, help, count) in [
        (
            "engine_daemon_health_checks_total",
            "The total number of health checks",
            metrics.health_checks(),
        ),
        (
            "engine_daemon_health_checks_failed_total",
            "The total number of failed health checks",
            metrics.failed_health_checks(),
        ),
    ] {
        family(out, name, "counter", help, &plain(count as f64));
    }
    family(
        out,
        "engine_daemon_health_check_start_duration_seconds",
        "histogram",
        "The number of seconds it takes to prepare to run health checks",
        &histogram_samples("", &metrics.health_check_start()),
    );
}

/// A histogram's samples, each with what follows the family's name.
fn histogram_samples(label: &str, histogram: &Histogram) -> Vec<(String, f64)> {
    let comma = if label.is_empty() { "" } else { "," };
    let braced = match label {
        "" => String::new(),
        label => format!("{{{label}}}"),
    };
    let bucket = |bound: &str, count: u64| {
        let labels = format!("_bucket{{{label}{comma}le=\"{bound}\"}}");
        (labels, count as f64)
    };
    let mut samples: Vec<_> = BUCKETS
        .iter()
        .zip(histogram.buckets)
        .map(|(bound, count)| bucket(&bound.to_string(), count))
        .collect();
    samples.push(bucket("+Inf", histogram.count));
    samples.push((format!("_sum{braced}"), histogram.sum));
    samples.push((format!("_count{braced}"), histogram.count as f64));
    samples
}

async fn networks(out: &mut String, api: &Api) {
    let mut drivers: BTreeMap<String, f64> = BTreeMap::new();
    let networks = api.engine.networks().list(&Default::default()).await;
    for network in networks.unwrap_or_default() {
        *drivers.entry(network.driver).or_default() += 1.0;
    }
    let samples: Vec<_> = drivers
        .into_iter()
        .map(|(driver, count)| (format!("{{driver={driver:?}}}"), count))
        .collect();
    family(
        out,
        "skep_network_networks",
        "gauge",
        "Networks of this host by driver",
        &samples,
    );
}

fn process(out: &mut String) {
    if let Some((threads, resident, descriptors)) = own_process() {
        family(
            out,
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory of the daemon",
            &plain(resident),
        );
        family(
            out,
            "process_open_fds",
            "gauge",
            "Open file descriptors of the daemon",
            &plain(descriptors),
        );
        family(
            out,
            "process_threads",
            "gauge",
            "Threads of the daemon",
            &plain(threads),
        );
    }
}

/// Threads, resident bytes and open descriptors of this process.
fn own_process() -> Option<(f64, f64, f64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let descriptors = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some((
        field("Threads:")?,
        field("VmRSS:")? * 1024.0,
        descriptors as f64,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_reads_as_prometheus_writes_it() {
        let histogram = Histogram {
            buckets: [0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2],
            count: 3,
            sum: 61.5,
        };
        let mut text = String::new();
        let samples = histogram_samples("action=\"start\"", &histogram);
        family(&mut text, "x_seconds", "histogram", "Help", &samples);
        for line in [
            "# TYPE x_seconds histogram",
            "x_seconds_bucket{action=\"start\",le=\"0.005\"} 0",
            "x_seconds_bucket{action=\"start\",le=\"1\"} 2",
            "x_seconds_bucket{action=\"start\",le=\"10\"} 2",
            "x_seconds_bucket{action=\"start\",le=\"+Inf\"} 3",
            "x_seconds_sum{action=\"start\"} 61.5",
            "x_seconds_count{action=\"start\"} 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        let bare = histogram_samples("", &histogram);
        assert_eq!(bare[0].0, "_bucket{le=\"0.005\"}");
        assert_eq!(bare[12].0, "_sum");
    }
}
