//! Removing networks that nobody is on.

use std::collections::BTreeMap;
use std::time::SystemTime;

use skep_objects::api::network::NetworkPrune;

use super::{GATEWAY_BRIDGE, Networks};
use crate::error::Result;
use crate::filters::Filters;
use crate::timestamp;

impl Networks {
    /// Removes networks without endpoints.
    ///
    /// # Errors
    /// An unknown filter.
    pub async fn prune(&self, filters: &Filters) -> Result<NetworkPrune> {
        filters.validate(&["until", "label", "label!"])?;
        let until = crate::filters::until(filters, SystemTime::now())?;
        let _changes = self.0.changes.lock().await;
        let wanted: Vec<_> = self
            .state()
            .by_id
            .values()
            .filter(|network| {
                !network.is_predefined() && !network.swarm && network.name != GATEWAY_BRIDGE
            })
            .filter(|network| {
                until.is_none_or(|until| {
                    timestamp::parse(&network.created).is_some_and(|at| at < until)
                })
            })
            .filter(|network| {
                filters.labels("label", &network.labels())
                    && filters.labels_absent(&network.labels())
            })
            .cloned()
            .collect();
        let mut pruned = NetworkPrune::default();
        for network in wanted {
            if !self.is_in_use(&network.id) && self.remove_local(&network).await.is_ok() {
                pruned
                    .networks_deleted
                    .get_or_insert_default()
                    .push(network.name.clone());
            }
        }
        let reclaimed = BTreeMap::from([("reclaimed".to_owned(), "0".to_owned())]);
        self.0.events.publish("network", "prune", "", reclaimed);
        Ok(pruned)
    }
}
