//! Where a daemon is, and how to get there.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::tls::{TlsFiles, secure};
use crate::error::CliError;

const CONNECT_DEADLINE: Duration = Duration::from_secs(30);

/// A daemon's address.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// Host and port, with TLS or without.
    Tcp {
        /// `host:port`.
        address: String,
        /// TLS, if it is spoken.
        tls: Option<TlsFiles>,
    },
    /// Another host's `docker system dial-stdio`, through the program `ssh`.
    Ssh(String),
}

/// A connection, whatever it runs over.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Endpoint {
    /// Reads `unix://path`, `tcp://host:port` or `http(s)://host:port`.
    pub fn parse(host: &str, tls: Option<TlsFiles>) -> Result<Self, CliError> {
        if let Some(path) = host.strip_prefix("unix://") {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let address = ["tcp://", "http://", "https://"]
            .iter()
            .find_map(|scheme| host.strip_prefix(scheme));
        match address {
            Some(address) => {
                let address = address.trim_end_matches('/');
                let port = if tls.is_some() { 2376 } else { 2375 };
                let address = if has_port(address) {
                    address.to_owned()
                } else {
                    format!("{address}:{port}")
                };
                Ok(Self::Tcp { address, tls })
            }
            None if host.starts_with("ssh://") => Ok(Self::Ssh(host.to_owned())),
            None if host.contains("://") => Err(CliError::new(format!(
                "invalid bind address format: {host}"
            ))),
            None => Err(CliError::new(format!(
                "unable to parse docker host `{host}`"
            ))),
        }
    }

    /// Tells what is wrong with TLS files before anything is asked.
    pub(crate) fn checked(self) -> Result<Self, CliError> {
        if let Self::Tcp {
            tls: Some(files), ..
        } = &self
        {
            files.check()?;
        }
        Ok(self)
    }

    /// What goes into the `Host` header.
    pub(super) fn host_header(&self) -> &str {
        match self {
            Self::Unix(_) => "api.moby.localhost",
            Self::Ssh(_) => "docker.example.com",
            Self::Tcp { address, .. } => address,
        }
    }

    pub(crate) async fn connect(&self) -> Result<TokioIo<Box<dyn Io>>, CliError> {
        let refused = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => CliError::new(format!(
                "permission denied while trying to connect to the Docker daemon socket at {self}: {error}"
            )),
            _ => CliError::new(format!(
                "Cannot connect to the Docker daemon at {self}. Is the docker daemon running?"
            )),
        };
        let io: Box<dyn Io> = match self {
            Self::Ssh(host) => Box::new(super::ssh::connect(host)?),
            Self::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(refused)?),
            Self::Tcp { address, tls } => {
                let late = || std::io::Error::from(std::io::ErrorKind::TimedOut);
                let stream = tokio::time::timeout(CONNECT_DEADLINE, TcpStream::connect(address))
                    .await
                    .map_err(|_| late())
                    .and_then(|result| result)
                    .map_err(refused)?;
                match tls {
                    None => Box::new(stream),
                    Some(files) => Box::new(secure(stream, address, files).await?),
                }
            }
        };
        Ok(TokioIo::new(io))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Ssh(host) => f.write_str(host),
            Self::Tcp { address, .. } => write!(f, "tcp://{address}"),
        }
    }
}

fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
    })
}
