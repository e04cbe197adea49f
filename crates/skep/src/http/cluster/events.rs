//! Changes of the replicated store as events of swarm scope, which managers emit.

use std::collections::BTreeMap;
use std::time::SystemTime;

use proto::service_spec::Mode;
use skep_objects::api::events::{Actor, Event};
use skep_objects::swarmkit as proto;
use skep_store::{Event as Change, Object};

use crate::http::convert::node::{availability, reachability, role, state};

type Attributes = BTreeMap<String, String>;

/// The event that tells of a change; none for what users are not told of, such as tasks.
pub fn event(change: &Change) -> Option<Event> {
    let (action, object, old) = match change {
        Change::Created(object) => ("create", object, None),
        Change::Updated { old, new } => ("update", new, Some(old)),
        Change::Removed(object) => ("remove", object, None),
        Change::Committed(_) => return None,
    };
    let (kind, attributes) = match object {
        Object::Service(service) => ("service", of_service(service, old)),
        Object::Node(node) => ("node", of_node(node, old)),
        Object::Network(network) => {
            let spec = network
                .spec
                .as_ref()
                .and_then(|spec| spec.annotations.as_ref());
            ("network", named(spec))
        }
        Object::Secret(secret) => {
            let spec = secret
                .spec
                .as_ref()
                .and_then(|spec| spec.annotations.as_ref());
            ("secret", named(spec))
        }
        Object::Config(config) => {
            let spec = config
                .spec
                .as_ref()
                .and_then(|spec| spec.annotations.as_ref());
            ("config", named(spec))
        }
        _ => return None,
    };
    let (seconds, nanos) = when(action, object.meta());
    Some(Event {
        kind: kind.to_owned(),
        action: action.to_owned(),
        actor: Actor {
            id: object.id().to_owned(),
            attributes,
        },
        scope: "swarm".to_owned(),
        time: seconds,
        time_nano: seconds.saturating_mul(1_000_000_000).saturating_add(nanos),
        ..Event::default()
    })
}

/// Creation and update have the times that the store gave them; a removal happens now.
fn when(action: &str, meta: Option<&proto::Meta>) -> (i64, i64) {
    let stamp = match action {
        "create" => meta.and_then(|meta| meta.created_at),
        "update" => meta.and_then(|meta| meta.updated_at),
        _ => None,
    };
    let stamp = stamp.unwrap_or_else(|| SystemTime::now().into());
    (stamp.seconds, i64::from(stamp.nanos))
}

fn named(annotations: Option<&proto::Annotations>) -> Attributes {
    let name = annotations
        .map(|annotations| annotations.name.clone())
        .unwrap_or_default();
    [("name".to_owned(), name)].into()
}

/// Notes `what.old` and `what.new` when they differ.
fn changed(attributes: &mut Attributes, what: &str, old: String, new: String) {
    if old != new {
        attributes.insert(format!("{what}.old"), old);
        attributes.insert(format!("{what}.new"), new);
    }
}

fn of_service(service: &proto::Service, old: Option<&Object>) -> Attributes {
    let spec = service.spec.as_ref();
    let mut attributes = named(spec.and_then(|spec| spec.annotations.as_ref()));
    let Some(Object::Service(old)) = old else {
        return attributes;
    };
    changed(&mut attributes, "image", image(old), image(service));
    if let (Some(before), Some(after)) = (replicas(old), replicas(service)) {
        changed(
            &mut attributes,
            "replicas",
            before.to_string(),
            after.to_string(),
        );
    }
    let (before, after) = (update_state(old), update_state(service));
    if before != after {
        if !before.is_empty() {
            attributes.insert("updatestate.old".to_owned(), before);
        }
        attributes.insert("updatestate.new".to_owned(), after);
    }
    attributes
}

fn image(service: &proto::Service) -> String {
    let runtime = service
        .spec
        .as_ref()
        .and_then(|spec| spec.task.as_ref()?.runtime.as_ref());
    match runtime {
        Some(proto::task_spec::Runtime::Container(container)) => container.image.clone(),
        _ => String::new(),
    }
}

fn replicas(service: &proto::Service) -> Option<u64> {
    match service.spec.as_ref()?.mode.as_ref()? {
        Mode::Replicated(replicated) => Some(replicated.replicas),
        Mode::Global(_) | Mode::ReplicatedJob(_) | Mode::GlobalJob(_) => None,
    }
}

fn update_state(service: &proto::Service) -> String {
    let converted = crate::http::convert::service::from_service(service);
    converted
        .update_status
        .map(|status| status.state)
        .unwrap_or_default()
}

fn of_node(node: &proto::Node, old: Option<&Object>) -> Attributes {
    let name = |node: &proto::Node| {
        let given = node
            .spec
            .as_ref()
            .and_then(|spec| spec.annotations.as_ref());
        let given = given
            .map(|annotations| annotations.name.clone())
            .unwrap_or_default();
        let host = node
            .description
            .as_ref()
            .map(|description| description.hostname.clone());
        if given.is_empty() {
            host.unwrap_or_default()
        } else {
            given
        }
    };
    let mut attributes: Attributes = [("name".to_owned(), name(node))].into();
    let Some(Object::Node(old)) = old else {
        return attributes;
    };
    let spec = |node: &proto::Node| node.spec.clone().unwrap_or_default();
    let (before, after) = (spec(old), spec(node));
    changed(
        &mut attributes,
        "availability",
        availability(before.availability()),
        availability(after.availability()),
    );
    changed(
        &mut attributes,
        "role",
        role(before.desired_role()),
        role(after.desired_role()),
    );
    let status = |node: &proto::Node| node.status.clone().unwrap_or_default().state();
    changed(
        &mut attributes,
        "state",
        state(status(old)),
        state(status(node)),
    );
    if let (Some(before), Some(after)) = (&old.manager_status, &node.manager_status) {
        let (old, new) = (before.leader.to_string(), after.leader.to_string());
        changed(&mut attributes, "leader", old, new);
        let old = reachability(before.reachability());
        let new = reachability(after.reachability());
        changed(&mut attributes, "reachability", old, new);
    }
    attributes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn service(replicas: u64, image: &str) -> Object {
        let container = proto::ContainerSpec {
            image: image.into(),
            ..Default::default()
        };
        Object::Service(Arc::new(proto::Service {
            id: "s1".into(),
            spec: Some(proto::ServiceSpec {
                annotations: Some(proto::Annotations {
                    name: "web".into(),
                    ..Default::default()
                }),
                mode: Some(Mode::Replicated(proto::ReplicatedService { replicas })),
                task: Some(
                    proto::TaskSpec {
                        runtime: Some(proto::task_spec::Runtime::Container(container)),
                        ..Default::default()
                    }
                    .into(),
                ),
                ..Default::default()
            }),
            ..Default::default()
        }))
    }

    #[test]
    fn an_update_tells_what_changed() {
        let change = Change::Updated {
            old: service(1, "nginx:1"),
            new: service(3, "nginx:2"),
        };
        let event = event(&change).expect("an event");
        assert_eq!(
            (
                event.kind.as_str(),
                event.action.as_str(),
                event.scope.as_str()
            ),
            ("service", "update", "swarm")
        );
        let told: Vec<_> = event
            .actor
            .attributes
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        let expect = [
            "image.new=nginx:2",
            "image.old=nginx:1",
            "name=web",
            "replicas.new=3",
            "replicas.old=1",
        ];
        assert_eq!(told, expect);
    }

    #[test]
    fn a_node_is_called_by_its_host_and_tells_its_state() {
        let node = |state: proto::node_status::State| {
            Object::Node(Arc::new(proto::Node {
                id: "n1".into(),
                description: Some(proto::NodeDescription {
                    hostname: "w1".into(),
                    ..Default::default()
                }),
                status: Some(proto::NodeStatus {
                    state: state.into(),
                    ..Default::default()
                }),
                ..Default::default()
            }))
        };
        use proto::node_status::State;
        let change = Change::Updated {
            old: node(State::Unknown),
            new: node(State::Ready),
        };
        let event = event(&change).expect("an event");
        let told: Vec<_> = event
            .actor
            .attributes
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        assert_eq!(told, ["name=w1", "state.new=ready", "state.old=unknown"]);
    }

    #[test]
    fn tasks_are_not_told_of() {
        let task = Object::Task(Arc::new(proto::Task::default()));
        assert_eq!(event(&Change::Created(task)), None);
    }
}
