//! How a node comes by its certificates: the root bundle checked by the token's digest, the first
//! certificate by token, later ones by the certificate it has.

use std::sync::Arc;
use std::time::Duration;

use skep_objects::ErrorKind;
use skep_objects::swarmkit::issuance_status::State as Issuance;
use skep_objects::swarmkit::node_spec::Availability;
use skep_objects::swarmkit::{
    GetRootCaCertificateRequest, GetUnlockKeyRequest, IssueNodeCertificateRequest,
    NodeCertificateStatusRequest, NodeCertificateStatusResponse, NodeRole,
};
use time::OffsetDateTime;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tracing::debug;

use crate::backoff::Backoff;
use crate::client::{self, CALL_DEADLINE, ConnectError, DIAL_DEADLINE};
use crate::identity::{
    CertificateError, Credentials, Csr, JoinToken, Kek, KekError, KeyError, NodeCertificate,
    NodeKey, RootBundle, RootError, SAN_CA,
};
use crate::status::rpc_text;
use crate::swarmkit::ca_client::CaClient;
use crate::swarmkit::node_ca_client::NodeCaClient;
use crate::tls::{self, TlsError};

const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);

/// Why a node does not get its certificate.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The manager's root bundle is not the one the token was made for.
    #[error("remote CA does not match fingerprint. Expected: {expected}")]
    Fingerprint {
        /// Hex digest in the token.
        expected: String,
    },
    /// A manager cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A manager refuses.
    #[error("{}", rpc_text(.0))]
    Rpc(Status),
    /// The CA gave up on this certificate.
    #[error("certificate was not issued: {0}")]
    Refused(String),
    /// The roots are broken, or do not vouch for what came back.
    #[error(transparent)]
    Root(#[from] RootError),
    /// What came back is not a node certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The unlock key that came back is not one.
    #[error(transparent)]
    Kek(#[from] KekError),
    /// No key or request could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// TLS refuses roots, key or certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl BootstrapError {
    /// Whether another try may go better.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(e) => !e.is_certificate(),
            Self::Rpc(status) => !matches!(
                status.code(),
                Code::InvalidArgument | Code::PermissionDenied | Code::NotFound
            ),
            _ => false,
        }
    }

    /// Nobody listens there.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Connect(error) if error.is_refused())
    }

    /// The kind of this error, for status codes.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect(_) => ErrorKind::Unavailable,
            Self::Rpc(status) if status.code() == Code::InvalidArgument => {
                ErrorKind::InvalidArgument
            }
            _ => ErrorKind::Internal,
        }
    }
}

/// Downloads the root bundle of an unverified manager and holds it against the token.
pub async fn fetch_root(addr: &str, token: &JoinToken) -> Result<RootBundle, BootstrapError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match download_root(addr).await {
            Ok(pem) if token.matches(&pem) => return Ok(RootBundle::from_pem(&pem)?),
            Ok(_) => {
                let expected = token.digest().to_hash_string().replace("sha256:", "");
                return Err(BootstrapError::Fingerprint { expected });
            }
            Err(error) if tries < TRIES && error.is_transient() && !error.is_refused() => {
                debug!(%error, addr, "root CA download is tried again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Downloads the root bundle again for a node whose certificate no longer leads to its roots. Taken
/// on trust, except that it must vouch for the node's certificate.
pub async fn refresh_root(
    addr: &str,
    certificate: &NodeCertificate,
) -> Result<RootBundle, BootstrapError> {
    let bundle = RootBundle::from_pem(&download_root(addr).await?)?;
    bundle.validate(certificate, OffsetDateTime::now_utc())?;
    Ok(bundle)
}

async fn download_root(addr: &str) -> Result<Vec<u8>, BootstrapError> {
    let config = Arc::new(tls::unverified_client_config()?);
    let channel = client::connect_with(addr, SAN_CA, config, DIAL_DEADLINE).await?;
    let answer = CaClient::new(channel)
        .get_root_ca_certificate(with_deadline(GetRootCaCertificateRequest {}))
        .await
        .map_err(BootstrapError::Rpc)?;
    Ok(answer.into_inner().certificate)
}

/// A certificate fresh from the CA.
#[derive(Debug)]
pub struct Issued {
    /// Key, chain and roots.
    pub credentials: Credentials,
    /// A manager's KEK, where autolock is on.
    pub kek: Option<Kek>,
    /// Cluster version that the KEK is from; 0 for workers.
    pub kek_version: u64,
}

/// Gets the first certificate from the manager at `addr`.
pub async fn join(
    addr: &str,
    roots: &RootBundle,
    token: &JoinToken,
    availability: Availability,
) -> Result<Issued, BootstrapError> {
    let config = Arc::new(tls::anonymous_client_config(roots)?);
    let channel = client::connect_with(addr, SAN_CA, config, DIAL_DEADLINE).await?;
    let key = NodeKey::generate()?;
    let csr = key.csr()?;
    let request = IssueNodeCertificateRequest {
        csr: csr.pem().to_vec(),
        token: token.to_string(),
        availability: availability.into(),
        ..Default::default()
    };
    let chain = request_certificate(channel, request, &csr).await?;
    let credentials = accept(key, &chain, roots)?;
    with_unlock_key(credentials, addr).await
}

/// Gets a new certificate for a node that has one. `channel` acts with its present identity;
/// `addr` is where a manager's unlock key is asked for.
pub async fn renew(
    channel: Channel,
    addr: Option<&str>,
    roots: &RootBundle,
) -> Result<Issued, BootstrapError> {
    let key = NodeKey::generate()?;
    let csr = key.csr()?;
    let request = IssueNodeCertificateRequest {
        csr: csr.pem().to_vec(),
        ..Default::default()
    };
    let chain = request_certificate(channel.clone(), request, &csr).await?;
    let credentials = accept(key, &chain, roots)?;
    match addr {
        Some(addr) => with_unlock_key(credentials, addr).await,
        None => unlock_key_from(credentials, channel).await,
    }
}

async fn request_certificate(
    channel: Channel,
    request: IssueNodeCertificateRequest,
    csr: &Csr,
) -> Result<Vec<u8>, BootstrapError> {
    let mut client = NodeCaClient::new(channel);
    let answer = client
        .issue_node_certificate(with_deadline(request))
        .await
        .map_err(BootstrapError::Rpc)?;
    let node_id = answer.into_inner().node_id;
    let mut backoff = Backoff::linear(
        Duration::from_secs(1),
        Duration::from_secs(1),
        Duration::from_secs(30),
    );
    loop {
        let request = NodeCertificateStatusRequest {
            node_id: node_id.clone(),
        };
        match client.node_certificate_status(with_deadline(request)).await {
            Ok(answer) => {
                if let Some(outcome) = final_answer(answer.into_inner(), csr) {
                    return outcome;
                }
            }
            Err(status) if status.code() == Code::NotFound => {
                return Err(BootstrapError::Rpc(status));
            }
            Err(error) => debug!(%error, "certificate status is asked again"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// `None` while the answer is not about our request or not final.
fn final_answer(
    answer: NodeCertificateStatusResponse,
    csr: &Csr,
) -> Option<Result<Vec<u8>, BootstrapError>> {
    let status = answer.status?;
    let certificate = answer.certificate?;
    if certificate.csr != csr.pem() {
        return None;
    }
    match status.state() {
        Issuance::Issued | Issuance::Rotate => Some(Ok(certificate.certificate)),
        Issuance::Failed => Some(Err(BootstrapError::Refused(status.err))),
        Issuance::Unknown | Issuance::Renew | Issuance::Pending => None,
    }
}

fn accept(key: NodeKey, chain: &[u8], roots: &RootBundle) -> Result<Credentials, BootstrapError> {
    let certificate = NodeCertificate::from_pem(chain)?;
    roots.validate(&certificate, OffsetDateTime::now_utc())?;
    Ok(Credentials::new(key, certificate, roots.clone())?)
}

async fn with_unlock_key(credentials: Credentials, addr: &str) -> Result<Issued, BootstrapError> {
    if credentials.certificate().role() == NodeRole::Worker {
        return Ok(Issued {
            credentials,
            kek: None,
            kek_version: 0,
        });
    }
    let config = credentials.client_config();
    let channel = client::connect_with(addr, SAN_CA, config, DIAL_DEADLINE).await?;
    unlock_key_from(credentials, channel).await
}

async fn unlock_key_from(
    credentials: Credentials,
    channel: Channel,
) -> Result<Issued, BootstrapError> {
    if credentials.certificate().role() == NodeRole::Worker {
        return Ok(Issued {
            credentials,
            kek: None,
            kek_version: 0,
        });
    }
    let (kek, kek_version) = unlock_key(channel).await?;
    Ok(Issued {
        credentials,
        kek,
        kek_version,
    })
}

fn with_deadline<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_DEADLINE);
    request
}

/// A manager's KEK and the version of the cluster that it is from; `channel` acts as a manager.
pub async fn unlock_key(channel: Channel) -> Result<(Option<Kek>, u64), BootstrapError> {
    let answer = CaClient::new(channel)
        .get_unlock_key(with_deadline(GetUnlockKeyRequest {}))
        .await
        .map_err(BootstrapError::Rpc)?
        .into_inner();
    let key = answer.unlock_key;
    let kek = if key.is_empty() {
        None
    } else {
        Some(Kek::from_bytes(&key)?)
    };
    Ok((kek, answer.version.map_or(0, |v| v.index)))
}
