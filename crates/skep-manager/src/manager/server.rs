//! All services of a manager on one port.

use std::{sync::Arc, time::Duration};

use skep_rpc::{
    AuthorizeLayer, ForwardLayer, Listener, NodeIdentity,
    server::MAX_MESSAGE_BYTES,
    skep_v1::{
        endpoints_server::EndpointsServer as EndpointsGrpc,
        probes_server::ProbesServer as ProbesGrpc,
    },
    swarmkit::{
        ca_server::CaServer as CaGrpc, control_server::ControlServer as ControlGrpc,
        dispatcher_server::DispatcherServer as DispatcherGrpc,
        log_broker_server::LogBrokerServer as LogBrokerGrpc, logs_server::LogsServer as LogsGrpc,
        node_ca_server::NodeCaServer as NodeCaGrpc,
        resource_allocator_server::ResourceAllocatorServer as ResourceGrpc,
        watch_server::WatchServer as WatchGrpc,
    },
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::trust::StoreTrust;
use crate::{
    ca::server::CaServer,
    control::ControlServer,
    dispatcher::server::DispatcherServer,
    endpoints::EndpointsServer,
    leader::Slots,
    logbroker::{LogBrokerServer, LogsServer},
    probes::ProbesServer,
    raft::Quorum,
    resource::ResourceServer,
    slot::LateStore,
    watchapi::WatchServer,
};

/// How long open streams get to end by themselves.
const DRAIN: Duration = Duration::from_millis(500);

/// What the services work on.
pub struct Services {
    pub identity: NodeIdentity,
    pub advertise_addr: String,
    pub quorum: Quorum,
    pub control: ControlServer,
    pub store: LateStore,
    pub slots: Slots,
}

/// Serves until stopped.
pub async fn serve(listener: Listener, services: Services, stop: CancellationToken) {
    let Services {
        identity,
        advertise_addr,
        quorum,
        control,
        store,
        slots,
    } = services;
    let trust = StoreTrust {
        identity: identity.clone(),
        advertise_addr,
        store: store.clone(),
    };
    let ca = CaServer::new(store.clone());
    let incoming = listener.incoming(identity, stop.clone());
    let server = tonic::transport::Server::builder()
        .layer(ForwardLayer::new(Arc::new(quorum.clone())))
        .layer(AuthorizeLayer::new(Arc::new(trust)))
        .add_service(quorum.raft_service())
        .add_service(quorum.stream_service())
        .add_service(quorum.membership_service())
        .add_service(quorum.health_service())
        .add_service(CaGrpc::new(ca.clone()))
        .add_service(NodeCaGrpc::new(ca))
        .add_service(DispatcherGrpc::new(DispatcherServer::new(
            slots.dispatcher.clone(),
        )))
        .add_service(EndpointsGrpc::new(EndpointsServer::new(
            slots.endpoints,
            slots.dispatcher.clone(),
        )))
        .add_service(ProbesGrpc::new(ProbesServer::new(
            slots.probes,
            slots.dispatcher.clone(),
        )))
        .add_service(ResourceGrpc::new(ResourceServer::new(
            store.clone(),
            slots.dispatcher.clone(),
        )))
        .add_service(LogsGrpc::new(LogsServer::new(slots.logs.clone())))
        .add_service(LogBrokerGrpc::new(LogBrokerServer::new(
            slots.logs,
            slots.dispatcher,
        )))
        .add_service(WatchGrpc::new(WatchServer::new(store)))
        .add_service(ControlGrpc::new(control).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    // A stream whose other end does not let go must not hold up the stop.
    let cut = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = server => match served {
            Ok(()) => info!("manager's services have ended"),
            Err(error) => error!(%error, "manager's services failed"),
        },
        () = cut => info!("manager's services were cut off"),
    }
}
