//! The certificate authority of a swarm: who may join, and certificates for those who may.
//!
//! - [`server`]: the CA and NodeCA services. They only write requests into the store and read
//!   answers from it.
//! - [`signing`]: the loop on the leader that answers the requests.
//! - [`rotation`] and [`reconcile`]: from one root to the next, without a moment in which two nodes
//!   distrust each other.
//! - [`external`]: certificates from an external CA.
//! - [`tokens`]: join tokens.

pub mod expiry;
pub mod external;
pub mod reconcile;
pub mod rotation;
pub mod seed;
pub mod server;
pub mod signer;
pub mod signing;
pub mod tokens;
