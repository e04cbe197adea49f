//! This host as a node of a swarm.

use std::collections::BTreeMap;

use skep_objects::swarmkit;

use crate::config::EngineConfig;

/// Host name, platform, resources, engine.
pub(crate) fn describe(config: &EngineConfig) -> swarmkit::NodeDescription {
    let uname = rustix::system::uname();
    let cpus =
        std::thread::available_parallelism().map_or(1, |n| i64::try_from(n.get()).unwrap_or(1));
    let labels = config
        .labels
        .iter()
        .map(|label| label.split_once('=').unwrap_or((label, "")));
    let labels: BTreeMap<String, String> =
        labels.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let plugin = |kind: &str, name: &str| swarmkit::PluginDescription {
        r#type: kind.to_owned(),
        name: name.to_owned(),
    };
    let mut plugins: Vec<_> = crate::logs::DRIVERS.map(|name| plugin("Log", name)).into();
    plugins.extend(
        ["bridge", "host", "ipvlan", "macvlan", "null", "overlay"]
            .map(|name| plugin("Network", name)),
    );
    plugins.push(plugin("Volume", "local"));
    swarmkit::NodeDescription {
        hostname: uname.nodename().to_string_lossy().into_owned(),
        platform: Some(swarmkit::Platform {
            architecture: uname.machine().to_string_lossy().into_owned(),
            os: "linux".to_owned(),
        }),
        resources: Some(swarmkit::Resources {
            nano_cpus: cpus.saturating_mul(1_000_000_000),
            memory_bytes: memory_bytes(),
            generic: config
                .generic_resources
                .iter()
                .filter_map(|pair| generic(pair))
                .collect(),
        }),
        engine: Some(swarmkit::EngineDescription {
            engine_version: skep_objects::ENGINE_VERSION.to_owned(),
            labels,
            plugins,
        }),
        ..Default::default()
    }
}

/// `SSD=3` is a count, `GPU=UUID1` a name.
fn generic(pair: &str) -> Option<swarmkit::GenericResource> {
    use swarmkit::generic_resource::Resource;
    let (kind, value) = pair.split_once('=')?;
    let kind = kind.to_owned();
    let resource = match value.parse() {
        Ok(value) => {
            Resource::DiscreteResourceSpec(swarmkit::DiscreteGenericResource { kind, value })
        }
        Err(_) => Resource::NamedResourceSpec(swarmkit::NamedGenericResource {
            kind,
            value: value.to_owned(),
        }),
    };
    Some(swarmkit::GenericResource {
        resource: Some(resource),
    })
}

fn memory_bytes() -> i64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}
