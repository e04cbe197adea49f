//! What the store holds at one moment, for reading.

use std::sync::Arc;

use skep_objects::swarmkit::{
    Cluster, Config, Extension, Network, Node, NodeRole, Resource, Secret, Service, Task, Volume,
    node_spec,
};

use crate::event::{self, Event};
use crate::index::{Key, custom_key, folded};
use crate::object::{Kind, StoreObject};
use crate::table::Tables;

/// An immutable snapshot of the store. Taking and cloning one costs a reference count; it stays as
/// it is whatever happens to the store, so nothing that reads it needs a lock.
///
/// Objects come in the order of their ids.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub(crate) tables: Arc<Tables>,
    pub(crate) version: u64,
}

macro_rules! reads {
    ($($type:ident: $get:ident $all:ident $by_prefix:ident, $a:literal;)*) => {$(
        #[doc = concat!("The ", $a, " of this id.")]
        pub fn $get(&self, id: &str) -> Option<&Arc<$type>> {
            self.get::<$type>(id)
        }

        #[doc = concat!("Every ", $a, ".")]
        pub fn $all(&self) -> impl Iterator<Item = &Arc<$type>> {
            self.all::<$type>()
        }

        #[doc = concat!("Every ", $a, " whose id starts like this.")]
        pub fn $by_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<$type>> {
            self.by_id_prefix::<$type>(prefix)
        }
    )*};
}

macro_rules! reads_by_name {
    ($($type:ident: $by_name:ident, $a:literal;)*) => {$(
        #[doc = concat!("The ", $a, " of this name; case does not matter.")]
        pub fn $by_name(&self, name: &str) -> Option<&Arc<$type>> {
            self.by_name::<$type>(name).next()
        }
    )*};
}

impl View {
    /// Index of the last write in it; grows with each.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The object of this kind and id.
    pub fn get<T: StoreObject>(&self, id: &str) -> Option<&Arc<T>> {
        T::table(&self.tables).get(id)
    }

    /// Every object of a kind.
    pub fn all<T: StoreObject>(&self) -> impl Iterator<Item = &Arc<T>> {
        T::table(&self.tables).iter()
    }

    /// How many objects of a kind there are.
    pub fn count<T: StoreObject>(&self) -> usize {
        T::table(&self.tables).len()
    }

    /// How many objects of each kind there are.
    pub fn counts(&self) -> [(Kind, usize); Kind::ALL.len()] {
        [
            (Kind::Node, self.count::<Node>()),
            (Kind::Service, self.count::<Service>()),
            (Kind::Network, self.count::<Network>()),
            (Kind::Task, self.count::<Task>()),
            (Kind::Cluster, self.count::<Cluster>()),
            (Kind::Secret, self.count::<Secret>()),
            (Kind::Resource, self.count::<Resource>()),
            (Kind::Extension, self.count::<Extension>()),
            (Kind::Config, self.count::<Config>()),
            (Kind::Volume, self.count::<Volume>()),
        ]
    }

    /// Every object of a kind whose id starts like this.
    pub fn by_id_prefix<'a, T: StoreObject>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<T>> {
        T::table(&self.tables).by_id_prefix(prefix)
    }

    /// Every object of a kind and name; only nodes can share one. Case does not matter. Tasks have
    /// no index of names: theirs end in their id.
    pub fn by_name<'a, T: StoreObject>(
        &'a self,
        name: &str,
    ) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        T::table(&self.tables).by_key(&Key::Name(folded(name)))
    }

    /// Every object of a kind whose name starts like this; case does not matter.
    pub fn by_name_prefix<'a, T: StoreObject>(
        &'a self,
        prefix: &str,
    ) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let prefix = folded(prefix).into_owned();
        let from = Key::Name(prefix.clone().into());
        T::table(&self.tables).starting_at_while(
            &from,
            move |key| matches!(key, Key::Name(n) if n.starts_with(&prefix)),
        )
    }

    /// Every object of a kind whose annotations have this index entry. For a [`Resource`] the key
    /// is `<kind>|<key>`.
    pub fn by_custom_index<'a, T: StoreObject>(
        &'a self,
        key: &str,
        value: &str,
    ) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        T::table(&self.tables).by_key(&Key::Custom(custom_key(key, value).into()))
    }

    /// What changed from this view to a later one, in no particular order between kinds.
    pub fn changes_to(&self, later: &View) -> Vec<Event> {
        event::difference(&self.tables, &later.tables)
    }

    reads! {
        Node: node nodes nodes_by_id_prefix, "node";
        Service: service services services_by_id_prefix, "service";
        Network: network networks networks_by_id_prefix, "network";
        Task: task tasks tasks_by_id_prefix, "task";
        Cluster: cluster clusters clusters_by_id_prefix, "cluster";
        Secret: secret secrets secrets_by_id_prefix, "secret";
        Resource: resource resources resources_by_id_prefix, "resource";
        Extension: extension extensions extensions_by_id_prefix, "extension";
        Config: config configs configs_by_id_prefix, "config";
        Volume: volume volumes volumes_by_id_prefix, "volume";
    }

    reads_by_name! {
        Service: service_by_name, "service";
        Network: network_by_name, "network";
        Cluster: cluster_by_name, "cluster";
        Secret: secret_by_name, "secret";
        Resource: resource_by_name, "resource";
        Extension: extension_by_name, "extension";
        Config: config_by_name, "config";
        Volume: volume_by_name, "volume";
    }

    /// The cluster object, of which there is at most one.
    pub fn the_cluster(&self) -> Option<&Arc<Cluster>> {
        self.clusters().next()
    }

    /// Nodes of this host name.
    pub fn nodes_by_name<'a>(
        &'a self,
        name: &str,
    ) -> impl Iterator<Item = &'a Arc<Node>> + use<'a> {
        self.by_name::<Node>(name)
    }

    /// Nodes of this role in fact (not in desire).
    pub fn nodes_by_role(&self, role: NodeRole) -> impl Iterator<Item = &Arc<Node>> {
        self.tables.nodes.by_key(&Key::Role(role as i32))
    }

    /// Nodes that wait for, or have, their place in the cluster.
    pub fn nodes_by_membership(
        &self,
        membership: node_spec::Membership,
    ) -> impl Iterator<Item = &Arc<Node>> {
        self.tables
            .nodes
            .by_key(&Key::Membership(membership as i32))
    }

    /// Tasks of a service, by slot.
    pub fn tasks_by_service<'a>(
        &'a self,
        service: &str,
    ) -> impl Iterator<Item = &'a Arc<Task>> + use<'a> {
        self.tables.tasks.by_service(service)
    }

    /// Tasks in one slot of a service: the live one and its history.
    pub fn tasks_by_slot<'a>(
        &'a self,
        service: &str,
        slot: u64,
    ) -> impl Iterator<Item = &'a Arc<Task>> + use<'a> {
        self.tables.tasks.by_slot(service, slot)
    }

    /// Tasks assigned to a node.
    pub fn tasks_by_node<'a>(
        &'a self,
        node: &str,
    ) -> impl Iterator<Item = &'a Arc<Task>> + use<'a> {
        self.tables.tasks.by_node(node)
    }

    /// Services whose spec refers to a network.
    pub fn services_by_network<'a>(
        &'a self,
        network: &str,
    ) -> impl Iterator<Item = &'a Arc<Service>> + use<'a> {
        self.tables.services.by_key(&Key::Network(network.into()))
    }

    /// Services whose spec refers to a secret.
    pub fn services_by_secret<'a>(
        &'a self,
        secret: &str,
    ) -> impl Iterator<Item = &'a Arc<Service>> + use<'a> {
        self.tables.services.by_key(&Key::Secret(secret.into()))
    }

    /// Services whose spec refers to a config.
    pub fn services_by_config<'a>(
        &'a self,
        config: &str,
    ) -> impl Iterator<Item = &'a Arc<Service>> + use<'a> {
        self.tables.services.by_key(&Key::Config(config.into()))
    }

    /// Services that run no container: `attachment`, or the lower-cased kind of a generic runtime.
    pub fn services_by_runtime<'a>(
        &'a self,
        runtime: &str,
    ) -> impl Iterator<Item = &'a Arc<Service>> + use<'a> {
        self.tables.services.by_key(&Key::Kind(folded(runtime)))
    }

    /// Resources of a kind (the name of an extension).
    pub fn resources_by_kind<'a>(
        &'a self,
        kind: &str,
    ) -> impl Iterator<Item = &'a Arc<Resource>> + use<'a> {
        self.tables.resources.by_key(&Key::Kind(folded(kind)))
    }

    /// Cluster volumes of a group.
    pub fn volumes_by_group<'a>(
        &'a self,
        group: &str,
    ) -> impl Iterator<Item = &'a Arc<Volume>> + use<'a> {
        self.tables.volumes.by_key(&Key::Group(group.into()))
    }
}
