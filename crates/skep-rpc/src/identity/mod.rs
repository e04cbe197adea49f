//! Who a node is: keys, certificates, join tokens, and the files they are kept in.
//!
//! The layouts are SwarmKit's, so that a real dockerd and a skep accept each other's certificates
//! and tokens. Nothing here does network I/O; only [`files`] touches the disk.

mod base36;
pub(crate) mod certificate;
pub mod files;
mod kek;
mod keys;
mod node;
mod root;
mod token;

pub use certificate::{
    CertificateError, IssuerInfo, NodeCertificate, OU_MANAGER, OU_WORKER, SAN_CA,
};
pub use files::{FilesError, KeyHeaders, NodeFiles};
pub use kek::{Kek, KekError};
pub use keys::{Csr, KeyError, NodeKey};
pub use node::{Credentials, NodeIdentity};
pub use root::{
    MIN_NODE_LIFE, NODE_LIFE, NodeCertificateRequest, ROOT_LIFE, RootBundle, RootError, SigningRoot,
};
pub use token::{JoinToken, RootDigest, TokenError};
