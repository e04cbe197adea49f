//! The socket behind a connection, for handlers that take the connection over.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll;
use tokio::net::unix::pipe;

/// A client's socket.
#[derive(Debug, Clone)]
pub struct ClientSocket {
    descriptor: Arc<OwnedFd>,
    is_local: bool,
}

impl ClientSocket {
    /// Another descriptor of a socket of this host.
    pub fn local(socket: impl AsFd) -> std::io::Result<Self> {
        Self::of(socket, true)
    }

    /// Another descriptor of a socket to wherever.
    pub fn remote(socket: impl AsFd) -> std::io::Result<Self> {
        Self::of(socket, false)
    }

    fn of(socket: impl AsFd, is_local: bool) -> std::io::Result<Self> {
        Ok(Self {
            descriptor: Arc::new(socket.as_fd().try_clone_to_owned()?),
            is_local,
        })
    }

    /// Waits, not for long, until the client has read all that was written. Over TCP nothing can be asked.
    ///
    /// Clients in Python read the head of an answer through a buffer and the stream after it around
    /// that buffer: what comes together with the head is lost to them.
    pub async fn is_read(&self) {
        for _ in 0..100 {
            if !self.is_local
                || skep_runtime::unread_by_peer(self.descriptor.as_fd()).unwrap_or(0) == 0
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until the client is gone for good. One that has only ended its own sending, as
    /// `docker run -i < file` does, goes on reading and is not gone; over TCP a client that closed looks
    /// the same until something is sent to it.
    pub async fn hung_up(&self) {
        let heard = match self.watch() {
            Ok(watched) => watched.readable().await,
            Err(error) => Err(error),
        };
        if heard.is_err() {
            std::future::pending().await
        }
    }

    /// Becomes readable once both directions are shut, or the connection broke: of those the kernel
    /// tells who asks for nothing. Input, which is somebody else's to read, and its end wake nobody.
    fn watch(&self) -> std::io::Result<pipe::Receiver> {
        let own = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let (data, nothing) = (epoll::EventData::new_u64(0), epoll::EventFlags::empty());
        epoll::add(&own, &*self.descriptor, data, nothing)?;
        // Polled like a pipe.
        pipe::Receiver::from_file_unchecked(own.into())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_client_is_gone_when_it_neither_sends_nor_reads() {
        let (mut client, server) = UnixStream::pair().expect("a pair");
        let socket = ClientSocket::local(&server).expect("a descriptor");
        let mut gone = tokio::spawn(async move { socket.hung_up().await });
        client.write_all(b"input").await.expect("sent");
        client.shutdown().await.expect("half closed");
        let early = tokio::time::timeout(Duration::from_millis(50), &mut gone).await;
        assert!(early.is_err(), "it reads on");
        drop(client);
        let done = tokio::time::timeout(LONG, gone).await;
        done.expect("noticed").expect("no panic");
    }

    #[tokio::test]
    async fn a_client_that_was_gone_before_is_noticed_too() {
        let (client, server) = UnixStream::pair().expect("a pair");
        drop(client);
        let socket = ClientSocket::local(&server).expect("a descriptor");
        let done = tokio::time::timeout(LONG, socket.hung_up()).await;
        done.expect("noticed");
    }
}
