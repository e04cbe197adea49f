//! How nodes talk: identity, mutual TLS, gRPC services and clients.

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
