//! `--metrics-addr`: what the daemon counts, in Prometheus's text form at `/metrics`.

mod engine;

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
    let mut out = engine::figures(api).await;
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
