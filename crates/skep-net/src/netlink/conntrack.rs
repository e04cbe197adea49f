//! Connection tracking: forgetting connections whose backend is gone.

use std::net::IpAddr;

use super::NetlinkError;
use super::nft::NftSocket;
use super::wire::{Attr, Message, Reply};

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
// CTA_*
const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
/// `IPS_SEEN_REPLY`.
const SEEN_REPLY: u32 = 1 << 1;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;

/// A tracked connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Transport protocol.
    pub protocol: u8,
    /// Who opened it.
    pub source: IpAddr,
    /// Whom it was opened to, before translation.
    pub destination: IpAddr,
    /// The port it was opened to, before translation.
    pub destination_port: u16,
    /// Who answers: the backend.
    pub reply_source: IpAddr,
    /// Whom is answered: who opened it, before or after translation.
    pub reply_destination: IpAddr,
    /// Whether it ever answered.
    pub answered: bool,
    /// The original tuple as the kernel wrote it, which names the connection.
    tuple: Vec<u8>,
    v4: bool,
}

/// UDP's protocol number.
pub const UDP: u8 = 17;

fn family(v4: bool) -> u8 {
    if v4 { 2 } else { 10 }
}

impl NftSocket {
    /// How many connections are tracked in the namespace.
    pub fn flow_count(&mut self) -> Result<u32, NetlinkError> {
        const GET_STATS: u16 = SUBSYSTEM | 5;
        const GLOBAL_ENTRIES: u16 = 1;
        let reply = self.socket.get(Message::new(GET_STATS, 0).fixed(&[0; 4]))?;
        let entries = reply.attrs(4).find(GLOBAL_ENTRIES);
        entries
            .and_then(|a| a.u32_be())
            .ok_or(NetlinkError::Malformed)
    }

    /// All tracked connections of a family.
    pub fn flows(&mut self, v4: bool) -> Result<Vec<Flow>, NetlinkError> {
        let m = Message::new(GET, 0).fixed(&[family(v4), 0, 0, 0]);
        Ok(self
            .socket
            .dump(m)?
            .iter()
            .filter_map(|r| parse(r, v4))
            .collect())
    }

    /// Forgets connections; those that ended meanwhile are no error.
    pub fn forget(&mut self, flows: &[Flow]) -> Result<(), NetlinkError> {
        let messages = flows.iter().map(|flow| {
            let mut m = Message::new(DELETE, 0).fixed(&[family(flow.v4), 0, 0, 0]);
            m.nest(TUPLE_ORIG, |m| m.raw(&flow.tuple));
            m
        });
        let mut verdicts = self.socket.many(messages.collect()).into_iter();
        let failed = |r: &Result<(), NetlinkError>| matches!(r, Err(e) if !e.missing());
        verdicts.find(failed).unwrap_or(Ok(()))
    }
}

fn addresses(tuple: &Attr<'_>) -> Option<(IpAddr, IpAddr)> {
    let mut ips = tuple
        .nested()
        .find(TUPLE_IP)?
        .nested()
        .filter_map(|a| a.ip());
    Some((ips.next()?, ips.next()?))
}

pub(super) fn parse(reply: &Reply, v4: bool) -> Option<Flow> {
    let orig = reply.attrs(4).find(TUPLE_ORIG)?;
    let back = reply.attrs(4).find(TUPLE_REPLY)?;
    let (source, destination) = addresses(&orig)?;
    let (reply_source, reply_destination) = addresses(&back)?;
    let status = reply.attrs(4).find(STATUS).and_then(|a| a.u32_be());
    let proto = orig.nested().find(TUPLE_PROTO)?;
    Some(Flow {
        protocol: proto.nested().find(1)?.u8()?,
        source,
        destination,
        destination_port: proto.nested().find(3).and_then(|a| a.u16_be()).unwrap_or(0),
        reply_source,
        reply_destination,
        answered: status.is_none_or(|bits| bits & SEEN_REPLY != 0),
        tuple: orig.value.to_vec(),
        v4,
    })
}
