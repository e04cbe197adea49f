//! Until when a certificate is valid.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use skep_rpc::identity::NodeCertificate;
use time::OffsetDateTime;

/// The end of the validity of a node's certificate, given as PEM.
pub fn certificate_expiry(pem: &[u8]) -> Option<SystemTime> {
    let certificate = NodeCertificate::from_pem(pem).ok()?;
    let seconds = u64::try_from(certificate.not_after().unix_timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// A time of the store as certificates count it.
pub fn date_time(stamp: &Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(stamp.seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
