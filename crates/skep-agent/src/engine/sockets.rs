//! Which TCP sockets are open in a container: whether it listens, and whether it serves somebody.
//! Read from `/proc/PID/net/tcp`: [proc_pid_net(5)](https://man7.org/linux/man-pages/man5/proc_pid_net.5.html).

use std::collections::BTreeSet;
use std::time::Duration;

const ESTABLISHED: u8 = 0x01;
const SYN_RECEIVED: u8 = 0x03;
const CLOSE_WAIT: u8 = 0x08;
const LISTEN: u8 = 0x0a;

/// The TCP sockets of a network namespace, loopback left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sockets {
    listening: BTreeSet<u16>,
    /// Local ports of open connections.
    connected: Vec<u16>,
}

impl Sockets {
    /// The sockets where this process is; none where it has ended.
    async fn read(pid: i32) -> Self {
        let mut sockets = Self::default();
        for file in ["tcp", "tcp6"] {
            let path = format!("/proc/{pid}/net/{file}");
            let text = tokio::fs::read_to_string(path).await.unwrap_or_default();
            text.lines().skip(1).for_each(|line| sockets.add(line));
        }
        sockets
    }

    fn add(&mut self, line: &str) {
        let Some((address, port, state)) = parse(line) else {
            return;
        };
        match state {
            LISTEN if !is_loopback(address) => drop(self.listening.insert(port)),
            ESTABLISHED | SYN_RECEIVED | CLOSE_WAIT if !is_loopback(address) => {
                self.connected.push(port);
            }
            _ => {}
        }
    }

    /// Whether all of these ports are listened on.
    pub fn listen_on(&self, ports: &BTreeSet<u16>) -> bool {
        ports.is_subset(&self.listening)
    }

    /// Whether one of these ports is listened on.
    pub fn listen_on_some(&self, ports: &BTreeSet<u16>) -> bool {
        !ports.is_disjoint(&self.listening)
    }

    /// Whether a connection to one of the listeners is open.
    pub fn serve(&self) -> bool {
        self.served() > 0
    }

    /// How many connections to the listeners are open.
    fn served(&self) -> usize {
        let listens = |port: &&u16| self.listening.contains(port);
        self.connected.iter().filter(listens).count()
    }
}

/// How many connections to listeners are open where this process is.
pub(super) async fn connections(pid: i32) -> u64 {
    Sockets::read(pid).await.served() as u64
}

/// Local address, local port and state of a line.
fn parse(line: &str) -> Option<(&str, u16, u8)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (address, port) = words.next()?.split_once(':')?;
    let state = words.nth(1)?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((address, port, u8::from_str_radix(state, 16).ok()?))
}

/// Addresses are printed as words of the machine's byte order.
fn is_loopback(address: &str) -> bool {
    let v4 = |word: &str| {
        let word = u32::from_str_radix(word, 16).unwrap_or_default();
        word.to_ne_bytes()[0] == 127
    };
    match address.len() {
        8 => v4(address),
        32 if address.starts_with("0000000000000000FFFF0000") => v4(&address[24..]),
        32 => address == "00000000000000000000000001000000",
        _ => false,
    }
}

/// Waits until the sockets are as wanted, or so long. The kernel has no event for it.
pub(super) async fn wait_until(pid: i32, limit: Duration, wanted: impl Fn(&Sockets) -> bool) {
    let poll = async {
        let mut pause = Duration::from_millis(2);
        while !wanted(&Sockets::read(pid).await) {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    };
    let _ = tokio::time::timeout(limit, poll).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn listeners_and_those_they_serve_are_told_apart_from_the_rest() {
        let lines = [
            "   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1",
            "   1: 0B00007F:A3D1 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 2",
            "   2: 0300000A:0050 0A0A0A0A:C001 01 00000000:00000000 00:00000000 00000000 0 0 3",
            "   3: 0300000A:D431 0B0B0B0B:0050 01 00000000:00000000 00:00000000 00000000 0 0 4",
            "nonsense",
        ];
        let mut sockets = Sockets::default();
        lines.iter().for_each(|line| sockets.add(line));
        assert_eq!(sockets.listening, [80].into());
        assert_eq!(sockets.connected, [80, 54321]);
        assert!(sockets.serve() && sockets.listen_on(&[80].into()));
        sockets.connected.remove(0);
        assert!(!sockets.serve() && !sockets.listen_on(&[80, 81].into()));
        assert!(sockets.listen_on_some(&[80, 81].into()) && !sockets.listen_on_some(&[81].into()));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn loopback_is_known_in_both_families() {
        for address in [
            "0100007F",
            "00000000000000000000000001000000",
            "0000000000000000FFFF00000100007F",
        ] {
            assert!(is_loopback(address), "{address}");
        }
        assert!(!is_loopback("00000000000000000000000000000000"));
        assert!(!is_loopback("0300000A"));
    }
}
