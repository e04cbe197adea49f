//! What each kind of object can be looked up by, apart from its id.
//!
//! All indices of a table live in one ordered set of (key, id): dense in memory, and a lookup by
//! prefix is a range. Names are lower-cased: SwarmKit compares them without case everywhere.

use std::borrow::Cow;
use std::sync::Arc;

use skep_objects::swarmkit::{
    Annotations, Cluster, Config, Extension, Network, Node, Resource, ResourceType, Secret,
    Service, Task, TaskSpec, Volume, task_spec,
};

use crate::object::StoreObject;
use crate::places::Place;

/// A key in a table's index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<S> {
    /// Lower-cased name.
    Name(S),
    /// Role of a node.
    Role(i32),
    /// Membership of a node.
    Membership(i32),
    /// Network that a service refers to.
    Network(S),
    /// Secret that a service refers to.
    Secret(S),
    /// Config that a service refers to.
    Config(S),
    /// Group of a volume.
    Group(S),
    /// Kind of a resource; runtime of a service that runs no container.
    Kind(S),
    /// `key|value` of the annotations' own indices.
    Custom(S),
}

/// A key that borrows from the object.
pub type KeyRef<'a> = Key<Cow<'a, str>>;
/// A key as the index holds it.
pub(crate) type OwnedKey = Key<Arc<str>>;

impl KeyRef<'_> {
    /// The key to store.
    pub(crate) fn to_owned_key(&self) -> OwnedKey {
        let own = |text: &Cow<'_, str>| Arc::<str>::from(text.as_ref());
        match self {
            Key::Name(name) => Key::Name(own(name)),
            Key::Role(role) => Key::Role(*role),
            Key::Membership(membership) => Key::Membership(*membership),
            Key::Network(id) => Key::Network(own(id)),
            Key::Secret(id) => Key::Secret(own(id)),
            Key::Config(id) => Key::Config(own(id)),
            Key::Group(group) => Key::Group(own(group)),
            Key::Kind(kind) => Key::Kind(own(kind)),
            Key::Custom(pair) => Key::Custom(own(pair)),
        }
    }
}

/// An object's keys.
pub(crate) trait Indexed {
    fn keys<'a>(&'a self, keys: &mut Vec<KeyRef<'a>>);

    /// Where a task stands; other objects stand nowhere.
    fn place(&self) -> Option<Place<'_>> {
        None
    }

    /// Name of the extension that must exist before the object can.
    fn needs_extension(&self) -> Option<&str> {
        None
    }
}

/// The name as it is compared: without case.
pub(crate) fn folded(name: &str) -> Cow<'_, str> {
    if name.chars().any(char::is_uppercase) {
        Cow::Owned(name.to_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// A pair of the annotations' own indices, as it is stored.
pub(crate) fn custom_key(key: &str, value: &str) -> String {
    format!("{key}|{value}")
}

fn name_key<'a>(object: &'a impl StoreObject, keys: &mut Vec<KeyRef<'a>>) {
    keys.push(Key::Name(folded(object.name())));
}

fn custom_keys<'a>(
    kind: Option<&str>,
    annotations: Option<&'a Annotations>,
    keys: &mut Vec<KeyRef<'a>>,
) {
    for index in annotations
        .iter()
        .flat_map(|annotations| &annotations.indices)
    {
        let pair = custom_key(&index.key, &index.val);
        keys.push(Key::Custom(Cow::Owned(match kind {
            Some(kind) => format!("{kind}|{pair}"),
            None => pair,
        })));
    }
}

/// Networks, secrets, configs and the runtime that a service's tasks mention.
fn spec_keys<'a>(spec: &'a TaskSpec, keys: &mut Vec<KeyRef<'a>>) {
    for network in &spec.networks {
        keys.push(Key::Network(network.target.as_str().into()));
    }
    for reference in &spec.resource_references {
        let id = Cow::Borrowed(reference.resource_id.as_str());
        if reference.resource_type == ResourceType::Secret as i32 {
            keys.push(Key::Secret(id));
        } else if reference.resource_type == ResourceType::Config as i32 {
            keys.push(Key::Config(id));
        }
    }
    match &spec.runtime {
        Some(task_spec::Runtime::Container(container)) => {
            let secrets = container.secrets.iter().map(|secret| &secret.secret_id);
            keys.extend(secrets.map(|id| Key::Secret(id.as_str().into())));
            let configs = container.configs.iter().map(|config| &config.config_id);
            keys.extend(configs.map(|id| Key::Config(id.as_str().into())));
        }
        Some(task_spec::Runtime::Attachment(_)) => keys.push(Key::Kind("attachment".into())),
        Some(task_spec::Runtime::Generic(generic)) => keys.push(Key::Kind(folded(&generic.kind))),
        None => {}
    }
}

impl Indexed for Node {
    fn keys<'a>(&'a self, keys: &mut Vec<KeyRef<'a>>) {
        name_key(self, keys);
        keys.push(Key::Role(self.role));
        if let Some(spec) = &self.spec {
            keys.push(Key::Membership(spec.membership));
            custom_keys(None, spec.annotations.as_ref(), keys);
        }
    }
}

impl Indexed for Service {
    fn keys<'a>(&'a self, keys: &mut Vec<KeyRef<'a>>) {
        name_key(self, keys);
        let Some(spec) = &self.spec else { return };
        custom_keys(None, spec.annotations.as_ref(), keys);
        if let Some(task) = &spec.task {
            spec_keys(task, keys);
        }
        // Docker before API 1.44 kept a service's networks beside its task's.
        #[allow(deprecated)]
        for network in &spec.networks {
            keys.push(Key::Network(network.target.as_str().into()));
        }
    }
}

/// Each entry costs every task its place: only what somebody asks for.
impl Indexed for Task {
    fn keys<'a>(&'a self, keys: &mut Vec<KeyRef<'a>>) {
        custom_keys(None, self.annotations.as_deref(), keys);
    }

    fn place(&self) -> Option<Place<'_>> {
        Some(Place {
            service: &self.service_id,
            slot: self.slot,
            node: &self.node_id,
        })
    }
}

impl Indexed for Resource {
    fn keys<'a>(&'a self, keys: &mut Vec<KeyRef<'a>>) {
        name_key(self, keys);
        keys.push(Key::Kind(folded(&self.kind)));
        custom_keys(Some(&self.kind), self.annotations.as_ref(), keys);
    }

    fn needs_extension(&self) -> Option<&str> {
        Some(&self.kind)
    }
}

impl Indexed for Volume {
    fn keys<'a>(&'a self, keys: &mut Vec<KeyRef<'a>>) {
        name_key(self, keys);
        let Some(spec) = &self.spec else { return };
        custom_keys(None, spec.annotations.as_ref(), keys);
        keys.push(Key::Group(spec.group.as_str().into()));
    }
}

impl Indexed for Extension {
    fn keys<'a>(&'a self, keys: &mut Vec<KeyRef<'a>>) {
        name_key(self, keys);
        custom_keys(None, self.annotations.as_ref(), keys);
    }
}

/// Objects that are found by name and custom indices only.
macro_rules! by_name_only {
    ($($type:ident)*) => {$(
        impl Indexed for $type {
            fn keys<'a>(&'a self, keys: &mut Vec<KeyRef<'a>>) {
                name_key(self, keys);
                let annotations = self.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
                custom_keys(None, annotations, keys);
            }
        }
    )*};
}

by_name_only! { Network Cluster Secret Config }
