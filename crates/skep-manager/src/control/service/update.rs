//! A service's spec replaced by another, or by the one before.

use std::mem::discriminant;

use prost_types::Timestamp;
use skep_objects::swarmkit::{
    JobStatus, Service, ServiceSpec, UpdateServiceRequest, UpdateServiceResponse, UpdateStatus,
    Version, update_service_request::Rollback, update_status::UpdateState,
};
use skep_store::Tx;

use super::{Answer, check, find, is_job};
use crate::control::{error::ControlError, validate::validate_service_spec};

/// Replaces a service's spec.
pub fn update(tx: &mut Tx, request: UpdateServiceRequest) -> Answer<UpdateServiceResponse> {
    let rollback = request.rollback() == Rollback::Previous;
    let (Some(version), Some(spec)) = (request.service_version, request.spec) else {
        return Err(ControlError::missing_argument());
    };
    if request.service_id.is_empty() {
        return Err(ControlError::missing_argument());
    }
    validate_service_spec(&spec)?;
    let stored = find(tx, &request.service_id)?.clone();
    may_become(&stored, &spec)?;
    let mut service = Service::clone(&stored);
    if rollback {
        roll_back(&mut service, tx.now())?;
    } else {
        replace_spec(&mut service, spec);
    }
    let now = tx.now();
    let spec = service.spec.get_or_insert_default();
    check::all(tx, spec, Some(&stored))?;
    if is_job(spec) {
        next_execution(&mut service.job_status, now);
    }
    service.meta.get_or_insert_default().version = Some(version);
    let service = tx.update_service(service)?;
    Ok(UpdateServiceResponse {
        service: Some(Service::clone(&service)),
    })
}

fn may_become(service: &Service, spec: &ServiceSpec) -> Answer<()> {
    let stored = service.spec.as_ref();
    let name = |spec: Option<&ServiceSpec>| {
        spec.and_then(|spec| spec.annotations.as_ref())
            .map(|annotations| annotations.name.clone())
    };
    if name(stored) != name(Some(spec)) {
        return Err(ControlError::Unimplemented(
            "renaming services is not supported".to_owned(),
        ));
    }
    let mode = |spec: &ServiceSpec| spec.mode.as_ref().map(discriminant);
    if stored.is_some_and(|stored| mode(stored) != mode(spec)) {
        return Err(ControlError::Unimplemented(
            "service mode change is not allowed".to_owned(),
        ));
    }
    Ok(())
}

/// The spec's version is that of the object before this update: the version of the update itself
/// is known only once it is written.
fn replace_spec(service: &mut Service, spec: ServiceSpec) {
    service.previous_spec = service.spec.replace(spec);
    service.previous_spec_version = service.spec_version.take();
    service.spec_version = service.meta.as_ref().and_then(|meta| meta.version);
    service.update_status = None;
}

fn roll_back(service: &mut Service, now: Timestamp) -> Answer<()> {
    let Some(previous) = service.previous_spec.take() else {
        let text = format!("service {} does not have a previous spec", service.id);
        return Err(ControlError::Precondition(text));
    };
    let version = service.previous_spec_version.take();
    service.previous_spec = service.spec.replace(previous);
    service.previous_spec_version = service.spec_version.take();
    service.spec_version = version;
    service.update_status = Some(UpdateStatus {
        state: UpdateState::RollbackStarted.into(),
        started_at: Some(now),
        completed_at: None,
        message: "manually requested rollback".to_owned(),
    });
    Ok(())
}

/// Every update runs a job again, even one that changes nothing.
fn next_execution(status: &mut Option<JobStatus>, now: Timestamp) {
    let status = status.get_or_insert_default();
    let iteration = status.job_iteration.map_or(0, |iteration| iteration.index);
    status.job_iteration = Some(Version {
        index: iteration + 1,
    });
    status.last_execution = Some(now);
}
