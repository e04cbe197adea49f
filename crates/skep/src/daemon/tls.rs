//! TLS for the API's tcp sockets, with client certificates when `--tlsverify` says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::config::TlsConfig;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key cannot be read.
    #[error("could not load X509 key pair: read {}: {reason}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// They do not go together.
    #[error("could not load X509 key pair (cert: {}, key: {}): {reason}", cert.display(), key.display())]
    Pair {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        reason: String,
    },
    /// The CA of clients.
    #[error("could not read CA certificate {}: {reason}", path.display())]
    Ca {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).map_err(|err| err.to_string())?;
    let certs: Vec<_> = read
        .collect::<Result<_, _>>()
        .map_err(|err| err.to_string())?;
    if certs.is_empty() {
        Err("no certificate in it".to_owned())
    } else {
        Ok(certs)
    }
}

/// A server's settings, with the certificates that the configuration names.
pub fn server_config(config: &TlsConfig) -> Result<Arc<ServerConfig>, TlsError> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |reason| TlsError::Read { path, reason }
    };
    let chain = certificates(&config.cert).map_err(read(&config.cert))?;
    let key = PrivateKeyDer::from_pem_file(&config.key)
        .map_err(|err| read(&config.key)(err.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pair = |reason: String| TlsError::Pair {
        cert: config.cert.clone(),
        key: config.key.clone(),
        reason,
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|err| pair(err.to_string()))?;
    let builder = if config.verify {
        let ca = |reason: String| TlsError::Ca {
            path: config.ca.clone(),
            reason,
        };
        let mut roots = RootCertStore::empty();
        for cert in certificates(&config.ca).map_err(ca)? {
            roots.add(cert).map_err(|err| ca(err.to_string()))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
        builder.with_client_cert_verifier(verifier.map_err(|err| ca(err.to_string()))?)
    } else {
        builder.with_no_client_auth()
    };
    let mut server = builder
        .with_single_cert(chain, key)
        .map_err(|err| pair(err.to_string()))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}
