//! Networks that are joined and left by hand, also while the container runs.

use std::net::IpAddr;
use std::sync::Arc;

use skep_objects::ErrorKind;
use skep_objects::api::network::EndpointSettings;

use super::Container;
use super::endpoints::{GATEWAY_ENDPOINT, best_way_out, validate_endpoint, with_fixed_ports};
use super::etc_files::{self, Resolver};
use super::record::{Record, RunState};
use crate::core::Core;
use crate::error::{EngineError, Result};
use crate::network::{NetworkRecord, Publishing};

impl Core {
    /// Joins one more network.
    pub(crate) async fn connect(
        &self,
        network: Arc<NetworkRecord>,
        reference: &str,
        wanted: EndpointSettings,
    ) -> Result<()> {
        let container = self.containers.find(reference)?;
        let _operation = container
            .operate(reference, || marked_for_removal(&container))
            .await?;
        let _network = container.network.lock().await;
        let (record, state) = (container.record(), container.state());
        // One that waits for its restart has no namespace: it joins with its next start.
        let is_live = state.running && !state.netns.is_empty();
        refuse_modes(&record, &network)?;
        validate_endpoint(&network.name, &wanted)?;
        // What does not run may be told anew how it is to join.
        if state.running && record.endpoints.contains_key(&network.name) {
            return Err(EngineError::not_allowed(format!(
                "endpoint with name {} already exists in network {}",
                record.name, network.name
            )));
        }
        let wanted = EndpointSettings {
            network_id: network.id.clone(),
            ..wanted
        };
        if is_live {
            let member = record.member(&state.netns);
            let lease = self.networks.lease(network.clone(), &member, &wanted)?;
            // Which way leads out is settled when it is known what all of them are.
            let joined = self.join(lease, &member, false).await?;
            let recorded = container.change_record(|record| {
                record
                    .endpoints
                    .insert(network.name.clone(), wanted.clone())
            });
            if let Err(error) = recorded {
                // Nobody would know of it, and its address would never be free again.
                let left = self
                    .networks
                    .leave(&network, &container.id, &joined.settings);
                if let Err(error) = left.await {
                    tracing::warn!(container.id = %container.id, network.id = %network.id, %error, "endpoint not given up");
                }
                return Err(error);
            }
            container.note_state(|state| {
                state
                    .endpoints
                    .insert(network.name.clone(), joined.settings);
            });
            if !network.is_default_bridge() {
                // As it is now: links and forwarding are of all its networks.
                self.serve_names(&container.record()).await?;
                let text =
                    etc_files::resolv_conf(&record.host_config, &self.config, Resolver::Embedded);
                etc_files::write(&container.dir.join("resolv.conf"), &text)?;
            }
        } else {
            container
                .change_record(|record| record.endpoints.insert(network.name.clone(), wanted))?;
        }
        name_itself(&container, &state)?;
        self.settle_way_out(&container, best_way_out(&state.endpoints))
            .await
    }

    /// Leaves one network.
    pub(crate) async fn disconnect(
        &self,
        network: Arc<NetworkRecord>,
        reference: &str,
        force: bool,
    ) -> Result<()> {
        let container = match self.containers.find(reference) {
            Err(error) if force && error.kind() == ErrorKind::NotFound => {
                return Err(EngineError::not_found(format!(
                    "endpoint {reference} not found"
                )));
            }
            found => found?,
        };
        let operation = container.operate(reference, || marked_for_removal(&container));
        let _operation = match operation.await {
            Err(error) if force && error.kind() == ErrorKind::NotFound => return Ok(()),
            operation => operation?,
        };
        let _network = container.network.lock().await;
        let (record, state) = (container.record(), container.state());
        if record.host_config.network_mode == "host" {
            return Err(EngineError::invalid(
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        if !record.endpoints.contains_key(&network.name) {
            return Err(EngineError::not_allowed(format!(
                "container {} is not connected to network {}",
                container.id, network.name
            )));
        }
        if let Some(settings) = state.endpoints.get(&network.name) {
            self.networks
                .leave(&network, &container.id, settings)
                .await?;
            container.change_state(|state| state.endpoints.remove(&network.name))?;
        }
        container.change_record(|record| record.endpoints.remove(&network.name))?;
        if state.running && !state.netns.is_empty() && !network.is_default_bridge() {
            self.serve_names(&container.record()).await?;
        }
        name_itself(&container, &state)?;
        self.settle_way_out(&container, best_way_out(&state.endpoints))
            .await
    }
}

impl Core {
    /// After a network was joined or left: default route and published ports follow the best way out.
    async fn settle_way_out(&self, container: &Container, before: Option<String>) -> Result<()> {
        let (record, state) = (container.record(), container.state());
        let best = best_way_out(&state.endpoints);
        if !state.running || state.netns.is_empty() || best == before {
            return Ok(());
        }
        let member = record.member(&state.netns);
        let (mut ips, mut publishing) = (Vec::new(), Publishing::default());
        if let Some((name, settings)) = best.as_ref().and_then(|b| state.endpoints.get_key_value(b))
        {
            let network = self.network_of(name, settings)?;
            if network.driver == "bridge" {
                publishing = self.networks.publishing(&network)?;
                let own = [&settings.ip_address, &settings.global_ipv6_address];
                ips.extend(own.into_iter().filter_map(|ip| ip.parse::<IpAddr>().ok()));
            }
            self.networks
                .adopt(network, &member, settings, true)
                .await?;
        }
        let owner = record.id.clone();
        self.networks
            .kernel("take back published ports", move |net| {
                net.unpublish(&owner)
            })
            .await?;
        let mut again = RunState {
            endpoints: state.endpoints.clone(),
            ..RunState::default()
        };
        let fixed = with_fixed_ports(&record, &state);
        self.publish_ports(&record, &fixed, &ips, &publishing, &mut again)
            .await?;
        container.change_state(|state| state.ports = again.ports)?;
        Ok(())
    }
}

fn marked_for_removal(container: &Container) -> String {
    format!(
        "Container {} is marked for removal and cannot be connected or disconnected to the network",
        container.id
    )
}

fn refuse_modes(record: &Record, network: &NetworkRecord) -> Result<()> {
    let mode = &record.host_config.network_mode;
    if mode == "host" || network.driver == "host" {
        return Err(EngineError::invalid(
            "container cannot be disconnected from host network or connected to host network",
        ));
    }
    if super::oci::shared(mode).is_some() {
        return Err(EngineError::invalid(
            "container sharing network namespace with another container or host cannot be connected to any other network",
        ));
    }
    if mode == "none" || network.driver == "null" {
        return Err(EngineError::invalid(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        ));
    }
    Ok(())
}

/// `/etc/hosts` names the container with the addresses that it has now, in place of those before.
fn name_itself(container: &Container, before: &RunState) -> Result<()> {
    let (record, now) = (container.record(), container.state());
    if !now.running || now.netns.is_empty() {
        return Ok(());
    }
    let path = container.dir.join("hosts");
    let text = std::fs::read_to_string(&path).map_err(EngineError::io("read", &path))?;
    let changed = etc_files::with_own(&text, &record.config, &addresses(before), &addresses(&now));
    if changed != text {
        etc_files::write(&path, &changed)?;
    }
    Ok(())
}

fn addresses(state: &RunState) -> Vec<IpAddr> {
    let visible = state
        .endpoints
        .iter()
        .filter(|(name, _)| *name != GATEWAY_ENDPOINT);
    let texts = visible.flat_map(|(_, e)| [&e.ip_address, &e.global_ipv6_address]);
    texts.filter_map(|ip| ip.parse().ok()).collect()
}
