//! Tasks, the one kind of object of which a swarm holds hundreds of thousands, written by hand: what
//! many tasks mention alike ([`Text`], [`Shared`]) they hold together. Names, numbers and bytes are
//! those of `objects.proto` and `types.proto`, as a generated message would have them.

use prost::bytes::{Buf, BufMut};
use prost::encoding::{self, DecodeContext, WireType, check_wire_type, decode_varint, encode_key};
use prost::{DecodeError, Message};
use prost_types::Timestamp;

use crate::swarmkit::{
    Annotations, ContainerStatus, Driver, Endpoint, GenericResource, Meta, NetworkAttachment,
    PortStatus, TaskSpec, TaskState, Version, VolumeAttachment,
};
use crate::{Shared, Text};

/// One container of a service, past, present or to come.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)]
pub struct Task {
    pub id: String,
    pub meta: Option<Meta>,
    pub spec: Option<Shared<TaskSpec>>,
    pub service_id: Text,
    pub slot: u64,
    pub node_id: Text,
    pub annotations: Option<Shared<Annotations>>,
    pub service_annotations: Option<Shared<Annotations>>,
    pub status: Option<TaskStatus>,
    pub desired_state: i32,
    pub networks: Vec<NetworkAttachment>,
    pub endpoint: Option<Shared<Endpoint>>,
    pub log_driver: Option<Shared<Driver>>,
    pub spec_version: Option<Version>,
    pub assigned_generic_resources: Vec<GenericResource>,
    pub job_iteration: Option<Version>,
    pub volumes: Vec<VolumeAttachment>,
}

/// How far a task is, and what came of it.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)]
pub struct TaskStatus {
    pub timestamp: Option<Timestamp>,
    pub state: i32,
    pub message: Text,
    pub err: Text,
    pub runtime_status: Option<task_status::RuntimeStatus>,
    pub port_status: Option<Box<PortStatus>>,
    pub applied_by: Text,
    pub applied_at: Option<Timestamp>,
}

/// What belongs to [`TaskStatus`].
pub mod task_status {
    use crate::swarmkit::ContainerStatus;

    /// What a task's runtime tells.
    #[derive(Debug, Clone, PartialEq)]
    pub enum RuntimeStatus {
        /// Of a container.
        Container(ContainerStatus),
    }
}

use task_status::RuntimeStatus;

impl Task {
    /// The desired state; NEW where the number is not known.
    pub fn desired_state(&self) -> TaskState {
        TaskState::try_from(self.desired_state).unwrap_or_default()
    }

    /// Sets the desired state.
    pub fn set_desired_state(&mut self, state: TaskState) {
        self.desired_state = state as i32;
    }
}

impl TaskStatus {
    /// The state; NEW where the number is not known.
    pub fn state(&self) -> TaskState {
        TaskState::try_from(self.state).unwrap_or_default()
    }

    /// Sets the state.
    pub fn set_state(&mut self, state: TaskState) {
        self.state = state as i32;
    }
}

/// A field on the wire; one that holds its type's default is not there.
trait Field {
    fn encode(&self, tag: u32, buf: &mut impl BufMut);
    fn encoded_len(&self, tag: u32) -> usize;
    fn merge(
        &mut self,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError>;
}

macro_rules! message {
    ($name:ident { $($tag:literal $field:ident,)* }) => {
        impl Message for $name {
            fn encode_raw(&self, buf: &mut impl BufMut) {
                $(Field::encode(&self.$field, $tag, buf);)*
            }

            fn encoded_len(&self) -> usize {
                0 $(+ Field::encoded_len(&self.$field, $tag))*
            }

            fn merge_field(
                &mut self,
                tag: u32,
                wire_type: WireType,
                buf: &mut impl Buf,
                ctx: DecodeContext,
            ) -> Result<(), DecodeError> {
                match tag {
                    $($tag => Field::merge(&mut self.$field, wire_type, buf, ctx).map_err(|mut error| {
                        error.push(stringify!($name), stringify!($field));
                        error
                    }),)*
                    _ => encoding::skip_field(wire_type, tag, buf, ctx),
                }
            }

            fn clear(&mut self) {
                *self = Self::default();
            }
        }

        #[cfg(test)]
        impl $name {
            /// Number, name and Rust type of each field.
            fn fields() -> Vec<(u32, &'static str, &'static str)> {
                let Self { $($field,)* } = Self::default();
                vec![$(($tag, stringify!($field), std::any::type_name_of_val(&$field)),)*]
            }
        }
    };
}

message! {
    Task {
        1 id,
        2 meta,
        3 spec,
        4 service_id,
        5 slot,
        6 node_id,
        7 annotations,
        8 service_annotations,
        9 status,
        10 desired_state,
        11 networks,
        12 endpoint,
        13 log_driver,
        14 spec_version,
        15 assigned_generic_resources,
        16 job_iteration,
        17 volumes,
    }
}

message! {
    TaskStatus {
        1 timestamp,
        2 state,
        3 message,
        4 err,
        5 runtime_status,
        6 port_status,
        7 applied_by,
        8 applied_at,
    }
}

macro_rules! scalar {
    ($type:ty, $codec:ident, $is_default:expr) => {
        impl Field for $type {
            fn encode(&self, tag: u32, buf: &mut impl BufMut) {
                if !$is_default(self) {
                    encoding::$codec::encode(tag, self, buf);
                }
            }

            fn encoded_len(&self, tag: u32) -> usize {
                if $is_default(self) {
                    return 0;
                }
                encoding::$codec::encoded_len(tag, self)
            }

            fn merge(
                &mut self,
                wire_type: WireType,
                buf: &mut impl Buf,
                ctx: DecodeContext,
            ) -> Result<(), DecodeError> {
                encoding::$codec::merge(wire_type, self, buf, ctx)
            }
        }
    };
}

scalar! { String, string, String::is_empty }
scalar! { u64, uint64, |number: &u64| *number == 0 }
scalar! { i32, int32, |number: &i32| *number == 0 }

impl<M: Message + Default> Field for Option<M> {
    fn encode(&self, tag: u32, buf: &mut impl BufMut) {
        if let Some(message) = self {
            encoding::message::encode(tag, message, buf);
        }
    }

    fn encoded_len(&self, tag: u32) -> usize {
        self.as_ref()
            .map_or(0, |message| encoding::message::encoded_len(tag, message))
    }

    fn merge(
        &mut self,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        encoding::message::merge(wire_type, self.get_or_insert_default(), buf, ctx)
    }
}

impl<M: Message + Default> Field for Vec<M> {
    fn encode(&self, tag: u32, buf: &mut impl BufMut) {
        encoding::message::encode_repeated(tag, self, buf);
    }

    fn encoded_len(&self, tag: u32) -> usize {
        encoding::message::encoded_len_repeated(tag, self)
    }

    fn merge(
        &mut self,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        encoding::message::merge_repeated(wire_type, self, buf, ctx)
    }
}

impl Field for Option<RuntimeStatus> {
    fn encode(&self, tag: u32, buf: &mut impl BufMut) {
        if let Some(RuntimeStatus::Container(status)) = self {
            encoding::message::encode(tag, status, buf);
        }
    }

    fn encoded_len(&self, tag: u32) -> usize {
        self.as_ref().map_or(0, |RuntimeStatus::Container(status)| {
            encoding::message::encoded_len(tag, status)
        })
    }

    fn merge(
        &mut self,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        let RuntimeStatus::Container(status) =
            self.get_or_insert_with(|| RuntimeStatus::Container(ContainerStatus::default()));
        encoding::message::merge(wire_type, status, buf, ctx)
    }
}

impl Field for Text {
    fn encode(&self, tag: u32, buf: &mut impl BufMut) {
        if !self.is_empty() {
            encode_key(tag, WireType::LengthDelimited, buf);
            encoding::encode_varint(self.len() as u64, buf);
            buf.put_slice(self.as_bytes());
        }
    }

    fn encoded_len(&self, tag: u32) -> usize {
        if self.is_empty() {
            return 0;
        }
        encoding::key_len(tag) + encoding::encoded_len_varint(self.len() as u64) + self.len()
    }

    fn merge(
        &mut self,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        // In one piece as a rule: then the bytes are copied once.
        let whole = |chunk: &[u8]| {
            let mut rest = chunk;
            let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let text = str::from_utf8(rest.get(..length)?).ok()?;
            Some((Text::from(text), chunk.len() - rest.len() + length))
        };
        if check_wire_type(WireType::LengthDelimited, wire_type).is_ok()
            && let Some((text, read)) = whole(buf.chunk())
        {
            buf.advance(read);
            *self = text;
            return Ok(());
        }
        let mut text = String::new();
        encoding::string::merge(wire_type, &mut text, buf, ctx)?;
        *self = text.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
