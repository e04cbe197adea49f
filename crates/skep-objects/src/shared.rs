//! A part of a message that many objects hold alike.
//!
//! A hundred thousand tasks run a few hundred specs: each task points at its spec instead of owning
//! a copy. On the wire and on the disk a shared part is the part itself: `shared.proto` names the
//! same message a second time, and `build.rs` makes that name this type.
//!
//! Invariant: nobody sees that a part is shared. Writing to one that others hold too makes a copy
//! first.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use prost::Message;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType};

/// A message behind a count of those who hold it; reads and writes as the message does.
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// Holds a message, for one as yet.
    pub fn new(message: T) -> Self {
        Shared(Arc::new(message))
    }

    /// Whether both are the same piece of memory.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The message, copied only if others hold it too.
    pub fn into_inner(self) -> T
    where
        T: Clone,
    {
        Arc::unwrap_or_clone(self.0)
    }
}

impl<T: PartialEq> Shared<T> {
    /// Holds the other's message in place of an equal one of its own. Whether the two are one now.
    pub fn join(&mut self, other: &Self) -> bool {
        if self.is_same(other) {
            return true;
        }
        let equal = self.0 == other.0;
        if equal {
            self.0 = other.0.clone();
        }
        equal
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared(self.0.clone())
    }
}

impl<T: Default> Default for Shared<T> {
    fn default() -> Self {
        Shared::new(T::default())
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.0 == other.0
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: PartialEq> PartialEq<T> for Shared<T> {
    fn eq(&self, other: &T) -> bool {
        *self.0 == *other
    }
}

impl<T: Hash> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> From<T> for Shared<T> {
    fn from(message: T) -> Self {
        Shared::new(message)
    }
}

impl<T> From<&Arc<T>> for Shared<T> {
    fn from(message: &Arc<T>) -> Self {
        Shared(message.clone())
    }
}

impl<T: Message + Clone + Default> Message for Shared<T> {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        self.0.encode_raw(buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        Arc::make_mut(&mut self.0).merge_field(tag, wire_type, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        self.0.encoded_len()
    }

    fn clear(&mut self) {
        *self = Shared::default();
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::Shared;
    use crate::swarmkit::{ContainerSpec, Driver, Task, TaskSpec, task_spec::Runtime};

    fn spec(image: &str) -> TaskSpec {
        TaskSpec {
            runtime: Some(Runtime::Container(ContainerSpec {
                image: image.into(),
                ..Default::default()
            })),
            ..Default::default()
        }
    }

    #[test]
    fn a_shared_part_has_the_bytes_of_the_part() {
        let task = Task {
            spec: Some(spec("nginx").into()),
            ..Default::default()
        };
        let bytes = task.encode_to_vec();
        let mut by_hand = Vec::new();
        prost::encoding::message::encode(3, &spec("nginx"), &mut by_hand);
        assert_eq!(bytes, by_hand);
        assert_eq!(Task::decode(&bytes[..]).ok(), Some(task));
    }

    #[test]
    fn equal_parts_join_and_a_write_parts_them() {
        let mut one = Shared::new(spec("nginx"));
        let mut other = Shared::new(spec("nginx"));
        assert!(!one.is_same(&other));
        assert!(other.join(&one));
        assert!(other.is_same(&one));
        one.log_driver = Some(Driver::default());
        assert!(!other.is_same(&one));
        assert_eq!(*other, spec("nginx"));
        assert!(!other.join(&one));
    }
}
