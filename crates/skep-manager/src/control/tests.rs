//! The rules of the control API, against a store in memory.

mod cluster;
mod networks;
mod nodes;
mod others;
mod secrets;
mod services;
mod tasks;

use std::sync::Arc;

use prost_types::Duration;
use skep_objects::swarmkit::{
    raft_member_status::Reachability, service_spec::Mode, task_spec::Runtime, *,
};
use skep_rpc::swarmkit::control_server::Control;
use skep_store::{Store, Tx, TxError};
use tonic::{Code, Request, Response, Status};

use super::{ControlServer, Member, Members, members::keeps_quorum};

struct FakeMembers(Vec<Member>);

impl Members for FakeMembers {
    fn all(&self) -> Vec<Member> {
        self.0.clone()
    }

    fn can_remove(&self, raft_id: u64) -> bool {
        keeps_quorum(&self.0, raft_id)
    }
}

fn member(number: u64, reachable: bool) -> Member {
    Member {
        raft_id: number,
        node_id: format!("m{number}"),
        addr: format!("10.0.0.{number}:2377"),
        leader: number == 1,
        reachability: if reachable {
            Reachability::Reachable
        } else {
            Reachability::Unreachable
        },
    }
}

struct World {
    store: Store,
    control: ControlServer,
}

impl World {
    fn new(members: Vec<Member>) -> Self {
        let store = Store::in_memory();
        let control = ControlServer::new(store.clone(), Arc::new(FakeMembers(members)));
        Self { store, control }
    }

    async fn put<T>(&self, change: impl FnOnce(&mut Tx) -> Result<T, TxError>) {
        self.store.update(change).await.map(drop).unwrap();
    }

    async fn service(&self, spec: ServiceSpec) -> Service {
        let request = CreateServiceRequest { spec: Some(spec) };
        ask(self.control.create_service(Request::new(request)).await)
            .service
            .unwrap()
    }

    async fn create_service(
        &self,
        spec: ServiceSpec,
    ) -> Result<Response<CreateServiceResponse>, Status> {
        self.control
            .create_service(Request::new(CreateServiceRequest { spec: Some(spec) }))
            .await
    }

    async fn update_service(
        &self,
        service: &Service,
        spec: ServiceSpec,
        rollback: i32,
    ) -> Result<Response<UpdateServiceResponse>, Status> {
        let request = UpdateServiceRequest {
            service_id: service.id.clone(),
            service_version: service.meta.as_ref().unwrap().version,
            spec: Some(spec),
            rollback,
        };
        self.control.update_service(Request::new(request)).await
    }

    async fn network(&self, name: &str, ingress: bool) -> Network {
        let spec = NetworkSpec {
            annotations: named(name),
            ingress,
            ..Default::default()
        };
        let request = CreateNetworkRequest { spec: Some(spec) };
        ask(self.control.create_network(Request::new(request)).await)
            .network
            .unwrap()
    }

    async fn remove_network(&self, id: &str) -> Result<Response<RemoveNetworkResponse>, Status> {
        let request = RemoveNetworkRequest {
            network_id: id.to_owned(),
            ..Default::default()
        };
        self.control.remove_network(Request::new(request)).await
    }

    async fn secret(
        &self,
        name: &str,
        data: &[u8],
    ) -> Result<Response<CreateSecretResponse>, Status> {
        let spec = SecretSpec {
            annotations: named(name),
            data: data.to_vec(),
            ..Default::default()
        };
        self.control
            .create_secret(Request::new(CreateSecretRequest { spec: Some(spec) }))
            .await
    }
}

fn named(name: &str) -> Option<Annotations> {
    Some(Annotations {
        name: name.to_owned(),
        ..Default::default()
    })
}

fn spec(name: &str) -> ServiceSpec {
    let container = ContainerSpec {
        image: "nginx".to_owned(),
        ..Default::default()
    };
    ServiceSpec {
        annotations: named(name),
        task: Some(
            TaskSpec {
                runtime: Some(Runtime::Container(container)),
                ..Default::default()
            }
            .into(),
        ),
        mode: Some(Mode::Replicated(ReplicatedService { replicas: 2 })),
        ..Default::default()
    }
}

fn published(name: &str, port: u32, publish_mode: i32) -> ServiceSpec {
    let port = PortConfig {
        published_port: port,
        target_port: 80,
        publish_mode,
        ..Default::default()
    };
    ServiceSpec {
        endpoint: Some(EndpointSpec {
            mode: 0,
            ports: vec![port],
        }),
        ..spec(name)
    }
}

fn with_container(name: &str, change: impl FnOnce(&mut ContainerSpec)) -> ServiceSpec {
    let mut spec = spec(name);
    let Some(Runtime::Container(container)) = &mut spec.task.as_mut().unwrap().runtime else {
        panic!("no container");
    };
    change(container);
    spec
}

fn ask<T>(answer: Result<Response<T>, Status>) -> T {
    answer.unwrap().into_inner()
}

fn refused<T: std::fmt::Debug>(answer: Result<Response<T>, Status>, code: Code, text: &str) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, text));
}
