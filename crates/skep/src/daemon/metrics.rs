//! `--metrics-addr`: what the daemon counts, in Prometheus's text form at `/metrics`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use skep_manager::metrics::Kind;
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use crate::http::Api;
use crate::http::system::ENGINE_VERSION;

/// Serves the metrics, when an address is configured. An address that is taken is logged, not fatal.
pub async fn spawn(
    config: &Config,
    api: Arc<Api>,
    stop: CancellationToken,
) -> Option<JoinHandle<()>> {
    let address = config.metrics_addr.clone()?;
    let address = address
        .strip_prefix("tcp://")
        .unwrap_or(&address)
        .to_owned();
    let listener = match TcpListener::bind(&address).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(addr = %address, %error, "metrics are not served");
            return None;
        }
    };
    tokio::spawn(count_events(api.clone(), stop.clone()));
    Some(tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((io, _)) = accepted else { continue };
            let api = api.clone();
            let service = service_fn(move |request: http::Request<_>| {
                let api = api.clone();
                async move { Ok::<_, Infallible>(answer(&api, request.uri().path()).await) }
            });
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(builder.serve_connection(TokioIo::new(io), service));
        }
    }))
}

/// Events since metrics are served: there is one such server in a process.
static EVENTS: AtomicU64 = AtomicU64::new(0);

async fn count_events(api: Arc<Api>, stop: CancellationToken) {
    let (_, mut events) = api.engine.events().subscribe();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.recv() => event,
        };
        let count = match event {
            Ok(_) => 1,
            Err(RecvError::Lagged(missed)) => missed,
            Err(RecvError::Closed) => return,
        };
        EVENTS.fetch_add(count, Ordering::Relaxed);
    }
}

async fn answer(api: &Api, path: &str) -> Response<Full<Bytes>> {
    if path != "/metrics" {
        let mut response = Response::new(Full::new(Bytes::from_static(b"404 page not found\n")));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    let mut response = Response::new(Full::new(text(api).await.into()));
    let kind = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, kind);
    response
}

/// One family of metrics.
fn family(out: &mut String, name: &str, kind: &str, help: &str, samples: &[(String, f64)]) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in samples {
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}

/// What `/metrics` answers.
pub async fn text(api: &Api) -> String {
    let mut out = engine(api).await;
    swarm(&mut out, api).await;
    out
}

/// Figures of the swarm: of this node, and of the manager in it.
async fn swarm(out: &mut String, api: &Api) {
    let info = api.swarm.info().await;
    let swarm = info
        .cluster
        .as_ref()
        .map(|c| c.id.clone())
        .unwrap_or_default();
    let labels = format!("{{node_id=\"{}\",swarm_id=\"{swarm}\"}}", info.node_id);
    let is_member = !info.node_id.is_empty();
    let samples: Vec<_> = is_member.then_some((labels, 1.0)).into_iter().collect();
    family(
        out,
        "swarm_node_info",
        "gauge",
        "This node in its swarm",
        &samples,
    );
    let is_manager = f64::from(u8::from(info.control_available));
    family(
        out,
        "swarm_node_manager",
        "gauge",
        "Whether this node is a manager",
        &[(String::new(), is_manager)],
    );
    for one in api.swarm.metrics() {
        let kind = match one.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        let samples = one.samples.iter().map(|sample| {
            let labels = sample.labels.iter();
            let labels: Vec<String> = labels.map(|(k, v)| format!("{k}={v:?}")).collect();
            let labels = match labels.is_empty() {
                true => String::new(),
                false => format!("{{{}}}", labels.join(",")),
            };
            (format!("{}{labels}", sample.suffix), sample.value)
        });
        family(out, one.name, kind, one.help, &samples.collect::<Vec<_>>());
    }
}

/// Figures of this host.
async fn engine(api: &Api) -> String {
    let mut out = String::new();
    let plain = |value: f64| vec![(String::new(), value)];
    let facts = &api.facts;
    let labels = format!(
        "{{architecture=\"{}\",commit=\"{}\",daemon_id=\"{}\",graphdriver=\"overlay2\",kernel=\"{}\",os=\"{}\",os_type=\"linux\",version=\"{ENGINE_VERSION}\"}}",
        std::env::consts::ARCH,
        crate::http::system::COMMIT,
        facts.id(),
        facts.kernel,
        facts.operating_system,
    );
    family(
        &mut out,
        "engine_daemon_engine_info",
        "gauge",
        "The engine and the machine it runs on",
        &[(labels, 1.0)],
    );
    family(
        &mut out,
        "engine_daemon_engine_cpus_cpus",
        "gauge",
        "The number of CPUs of the machine",
        &plain(facts.cpus as f64),
    );
    family(
        &mut out,
        "engine_daemon_engine_memory_bytes",
        "gauge",
        "The memory of the machine",
        &plain(facts.memory as f64),
    );
    let containers = api.count_containers().await;
    let states = [
        ("paused", containers.paused),
        ("running", containers.running),
        ("stopped", containers.stopped),
    ];
    let samples = states.map(|(state, count)| (format!("{{state=\"{state}\"}}"), count as f64));
    family(
        &mut out,
        "engine_daemon_container_states_containers",
        "gauge",
        "The containers by state",
        &samples,
    );
    family(
        &mut out,
        "engine_daemon_events_subscribers_total",
        "gauge",
        "The clients that follow events",
        &plain(api.engine.events().listeners() as f64),
    );
    family(
        &mut out,
        "engine_daemon_events_total",
        "counter",
        "Events since metrics are served",
        &plain(EVENTS.load(Ordering::Relaxed) as f64),
    );
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
        &mut out,
        "skep_network_networks",
        "gauge",
        "Networks of this host by driver",
        &samples,
    );
    if let Some((threads, resident, descriptors)) = own_process() {
        family(
            &mut out,
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory of the daemon",
            &plain(resident),
        );
        family(
            &mut out,
            "process_open_fds",
            "gauge",
            "Open file descriptors of the daemon",
            &plain(descriptors),
        );
        family(
            &mut out,
            "process_threads",
            "gauge",
            "Threads of the daemon",
            &plain(threads),
        );
    }
    out
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
