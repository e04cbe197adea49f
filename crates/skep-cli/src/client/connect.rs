//! Where a daemon is, and how to get there.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::error::CliError;

const CONNECT_DEADLINE: Duration = Duration::from_secs(30);

/// Files of a TLS client.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Who may have signed the server's certificate; without it, the server is not checked.
    pub ca: Option<PathBuf>,
    /// The client's certificate, where the file exists.
    pub cert: PathBuf,
    /// The client's key.
    pub key: PathBuf,
}

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

async fn secure(
    stream: TcpStream,
    address: &str,
    files: &TlsFiles,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, CliError> {
    let bad = |what: &str, error: &dyn fmt::Display| CliError::new(format!("{what}: {error}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("tls", &error))?;
    let builder = match &files.ca {
        Some(path) => {
            let mut roots = rustls::RootCertStore::empty();
            for cert in CertificateDer::pem_file_iter(path).map_err(|error| {
                bad(
                    &format!("could not read CA certificate {}", path.display()),
                    &error,
                )
            })? {
                roots
                    .add(cert.map_err(|error| bad("CA certificate", &error))?)
                    .map_err(|error| bad("CA certificate", &error))?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unchecked(provider))),
    };
    let config = if files.cert.exists() {
        let chain = CertificateDer::pem_file_iter(&files.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| {
                bad(
                    &format!("could not load X509 key pair {}", files.cert.display()),
                    &error,
                )
            })?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| {
            bad(
                &format!("could not load X509 key pair {}", files.key.display()),
                &error,
            )
        })?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| bad("client certificate", &error))?
    } else {
        builder.with_no_client_auth()
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|error| bad("server name", &error))?;
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| bad(&format!("error during connect: tcp://{address}"), &error))
}

/// `--tls` without `--tlsverify`: the user asked for a server that is not checked.
#[derive(Debug)]
struct Unchecked(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
