//! How far a service has come: a line a task, until all run and stay.

mod screen;
mod view;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::url;
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use screen::Screen;
use view::View;

/// Between two looks: Docker's API has no stream of this.
const PAUSE: Duration = Duration::from_millis(100);
const MONITOR: i64 = 5_000_000_000;

/// Waits until a service has converged. `shown` is what the user called it.
pub(crate) async fn wait(
    context: &Context,
    id: &str,
    shown: &str,
    quiet: bool,
) -> Result<(), CliError> {
    let mut screen = Screen::new(quiet);
    let interrupted = tokio::signal::ctrl_c();
    tokio::select! {
        result = follow(context, id, shown, &mut screen) => result,
        _ = interrupted => {
            if !quiet {
                println!("Operation continuing in background.\nUse `docker service ps {shown}` to check progress.");
            }
            Ok(())
        }
    }
}

async fn follow(
    context: &Context,
    id: &str,
    shown: &str,
    screen: &mut Screen,
) -> Result<(), CliError> {
    let mut converged: Option<Instant> = None;
    loop {
        let service = context.client.get(&format!("/services/{id}")).await?;
        let status = &service["UpdateStatus"];
        let message = text(status, "/Message");
        match text(status, "/State") {
            "paused" => return Err(CliError::new(format!("service update paused: {message}"))),
            "rollback_paused" => {
                return Err(CliError::new(format!("service rollback paused: {message}")));
            }
            "rollback_started" => screen.rolls_back(message),
            "rollback_completed" if converged.is_none() => screen.rolled_back(message),
            _ => {}
        }
        let view = look(context, id, &service).await?;
        screen.show(&view);
        if view.is_done() && view.is_job() {
            screen.finish("job complete");
            return Ok(());
        }
        let is_changing = matches!(text(status, "/State"), "updating" | "rollback_started");
        if view.is_done() && !is_changing {
            let since = *converged.get_or_insert_with(Instant::now);
            let left = monitor(&service).saturating_sub(since.elapsed());
            if left.is_zero() {
                screen.verify(&format!("Service {shown} converged"));
                return Ok(());
            }
            // The second that has begun counts.
            screen.verify(&format!(
                "Waiting {} seconds to verify that tasks are stable...",
                left.as_secs() + u64::from(left.subsec_nanos() > 0)
            ));
        } else if converged.take().is_some() {
            screen.verify("Detected task failure");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look(context: &Context, id: &str, service: &Value) -> Result<View, CliError> {
    let filter = json!({"service": {id: true}, "_up-to-date": {"true": true}}).to_string();
    let path = url("/tasks", &[("filters", &filter)]);
    let tasks = context.client.get(&path).await?;
    let nodes = context.client.get("/nodes").await?;
    let tasks = tasks.as_array().map_or(&[][..], Vec::as_slice);
    Ok(View::of(service, tasks, &nodes))
}

/// How long tasks must stay as they are.
fn monitor(service: &Value) -> Duration {
    let nanos = service["Spec"]["UpdateConfig"]["Monitor"]
        .as_i64()
        .unwrap_or(MONITOR);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}
