//! From the death of the leader to the next write that is accepted, asked of another manager.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use skep_testkit::{Host, Lab, eventually};

use crate::client::Client;
use crate::{Maker, founded, join, row, service, sized};

const ROUNDS: usize = 20;
/// The peer takes 12 to 29 seconds for each.
const PEER_ROUNDS: usize = 2;
/// Its median of an earlier run, in seconds: docs/figures.md says when and where.
const PEER: f64 = 15.6;

pub fn run(program: &PathBuf) -> Result<()> {
    let mut peer = PEER;
    for maker in Maker::all() {
        let rounds = match maker {
            Maker::Skep => sized(ROUNDS, 2),
            Maker::Dockerd => sized(PEER_ROUNDS, 1),
        };
        let median = series(program, maker, rounds, peer)?;
        if maker == Maker::Dockerd {
            peer = median;
        }
    }
    Ok(())
}

/// Loses so many leaders; answers the median in seconds.
fn series(program: &PathBuf, maker: Maker, rounds: usize, peer: f64) -> Result<f64> {
    let mut lab = founded(program, 3, None, maker)?;
    join(&lab, 1)?;
    join(&lab, 2)?;
    let mut losses = Vec::new();
    for round in 0..rounds {
        losses.push(lose(&mut lab, round, maker)?.as_secs_f64());
    }
    losses.sort_unstable_by(f64::total_cmp);
    let (least, median, most) = (losses[0], losses[rounds / 2], losses[rounds - 1]);
    let beside = match maker {
        Maker::Skep => format!(
            "min/median/max; dockerd's median {peer:.1} s: {:.0} times",
            peer / median
        ),
        Maker::Dockerd => "min/median/max".to_owned(),
    };
    row(
        &format!("{maker:?}: leader killed to first write, {rounds} rounds"),
        &format!("{least:.2}/{median:.2}/{most:.2} s"),
        &beside,
    );
    Ok(median)
}

fn lose(lab: &mut Lab, round: usize, maker: Maker) -> Result<Duration> {
    let leader = all_answer(&lab.hosts[0]);
    let other = (leader + 1) % 3;
    let socket = lab.hosts[other].socket();
    lab.hosts[leader].kill();
    let begun = Instant::now();
    let mut number = 0;
    let lost = loop {
        number += 1;
        let body = service(&format!("r{round}-{number}"));
        let mut client = Client::connect(&socket, Duration::from_secs(60))?;
        if client
            .post("/services/create", &body)
            .is_ok_and(|status| status == 201)
        {
            break begun.elapsed();
        }
    };
    match maker {
        Maker::Skep => lab.hosts[leader].start(),
        Maker::Dockerd => lab.hosts[leader].start_dockerd(&[]),
    }
    .context("the killed manager")?;
    Ok(lost)
}

/// Waits until all three managers answer; tells the number of the leader's host.
fn all_answer(host: &Host) -> usize {
    eventually("all managers answer", || {
        let nodes = host
            .api("GET", "/nodes", None)
            .map_err(|error| error.to_string())?;
        let nodes = nodes.json();
        let list = nodes.as_array().cloned().unwrap_or_default();
        let reachable = list
            .iter()
            .filter(|node| node["ManagerStatus"]["Reachability"] == "reachable");
        let leader = list
            .iter()
            .find(|node| node["ManagerStatus"]["Leader"] == true);
        let name = leader.and_then(|node| node["Description"]["Hostname"].as_str());
        let number = name.and_then(|name| name.strip_prefix("host")?.parse::<usize>().ok());
        match (reachable.count(), number) {
            (3, Some(number)) => Ok(number - 1),
            _ => Err(nodes.to_string()),
        }
    })
}
