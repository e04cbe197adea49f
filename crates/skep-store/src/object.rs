//! The ten kinds of object that the store holds, and what tables need to know of each.

use std::fmt;
use std::sync::Arc;

use prost_types::Timestamp;
use skep_objects::Text;
use skep_objects::swarmkit::{
    Annotations, Cluster, Config, Extension, Meta, Network, Node, Resource, Secret, Service, Task,
    Version, Volume,
};

use crate::index::KeyRef;
use crate::table::{Table, Tables};

/// An object's id, shared between the tables that mention it.
pub(crate) type Id = Text;

/// A message that has a table of its own. Implemented for SwarmKit's ten objects and nothing else.
pub trait StoreObject:
    prost::Message + Default + Clone + PartialEq + sealed::Stored + 'static
{
    /// Which table it lives in.
    const KIND: Kind;

    /// The object's id.
    fn id(&self) -> &str;

    /// The name users gave it; for a node the host name of its description.
    fn name(&self) -> &str;

    /// Version and times as the store set them.
    fn meta(&self) -> Option<&Meta>;

    /// The shared form, whatever the kind.
    fn into_object(self: Arc<Self>) -> Object;

    /// Index of the transaction that wrote this version of the object; 0 before any.
    fn version(&self) -> u64 {
        let version = self.meta().and_then(|meta| meta.version);
        version.map_or(0, |version| version.index)
    }

    /// When the object was created.
    fn created_at(&self) -> Option<Timestamp> {
        self.meta().and_then(|meta| meta.created_at)
    }
}

pub(crate) mod sealed {
    use super::{KeyRef, Meta, Table, Tables};
    use crate::places::Place;

    /// What only this crate may ask of an object.
    pub trait Stored: Sized + Send + Sync {
        /// Whether two objects of this kind may not share a name.
        const UNIQUE_NAME: bool;
        fn set_meta(&mut self, meta: Meta);
        fn index_keys<'a>(&'a self, keys: &mut Vec<KeyRef<'a>>);
        fn share(&mut self, tables: &Tables);
        fn place(&self) -> Option<Place<'_>>;
        fn needs_extension(&self) -> Option<&str>;
        fn table(tables: &Tables) -> &Table<Self>;
        fn table_mut(tables: &mut Tables) -> &mut Table<Self>;
    }
}

macro_rules! objects {
    ($($type:ident, $table:ident, $unique:literal, $name:expr;)*) => {
        /// The kinds of object, in the order in which SwarmKit's protocol lists them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = concat!("[`", stringify!($type), "`]")] $type,)*
        }

        impl Kind {
            /// Every kind there is.
            pub const ALL: &[Kind] = &[$(Kind::$type,)*];
        }

        impl fmt::Display for Kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Kind::$type => {
                        const NAME: &str = stringify!($table);
                        NAME.split_at(NAME.len() - 1).0
                    })*
                })
            }
        }

        /// One object of any kind, shared with the tables.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Object {
            $(#[doc = concat!("A [`", stringify!($type), "`](skep_objects::swarmkit::", stringify!($type), ").")] $type(Arc<$type>),)*
        }

        impl Object {
            /// Which kind of object it is.
            pub fn kind(&self) -> Kind {
                match self { $(Object::$type(_) => Kind::$type,)* }
            }

            /// The object's id.
            pub fn id(&self) -> &str {
                match self { $(Object::$type(object) => &object.id,)* }
            }

            /// The object's name; see [`StoreObject::name`].
            pub fn name(&self) -> &str {
                match self { $(Object::$type(object) => object.name(),)* }
            }

            /// Version and times as the store set them.
            pub fn meta(&self) -> Option<&Meta> {
                match self { $(Object::$type(object) => object.meta.as_ref(),)* }
            }

            /// Puts the object into its table, over an older version of itself.
            pub(crate) fn insert_into(&self, tables: &mut Tables) {
                match self { $(Object::$type(object) => tables.$table.insert(object.clone()),)* }
            }

            /// The version of the object that the tables hold.
            pub(crate) fn stored_in(&self, tables: &Tables) -> Option<Object> {
                match self { $(Object::$type(object) => {
                    tables.$table.get(&object.id).cloned().map(Object::$type)
                })* }
            }

            /// Takes the object of this id out of its table.
            pub(crate) fn remove_from(&self, tables: &mut Tables) {
                match self { $(Object::$type(object) => { tables.$table.remove(&object.id); })* }
            }
        }

        $(
            impl StoreObject for $type {
                const KIND: Kind = Kind::$type;
                fn id(&self) -> &str { &self.id }
                fn name(&self) -> &str {
                    let name: fn(&$type) -> Option<&str> = $name;
                    name(self).unwrap_or_default()
                }
                fn meta(&self) -> Option<&Meta> { self.meta.as_ref() }
                fn into_object(self: Arc<Self>) -> Object { Object::$type(self) }
            }

            impl sealed::Stored for $type {
                const UNIQUE_NAME: bool = $unique;
                fn set_meta(&mut self, meta: Meta) { self.meta = Some(meta); }
                fn index_keys<'a>(&'a self, keys: &mut Vec<KeyRef<'a>>) {
                    crate::index::Indexed::keys(self, keys);
                }
                fn place(&self) -> Option<crate::places::Place<'_>> {
                    crate::index::Indexed::place(self)
                }
                fn share(&mut self, tables: &Tables) {
                    crate::share::Share::share(self, tables);
                }
                fn needs_extension(&self) -> Option<&str> {
                    crate::index::Indexed::needs_extension(self)
                }
                fn table(tables: &Tables) -> &Table<Self> { &tables.$table }
                fn table_mut(tables: &mut Tables) -> &mut Table<Self> { &mut tables.$table }
            }

            impl From<Arc<$type>> for Object {
                fn from(object: Arc<$type>) -> Self { Object::$type(object) }
            }
        )*
    };
}

objects! {
    Node, nodes, false, |node| node.description.as_ref().map(|about| about.hostname.as_str());
    Service, services, true, |service| named(service.spec.as_ref()?.annotations.as_ref());
    Network, networks, true, |network| named(network.spec.as_ref()?.annotations.as_ref());
    Task, tasks, false, |task| named(task.annotations.as_deref());
    Cluster, clusters, true, |cluster| named(cluster.spec.as_ref()?.annotations.as_ref());
    Secret, secrets, true, |secret| named(secret.spec.as_ref()?.annotations.as_ref());
    Resource, resources, true, |resource| named(resource.annotations.as_ref());
    Extension, extensions, true, |extension| named(extension.annotations.as_ref());
    Config, configs, true, |config| named(config.spec.as_ref()?.annotations.as_ref());
    Volume, volumes, true, |volume| named(volume.spec.as_ref()?.annotations.as_ref());
}

fn named(annotations: Option<&Annotations>) -> Option<&str> {
    annotations.map(|annotations| annotations.name.as_str())
}

/// Meta of an object written by a transaction of `version` at `now`.
pub(crate) fn stamp(created_at: Option<Timestamp>, version: u64, now: Timestamp) -> Meta {
    Meta {
        version: Some(Version { index: version }),
        created_at: Some(created_at.unwrap_or(now)),
        updated_at: Some(now),
    }
}
