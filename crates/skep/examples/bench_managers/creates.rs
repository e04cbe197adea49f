//! Services created in a second, by one client and by sixteen, on one, three and five managers. All
//! managers share this machine's disk and processors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use skep_testkit::{Host, Lab};

use crate::client::Client;
use crate::floor::floor;
use crate::{Maker, cpu_ms, founded, join, row, service, sized};

/// How long each rate is measured.
const SPAN: Duration = Duration::from_secs(3);
/// dockerd's rates where it is not here, by managers and clients: docs/figures.md says when and where.
const PEER: [((usize, usize), f64); 2] = [((1, 1), 354.0), ((1, 16), 627.0)];

/// Rates by managers and clients.
type Rates = BTreeMap<(usize, usize), f64>;

pub fn run(program: &PathBuf) -> Result<()> {
    let mut peer: Rates = PEER.into_iter().collect();
    for maker in Maker::all() {
        let rates = series(program, maker, &peer)?;
        if maker == Maker::Dockerd {
            peer = rates;
        }
    }
    Ok(())
}

fn series(program: &PathBuf, maker: Maker, peer: &Rates) -> Result<Rates> {
    let lab = founded(program, 5, None, maker)?;
    let mut rates = Rates::new();
    for managers in [1, 3, 5] {
        // Each write waits for a sync of a majority's, and all managers sync at the same time.
        let floor = floor(
            &lab.hosts[0].data_root(),
            managers,
            sized(SPAN, SPAN / 10) / 3,
        )?;
        if maker == Maker::Skep {
            row(
                &format!("floor: write and sync of 300 bytes, {managers} at a time"),
                &format!("{floor:.0}/s each"),
                "",
            );
        }
        for number in [1, 3, 5].into_iter().take_while(|n| *n < managers) {
            // Two more than before.
            if number + 2 == managers {
                join(&lab, number)?;
                join(&lab, number + 1)?;
            }
        }
        for clients in [1, 16] {
            let (rate, cpu_us) = measure(&lab, managers, clients)?;
            rates.insert((managers, clients), rate);
            let beside = match (maker, peer.get(&(managers, clients))) {
                (Maker::Skep, Some(peer)) => {
                    let (times, share) = (rate / peer, rate / floor);
                    format!("dockerd {peer:.0}/s: {times:.1} times; {share:.2} of the floor")
                }
                _ => format!("{:.2} of the floor", rate / floor),
            };
            row(
                &format!("{maker:?}: creates, {managers} manager(s), {clients} client(s)"),
                &format!("{rate:.0}/s {cpu_us:.0} us CPU"),
                &beside,
            );
        }
    }
    Ok(rates)
}

/// Creates in a second, and the managers' CPU time for each in microseconds.
fn measure(lab: &Lab, managers: usize, clients: usize) -> Result<(f64, f64)> {
    let pids: Vec<u32> = lab.hosts[..managers].iter().filter_map(Host::pid).collect();
    let used = || pids.iter().map(|pid| cpu_ms(*pid)).sum::<Result<f64>>();
    let before = used()?;
    let begun = Instant::now();
    let socket = lab.hosts[0].socket();
    let counts: Vec<Result<u64>> = std::thread::scope(|scope| {
        let client = |number| {
            let label = format!("m{managers}c{clients}n{number}");
            let socket = &socket;
            scope.spawn(move || creates(socket, &label, begun))
        };
        let running: Vec<_> = (0..clients).map(client).collect();
        let joined = running.into_iter().map(|thread| thread.join());
        joined
            .map(|count| count.unwrap_or_else(|_| bail!("a client panicked")))
            .collect()
    });
    let count = counts.into_iter().sum::<Result<u64>>()? as f64;
    let rate = count / begun.elapsed().as_secs_f64();
    Ok((rate, (used()? - before) / count * 1000.0))
}

fn creates(socket: &Path, label: &str, begun: Instant) -> Result<u64> {
    let mut client = Client::connect(socket, Duration::from_secs(30))?;
    let mut count = 0;
    while begun.elapsed() < sized(SPAN, SPAN / 10) {
        let status = client.post("/services/create", &service(&format!("{label}-{count}")))?;
        if status != 201 {
            bail!("create: {status}");
        }
        count += 1;
    }
    Ok(count)
}
