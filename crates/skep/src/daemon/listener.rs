//! The sockets that the API is served on: unix, tcp with or without TLS, and inherited ones.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use super::config::{Config, TlsConfig};
use super::tls::{self, TlsError};

/// Where skep listens besides its own socket, unless another engine does.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Our own default socket.
const SKEP_SOCKET: &str = "/run/skep/skep.sock";
/// Owner group of unix sockets when none is asked for and it exists.
const DEFAULT_GROUP: &str = "docker";
/// The first descriptor that socket activation passes.
const FIRST_INHERITED: i32 = 3;

/// Why a socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not an address that we know.
    #[error("invalid bind address ({0}): want unix://path, tcp://host:port or fd://")]
    Address(String),
    /// Another daemon answers there.
    #[error("can't create unix socket {}: is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The kernel refuses.
    #[error("listen on {address}: {source}")]
    Io {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// Anyone who can reach it would be root here.
    #[error(
        "refusing to serve {0} without TLS: whoever reaches it is root on this machine; use --tlsverify, or --tls=false to allow it"
    )]
    Clear(String),
    /// The group asked for does not exist.
    #[error("group {0} not found")]
    Group(String),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No sockets were passed.
    #[error("no sockets found via socket activation: make sure the service was started by systemd")]
    NotActivated,
}

/// A socket that is being listened on.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket; its file goes away with it when we made it.
    Unix(UnixListener, Option<PathBuf>),
    /// A tcp socket, with TLS or in the clear.
    Tcp(TcpListener, Option<Tls>),
}

/// A TLS server's settings.
#[derive(Clone)]
pub struct Tls(pub TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

fn io(address: impl Into<String>) -> impl FnOnce(std::io::Error) -> ListenError {
    let address = address.into();
    move |source| ListenError::Io { address, source }
}

/// Opens every socket that the configuration names, or the default ones.
pub async fn bind_all(config: &Config) -> Result<Vec<Listener>, ListenError> {
    let group = config.group.as_deref();
    if config.hosts.is_empty() {
        return bind_defaults(group).await;
    }
    let mut listeners = Vec::new();
    for host in &config.hosts {
        let (scheme, rest) = host.split_once("://").unwrap_or(("tcp", host));
        match scheme {
            "unix" => {
                let path = if rest.is_empty() { DOCKER_SOCKET } else { rest };
                listeners.push(bind_unix(Path::new(path), group).await?);
            }
            "tcp" => listeners.push(bind_tcp(rest, &config.tls).await?),
            "fd" => listeners.extend(inherited(rest, config)?),
            _ => return Err(ListenError::Address(host.clone())),
        }
    }
    Ok(listeners)
}

/// Our own socket, and Docker's unless another engine answers there.
async fn bind_defaults(group: Option<&str>) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = vec![bind_unix(Path::new(SKEP_SOCKET), group).await?];
    match bind_unix(Path::new(DOCKER_SOCKET), group).await {
        Ok(listener) => listeners.push(listener),
        Err(error) => {
            tracing::info!(%error, "not serving /var/run/docker.sock; use DOCKER_HOST=unix:///run/skep/skep.sock");
        }
    }
    Ok(listeners)
}

async fn bind_unix(path: &Path, group: Option<&str>) -> Result<Listener, ListenError> {
    let address = || format!("unix://{}", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(io(address()))?;
    }
    if path.exists() {
        if tokio::net::UnixStream::connect(path).await.is_ok() {
            return Err(ListenError::InUse(path.to_owned()));
        }
        // Left by a daemon that was killed.
        std::fs::remove_file(path).map_err(io(address()))?;
    }
    // Nobody may connect before owner and mode are right: it is made under another name.
    let unborn = path.with_extension(format!("new-{}", std::process::id()));
    let _ = std::fs::remove_file(&unborn);
    let listener = UnixListener::bind(&unborn).map_err(io(address()))?;
    let gid = gid_of(group)?;
    let owner = rustix::fs::chown(&unborn, None, gid.map(rustix::fs::Gid::from_raw));
    owner.map_err(|errno| io(address())(errno.into()))?;
    std::fs::set_permissions(&unborn, std::fs::Permissions::from_mode(0o660))
        .map_err(io(address()))?;
    std::fs::rename(&unborn, path).map_err(io(address()))?;
    Ok(Listener::Unix(listener, Some(path.to_owned())))
}

/// The group's number; none when the default group does not exist.
fn gid_of(group: Option<&str>) -> Result<Option<u32>, ListenError> {
    let name = group.unwrap_or(DEFAULT_GROUP);
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    // Read here: the C library's look-up loads plugins, which a static program must not.
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let entry = groups
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| {
            (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
        });
    match entry {
        None if group.is_some() => Err(ListenError::Group(name.to_owned())),
        found => Ok(found),
    }
}

async fn bind_tcp(rest: &str, config: &TlsConfig) -> Result<Listener, ListenError> {
    let tls = acceptor(rest, config)?;
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (rest, ""),
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let port = match (port, tls.is_some()) {
        ("", true) => "2376",
        ("", false) => "2375",
        (port, _) => port,
    };
    let address = format!("{host}:{port}");
    let listener = TcpListener::bind(&address)
        .await
        .map_err(io(format!("tcp://{address}")))?;
    Ok(Listener::Tcp(listener, tls))
}

fn acceptor(address: &str, config: &TlsConfig) -> Result<Option<Tls>, ListenError> {
    match config.enabled {
        Some(true) => {
            let server: Arc<ServerConfig> = tls::server_config(config)?;
            Ok(Some(Tls(TlsAcceptor::from(server))))
        }
        Some(false) => {
            tracing::warn!(
                addr = address,
                "serving the API in the clear: whoever reaches it is root on this machine"
            );
            Ok(None)
        }
        None => Err(ListenError::Clear(format!("tcp://{address}"))),
    }
}

/// Sockets that systemd opened for us: all of them, or the one whose number is given.
fn inherited(which: &str, config: &Config) -> Result<Vec<Listener>, ListenError> {
    let variable = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<i32>().ok())
    };
    let ours =
        variable("LISTEN_PID").is_some_and(|pid| u32::try_from(pid) == Ok(std::process::id()));
    let count = variable("LISTEN_FDS").unwrap_or(0);
    if !ours || count < 1 {
        return Err(ListenError::NotActivated);
    }
    let numbers: Vec<i32> = match which.trim_matches(['*', '/']) {
        "" => (FIRST_INHERITED..FIRST_INHERITED + count).collect(),
        one => vec![
            one.parse()
                .map_err(|_| ListenError::Address(format!("fd://{which}")))?,
        ],
    };
    numbers
        .into_iter()
        .map(|number| from_descriptor(number, config))
        .collect()
}

fn from_descriptor(number: i32, config: &Config) -> Result<Listener, ListenError> {
    let address = format!("fd://{number}");
    let fd = duplicate(number).map_err(|errno| io(&address)(errno.into()))?;
    let domain = rustix::net::sockopt::socket_domain(&fd);
    if domain.map_err(|errno| io(&address)(errno.into()))? == rustix::net::AddressFamily::UNIX {
        let socket = std::os::unix::net::UnixListener::from(fd);
        socket.set_nonblocking(true).map_err(io(&address))?;
        return Ok(Listener::Unix(
            UnixListener::from_std(socket).map_err(io(&address))?,
            None,
        ));
    }
    let socket = std::net::TcpListener::from(fd);
    socket.set_nonblocking(true).map_err(io(&address))?;
    let tls = acceptor(&address, &config.tls)?;
    Ok(Listener::Tcp(
        TcpListener::from_std(socket).map_err(io(&address))?,
        tls,
    ))
}

/// An owned copy of an inherited descriptor, taken through our own pidfd: a bare number cannot be
/// owned without unsafe code.
fn duplicate(number: i32) -> rustix::io::Result<OwnedFd> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    pidfd_getfd(own, number, PidfdGetfdFlags::empty())
}
