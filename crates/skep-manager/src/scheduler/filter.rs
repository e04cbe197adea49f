//! What a task asks of a node, and why a node is refused.

use std::collections::BTreeMap;

use skep_objects::swarmkit::{
    Mount, Node, Platform, PluginDescription, PortConfig, TaskSpec, mount, node_spec::Availability,
    node_status, port_config::PublishMode, task_spec,
};

use super::constraint::Constraint;
use super::generic;
use super::nodes::NodeState;

/// A port taken on the node itself: protocol number and port.
pub type HostPort = (i32, u32);

/// Why a node was refused, in the order of the filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Down, drained or paused.
    NotReady,
    /// Reservations do not fit.
    Resources,
    /// A network, volume or log plugin is not there.
    Plugin,
    /// A placement constraint does not hold.
    Constraint,
    /// The image has no variant for the node.
    Platform,
    /// Another task has the host port.
    HostPort,
    /// `max_replicas` tasks of the service are there.
    MaxReplicas,
    /// A cluster volume cannot be used there.
    Volumes,
}

impl Refusal {
    /// As Docker prints it, for `count` nodes.
    fn explain(self, count: usize) -> String {
        let on = |what: &str| match count {
            1 => format!("{what} on 1 node"),
            _ => format!("{what} on {count} nodes"),
        };
        match self {
            Self::NotReady if count == 1 => "1 node not available for new tasks".to_owned(),
            Self::NotReady => format!("{count} nodes not available for new tasks"),
            Self::Resources => on("insufficient resources"),
            Self::Plugin => on("missing plugin"),
            Self::Constraint => on("scheduling constraints not satisfied"),
            Self::Platform => on("unsupported platform"),
            Self::HostPort => on("host-mode port already in use"),
            Self::MaxReplicas => "max replicas per node limit exceed".to_owned(),
            Self::Volumes => on("cannot fulfill requested CSI volume mounts"),
        }
    }
}

/// Refusals counted over nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals(BTreeMap<Refusal, usize>);

impl Refusals {
    /// Counts one more node.
    pub fn add(&mut self, refusal: Refusal) {
        *self.0.entry(refusal).or_default() += 1;
    }

    /// The reasons, commonest first; empty when there is no node at all.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut reasons: Vec<_> = self
            .0
            .iter()
            .map(|(refusal, count)| (*count, *refusal))
            .collect();
        reasons.sort_by_key(|(count, refusal)| (std::cmp::Reverse(*count), *refusal));
        let texts: Vec<_> = reasons
            .iter()
            .map(|(count, refusal)| refusal.explain(*count))
            .collect();
        texts.join("; ")
    }

    /// The text that `docker service ps` shows for a task that has no node.
    #[must_use]
    pub fn no_suitable_node(&self) -> String {
        match self.explain() {
            reasons if reasons.is_empty() => "no suitable node".to_owned(),
            reasons => format!("no suitable node ({reasons})"),
        }
    }
}

/// What changes on a node only with the node's own object: the same for all tasks of one kind, so
/// that the nodes which pass can be remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// Plugins by (type, name).
    plugins: Vec<(String, String)>,
    constraints: Vec<Constraint>,
    /// (os, architecture), normalised; empty parts match anything.
    platforms: Vec<(String, String)>,
}

/// What a task takes from a node while it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// Reserved CPU in 10⁻⁹.
    pub nano_cpus: i64,
    /// Reserved memory.
    pub memory_bytes: i64,
    /// Counts by kind of generic resource.
    pub generic: Vec<(String, i64)>,
    /// Ports published on the node itself.
    pub host_ports: Vec<HostPort>,
}

/// All that a task asks of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// The part that only the node's object decides.
    pub kind: Kind,
    /// The part that other tasks compete for.
    pub demand: Demand,
    /// Tasks of one service allowed on one node; 0 = any number.
    pub max_replicas: u64,
    /// A cluster volume is mounted. They need CSI plugins, which no node has.
    pub cluster_volumes: bool,
}

impl Demand {
    /// What a task of this spec takes.
    #[must_use]
    pub fn of<'a>(spec: &TaskSpec, ports: impl Iterator<Item = &'a PortConfig>) -> Self {
        let reserved = spec
            .resources
            .as_ref()
            .and_then(|resources| resources.reservations.as_ref());
        let host_ports = ports
            .filter(|port| port.publish_mode() == PublishMode::Host && port.published_port != 0)
            .map(|port| (port.protocol, port.published_port))
            .collect();
        Self {
            nano_cpus: reserved.map_or(0, |reserved| reserved.nano_cpus),
            memory_bytes: reserved.map_or(0, |reserved| reserved.memory_bytes),
            generic: reserved.map_or(Vec::new(), |reserved| generic::wanted(&reserved.generic)),
            host_ports,
        }
    }
}

impl Requirements {
    /// Reads them off a task; `network_drivers` are those of the networks it is attached to.
    #[must_use]
    pub fn of<'a>(
        spec: &TaskSpec,
        ports: impl Iterator<Item = &'a PortConfig>,
        network_drivers: impl Iterator<Item = &'a str>,
    ) -> Self {
        let placement = spec.placement.as_ref();
        let constraints = placement
            .and_then(|placement| Constraint::parse_all(&placement.constraints).ok())
            .unwrap_or_default();
        let platforms = placement.map_or(Vec::new(), |placement| {
            placement.platforms.iter().map(normalised).collect()
        });
        let mut plugins: Vec<_> = network_drivers
            .map(|driver| ("Network".to_owned(), driver.to_owned()))
            .collect();
        if let Some(task_spec::Runtime::Container(container)) = &spec.runtime {
            plugins.extend(
                container
                    .mounts
                    .iter()
                    .filter_map(volume_driver)
                    .map(|driver| ("Volume".to_owned(), driver.to_owned())),
            );
        }
        if let Some(driver) = &spec.log_driver
            && !matches!(driver.name.as_str(), "" | "none")
        {
            plugins.push(("Log".to_owned(), driver.name.clone()));
        }
        plugins.sort();
        plugins.dedup();
        Self {
            kind: Kind {
                plugins,
                constraints,
                platforms,
            },
            demand: Demand::of(spec, ports),
            max_replicas: placement.map_or(0, |placement| placement.max_replicas),
            cluster_volumes: mounts_cluster_volume(spec),
        }
    }

    /// The first filter that refuses the node; `here` = active tasks of the same service there.
    pub fn refusal(&self, state: &NodeState, here: u32) -> Option<Refusal> {
        if !is_ready(&state.node) {
            return Some(Refusal::NotReady);
        }
        if !self.resources_fit(state) {
            return Some(Refusal::Resources);
        }
        if let Some(refusal) = self.kind.refusal(&state.node) {
            return Some(refusal);
        }
        self.crowded(state, here)
    }

    /// As [`Self::refusal`] for a node that is known to pass what only its object decides.
    pub fn refusal_by_others(&self, state: &NodeState, here: u32) -> Option<Refusal> {
        if !self.resources_fit(state) {
            return Some(Refusal::Resources);
        }
        self.crowded(state, here)
    }

    fn resources_fit(&self, state: &NodeState) -> bool {
        let demand = &self.demand;
        (demand.nano_cpus == 0 || demand.nano_cpus <= state.nano_cpus)
            && (demand.memory_bytes == 0 || demand.memory_bytes <= state.memory_bytes)
            && (demand.generic.is_empty() || state.generic.covers(&demand.generic))
    }

    fn crowded(&self, state: &NodeState, here: u32) -> Option<Refusal> {
        if self
            .demand
            .host_ports
            .iter()
            .any(|port| state.host_ports.contains_key(port))
        {
            return Some(Refusal::HostPort);
        }
        if self.max_replicas > 0 && u64::from(here) >= self.max_replicas {
            return Some(Refusal::MaxReplicas);
        }
        self.cluster_volumes.then_some(Refusal::Volumes)
    }
}

impl Kind {
    /// Whether the node's own object lets tasks of this kind in.
    #[must_use]
    pub fn accepts(&self, node: &Node) -> bool {
        is_ready(node) && self.refusal(node).is_none()
    }

    fn refusal(&self, node: &Node) -> Option<Refusal> {
        if !self
            .plugins
            .iter()
            .all(|(kind, name)| has_plugin(node, kind, name))
        {
            return Some(Refusal::Plugin);
        }
        if !self
            .constraints
            .iter()
            .all(|constraint| constraint.matches(node))
        {
            return Some(Refusal::Constraint);
        }
        (!self.platform_fits(node)).then_some(Refusal::Platform)
    }

    fn platform_fits(&self, node: &Node) -> bool {
        if self.platforms.is_empty() {
            return true;
        }
        let Some(platform) = node.description.as_ref().and_then(|d| d.platform.as_ref()) else {
            return false;
        };
        let (node_os, node_arch) = normalised(platform);
        self.platforms.iter().any(|(os, arch)| {
            (os.is_empty() || *os == node_os) && (arch.is_empty() || *arch == node_arch)
        })
    }
}

/// Whether new tasks may go to the node at all.
#[must_use]
pub fn is_ready(node: &Node) -> bool {
    let ready = node
        .status
        .as_ref()
        .is_some_and(|status| status.state() == node_status::State::Ready);
    ready
        && node
            .spec
            .as_ref()
            .is_none_or(|spec| spec.availability() == Availability::Active)
}

fn normalised(platform: &Platform) -> (String, String) {
    let architecture = match platform.architecture.as_str() {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    (platform.os.clone(), architecture.to_owned())
}

fn volume_driver(mount: &Mount) -> Option<&str> {
    if mount.r#type() != mount::Type::Volume {
        return None;
    }
    let driver = mount.volume_options.as_ref()?.driver_config.as_ref()?;
    (!matches!(driver.name.as_str(), "" | "local")).then_some(driver.name.as_str())
}

fn mounts_cluster_volume(spec: &TaskSpec) -> bool {
    let Some(task_spec::Runtime::Container(container)) = &spec.runtime else {
        return false;
    };
    let mut mounts = container.mounts.iter();
    mounts.any(|mount| mount.r#type() == mount::Type::Cluster)
}

fn has_plugin(node: &Node, kind: &str, name: &str) -> bool {
    let Some(engine) = node.description.as_ref().and_then(|d| d.engine.as_ref()) else {
        return true;
    };
    let same_name = |plugin: &PluginDescription| {
        plugin.name == name || plugin.name.strip_suffix(":latest") == Some(name)
    };
    let mut of_kind = engine
        .plugins
        .iter()
        .filter(|plugin| plugin.r#type == kind)
        .peekable();
    // An engine too old to list its log drivers is taken at its word.
    (kind == "Log" && of_kind.peek().is_none()) || of_kind.any(same_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(refusals: &[Refusal]) -> String {
        let mut counted = Refusals::default();
        refusals.iter().for_each(|refusal| counted.add(*refusal));
        counted.no_suitable_node()
    }

    #[test]
    fn refusals_are_explained_commonest_first() {
        assert_eq!(explain(&[]), "no suitable node");
        assert_eq!(
            explain(&[Refusal::Constraint; 3]),
            "no suitable node (scheduling constraints not satisfied on 3 nodes)"
        );
        assert_eq!(
            explain(&[Refusal::NotReady, Refusal::Resources, Refusal::Resources]),
            "no suitable node (insufficient resources on 2 nodes; \
             1 node not available for new tasks)"
        );
        assert_eq!(
            explain(&[Refusal::MaxReplicas, Refusal::MaxReplicas]),
            "no suitable node (max replicas per node limit exceed)"
        );
    }
}
