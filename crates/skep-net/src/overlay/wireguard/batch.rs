//! Datagrams by the dozen: the kernel cuts one long buffer into datagrams of one size on the way out
//! (`UDP_SEGMENT`), and joins what comes in from one sender (`UDP_GRO`):
//! [udp(7)](https://man7.org/linux/man-pages/man7/udp.7.html). One system call a packet is what a
//! tunnel in userspace spends most of its time on.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// What the kernel cuts one buffer into at most, and how long it may be.
const SEGMENTS: usize = 64;
const BYTES: usize = 60_000;

/// Datagrams that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    datagrams: Vec<(SocketAddr, usize)>,
    /// The kernel or the interface refused: they go one by one.
    is_single: bool,
}

/// Consecutive datagrams to one address, all of one size but the last, which may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    to: SocketAddr,
    start: usize,
    len: usize,
    size: usize,
}

impl Batch {
    /// Adds a datagram.
    pub fn push(&mut self, to: SocketAddr, datagram: &[u8]) {
        self.bytes.extend_from_slice(datagram);
        self.datagrams.push((to, datagram.len()));
    }

    /// Whether it is time to send.
    pub fn is_full(&self) -> bool {
        self.datagrams.len() >= SEGMENTS || self.bytes.len() >= BYTES
    }

    /// Sends all. A datagram that is lost is the business of whoever is inside the tunnel.
    pub async fn send(&mut self, socket: &UdpSocket) {
        for run in runs(&self.datagrams) {
            let bytes = &self.bytes[run.start..run.start + run.len];
            if run.len > run.size && !self.is_single {
                let sent = send_segmented(socket, bytes, run).await;
                if sent.is_ok() {
                    continue;
                }
                self.is_single = true;
            }
            for datagram in bytes.chunks(run.size.max(1)) {
                let _ = socket.send_to(datagram, run.to).await;
            }
        }
        self.bytes.clear();
        self.datagrams.clear();
    }
}

fn runs(datagrams: &[(SocketAddr, usize)]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut start = 0;
    for (to, len) in datagrams {
        match runs.last_mut() {
            // Only as long as every datagram so far has the full size.
            Some(run)
                if run.to == *to
                    && run.size != 0
                    && run.len % run.size == 0
                    && *len <= run.size
                    && *len != 0 =>
            {
                run.len += len;
            }
            _ => runs.push(Run {
                to: *to,
                start,
                len: *len,
                size: *len,
            }),
        }
        start += len;
    }
    runs
}

async fn send_segmented(socket: &UdpSocket, bytes: &[u8], run: Run) -> io::Result<usize> {
    let size = u16::try_from(run.size).map_err(io::Error::other)?;
    let to = SockaddrStorage::from(run.to);
    let send = || {
        let (slices, control) = (
            [IoSlice::new(bytes)],
            [ControlMessage::UdpGsoSegments(&size)],
        );
        let fd = socket.as_raw_fd();
        Ok(sendmsg(
            fd,
            &slices,
            &control,
            MsgFlags::empty(),
            Some(&to),
        )?)
    };
    socket.async_io(Interest::WRITABLE, send).await
}

/// Has the kernel join datagrams that come in; without that they come one by one.
pub(super) fn join_incoming(socket: &UdpSocket) {
    let _ = setsockopt(socket, sockopt::UdpGroSegment, &true);
}

/// Datagrams that came in together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    pub len: usize,
    /// Size of each but the last.
    pub size: usize,
    pub from: SocketAddr,
}

/// Takes datagrams of one sender.
pub(super) async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Received> {
    let take = || {
        let mut slices = [IoSliceMut::new(buffer)];
        let mut control = nix::cmsg_space!(i32);
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::empty());
        let message = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control), flags)?;
        let from = message.address.as_ref().and_then(address);
        let from = from.ok_or_else(|| io::Error::other("a datagram of no internet address"))?;
        let size = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::UdpGroSegments(size) => usize::try_from(size).ok(),
            _ => None,
        });
        let len = message.bytes;
        let size = size.filter(|size| *size != 0).unwrap_or(len.max(1));
        Ok(Received { len, size, from })
    };
    let mut take = take;
    socket.async_io(Interest::READABLE, &mut take).await
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage
        .as_sockaddr_in()
        .map(|a| SocketAddrV4::from(*a).into());
    v4.or_else(|| {
        storage
            .as_sockaddr_in6()
            .map(|a| SocketAddrV6::from(*a).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 4790).into()
    }

    #[test]
    fn datagrams_of_one_size_go_together_and_a_shorter_one_ends_them() {
        let sent = [
            (to(1), 1400),
            (to(1), 1400),
            (to(1), 60),
            (to(1), 60),
            (to(2), 60),
            (to(2), 1400),
        ];
        let runs: Vec<_> = runs(&sent)
            .iter()
            .map(|r| (r.start, r.len, r.size))
            .collect();
        assert_eq!(
            runs,
            [
                (0, 2860, 1400),
                (2860, 60, 60),
                (2920, 60, 60),
                (2980, 1400, 1400)
            ]
        );
    }

    #[tokio::test]
    async fn a_batch_arrives_whole() {
        let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        join_incoming(&far);
        let to = far.local_addr().unwrap();
        let mut batch = Batch::default();
        let sizes = [1000, 1000, 1000, 10, 500];
        for (n, size) in (0_u8..).zip(sizes) {
            batch.push(to, &vec![n; size]);
        }
        batch.send(&near).await;
        let (mut got, mut buffer) = (Vec::new(), vec![0; 65536]);
        while got.len() < sizes.len() {
            let received = receive(&far, &mut buffer).await.unwrap();
            assert_eq!(received.from, near.local_addr().unwrap());
            for datagram in buffer[..received.len].chunks(received.size) {
                got.push((datagram[0], datagram.len()));
            }
        }
        let sent: Vec<_> = (0_u8..).zip(sizes).collect();
        assert_eq!(got, sent);
    }
}
