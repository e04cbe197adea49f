//! TLS to a daemon: the user's files, and what is wrong with them.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;

use crate::error::{CliError, io_text};

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

/// Whether a file can be read; else why not, in Docker's words.
pub(crate) fn must_be_readable(path: &PathBuf) -> Result<(), CliError> {
    std::fs::read(path)
        .map(drop)
        .map_err(|error| CliError::new(format!("open {}: {}", path.display(), io_text(&error))))
}

impl TlsFiles {
    /// What is wrong with files that are there, as Docker tells it.
    pub(super) fn check(&self) -> Result<(), CliError> {
        if let Some(ca) = self.ca.as_ref().filter(|ca| ca.exists()) {
            let certs =
                CertificateDer::pem_file_iter(ca).map(Iterator::collect::<Result<Vec<_>, _>>);
            if !matches!(certs, Ok(Ok(certs)) if !certs.is_empty()) {
                return Err(CliError::new(
                    "failed to retrieve context tls info: ca.pem seems invalid",
                ));
            }
        }
        let has_both = self.cert.exists() && self.key.exists();
        if has_both && PrivateKeyDer::from_pem_file(&self.key).is_err() {
            return Err(CliError::new("no valid private key found"));
        }
        Ok(())
    }
}

/// TLS over a connection.
pub(super) async fn secure(
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
    let config = if files.cert.exists() && files.key.exists() {
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
