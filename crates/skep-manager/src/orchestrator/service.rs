//! What orchestrators read off services, nodes and tasks.

use skep_objects::ids::new_id;
use skep_objects::swarmkit::{
    Endpoint, Node, Service, ServiceSpec, Task, TaskSpec, TaskState, TaskStatus,
    node_spec::Availability, node_status, service_spec, task_spec,
};
use skep_objects::{Shared, Text};
use skep_store::View;

use super::slot::SlotKey;
use crate::clock::Now;
use crate::scheduler::constraint::Constraint;

/// The four kinds of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// So many tasks, anywhere.
    Replicated {
        /// How many.
        replicas: u64,
    },
    /// A task on each node.
    Global,
    /// So many tasks that run to completion.
    ReplicatedJob {
        /// At once.
        max_concurrent: u64,
        /// In all.
        total: u64,
    },
    /// A task on each node that runs to completion.
    GlobalJob,
}

impl Mode {
    /// The service's mode; replicated with one replica when it says nothing.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        match service.spec.as_ref().and_then(|spec| spec.mode.as_ref()) {
            Some(service_spec::Mode::Replicated(replicated)) => Self::Replicated {
                replicas: replicated.replicas,
            },
            Some(service_spec::Mode::Global(_)) => Self::Global,
            Some(service_spec::Mode::ReplicatedJob(job)) => Self::ReplicatedJob {
                max_concurrent: job.max_concurrent,
                total: job.total_completions,
            },
            Some(service_spec::Mode::GlobalJob(_)) => Self::GlobalJob,
            None => Self::Replicated { replicas: 1 },
        }
    }

    /// Whether slots are nodes.
    #[must_use]
    pub fn is_global(self) -> bool {
        matches!(self, Self::Global | Self::GlobalJob)
    }

    /// Whether tasks are to end.
    #[must_use]
    pub fn is_job(self) -> bool {
        matches!(self, Self::ReplicatedJob { .. } | Self::GlobalJob)
    }

    /// What tasks are wanted to do in the end.
    #[must_use]
    pub fn goal(self) -> TaskState {
        if self.is_job() {
            TaskState::Complete
        } else {
            TaskState::Running
        }
    }
}

/// The service's spec, empty when it has none.
#[must_use]
pub fn spec(service: &Service) -> ServiceSpec {
    service.spec.clone().unwrap_or_default()
}

/// The spec that the service's tasks get.
#[must_use]
pub fn task_spec(service: &Service) -> Shared<TaskSpec> {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.task.clone())
        .unwrap_or_default()
}

/// A new task of the service in this slot.
#[must_use]
pub fn new_task(
    service: &Service,
    slot: &SlotKey,
    desired: TaskState,
    view: &View,
    now: Now,
) -> Task {
    let spec = task_spec(service);
    let defaults = view.the_cluster().and_then(|cluster| {
        cluster
            .spec
            .as_ref()?
            .task_defaults
            .as_ref()?
            .log_driver
            .clone()
    });
    let (slot, node_id) = match slot {
        SlotKey::Number(number) => (*number, Text::default()),
        SlotKey::Node(node) => (0, node.clone()),
    };
    let endpoint = service.spec.as_ref().and_then(|spec| spec.endpoint.clone());
    Task {
        id: new_id(),
        service_id: service.id.as_str().into(),
        slot,
        node_id,
        annotations: Some(Default::default()),
        service_annotations: Some(
            service
                .spec
                .as_ref()
                .and_then(|spec| spec.annotations.clone())
                .unwrap_or_default()
                .into(),
        ),
        log_driver: spec.log_driver.clone().or(defaults).map(Shared::from),
        spec: Some(spec),
        spec_version: service.spec_version,
        status: Some(TaskStatus {
            timestamp: Some(now.timestamp()),
            state: TaskState::New.into(),
            message: "created".into(),
            ..Default::default()
        }),
        desired_state: desired.into(),
        endpoint: Some(
            Endpoint {
                spec: endpoint,
                ..Default::default()
            }
            .into(),
        ),
        job_iteration: service
            .job_status
            .as_ref()
            .and_then(|status| status.job_iteration),
        ..Default::default()
    }
}

/// Whether the task runs something else than the service now asks for.
#[must_use]
pub fn is_dirty(service: &Service, task: &Task, node: Option<&Node>) -> bool {
    if task.spec_version.is_some() && task.spec_version == service.spec_version {
        return false;
    }
    let mut wanted = task_spec(service);
    let mut has = task.spec.clone().unwrap_or_default();
    if wanted == has && endpoint_is_same(service, task) {
        return false;
    }
    if differs_in_constraints_only(&wanted, &has)
        && endpoint_is_same(service, task)
        && node.is_some_and(|node| meets_constraints(node, &wanted))
    {
        return false;
    }
    // New registry credentials are no reason to replace what runs.
    if task.wanted_state() <= TaskState::Running
        && (TaskState::Ready..=TaskState::Running).contains(&task.observed_state())
    {
        for spec in [&mut wanted, &mut has] {
            if let Some(task_spec::Runtime::Container(container)) = &mut spec.runtime {
                container.pull_options = None;
            }
        }
    }
    wanted != has || !endpoint_is_same(service, task)
}

fn endpoint_is_same(service: &Service, task: &Task) -> bool {
    let wanted = service
        .spec
        .as_ref()
        .and_then(|spec| spec.endpoint.as_ref());
    task.endpoint
        .as_ref()
        .is_none_or(|endpoint| endpoint.spec.as_ref() == wanted)
}

fn differs_in_constraints_only(wanted: &TaskSpec, has: &TaskSpec) -> bool {
    let without = |spec: &TaskSpec| {
        let mut spec = spec.clone();
        let placement = spec.placement.get_or_insert_default();
        placement.constraints.clear();
        spec
    };
    without(wanted) == without(has)
}

/// Whether the node meets the constraints of a spec; one that cannot be read is not met.
#[must_use]
pub fn meets_constraints(node: &Node, spec: &TaskSpec) -> bool {
    let Some(placement) = &spec.placement else {
        return true;
    };
    Constraint::parse_all(&placement.constraints).is_ok_and(|constraints| {
        constraints
            .iter()
            .all(|constraint| constraint.matches(node))
    })
}

/// The node's availability.
#[must_use]
pub fn availability(node: &Node) -> Availability {
    node.spec
        .as_ref()
        .map_or(Availability::Active, |spec| spec.availability())
}

/// Whether the node is known to be lost.
#[must_use]
pub fn is_down(node: &Node) -> bool {
    node.status
        .as_ref()
        .is_some_and(|status| status.state() == node_status::State::Down)
}

/// Whether tasks have to leave the node: it is gone, lost or drained.
#[must_use]
pub fn is_invalid(node: Option<&Node>) -> bool {
    node.is_none_or(|node| is_down(node) || availability(node) == Availability::Drain)
}
