//! What all nodes reported when they were examined.

use std::collections::{BTreeMap, BTreeSet};

use skep_objects::skep_v1::{ExamineResponse, ExaminedNode, ProbeReport};
use time::{Duration, OffsetDateTime};

use super::finding::Finding;

/// Managers stop taking writes when nothing is left.
const DISK_PROBLEM: u64 = 256 << 20;
const DISK_WARNING: u64 = 2 << 30;
/// A clock that is off by more spoils logs and the order of what happened.
const CLOCK_WARNING: f64 = 2.0;
/// One that is off by more makes certificates invalid before or after their time.
const CLOCK_PROBLEM: f64 = 600.0;
/// Single ways that are told, before the rest is only counted.
const WAYS: usize = 12;

const OPEN_PORT: &str = "a firewall on the way drops these packets, or the path does: overlay \
     networks between these nodes do not work. Let the port through both ways between all nodes";
const RAISE_MTU: &str = "full packets of overlay networks are lost on that way, so connections hang \
     once they carry data. Raise the MTU of the network between the hosts, or make networks with \
     --opt com.docker.network.driver.mtu=1400 or less";

/// Everything in the reports; `name` gives a node's host name.
pub(super) fn examine(answer: &ExamineResponse, name: &dyn Fn(&str) -> String) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in &answer.nodes {
        match (&node.report, node.attends) {
            (Some(report), _) => found.extend(one(&name(&node.node_id), node, report)),
            (None, true) => found.push(Finding::problem(
                "path",
                &name(&node.node_id),
                "its agent does not answer",
                "its daemon hangs, or the way to the managers has just broken: look at its log",
            )),
            // A dockerd: what is seen of it is seen from here.
            (None, false) => {}
        }
    }
    found.extend(interfaces(answer, name));
    for port in &answer.ports {
        found.extend(Ways::of(answer, *port).findings(answer, *port, name));
    }
    found
}

/// What a node tells of itself.
fn one(name: &str, node: &ExaminedNode, report: &ProbeReport) -> Vec<Finding> {
    let mut found = vec![
        disk(name, &report.disk_path, report.disk_free_bytes),
        clock(name, report.clock_nanos - node.asked_nanos),
        managers(name, report),
    ];
    let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).ok();
    if let (Some(from), Some(until)) = (
        time(report.certificate_from),
        time(report.certificate_until),
    ) {
        found.push(certificate(name, from, until));
    }
    if report.interface.is_empty() {
        found.push(address_lost(name, &report.addr));
    }
    if let Some(first) = report.failures.first() {
        found.push(Finding::warning(
            "path",
            name,
            format!("could not send everything: {first}"),
            "see the ways from this node below; a full packet that its own interface does not take \
             means a lower MTU there than its networks need",
        ));
    }
    found
}

fn managers(name: &str, report: &ProbeReport) -> Finding {
    let lost = report.managers.iter().filter(|way| !way.error.is_empty());
    let lost: Vec<String> = lost
        .map(|way| format!("{} ({})", way.addr, way.error))
        .collect();
    if lost.is_empty() {
        let text = format!(
            "reaches the ports of all {} managers",
            report.managers.len()
        );
        return Finding::ok("ports", name, text);
    }
    Finding::problem(
        "ports",
        name,
        format!("does not reach the manager at {}", lost.join(", ")),
        "the manager's daemon does not run, or a firewall drops its port (2377/tcp unless another \
         was given with --listen-addr): the node would be lost with the managers that it reaches",
    )
}

pub(super) fn disk(name: &str, path: &str, free: u64) -> Finding {
    let text = format!("{} MiB free below {path}", free >> 20);
    let advice = "a manager whose disk is full answers reads only: docker system prune";
    match free {
        ..DISK_PROBLEM => Finding::problem("disk", name, text, advice),
        DISK_PROBLEM..DISK_WARNING => Finding::warning("disk", name, text, advice),
        _ => Finding::ok("disk", name, text),
    }
}

#[allow(clippy::cast_precision_loss)] // Seconds of a difference.
pub(super) fn clock(name: &str, ahead_nanos: i64) -> Finding {
    let ahead = ahead_nanos as f64 / 1e9;
    let text = format!("clock {ahead:+.1} s from the leader's");
    let advice = "run a time service on every node: certificates and logs depend on the clock";
    match ahead.abs() {
        off if off > CLOCK_PROBLEM => Finding::problem("clocks", name, text, advice),
        off if off > CLOCK_WARNING => Finding::warning("clocks", name, text, advice),
        _ => Finding::ok("clocks", name, text),
    }
}

pub(super) fn certificate(name: &str, from: OffsetDateTime, until: OffsetDateTime) -> Finding {
    let left = until - OffsetDateTime::now_utc();
    let text = format!("certificate valid until {}", until.date());
    if left <= Duration::ZERO {
        Finding::problem(
            "certificates",
            name,
            format!("certificate expired on {}", until.date()),
            "on that node: docker swarm join with a token; it leaves and joins in one",
        )
    } else if left < (until - from) / 6 {
        Finding::warning(
            "certificates",
            name,
            text,
            "it should have been renewed by now: see the node's log for why it was not",
        )
    } else {
        Finding::ok("certificates", name, text)
    }
}

pub(super) fn address_lost(name: &str, addr: &str) -> Finding {
    Finding::problem(
        "ports",
        name,
        format!("no interface has this node's address {addr}"),
        "others cannot reach it: give the address back, or restart the daemon, which takes over the \
         interface's new address, or leave and join with --advertise-addr",
    )
}

/// Networks take the MTU of each host's own interface: they should not differ.
fn interfaces(answer: &ExamineResponse, name: &dyn Fn(&str) -> String) -> Vec<Finding> {
    let reports = answer.nodes.iter().filter_map(|node| {
        let report = node.report.as_ref().filter(|report| report.mtu > 0)?;
        Some((name(&node.node_id), report))
    });
    let reports: Vec<_> = reports.collect();
    let most = reports.iter().map(|(_, r)| r.mtu).max().unwrap_or(0);
    let found = reports.iter().map(|(name, report)| {
        let text = format!("{} has MTU {}", report.interface, report.mtu);
        if report.mtu == most {
            return Finding::ok("mtu", name, text);
        }
        Finding::warning(
            "mtu",
            name,
            format!("{text}, others have {most}"),
            "full packets of the others do not fit: give all hosts the same MTU, or make networks \
             with --opt com.docker.network.driver.mtu of the smallest",
        )
    });
    found.collect()
}

/// A way, from a node to another.
type Way<'a> = (&'a str, &'a str);
/// One of a way's ends.
type End<'a> = fn(&Way<'a>) -> &'a str;

/// The ways that were tried on one port.
#[derive(Debug, Default)]
struct Ways<'a> {
    tried: BTreeSet<Way<'a>>,
    /// Of those: nothing came.
    dead: BTreeSet<Way<'a>>,
    /// Of those: small packets came, full ones did not.
    narrow: BTreeSet<Way<'a>>,
}

impl<'a> Ways<'a> {
    /// Only between nodes that both reported: the others are told of by themselves.
    fn of(answer: &'a ExamineResponse, port: u32) -> Self {
        let reports: BTreeMap<&str, &ProbeReport> = answer
            .nodes
            .iter()
            .filter_map(|node| Some((node.node_id.as_str(), node.report.as_ref()?)))
            .collect();
        let mut ways = Self::default();
        for node in answer.nodes.iter().filter(|node| node.report.is_some()) {
            for target in &node.targets {
                let Some(report) = reports.get(target.as_str()) else {
                    continue;
                };
                let way = (node.node_id.as_str(), target.as_str());
                let mut heard = report.heard.iter();
                let heard = heard.find(|h| h.node_id == node.node_id && h.port == port);
                ways.tried.insert(way);
                match heard {
                    Some(heard) if heard.full => {}
                    Some(_) => _ = ways.narrow.insert(way),
                    None => _ = ways.dead.insert(way),
                }
            }
        }
        ways
    }

    fn findings(
        &self,
        answer: &ExamineResponse,
        port: u32,
        name: &dyn Fn(&str) -> String,
    ) -> Vec<Finding> {
        let mut found = Vec::new();
        found.extend(self.grouped(&self.dead, "path", name, |way| {
            (format!("{way} {port}/udp"), OPEN_PORT)
        }));
        let size = match answer.packet_bytes {
            0 => "full packets".to_owned(),
            bytes => format!("packets of {bytes} bytes"),
        };
        found.extend(self.grouped(&self.narrow, "mtu", name, |way| {
            (
                format!("{way} {port}/udp in {size}, small ones pass"),
                RAISE_MTU,
            )
        }));
        let whole = answer.nodes.iter().filter(|node| {
            let is_of = |(from, to): &&(&str, &str)| *from == node.node_id || *to == node.node_id;
            self.tried.iter().any(|way| is_of(&way))
                && !self.dead.iter().chain(&self.narrow).any(|way| is_of(&way))
        });
        found.extend(whole.map(|node| {
            let ways = self.tried.iter().filter(|(from, _)| *from == node.node_id);
            let text = format!(
                "{port}/udp passes to and from {} nodes, {size} too",
                ways.count()
            );
            Finding::ok("path", &name(&node.node_id), text)
        }));
        found
    }

    /// A node that none of its ways works in one direction is told once; the rest way by way.
    fn grouped(
        &self,
        broken: &BTreeSet<Way<'a>>,
        check: &'static str,
        name: &dyn Fn(&str) -> String,
        text: impl Fn(&str) -> (String, &'static str),
    ) -> Vec<Finding> {
        let mut left = broken.clone();
        let mut found = Vec::new();
        let problem = |node: &str, way: &str| {
            let (text, advice) = text(way);
            Finding::problem(check, &name(node), text, advice)
        };
        let ends: [(End<'a>, &str); 2] = [
            (|way| way.1, "nothing of the other nodes gets here on"),
            (|way| way.0, "nothing gets from here to the other nodes on"),
        ];
        for (end, words) in ends {
            let nodes: BTreeSet<&str> = left.iter().map(end).collect();
            for node in nodes {
                let of = |way: &&Way<'a>| end(way) == node;
                let tried = self.tried.iter().filter(of).count();
                if tried > 1 && tried == broken.iter().filter(of).count() {
                    left.retain(|way| end(way) != node);
                    found.push(problem(node, words));
                }
            }
        }
        for (from, to) in left.iter().take(WAYS) {
            let words = format!("nothing gets to {} on", name(to));
            found.push(problem(from, &words));
        }
        if left.len() > WAYS {
            let words = format!("and {} more ways are broken on", left.len() - WAYS);
            found.push(problem("swarm", &words));
        }
        found
    }
}

#[cfg(test)]
mod tests;
