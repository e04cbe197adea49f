//! The load of those tasks whose services are scaled by it. It is told to the manager beside the
//! acknowledgements of endpoint tables; a node without such tasks measures nothing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use skep_objects::autoscale::Autoscale;
use skep_objects::skep_v1::TaskUsage;
use skep_objects::swarmkit::Task;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::executor::Usage;
use crate::worker::Worker;

/// How often it is told.
const PERIOD: Duration = Duration::from_secs(5);

/// What the tasks used when they were last looked at.
#[derive(Debug, Default)]
struct Meter {
    last: BTreeMap<String, (Instant, u64)>,
}

/// Sends readings for as long as it is asked to, and while there is anything to read.
pub(crate) async fn run(worker: &Worker, readings: Sender<Vec<TaskUsage>>) -> Infallible {
    let (mut tasks, mut meter) = (worker.watch(), Meter::default());
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tasks.borrow_and_update();
        if is_needed(worker).await {
            tokio::select! {
                _ = ticks.tick() => {
                    let usage = meter.read(worker).await;
                    if !usage.is_empty() {
                        // Nobody hears it only where nobody asks any more.
                        let _ = readings.send(usage).await;
                    }
                }
                Ok(()) = tasks.changed() => {}
            }
        } else if tasks.changed().await.is_err() {
            // The worker ends.
            return std::future::pending().await;
        }
    }
}

/// Whether there are tasks of which the load is of interest.
async fn is_needed(worker: &Worker) -> bool {
    worker
        .tasks()
        .await
        .iter()
        .any(|(task, _)| is_metered(task))
}

fn is_metered(task: &Task) -> bool {
    let service = task.service_annotations.as_deref();
    task.wants_to_run() && service.is_some_and(|a| Autoscale::is_asked_for(&a.labels))
}

impl Meter {
    /// The load since the last time, of those tasks that ran all the while.
    async fn read(&mut self, worker: &Worker) -> Vec<TaskUsage> {
        let (mut usages, mut seen) = (Vec::new(), BTreeMap::new());
        for (task, controller) in worker.tasks().await {
            if !is_metered(&task) {
                continue;
            }
            if let Some(usage) = controller.usage().await {
                seen.insert(task.id.clone(), (Instant::now(), usage.cpu_nanos));
                usages.extend(self.since_last(&task.id, usage, Instant::now()));
            }
        }
        self.last = seen;
        usages
    }

    fn since_last(&self, task: &str, usage: Usage, now: Instant) -> Option<TaskUsage> {
        let (then, before) = self.last.get(task)?;
        let elapsed = now.saturating_duration_since(*then).as_nanos();
        let used = u128::from(usage.cpu_nanos.checked_sub(*before)?);
        let nano_cpus = (used * 1_000_000_000).checked_div(elapsed)?;
        Some(TaskUsage {
            task_id: task.to_owned(),
            nano_cpus: u64::try_from(nano_cpus).ok()?,
            memory_bytes: usage.memory_bytes,
            connections: usage.connections,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_of_a_task_is_what_it_used_since_the_last_look() {
        let start = Instant::now();
        let usage = |cpu_nanos| Usage {
            cpu_nanos,
            memory_bytes: 7,
            connections: 2,
        };
        let mut meter = Meter::default();
        assert_eq!(meter.since_last("t", usage(50), start), None);
        meter.last.insert("t".to_owned(), (start, 1_000_000_000));
        let later = start + Duration::from_secs(4);
        let told = meter.since_last("t", usage(3_000_000_000), later);
        let told = told.expect("a second look");
        assert_eq!(told.nano_cpus, 500_000_000);
        assert_eq!((told.memory_bytes, told.connections), (7, 2));
        // A container that was started anew has used less than before.
        assert_eq!(meter.since_last("t", usage(5), later), None);
    }
}
