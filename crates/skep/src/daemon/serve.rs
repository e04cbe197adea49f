//! Accepts connections on every socket and owns the tasks that serve them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listener::{Listener, Tls};
use crate::http::socket::ClientSocket;
use crate::http::{Api, server};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client far away may be silent before it is asked whether it is there; as with Go's servers.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The pause when no more descriptors are to be had: accepting again at once would spin.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// The running server.
#[derive(Debug)]
pub struct Server {
    tasks: TaskTracker,
    files: Vec<PathBuf>,
}

impl Server {
    /// Serves `api` on `listeners` until `stop`.
    pub fn spawn(api: Arc<Api>, listeners: Vec<Listener>, stop: CancellationToken) -> Self {
        let tasks = TaskTracker::new();
        let mut files = Vec::new();
        for listener in listeners {
            if let Listener::Unix(_, Some(path)) = &listener {
                files.push(path.clone());
            }
            tasks.spawn(accept(listener, api.clone(), tasks.clone(), stop.clone()));
        }
        tasks.close();
        Self { tasks, files }
    }

    /// Waits for the requests under way, no longer than `patience`; then the sockets are gone.
    pub async fn drain(self, patience: Duration) {
        for file in &self.files {
            // A new daemon would replace it anyway.
            let _ = std::fs::remove_file(file);
        }
        if tokio::time::timeout(patience, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::debug!(open = self.tasks.len(), "connections are cut");
        }
    }
}

async fn accept(listener: Listener, api: Arc<Api>, tasks: TaskTracker, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accept_one(&listener, &api, &tasks, &stop) => accepted,
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(EXHAUSTED).await;
        }
    }
}

async fn accept_one(
    listener: &Listener,
    api: &Arc<Api>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let (api, stop) = (api.clone(), stop.clone());
    match listener {
        Listener::Unix(socket, _) => {
            let (io, _) = socket.accept().await?;
            let client = ClientSocket::local(&io).ok();
            tasks.spawn(server::connection(api, io, client, stop));
        }
        Listener::Tcp(socket, tls) => {
            let (io, peer) = socket.accept().await?;
            // Keystrokes of an attached terminal must not wait for more of them.
            io.set_nodelay(true)?;
            // Else a client whose host went away would be waited for, for ever.
            rustix::net::sockopt::set_socket_keepalive(&io, true)?;
            rustix::net::sockopt::set_tcp_keepidle(&io, KEEP_ALIVE)?;
            rustix::net::sockopt::set_tcp_keepintvl(&io, KEEP_ALIVE)?;
            let client = ClientSocket::remote(&io).ok();
            match tls.clone() {
                None => drop(tasks.spawn(server::connection(api, io, client, stop))),
                Some(Tls(acceptor)) => drop(tasks.spawn(async move {
                    match tokio::time::timeout(HANDSHAKE, acceptor.accept(io)).await {
                        Ok(Ok(io)) => server::connection(api, io, client, stop).await,
                        Ok(Err(error)) => tracing::info!(%peer, %error, "TLS handshake failed"),
                        Err(_) => tracing::info!(%peer, "TLS handshake took too long"),
                    }
                })),
            }
        }
    }
    Ok(())
}
