//! `POST /services/{id}/rebalance`: what Docker has not. The leader moves the service's tasks, one
//! at a time and start-first, until they are even, see `skep_manager::orchestrator::rebalance`.

use std::collections::BTreeMap;

use proto::service_spec::Mode;
use skep_manager::orchestrator::rebalance::KIND;
use skep_manager::scheduler::strategy::Strategy;
use skep_objects::api::service::ServiceUpdateResponse;
use skep_objects::swarmkit as proto;
use tonic::Code;

use super::{ask, lookup};
use crate::http::call::{self, Call, Response};
use crate::http::error::{ApiError, Result};

/// Notes the wish; asking again while it is being fulfilled changes nothing.
pub async fn service(call: &Call, id: &str) -> Result<Response> {
    let manager = call.api.manager()?;
    let service = lookup::service(&manager, id).await?;
    let cluster = lookup::cluster(&manager).await?;
    check(&service, &cluster)?;
    let extension = proto::CreateExtensionRequest {
        annotations: named(KIND),
        description: "services whose tasks are to be evened out".to_owned(),
    };
    unless_exists(ask!(manager, create_extension, extension))?;
    let request = proto::CreateResourceRequest {
        annotations: named(&service.id),
        kind: KIND.to_owned(),
        payload: None,
    };
    unless_exists(ask!(manager, create_resource, request))?;
    call::ok(&ServiceUpdateResponse { warnings: None })
}

fn check(service: &proto::Service, cluster: &proto::Cluster) -> Result<()> {
    let spec = service.spec.clone().unwrap_or_default();
    let name = spec
        .annotations
        .as_ref()
        .map_or("", |annotations| &annotations.name);
    if !matches!(spec.mode, Some(Mode::Replicated(_)) | None) {
        return Err(ApiError::invalid(format!(
            "service {name} cannot be rebalanced: only replicated services have tasks that can move"
        )));
    }
    let labels = |annotations: Option<&proto::Annotations>| {
        annotations.map_or_else(BTreeMap::new, |annotations| annotations.labels.clone())
    };
    let of_swarm = cluster
        .spec
        .as_ref()
        .and_then(|spec| spec.annotations.as_ref());
    let strategy = Strategy::choose(&labels(spec.annotations.as_ref()), Some(&labels(of_swarm)));
    if strategy != Strategy::Spread {
        return Err(ApiError::invalid(format!(
            "service {name} cannot be rebalanced: its placement strategy is not spread"
        )));
    }
    Ok(())
}

fn named(name: &str) -> Option<proto::Annotations> {
    Some(proto::Annotations {
        name: name.to_owned(),
        ..Default::default()
    })
}

fn unless_exists<T>(answer: Result<T, tonic::Status>) -> Result<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) => Err(status.into()),
    }
}
