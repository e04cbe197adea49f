//! A host for a test: a thread with network and mount namespaces of its own, which go with it, even
//! on panic. Further namespaces stand for other hosts and for clients.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "it is only used in tests")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use skep_net::netlink::route::{LinkKind, NewLink, RouteSocket};
use skep_net::{Net, NetConfig};

/// Longest wait for something that ought to happen at once; loaded machines are slow.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Wait for something that must not happen.
pub const SHORT: Duration = Duration::from_millis(300);

/// Runs a test on a host of its own.
pub fn on_host<T: Send>(f: impl FnOnce(&Path) -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("root");
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
            up("lo");
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            let _guard = runtime.enter();
            let dir = tempfile::tempdir().unwrap();
            f(dir.path())
        };
        match scope.spawn(run).join() {
            Ok(out) => out,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Opens the network of a daemon.
pub fn open(dir: &Path, instance: &str) -> Net {
    Net::open(NetConfig::new(dir.join(instance), instance)).unwrap()
}

/// Opens the network of a daemon on another host.
pub fn open_in(space: &Space, dir: &Path, instance: &str) -> Net {
    let handle = tokio::runtime::Handle::current();
    space.run(|| {
        let _guard = handle.enter();
        open(dir, instance)
    })
}

pub fn up(name: &str) {
    let mut route = RouteSocket::open().unwrap();
    let index = route.link(name).unwrap().unwrap().index;
    route.set_up(index, true).unwrap();
}

/// What a program prints; it must succeed.
pub fn shell(line: &str) -> String {
    let mut words = line.split_whitespace();
    let out = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    text
}

/// Waits for what ought to happen at once without anybody's doing; answers the last look at it.
pub fn soon<T: PartialEq>(expect: &T, mut look: impl FnMut() -> T) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if seen == *expect || Instant::now() > end {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The words of the calling thread's firewall, whatever the order of a set.
pub fn ruleset() -> Vec<String> {
    let text = shell("nft list ruleset").replace(',', " ");
    let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    words.sort();
    words
}

/// A network namespace.
#[derive(Debug)]
pub struct Space(File);

impl Space {
    pub fn new() -> Space {
        let open = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            up("lo");
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        Space(std::thread::spawn(open).join().unwrap())
    }

    pub fn at(path: &Path) -> Space {
        Space(File::open(path).unwrap())
    }

    pub fn current() -> Space {
        Space::at(Path::new("/proc/thread-self/ns/net"))
    }

    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let run = || {
                setns(self, CloneFlags::CLONE_NEWNET).unwrap();
                f()
            };
            match scope.spawn(run).join() {
                Ok(out) => out,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// A veth pair from the calling thread's namespace (`name`) to this one (`eth0`), with
    /// addresses.
    pub fn cable(&self, name: &str, here: &[&str], there: &[&str]) {
        let kind = LinkKind::Veth {
            peer: "eth0".into(),
            peer_mac: None,
            peer_netns: Some(self.as_fd()),
        };
        let mut route = RouteSocket::open().unwrap();
        route.create_link(&NewLink::new(name, kind)).unwrap();
        address(name, here);
        self.run(|| address("eth0", there));
    }
}

impl AsFd for Space {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

pub fn address(name: &str, addresses: &[&str]) {
    let mut route = RouteSocket::open().unwrap();
    let index = route.link(name).unwrap().unwrap().index;
    for address in addresses {
        route.add_address(index, address.parse().unwrap()).unwrap();
    }
    route.set_up(index, true).unwrap();
}

/// A server that answers with its name and the client's address.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Server {
    pub fn tcp(space: &Space, address: &str, name: &str) -> Server {
        let listener = space.run(|| TcpListener::bind(address).unwrap());
        let (stop, name) = (Arc::new(AtomicBool::new(false)), name.to_owned());
        let stopped = stop.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let peer = stream
                    .peer_addr()
                    .map(|a| a.ip().to_string())
                    .unwrap_or_default();
                let _ = stream.write_all(format!("{name} {peer}").as_bytes());
            }
        });
        Server { stop }
    }

    pub fn udp(space: &Space, address: &str, name: &str) -> Server {
        let socket = space.run(|| UdpSocket::bind(address).unwrap());
        let (stop, name) = (Arc::new(AtomicBool::new(false)), name.to_owned());
        let stopped = stop.clone();
        std::thread::spawn(move || {
            let mut buf = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut buf) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let _ = socket.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
            }
        });
        Server { stop }
    }
}

/// Asks a TCP server from a namespace: `name client-address`, or the error.
pub fn ask(space: &Space, to: &str) -> String {
    ask_for(space, to, PATIENCE)
}

/// The same for what must not answer.
pub fn ask_in_vain(space: &Space, to: &str) {
    let answer = ask_for(space, to, SHORT);
    assert!(answer.starts_with("error"), "{to} answered {answer}");
}

/// The same for what must be refused at once.
pub fn ask_refused(space: &Space, to: &str) {
    let answer = ask_for(space, to, PATIENCE);
    assert!(answer.contains("refused"), "{to} answered {answer}");
}

fn ask_for(space: &Space, to: &str, patience: Duration) -> String {
    let to: SocketAddr = to.parse().unwrap();
    space.run(|| {
        let ask = || {
            let mut stream = TcpStream::connect_timeout(&to, patience)?;
            stream.set_read_timeout(Some(patience))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok::<_, std::io::Error>(text)
        };
        ask().unwrap_or_else(|e| format!("error {e}"))
    })
}

/// Asks a UDP server.
pub fn ask_udp(space: &Space, to: &str) -> String {
    ask_udp_for(space, to, PATIENCE)
}

/// The same for what must not answer.
pub fn ask_udp_in_vain(space: &Space, to: &str) {
    let answer = ask_udp_for(space, to, SHORT);
    assert!(answer.starts_with("error"), "{to} answered {answer}");
}

/// What a connected socket sends is refused, and that is no error of sending it.
pub fn refused_udp(socket: &UdpSocket) {
    socket.send(b"?").unwrap();
    let error = socket.recv(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

fn ask_udp_for(space: &Space, to: &str, patience: Duration) -> String {
    let to: SocketAddr = to.parse().unwrap();
    space.run(|| {
        let any: IpAddr = if to.is_ipv4() {
            [0; 4].into()
        } else {
            [0_u16; 8].into()
        };
        let ask = || {
            let socket = UdpSocket::bind((any, 0))?;
            socket.set_read_timeout(Some(patience))?;
            socket.connect(to)?;
            socket.send(b"?")?;
            let mut buf = [0; 128];
            let n = socket.recv(&mut buf)?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&buf[..n]).into_owned())
        };
        ask().unwrap_or_else(|e| format!("error {e}"))
    })
}
