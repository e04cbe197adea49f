//! The routing mesh: a published port answers on every node and shows the client's own address.
//!
//! The host translates a connection's destination to a task's address on the ingress network, and
//! leaves its source alone. The packet reaches the task from the ingress interface of the node that
//! the client chose, whose hardware address ends in that node's ingress address. The task's
//! namespace remembers it as the connection's mark, and sends answers to that hardware address
//! again: no node needs to know of connections through another.
//!
//! ```text
//! client -> node 1 [dnat 10.0.0.21:80] -> ing (02:42:0a:00:00:02) -> vxlan -> task on node 2
//!                                                  ct mark := 0a000002
//! client <- node 1 [un-dnat] <- ing <- vxlan <- [dst MAC := 02:42:mark] <- task
//! ```

mod device;
mod ops;
mod rules;
mod task;

pub(crate) use ops::Ingress;
pub(crate) use rules::remove_tables;
pub(crate) use task::{LAST_RESORT, TaskRules};

use crate::addr::Cidr;

/// This node's place on the ingress network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressSpec {
    /// Id of the ingress network, which was ensured as an overlay with `ingress` set.
    pub network_id: String,
    /// This node's own addresses on it (`Node.attachments`), IPv4 first: `10.0.0.2/24`.
    pub node_addresses: Vec<Cidr>,
}
