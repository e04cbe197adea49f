//! A swarm of hosts on one switch, each with a daemon's network, and a table that a manager would
//! keep.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "it is only used in tests")]

use std::collections::BTreeMap;
use std::path::Path;

use skep_net::netlink::route::{LinkKind, NewLink, RouteSocket};
use skep_net::{EndpointSpec, Net, OverlaySpec, OverlaySubnet, SwarmSpec};
use skep_objects::skep_v1::{
    EndpointsMessage, NetworkEndpoints, NodeEndpoint, ServiceEndpoint, TaskEndpoint,
};

use super::support::{self, Space, open_in, up};

/// A node: its host, its daemon's network.
#[derive(Debug)]
pub struct Node {
    pub id: String,
    pub addr: String,
    pub host: Space,
    pub net: Net,
}

/// Nodes and the managers' tables. The calling thread's namespace is the switch.
#[derive(Debug)]
pub struct Swarm {
    pub nodes: Vec<Node>,
    pub tables: BTreeMap<String, NetworkEndpoints>,
}

pub fn overlay(id: &str, subnet: &str, vni: u32) -> OverlaySpec {
    OverlaySpec {
        network_id: id.into(),
        name: format!("{id}-name"),
        subnets: vec![OverlaySubnet {
            subnet: subnet.parse().unwrap(),
            vni,
        }],
        underlay_mtu: 0,
        encrypted: false,
        ingress: false,
        internal: false,
    }
}

impl Swarm {
    /// Hosts 192.0.2.1, .2, ... on the switch `sw0`, which is 192.0.2.100 itself.
    pub fn new(dir: &Path, nodes: u8) -> Swarm {
        let mut route = RouteSocket::open().unwrap();
        route
            .create_link(&NewLink::new("sw0", LinkKind::Bridge))
            .unwrap();
        let switch = route.link("sw0").unwrap().unwrap().index;
        route
            .add_address(switch, "192.0.2.100/24".parse().unwrap())
            .unwrap();
        up("sw0");
        let node = |n: u8| {
            let (host, addr) = (Space::new(), format!("192.0.2.{n}"));
            plug(&host, &format!("port{n}"), &format!("{addr}/24"), switch);
            let instance = format!("h{n}");
            let net = open_in(&host, dir, &instance);
            let id = format!("node{n}");
            net.set_swarm(Some(SwarmSpec {
                node_id: id.clone(),
                data_path_addr: addr.parse().unwrap(),
                data_path_port: 4789,
            }))
            .unwrap();
            Node {
                id,
                addr,
                host,
                net,
            }
        };
        Swarm {
            nodes: (1..=nodes).map(node).collect(),
            tables: BTreeMap::new(),
        }
    }

    /// A host beside the swarm.
    pub fn client(&self, address: &str) -> Space {
        let client = Space::new();
        let switch = RouteSocket::open()
            .unwrap()
            .link("sw0")
            .unwrap()
            .unwrap()
            .index;
        plug(&client, "portc", address, switch);
        client
    }

    pub fn ensure(&self, spec: &OverlaySpec) {
        for node in &self.nodes {
            node.net.ensure_overlay(spec).unwrap();
        }
    }

    /// A container on a node, on these networks with these addresses.
    pub fn container(&self, node: usize, id: &str, networks: &[(&str, &[&str])]) -> Space {
        let net = &self.nodes[node].net;
        let path = net.create_netns(id).unwrap();
        for (network, addresses) in networks {
            let spec = EndpointSpec {
                addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
                ..EndpointSpec::new(format!("{id}-{network}"), *network, id)
            };
            net.attach(&spec).unwrap();
        }
        Space::at(&path)
    }

    fn table(&mut self, network: &str) -> &mut NetworkEndpoints {
        let table = self.tables.entry(network.into()).or_default();
        table.network_id = network.into();
        table.complete = true;
        table
    }

    pub fn service(&mut self, network: &str, id: &str, vips: &[&str]) -> &mut ServiceEndpoint {
        let table = self.table(network);
        table.set_services.retain(|s| s.service_id != id);
        table.set_services.push(ServiceEndpoint {
            service_id: id.into(),
            name: id.into(),
            virtual_ips: vips.iter().map(|v| (*v).into()).collect(),
            ..ServiceEndpoint::default()
        });
        table.set_services.last_mut().unwrap()
    }

    pub fn task(
        &mut self,
        network: &str,
        service: &str,
        id: &str,
        node: usize,
        addresses: &[&str],
    ) -> &mut TaskEndpoint {
        let (node_id, node_addr) = (self.nodes[node].id.clone(), self.nodes[node].addr.clone());
        let table = self.table(network);
        table.set_tasks.retain(|t| t.task_id != id);
        table.set_tasks.push(TaskEndpoint {
            task_id: id.into(),
            service_id: service.into(),
            name: format!("{service}.1.{id}"),
            node_id,
            node_addr,
            addresses: addresses.iter().map(|v| (*v).into()).collect(),
            in_rotation: true,
            ..TaskEndpoint::default()
        });
        table.set_tasks.last_mut().unwrap()
    }

    pub fn remove_task(&mut self, network: &str, id: &str) {
        self.table(network).set_tasks.retain(|t| t.task_id != id);
    }

    pub fn set_rotation(&mut self, network: &str, id: &str, in_rotation: bool) {
        let tasks = self.table(network).set_tasks.iter_mut();
        tasks
            .filter(|t| t.task_id == id)
            .for_each(|t| t.in_rotation = in_rotation);
    }

    /// Puts each node on a network with an address: `prefix` and its number, from 2 on.
    pub fn node_addresses(&mut self, network: &str, prefix: &str) {
        let nodes = self.nodes.iter().enumerate().map(|(i, node)| NodeEndpoint {
            node_id: node.id.clone(),
            addresses: vec![format!("{prefix}{}", i + 2)],
            node_addr: node.addr.clone(),
            ..NodeEndpoint::default()
        });
        let nodes = nodes.collect();
        self.table(network).set_nodes = nodes;
    }

    /// Publishes the nodes' WireGuard keys on a network.
    pub fn node_keys(&mut self, network: &str) {
        let nodes = self.nodes.iter().map(|node| NodeEndpoint {
            node_id: node.id.clone(),
            node_addr: node.addr.clone(),
            wireguard_public_key: node.net.wireguard_public_key(),
            ..NodeEndpoint::default()
        });
        let nodes = nodes.collect();
        self.table(network).set_nodes = nodes;
    }

    /// Tells all nodes of one task alone, or that it is gone.
    pub fn tell_task(&self, network: &str, id: &str) {
        let tasks = self.tables[network].set_tasks.iter();
        let set_tasks: Vec<_> = tasks.filter(|t| t.task_id == id).cloned().collect();
        let removed = set_tasks.is_empty().then(|| id.to_owned());
        let change = NetworkEndpoints {
            network_id: network.into(),
            set_tasks,
            removed_tasks: removed.into_iter().collect(),
            ..NetworkEndpoints::default()
        };
        let message = EndpointsMessage {
            networks: vec![change],
            ..EndpointsMessage::default()
        };
        for node in &self.nodes {
            node.net.apply_endpoints(&message).unwrap();
        }
    }

    /// Hands the tables to all nodes.
    pub fn apply(&self) {
        let message = EndpointsMessage {
            networks: self.tables.values().cloned().collect(),
            complete: true,
            ..EndpointsMessage::default()
        };
        for node in &self.nodes {
            node.net.apply_endpoints(&message).unwrap();
        }
    }
}

fn plug(host: &Space, port: &str, address: &str, switch: u32) {
    use std::os::fd::AsFd;
    let kind = LinkKind::Veth {
        peer: "eth0".into(),
        peer_mac: None,
        peer_netns: Some(host.as_fd()),
    };
    let new = NewLink {
        master: Some(switch),
        up: true,
        ..NewLink::new(port, kind)
    };
    RouteSocket::open().unwrap().create_link(&new).unwrap();
    host.run(|| support::address("eth0", &[address]));
}
