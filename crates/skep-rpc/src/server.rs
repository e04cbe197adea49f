//! The listening side: TCP with TLS, and connections from inside this process, as one stream of
//! connections for tonic. Each connection takes the credentials that are current when it arrives.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::identity::NodeIdentity;
use crate::peer::{Peer, PeerCertificate};
use crate::socket;

/// Largest message that a server accepts, as SwarmKit's.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
const LOCAL_BUFFER_BYTES: usize = 64 << 10;

/// A bound port, plus the way in for this process.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    local: mpsc::Receiver<DuplexStream>,
    dialer: LocalDialer,
}

/// Connects to this process's own manager without TLS; acts as this node.
#[derive(Clone, Debug)]
pub struct LocalDialer {
    sender: mpsc::Sender<DuplexStream>,
}

impl LocalDialer {
    /// A dialer and the end on which its connections arrive (for tests with fake managers too).
    pub fn pair() -> (Self, mpsc::Receiver<DuplexStream>) {
        let (sender, receiver) = mpsc::channel(16);
        (Self { sender }, receiver)
    }

    pub(crate) async fn dial(&self) -> io::Result<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(LOCAL_BUFFER_BYTES);
        let gone = |_| io::Error::new(io::ErrorKind::ConnectionRefused, "local manager is stopped");
        self.sender.send(theirs).await.map_err(gone)?;
        Ok(ours)
    }
}

impl Listener {
    /// Binds the manager port.
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::bind(addr).await?;
        let (dialer, local) = LocalDialer::pair();
        Ok(Self { tcp, local, dialer })
    }

    /// The address in use; tells the port where 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// For this process's own agent and API.
    pub fn local_dialer(&self) -> LocalDialer {
        self.dialer.clone()
    }

    /// Accepts until `shutdown`, for `tonic::transport::Server::serve_with_incoming`. Slow or
    /// broken handshakes hold up nobody else.
    pub fn incoming(
        self,
        identity: NodeIdentity,
        shutdown: CancellationToken,
    ) -> ReceiverStream<io::Result<ServerIo>> {
        let (sender, receiver) = mpsc::channel(64);
        tokio::spawn(accept(self, identity, sender, shutdown));
        ReceiverStream::new(receiver)
    }
}

async fn accept(
    mut listener: Listener,
    identity: NodeIdentity,
    sender: mpsc::Sender<io::Result<ServerIo>>,
    shutdown: CancellationToken,
) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(stream) = listener.local.recv() => {
                if sender.send(Ok(ServerIo::Local(stream))).await.is_err() {
                    return;
                }
            }
            accepted = listener.tcp.accept() => match accepted {
                Ok((stream, addr)) => {
                    let acceptor = TlsAcceptor::from(identity.current().server_config());
                    tokio::spawn(handshake(acceptor, stream, addr, sender.clone()));
                }
                Err(error) => {
                    // Out of descriptors is the usual cause: pause rather than spin.
                    warn!(%error, "manager port cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    addr: SocketAddr,
    sender: mpsc::Sender<io::Result<ServerIo>>,
) {
    if let Err(error) = socket::tune(&stream) {
        debug!(%error, peer = %addr, "socket options not set");
    }
    let accepted = tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream)).await;
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            debug!(%error, peer = %addr, "TLS handshake refused");
            return;
        }
        Err(_) => {
            debug!(peer = %addr, "TLS handshake timed out");
            return;
        }
    };
    let certificate = match stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(<[_]>::first)
    {
        None => None,
        Some(leaf) => match PeerCertificate::read(leaf) {
            Ok(certificate) => Some(certificate),
            Err(error) => {
                debug!(%error, peer = %addr, "client certificate is not a node's");
                return;
            }
        },
    };
    let peer = Peer {
        remote_addr: Some(addr),
        certificate,
        is_local: false,
    };
    let _ = sender
        .send(Ok(ServerIo::Tls(Box::new(stream), Arc::new(peer))))
        .await;
}

/// One accepted connection.
#[derive(Debug)]
pub enum ServerIo {
    /// From another process, with what its certificate says.
    Tls(Box<TlsStream<TcpStream>>, Arc<Peer>),
    /// From this process.
    Local(DuplexStream),
}

impl Connected for ServerIo {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        match self {
            Self::Tls(_, peer) => Peer::clone(peer),
            Self::Local(_) => Peer {
                is_local: true,
                ..Peer::default()
            },
        }
    }
}

impl AsyncRead for ServerIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream, _) => Pin::new(stream).poll_read(cx, buf),
            Self::Local(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ServerIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tls(stream, _) => Pin::new(stream).poll_write(cx, buf),
            Self::Local(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream, _) => Pin::new(stream).poll_flush(cx),
            Self::Local(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream, _) => Pin::new(stream).poll_shutdown(cx),
            Self::Local(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
