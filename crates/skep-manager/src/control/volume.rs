//! Cluster volumes. They need a CSI plugin, of which skep has none yet: they cannot be made, and
//! those that came with a swarm made by dockerd can be seen, drained and removed.

use std::{collections::BTreeMap, sync::Arc};

use skep_objects::swarmkit::{
    CreateVolumeResponse, GetVolumeRequest, GetVolumeResponse, ListVolumesRequest,
    ListVolumesResponse, RemoveVolumeRequest, RemoveVolumeResponse, UpdateVolumeRequest,
    UpdateVolumeResponse, Volume, VolumeSpec,
};
use skep_store::{StoreObject, Tx, View};

use super::{
    error::ControlError,
    filter::{any, name_filter},
};

type Answer<T> = Result<T, ControlError>;

/// Refused, with the reason.
pub fn create() -> Answer<CreateVolumeResponse> {
    Err(ControlError::Unimplemented(
        "cluster volumes need a CSI plugin, and skep does not run CSI plugins".to_owned(),
    ))
}

/// One volume, by id.
pub fn get(view: &View, request: &GetVolumeRequest) -> Answer<GetVolumeResponse> {
    let volume = find(view, &request.volume_id)?;
    Ok(GetVolumeResponse {
        volume: Some(Volume::clone(volume)),
    })
}

/// The volumes that pass the filters.
pub fn list(view: &View, request: ListVolumesRequest) -> Answer<ListVolumesResponse> {
    let filters = request.filters.unwrap_or_default();
    let empty = BTreeMap::new();
    let passing = view.volumes().filter(|volume| {
        let spec = volume.spec.as_ref();
        let annotations = spec.and_then(|spec| spec.annotations.as_ref());
        let labels = annotations.map_or(&empty, |annotations| &annotations.labels);
        let driver = spec
            .and_then(|spec| spec.driver.as_ref())
            .map_or("", |driver| &driver.name);
        let group = spec.map_or("", |spec| &spec.group);
        name_filter!(filters).passes(&volume.id, volume.name(), labels)
            && any(&filters.groups, |wanted| wanted == group)
            && any(&filters.drivers, |wanted| wanted == driver)
    });
    Ok(ListVolumesResponse {
        volumes: passing.map(|volume| Volume::clone(volume)).collect(),
    })
}

/// Changes labels and availability: nothing else of a volume can change.
pub fn update(tx: &mut Tx, request: UpdateVolumeRequest) -> Answer<UpdateVolumeResponse> {
    let (Some(version), Some(spec)) = (request.volume_version, request.spec) else {
        return Err(ControlError::missing_argument());
    };
    let stored = find(tx, &request.volume_id)?.clone();
    let was = stored.spec.clone().unwrap_or_default();
    let fixed = VolumeSpec {
        annotations: was.annotations.clone(),
        availability: was.availability,
        ..spec.clone()
    };
    if fixed != was
        || spec
            .annotations
            .as_ref()
            .is_some_and(|a| a.name != stored.name())
    {
        return Err(ControlError::Invalid(
            "only the labels and the availability of a volume can be changed".to_owned(),
        ));
    }
    let mut volume = Volume::clone(&stored);
    volume.spec = Some(spec);
    volume.meta.get_or_insert_default().version = Some(version);
    let volume = tx.update_volume(volume)?;
    Ok(UpdateVolumeResponse {
        volume: Some(Volume::clone(&volume)),
    })
}

/// Forgets a volume that is published nowhere; by force, wherever it is.
pub fn remove(tx: &mut Tx, request: &RemoveVolumeRequest) -> Answer<RemoveVolumeResponse> {
    let volume = find(tx, &request.volume_id)?;
    if !volume.publish_status.is_empty() && !request.force {
        return Err(ControlError::Precondition(
            "volume is still in use".to_owned(),
        ));
    }
    tx.remove_volume(&request.volume_id)?;
    Ok(RemoveVolumeResponse {})
}

fn find<'a>(view: &'a View, id: &str) -> Answer<&'a Arc<Volume>> {
    if id.is_empty() {
        return Err(ControlError::missing_argument());
    }
    view.volume(id)
        .ok_or_else(|| ControlError::not_found("volume", id))
}
