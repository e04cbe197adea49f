use skep_objects::skep_v1::{ProbeHeard, ProbeManager};

use super::super::finding::Level;
use super::*;

/// Three nodes that tried every way; `heard` says of each way whether small and full packets came.
fn answer(heard: impl Fn(&str, &str) -> (bool, bool)) -> ExamineResponse {
    let ids = ["a", "b", "c"];
    let now = OffsetDateTime::now_utc();
    let nodes = ids.map(|id| {
        let others: Vec<&str> = ids.into_iter().filter(|other| *other != id).collect();
        let came = others.iter().filter_map(|from| {
            let (small, full) = heard(from, id);
            (small || full).then(|| ProbeHeard {
                node_id: (*from).to_owned(),
                port: 4789,
                small,
                full,
            })
        });
        ExaminedNode {
            node_id: id.to_owned(),
            attends: true,
            targets: others.iter().map(|other| (*other).to_owned()).collect(),
            asked_nanos: 0,
            report: Some(ProbeReport {
                heard: came.collect(),
                managers: vec![ProbeManager {
                    addr: "10.0.0.1:2377".to_owned(),
                    error: String::new(),
                }],
                disk_free_bytes: 1 << 40,
                disk_path: "/var/lib/docker".to_owned(),
                interface: "eth0".to_owned(),
                mtu: 1500,
                addr: format!("10.0.0.{id}"),
                certificate_from: now.unix_timestamp() - 1000,
                certificate_until: now.unix_timestamp() + 10_000,
                ..ProbeReport::default()
            }),
        }
    });
    ExamineResponse {
        nodes: nodes.into(),
        ports: vec![4789],
        packet_bytes: 0,
    }
}

/// What is wrong, as `check node: text`.
fn wrong(answer: &ExamineResponse) -> Vec<String> {
    let found = examine(answer, &|id| format!("host-{id}"));
    let bad = found.iter().filter(|f| f.level != Level::Ok);
    bad.map(|f| {
        assert!(!f.advice.is_empty(), "{f:?}");
        format!("{} {}: {}", f.check, f.node, f.text)
    })
    .collect()
}

#[test]
fn ways_that_work_are_nothing_to_mend() {
    let answer = answer(|_, _| (true, true));
    assert_eq!(wrong(&answer), [""; 0]);
    let found = examine(&answer, &str::to_owned);
    let paths = found.iter().filter(|f| f.check == "path").count();
    assert_eq!(paths, 3, "{found:?}");
}

#[test]
fn a_node_that_hears_nobody_is_told_once() {
    let answer = answer(|_, to| (to != "b", to != "b"));
    assert_eq!(
        wrong(&answer),
        ["path host-b: nothing of the other nodes gets here on 4789/udp"]
    );
}

#[test]
fn a_node_that_nobody_hears_is_told_once() {
    let answer = answer(|from, _| (from != "c", from != "c"));
    assert_eq!(
        wrong(&answer),
        ["path host-c: nothing gets from here to the other nodes on 4789/udp"]
    );
}

#[test]
fn a_single_way_is_named_with_its_direction() {
    let answer = answer(|from, to| (true, (from, to) != ("a", "b")));
    assert_eq!(
        wrong(&answer),
        ["mtu host-a: nothing gets to host-b on 4789/udp in full packets, small ones pass"]
    );
}

#[test]
fn what_a_node_tells_of_itself_is_judged() {
    let mut answer = answer(|_, _| (true, true));
    let report = answer.nodes[1].report.as_mut().unwrap();
    report.managers[0].error = "connection refused".to_owned();
    report.disk_free_bytes = 1 << 20;
    report.clock_nanos = -5_000_000_000;
    report.mtu = 1400;
    report.certificate_until = report.certificate_from + 1;
    answer.nodes[2].report.as_mut().unwrap().interface.clear();
    let said = wrong(&answer).join("\n");
    for part in [
        "disk host-b: 1 MiB free below /var/lib/docker",
        "clocks host-b: clock -5.0 s from the leader's",
        "ports host-b: does not reach the manager at 10.0.0.1:2377 (connection refused)",
        "certificates host-b: certificate expired",
        "ports host-c: no interface has this node's address 10.0.0.c",
        "mtu host-b: eth0 has MTU 1400, others have 1500",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}

#[test]
fn a_silent_agent_is_told_and_a_dockerd_is_not() {
    let mut answer = answer(|_, _| (true, true));
    answer.nodes[0].report = None;
    assert_eq!(wrong(&answer), ["path host-a: its agent does not answer"]);
    answer.nodes[0].attends = false;
    assert_eq!(wrong(&answer), [""; 0]);
}
