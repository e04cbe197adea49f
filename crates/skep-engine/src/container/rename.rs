//! Giving a container another name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::name;
use crate::core::Core;
use crate::error::{EngineError, Result};

impl Core {
    pub(crate) async fn rename(self: &Arc<Self>, reference: &str, wanted: &str) -> Result<()> {
        if wanted.is_empty() {
            return Err(EngineError::invalid(
                "Neither old nor new names may be empty",
            ));
        }
        let in_vain = |error: EngineError| {
            let text = format!("Error when allocating new name: {error}");
            EngineError::refused(error.kind(), text)
        };
        let container = self.containers.find(reference)?;
        let new = name::validate(wanted).map_err(in_vain)?.to_owned();
        let _operation = container
            .operate(reference, || container.removal_in_progress())
            .await?;
        let old = container.with(|record, _| record.name.clone());
        if old == new {
            return Err(EngineError::invalid(
                "Renaming a container with the same name as its current name",
            ));
        }
        self.containers
            .reserve(&new, &container.id)
            .map_err(in_vain)?;
        if let Err(error) = container.change_record(|record| record.name.clone_from(&new)) {
            self.containers.release(&new, &container.id);
            return Err(error);
        }
        self.containers.release(&old, &container.id);
        let _network = container.network.lock().await;
        for settings in container.state().endpoints.values() {
            let names = settings.dns_names.clone().unwrap_or_default();
            let names: Vec<String> = names
                .into_iter()
                .map(|name| if name == old { new.clone() } else { name })
                .collect();
            let endpoint = settings.endpoint_id.clone();
            if !names.is_empty() {
                self.networks
                    .kernel("rename", move |net| net.rename(&endpoint, names))
                    .await?;
            }
        }
        self.publish(
            &container,
            "rename",
            BTreeMap::from([("oldName".to_owned(), format!("/{old}"))]),
        );
        Ok(())
    }
}
