//! Which changes a caller wants to hear of.

use skep_objects::swarmkit::{
    Object as MessageObject, SelectBy, WatchActionKind, object::Object as Inner, select_by::By,
    watch_request::WatchEntry,
};
use skep_store::{Kind, Object};
use tonic::Status;

/// One kind of object, the actions of interest, and what must hold of the object.
#[derive(Debug)]
pub struct Entry {
    kind: Kind,
    actions: i32,
    filters: Vec<By>,
}

impl Entry {
    /// Reads an entry of a request; no action means all.
    pub fn read(entry: WatchEntry) -> Result<Self, Status> {
        let kind = Kind::ALL
            .iter()
            .copied()
            .find(|kind| kind.to_string() == entry.kind);
        let unknown =
            || Status::invalid_argument(format!("unrecognized object type {}", entry.kind));
        Ok(Self {
            kind: kind.ok_or_else(unknown)?,
            actions: if entry.action == 0 {
                i32::MAX
            } else {
                entry.action
            },
            filters: entry
                .filters
                .into_iter()
                .filter_map(|SelectBy { by }| by)
                .collect(),
        })
    }

    /// Whether the caller wants to hear of this.
    pub fn matches(&self, action: WatchActionKind, object: &Object) -> bool {
        object.kind() == self.kind
            && self.actions & (action as i32) != 0
            && self.filters.iter().all(|by| holds(by, object))
    }
}

/// Whether a condition holds; one that makes no sense for the kind holds of none.
fn holds(by: &By, object: &Object) -> bool {
    match (by, object) {
        (By::Id(id), _) => object.id() == id,
        (By::IdPrefix(prefix), _) => object.id().starts_with(prefix.as_str()),
        (By::Name(name), _) => object.name().eq_ignore_ascii_case(name),
        (By::NamePrefix(prefix), _) => object
            .name()
            .to_lowercase()
            .starts_with(&prefix.to_lowercase()),
        (By::ServiceId(id), Object::Task(task)) => task.service_id == *id,
        (By::NodeId(id), Object::Task(task)) => task.node_id == *id,
        (By::Slot(slot), Object::Task(task)) => {
            task.service_id == slot.service_id && task.slot == slot.slot
        }
        (By::DesiredState(state), Object::Task(task)) => task.desired_state == *state,
        (By::Role(role), Object::Node(node)) => node.role == *role,
        (By::Membership(membership), Object::Node(node)) => node
            .spec
            .as_ref()
            .is_some_and(|spec| spec.membership == *membership),
        (By::Kind(kind), Object::Resource(resource)) => resource.kind == *kind,
        _ => false,
    }
}

/// The object as the message holds it.
pub fn message_object(object: &Object) -> MessageObject {
    let inner = match object {
        Object::Node(node) => Inner::Node((**node).clone()),
        Object::Service(service) => Inner::Service((**service).clone()),
        Object::Network(network) => Inner::Network((**network).clone()),
        Object::Task(task) => Inner::Task((**task).clone()),
        Object::Cluster(cluster) => Inner::Cluster((**cluster).clone()),
        Object::Secret(secret) => Inner::Secret((**secret).clone()),
        Object::Resource(resource) => Inner::Resource((**resource).clone()),
        Object::Extension(extension) => Inner::Extension((**extension).clone()),
        Object::Config(config) => Inner::Config((**config).clone()),
        Object::Volume(volume) => Inner::Volume((**volume).clone()),
    };
    MessageObject {
        object: Some(inner),
    }
}
