//! Figures of the runtime alone: `TMPDIR=/dev/shm bench [ROUNDS]`, in a release build, as root, with
//! busybox-static. (Bundles on a disk measure the disk.)
//!
//! Prints wall and CPU time to create, start and see the end of `true`, of an exec, and the memory of
//! a shim at rest. Plays the shim's role itself.

#[path = "../tests/support/mod.rs"]
#[allow(clippy::unwrap_used, reason = "a test panics")]
mod support;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::resource::UsageWho;
use rustix::process::WaitOptions;
use skep_runtime::shim;
use skep_runtime::shim::protocol::{Reply, Request};
use support::Bundle;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).map(String::as_str) == Some("shim") {
        return skep_runtime::shim::main(Path::new(&args[2]), None);
    }
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))
        .expect("become subreaper");
    let rounds = args.get(1).and_then(|n| n.parse().ok()).unwrap_or(30);
    let program = std::env::current_exe().expect("own path");
    starts(&program, rounds, false);
    starts(&program, rounds, true);
    execs(&program, rounds);
    memory(&program);
    logging(&program);
    ExitCode::SUCCESS
}

/// CPU time in microseconds of every shim that has ended, with all that it had started. This process is
/// the parent of orphans, and waits for them.
fn cpu() -> i64 {
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
    let usage = nix::sys::resource::getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage");
    let micro = |t: nix::sys::time::TimeVal| t.tv_sec() * 1_000_000 + t.tv_usec();
    micro(usage.user_time()) + micro(usage.system_time())
}

struct Series {
    what: &'static str,
    wall: Vec<Duration>,
    cpu_before: i64,
}

impl Series {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            wall: Vec::new(),
            cpu_before: cpu(),
        }
    }

    fn print(mut self) {
        self.wall.sort();
        let n = self.wall.len();
        let cpu = (cpu() - self.cpu_before) / n as i64;
        println!(
            "{:<44} wall min {:>6.2} ms  median {:>6.2} ms   cpu {:>6.2} ms",
            self.what,
            self.wall[0].as_secs_f64() * 1e3,
            self.wall[n / 2].as_secs_f64() * 1e3,
            cpu as f64 / 1e3
        );
    }
}

fn starts(program: &Path, rounds: usize, has_seccomp: bool) {
    let mut series = Series::new(if has_seccomp {
        "create+start+exit of true, default seccomp"
    } else {
        "create+start+exit of true"
    });
    for _ in 0..rounds {
        let mut bundle = Bundle::new(&["/bin/true"]);
        if has_seccomp {
            let filter =
                skep_runtime::seccomp::default_filter(["CAP_CHOWN"], &std::env::temp_dir());
            bundle.spec.seccomp_filter = Some(filter.expect("filter"));
        }
        bundle.write();
        let begin = Instant::now();
        shim::spawn(&bundle.dir, program)
            .expect("spawn")
            .wait_ready()
            .expect("create");
        let mut connection = bundle.attach();
        connection.call(&Request::Start).expect("start");
        bundle.wait(connection);
        series.wall.push(begin.elapsed());
        // The shim itself, which ends a moment after its last word.
        rustix::process::wait(WaitOptions::empty()).expect("wait for the shim");
    }
    series.print();
}

fn running(program: &Path) -> Bundle {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.write();
    shim::spawn(&bundle.dir, program)
        .expect("spawn")
        .wait_ready()
        .expect("create");
    let reply = bundle.connect().call(&Request::Start).expect("start");
    assert!(matches!(reply, Reply::Started { .. }));
    bundle
}

fn execs(program: &Path, rounds: usize) {
    let bundle = running(program);
    let mut series = Series::new("exec of true");
    for n in 0..rounds {
        let begin = Instant::now();
        let connection = bundle.exec(&format!("e{n}"), &["/bin/true"]).expect("exec");
        bundle.wait(connection);
        series.wall.push(begin.elapsed());
    }
    print_memory("shim after these execs", std::slice::from_ref(&bundle));
    drop(bundle);
    rustix::process::wait(WaitOptions::empty()).expect("wait for the shim");
    series.print();
}

fn memory(program: &Path) {
    let bundles: Vec<Bundle> = (0..20).map(|_| running(program)).collect();
    print_memory("shim, 20 at once", &bundles);
}

fn print_memory(what: &str, bundles: &[Bundle]) {
    let mut sums = [0u64; 3];
    for bundle in bundles {
        let state = shim::ShimState::load(&bundle.dir)
            .expect("state")
            .expect("state");
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", state.shim_pid))
            .expect("smaps");
        for (sum, key) in sums.iter_mut().zip(["Rss:", "Pss:", "Private_Dirty:"]) {
            let line = rollup.lines().find(|l| l.starts_with(key)).unwrap_or("");
            *sum += line
                .split_whitespace()
                .nth(1)
                .and_then(|n| n.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    let n = bundles.len() as u64;
    println!(
        "{what:<44} rss {} kB  pss {} kB  private dirty {} kB",
        sums[0] / n,
        sums[1] / n,
        sums[2] / n
    );
}

/// How fast output reaches the log, with a client attached.
fn logging(program: &Path) {
    const BYTES: u32 = 100_000_000;
    let script = format!("yes {} | head -c {BYTES}", "0123456789".repeat(10));
    let bundle = Bundle::shell(&script);
    bundle.write();
    shim::spawn(&bundle.dir, program)
        .expect("spawn")
        .wait_ready()
        .expect("create");
    let mut connection = bundle.connect();
    connection.call(&Request::Subscribe).expect("subscribe");
    let begin = Instant::now();
    connection.call(&Request::Start).expect("start");
    bundle.wait(connection);
    let rate = f64::from(BYTES) / 1e6 / begin.elapsed().as_secs_f64();
    println!(
        "{:<44} {rate:>6.0} MB/s of output in lines of 100 bytes",
        "json-file log"
    );
}
