//! Tasks: an attachment with addresses for each network, and the service's endpoint.

use skep_objects::swarmkit::{NetworkAttachment, Task, TaskState};
use skep_store::{TxError, View};

use super::services::AllocateError;
use super::{Allocator, Held, attachment_configs, ingress_network, networks, ports};
use crate::pass::Pass;
use crate::transitions::{self, Owner};

const MESSAGE: &str = "pending task scheduling";

impl Allocator {
    pub(super) fn restore_task(&mut self, task: &Task) {
        if task.has_stopped() {
            return;
        }
        let held: Vec<Held> = held(&task.networks);
        for (network, address) in &held {
            self.networks.restore_address(network, address);
        }
        if !held.is_empty() {
            self.tasks.insert(task.id.as_str().into());
        }
    }

    /// Gives back what the task has, once. Whether it had anything.
    fn release_task(&mut self, task: &Task) -> bool {
        let held = held(&task.networks);
        let gives = !held.is_empty() && self.tasks.remove(task.id.as_str());
        if gives {
            self.release(Some(held));
        }
        gives
    }

    pub(super) fn observe_task(&mut self, task: &Task, view: &View) {
        let Some(current) = view.task(&task.id) else {
            self.release_task(task);
            self.blocked.tasks.remove(&task.id);
            self.starved.remove(&task.id);
            self.touch_node(&task.node_id);
            return;
        };
        match current.observed_state() {
            TaskState::New if !self.is_blocked_task(&task.id) => {
                self.pending.tasks.insert(task.id.clone());
            }
            TaskState::Assigned => self.touch_node(&current.node_id),
            state if state.is_terminal() => {
                let gave = self.release_task(current);
                if gave {
                    self.touch_node(&current.node_id);
                }
            }
            _ => {}
        }
    }

    fn touch_node(&mut self, node: &str) {
        if !node.is_empty() {
            self.pending.nodes.insert(node.to_owned());
        }
    }

    pub(super) fn plan_task(&mut self, id: &str, pass: &mut Pass<'_>) -> Result<(), TxError> {
        let took = self.try_task(id, pass)?;
        self.pending.tasks.extend(self.starved.tried(id, took));
        Ok(())
    }

    /// Gives a new task what it needs. Whether it was given all of it.
    fn try_task(&mut self, id: &str, pass: &mut Pass<'_>) -> Result<bool, TxError> {
        let Some(task) = pass
            .tx
            .task(id)
            .filter(|task| task.observed_state() == TaskState::New)
        else {
            return Ok(false);
        };
        // A task that is not wanted any more needs no addresses.
        if task.wanted_state() > TaskState::Complete {
            return Ok(false);
        }
        let mut task = Task::clone(task);
        let allocated = self.allocate_task(&mut task, pass.tx);
        let took = allocated.is_ok();
        match allocated {
            Ok(()) => {
                transitions::advance(
                    &mut task,
                    Owner::Allocator,
                    TaskState::Pending,
                    MESSAGE,
                    pass.now,
                );
            }
            Err(error) => {
                match &error {
                    AllocateError::Starved { network, .. } => self.starved.insert(id, network),
                    _ => drop(self.blocked.tasks.insert(id.to_owned())),
                }
                if matches!(error, AllocateError::ServicePending) {
                    return Ok(false);
                }
                transitions::explain(&mut task, &error.to_string(), pass.now);
                if pass.tx.task(id).is_some_and(|stored| **stored == task) {
                    return Ok(false);
                }
            }
        }
        pass.tx.update_task(task)?;
        Ok(took)
    }

    fn allocate_task(&mut self, task: &mut Task, view: &View) -> Result<(), AllocateError> {
        let service = view.service(&task.service_id);
        if self.blocked.services.contains(task.service_id.as_str())
            || (service.is_none() && !task.service_id.is_empty())
        {
            return Err(AllocateError::ServicePending);
        }
        if let Some(endpoint) = service.and_then(|service| service.endpoint.as_ref()) {
            task.endpoint = Some(endpoint.clone());
        }
        let mut attachments = Vec::new();
        let published = task.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
        if published.clone().any(ports::is_ingress) {
            let ingress = ingress_network(view).ok_or(AllocateError::NoIngress)?;
            attachments.push((NetworkAttachment::default(), ingress, &[][..]));
        }
        let spec = service.and_then(|service| service.spec.as_ref());
        for config in attachment_configs(task.spec.as_deref(), spec) {
            let network = view
                .network(&config.target)
                .ok_or_else(|| networks::NetworkError::Unknown(config.target.clone()))?;
            let attachment = NetworkAttachment {
                aliases: config.aliases.clone(),
                driver_attachment_opts: config.driver_attachment_opts.clone(),
                ..Default::default()
            };
            attachments.push((attachment, network, &config.addresses));
        }
        let mut done = Vec::new();
        for (mut attachment, network, wished) in attachments {
            let addresses = if networks::is_overlay(network) {
                self.networks.take_addresses(&network.id, wished)
            } else if networks::is_allocated(network) {
                Ok(Vec::new())
            } else {
                Err(networks::NetworkError::Unknown(network.id.clone()))
            };
            match addresses {
                Ok(addresses) => attachment.addresses = addresses,
                Err(error) => {
                    for (network, address) in held(&done) {
                        self.release_address(&network, &address);
                    }
                    return Err(match error {
                        // One that was asked for by number has to come back itself.
                        networks::NetworkError::Address(_) if wished.is_empty() => {
                            let network = network.id.clone();
                            AllocateError::Starved { network, error }
                        }
                        other => other.into(),
                    });
                }
            }
            attachment.network = Some(network.into());
            done.push(attachment);
        }
        let held = held(&done);
        if !held.is_empty() {
            self.tasks.insert(task.id.as_str().into());
        }
        task.networks = done;
        Ok(())
    }
}

fn held(attachments: &[NetworkAttachment]) -> Vec<Held> {
    let pairs = attachments
        .iter()
        .filter_map(|attachment| Some((&attachment.network.as_ref()?.id, &attachment.addresses)));
    pairs
        .flat_map(|(network, addresses)| addresses.iter().map(|a| (network.clone(), a.clone())))
        .collect()
}
