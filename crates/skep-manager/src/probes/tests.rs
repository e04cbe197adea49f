use skep_objects::swarmkit::{NodeStatus, node_status::State};

use super::*;

async fn store(nodes: &[&str]) -> Store {
    let store = Store::in_memory();
    for id in nodes {
        let node = skep_objects::swarmkit::Node {
            id: (*id).to_owned(),
            status: Some(NodeStatus {
                state: State::Ready.into(),
                addr: format!("10.0.0.{}", id.len()),
                ..Default::default()
            }),
            ..Default::default()
        };
        store.update(|tx| tx.create_node(node)).await.unwrap();
    }
    store
}

fn managers() -> watch::Receiver<Vec<WeightedPeer>> {
    let peer = skep_objects::swarmkit::Peer {
        node_id: "a".to_owned(),
        addr: "10.0.0.1:2377".to_owned(),
    };
    watch::channel(vec![WeightedPeer {
        peer: Some(peer),
        weight: 1,
    }])
    .1
}

#[tokio::test(start_paused = true)]
async fn everybody_is_asked_at_once_and_the_silent_are_given_up_on() {
    let probes = Probes::new(store(&["a", "bb", "ccc", "dddd"]).await, managers());
    let (number, mut first) = probes.attend("a");
    let (_, mut second) = probes.attend("bb");
    let (_, _third) = probes.attend("ccc");
    let examining = tokio::spawn({
        let probes = probes.clone();
        async move { probes.examine().await }
    });
    let asked = first.recv().await.unwrap().unwrap();
    assert_eq!(asked.ports, [4789]);
    assert_eq!(asked.managers, ["10.0.0.1:2377"]);
    let names: Vec<&str> = asked.targets.iter().map(|t| t.node_id.as_str()).collect();
    assert_eq!(names, ["bb", "ccc"]);
    assert_eq!(asked.targets[0].addr, "10.0.0.2");
    let again = second.recv().await.unwrap().unwrap();
    let report = |id: &[u8]| ProbeReport {
        id: id.to_vec(),
        ..ProbeReport::default()
    };
    probes.report("a", report(b"of another examination"));
    probes.report("dddd", report(&asked.id));
    probes.report("a", report(&asked.id));
    probes.report("bb", report(&again.id));
    let said = examining.await.unwrap();
    let of: Vec<(&str, bool, bool)> = said
        .nodes
        .iter()
        .map(|n| (n.node_id.as_str(), n.attends, n.report.is_some()))
        .collect();
    assert_eq!(
        of,
        [
            ("a", true, true),
            ("bb", true, true),
            ("ccc", true, false),
            ("dddd", false, false)
        ]
    );
    probes.leave("a", number);
    assert!(!probes.state().attendants.contains_key("a"));
}

#[tokio::test(start_paused = true)]
async fn an_examination_ends_with_the_leader() {
    let probes = Probes::new(store(&["a"]).await, managers());
    let (_, mut requests) = probes.attend("a");
    let examining = tokio::spawn({
        let probes = probes.clone();
        async move { probes.examine().await }
    });
    requests.recv().await.unwrap().unwrap();
    probes.stop();
    assert!(examining.await.unwrap().nodes[0].report.is_none());
    assert!(requests.recv().await.is_none());
}
