//! Socket options of every connection between nodes.
//!
//! A cut link shows within three seconds because the kernel gives up on unanswered segments and
//! probes. The kernel answers for a busy process too, so load is not taken for death; and unlike
//! HTTP/2 pings, dockerd's server does not punish them.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

const IDLE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(1);
const GIVE_UP: Duration = Duration::from_secs(3);

pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(IDLE)
        .with_interval(INTERVAL)
        .with_retries(2);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(GIVE_UP))
}
