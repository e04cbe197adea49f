//! How nodes talk: identity, mutual TLS, gRPC services and clients.
//!
//! - [`identity`]: keys, certificates, join tokens, unlock keys, a node's files, and [`NodeIdentity`],
//!   the live credentials that everything here takes anew for each connection.
//! - [`server`]: a [`Listener`] makes the connections that `tonic::transport::Server` serves; each
//!   request carries its [`Peer`].
//! - [`forward`] outside [`authorize`]: calls go to the leader, then are allowed or refused; services
//!   find a [`Caller`].
//! - [`client`], [`Remotes`], [`Backoff`]: channels to managers, which manager, when again.
//! - [`bootstrap`]: the first certificate and later ones.
//!
//! Invariant: who a call acts for is read from a verified certificate, or from a manager's word about
//! one; never from what the caller says.

pub mod authorize;
mod backoff;
pub mod bootstrap;
pub mod cfssl;
pub mod client;
pub mod forward;
pub mod identity;
mod peer;
mod remotes;
pub mod server;
mod socket;
pub mod status;
pub mod tls;

pub use authorize::{AuthorizeLayer, Caller, ClusterTrust, caller_of};
pub use backoff::Backoff;
pub use client::{ConnectError, connect, connect_lazy, connect_local};
pub use forward::{ForwardLayer, Leader, LeaderLink};
pub use identity::NodeIdentity;
pub use peer::{Peer, PeerCertificate};
pub use remotes::Remotes;
pub use server::{Listener, LocalDialer};

/// Clients and servers of SwarmKit's services.
#[allow(missing_docs, missing_debug_implementations, clippy::all)]
pub mod swarmkit {
    include!(concat!(env!("OUT_DIR"), "/docker.swarmkit.v1.rs"));
}

/// Clients and servers of skep's own services.
#[allow(missing_docs, missing_debug_implementations, clippy::all)]
pub mod skep_v1 {
    include!(concat!(env!("OUT_DIR"), "/skep.v1.rs"));
}
