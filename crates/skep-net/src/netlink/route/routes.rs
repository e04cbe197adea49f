//! Routes and policy rules.

use std::net::{IpAddr, Ipv6Addr};

use super::{RouteSocket, family};
use crate::addr::Cidr;
use crate::netlink::wire::{Message, flag};
use crate::netlink::{NetlinkError, Reply};

const NEWROUTE: u16 = 24;
const DELROUTE: u16 = 25;
const GETROUTE: u16 = 26;
const NEWRULE: u16 = 32;
const DELRULE: u16 = 33;
// RTA_*
const DST: u16 = 1;
const OIF: u16 = 4;
const GATEWAY: u16 = 5;
const METRIC: u16 = 6;
const TABLE: u16 = 15;
// FRA_*
const RULE_PRIORITY: u16 = 6;
const RULE_MARK: u16 = 10;
const RULE_TABLE: u16 = 15;
const RULE_MASK: u16 = 16;

const TABLE_MAIN: u32 = 254;
const PROTO_STATIC: u8 = 4;
const SCOPE_LINK: u8 = 253;
const TYPE_UNICAST: u8 = 1;
const TYPE_LOCAL: u8 = 2;
const TABLE_LOCAL: u32 = 255;

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to; `None` is the default route of the gateway's family.
    pub to: Option<Cidr>,
    /// Next hop; `None` is on the link.
    pub gateway: Option<IpAddr>,
    /// Link.
    pub index: u32,
    /// Table; 0 is the main one.
    pub table: u32,
    /// Metric; 0 is the kernel's default.
    pub metric: u32,
    /// Whether it is an IPv4 route.
    pub v4: bool,
    /// Whether the destination is this host.
    pub local: bool,
}

impl Route {
    /// `::1` is this host also for packets that come in by this link, once translated: what
    /// `route_localnet` is in IPv4. Packets that come with it are dropped before any translation.
    pub fn loopback_v6_at(index: u32) -> Route {
        Route {
            to: Some(Cidr::host(IpAddr::V6(Ipv6Addr::LOCALHOST))),
            gateway: None,
            index,
            table: TABLE_LOCAL,
            // The loopback's own comes first.
            metric: 1024,
            v4: false,
            local: true,
        }
    }

    /// The default route over a gateway.
    pub fn default_via(gateway: IpAddr, index: u32) -> Route {
        let v4 = gateway.is_ipv4();
        Route {
            to: None,
            gateway: Some(gateway),
            index,
            table: 0,
            metric: 0,
            v4,
            local: false,
        }
    }

    /// The default route by a link without a gateway.
    pub fn default_by(index: u32, v4: bool) -> Route {
        Route {
            to: None,
            gateway: None,
            index,
            table: 0,
            metric: 0,
            v4,
            local: false,
        }
    }

    fn message(&self, kind: u16, flags: u16) -> Message {
        let prefix = self.to.map_or(0, |c| c.prefix);
        let scope = if self.gateway.is_some() || !self.v4 {
            0
        } else {
            SCOPE_LINK
        };
        let fixed = [
            family(self.v4),
            prefix,
            0,
            0,
            0,
            PROTO_STATIC,
            scope,
            if self.local { TYPE_LOCAL } else { TYPE_UNICAST },
            0,
            0,
            0,
            0,
        ];
        let mut m = Message::new(kind, flags).fixed(&fixed);
        if let Some(to) = self.to {
            m.put_ip(DST, to.network().addr);
        }
        if let Some(gateway) = self.gateway {
            m.put_ip(GATEWAY, gateway);
        }
        if self.index != 0 {
            m.put_u32(OIF, self.index);
        }
        m.put_u32(
            TABLE,
            if self.table == 0 {
                TABLE_MAIN
            } else {
                self.table
            },
        );
        if self.metric != 0 {
            m.put_u32(METRIC, self.metric);
        }
        m
    }
}

/// A policy rule: packets with this mark look into this table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Order.
    pub priority: u32,
    /// The mark.
    pub mark: u32,
    /// Which of its bits count.
    pub mask: u32,
    /// The table.
    pub table: u32,
    /// Whether it is for IPv4.
    pub v4: bool,
}

impl Rule {
    fn message(&self, kind: u16, flags: u16) -> Message {
        let fixed = [family(self.v4), 0, 0, 0, 0, 0, 0, TYPE_UNICAST, 0, 0, 0, 0];
        let mut m = Message::new(kind, flags).fixed(&fixed);
        m.put_u32(RULE_PRIORITY, self.priority);
        m.put_u32(RULE_MARK, self.mark);
        m.put_u32(RULE_MASK, self.mask);
        m.put_u32(RULE_TABLE, self.table);
        m
    }
}

impl RouteSocket {
    /// Sets a route, replacing one to the same destination.
    pub fn set_route(&mut self, route: &Route) -> Result<(), NetlinkError> {
        self.request(route.message(NEWROUTE, flag::CREATE | flag::REPLACE))
    }

    /// Removes a route; one that is not there is no error.
    pub fn delete_route(&mut self, route: &Route) -> Result<(), NetlinkError> {
        match self.request(route.message(DELROUTE, 0)) {
            Err(e) if e.missing() => Ok(()),
            other => other,
        }
    }

    /// The unicast routes of all tables, both families.
    pub fn routes(&mut self) -> Result<Vec<Route>, NetlinkError> {
        let mut out = Vec::new();
        for v4 in [true, false] {
            let fixed = [family(v4), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let replies = self.socket.dump(Message::new(GETROUTE, 0).fixed(&fixed))?;
            out.extend(replies.iter().filter_map(parse));
        }
        Ok(out)
    }

    /// Adds a policy rule; one that is there is no error.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<(), NetlinkError> {
        match self.request(rule.message(NEWRULE, flag::CREATE | flag::EXCL)) {
            Err(e) if e.exists() => Ok(()),
            other => other,
        }
    }

    /// Removes a policy rule; one that is not there is no error.
    pub fn delete_rule(&mut self, rule: &Rule) -> Result<(), NetlinkError> {
        match self.request(rule.message(DELRULE, 0)) {
            Err(e) if e.missing() => Ok(()),
            other => other,
        }
    }
}

pub(super) fn parse(reply: &Reply) -> Option<Route> {
    if reply.u8_at(7)? != TYPE_UNICAST {
        return None;
    }
    let prefix = reply.u8_at(1)?;
    let v4 = reply.u8_at(0)? == super::FAMILY_V4;
    let attrs = reply.attrs(12);
    let table = attrs.find(TABLE).and_then(|a| a.u32()).unwrap_or(0);
    Some(Route {
        to: attrs
            .find(DST)
            .and_then(|a| a.ip())
            .map(|ip| Cidr::new(ip, prefix)),
        gateway: attrs.find(GATEWAY).and_then(|a| a.ip()),
        index: attrs.find(OIF).and_then(|a| a.u32()).unwrap_or(0),
        table: if table == TABLE_MAIN { 0 } else { table },
        metric: attrs.find(METRIC).and_then(|a| a.u32()).unwrap_or(0),
        v4,
        local: false,
    })
}
