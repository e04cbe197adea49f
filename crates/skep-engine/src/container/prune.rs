//! Removing stopped containers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use skep_objects::api::container::PruneResponse;

use crate::core::Core;
use crate::engine::RemoveOptions;
use crate::error::Result;
use crate::filters::Filters;
use crate::timestamp;

impl Core {
    pub(crate) async fn prune(self: &Arc<Self>, filters: &Filters) -> Result<PruneResponse> {
        filters.validate(&["label", "label!", "until"])?;
        let until = crate::filters::until(filters, SystemTime::now())?;
        let mut response = PruneResponse::default();
        for container in self.containers.all() {
            let wanted = container.with(|record, state| {
                let labels = record.config.labels.clone().unwrap_or_default();
                !state.running
                    && filters.labels("label", &labels)
                    && filters.labels_absent(&labels)
                    && until.is_none_or(|until| {
                        timestamp::parse(&record.created).is_some_and(|at| at < until)
                    })
            });
            if !wanted {
                continue;
            }
            let (rw, _) = self.measure(&container).await?;
            if self
                .remove_container(&container, RemoveOptions::default())
                .await
                .is_ok()
            {
                response.space_reclaimed += u64::try_from(rw).unwrap_or(0);
                response
                    .containers_deleted
                    .get_or_insert_default()
                    .push(container.id.clone());
            }
        }
        let reclaimed =
            BTreeMap::from([("reclaimed".to_owned(), response.space_reclaimed.to_string())]);
        self.events.publish("container", "prune", "", reclaimed);
        Ok(response)
    }
}
