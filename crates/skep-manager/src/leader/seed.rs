//! What a swarm has from its first moment: the cluster object, its founder, its first networks.

use skep_objects::{
    ids::new_id,
    swarmkit::{
        Annotations, CaConfig, Certificate, Cluster, ClusterSpec, DispatcherConfig, Driver,
        EncryptionConfig, EncryptionKey, IpamConfig, IssuanceStatus, Network, NetworkSpec, Node,
        NodeRole, NodeSpec, OrchestrationConfig, RaftConfig, RootCa, TaskDefaults,
        encryption_key::Algorithm,
        issuance_status::State,
        node_spec::{Availability, Membership},
    },
    timestamp::duration_message,
};
use skep_rpc::identity::RootDigest;
use skep_store::{Tx, TxError};

use super::keys::initial_keys;
use crate::{
    allocator::local_v6,
    backup::Restoration,
    ca::tokens::new_tokens,
    control::network::PREDEFINED_LABEL,
    defaults,
    unlock::{MANAGER_SUBSYSTEM, follow_autolock, unlock_key},
};

/// Networks that each node has by itself, and services can be attached to.
const PREDEFINED: [&str; 2] = ["bridge", "host"];

/// What the founder decided about the new swarm.
#[derive(Debug, Clone, Default)]
pub struct NewCluster {
    /// Settings; what is unset gets its default.
    pub spec: ClusterSpec,
    /// The root's certificate, PEM.
    pub root_cert: Vec<u8>,
    /// The root's key, PEM; empty where an external CA has it.
    pub root_key: Vec<u8>,
    /// Where networks' subnets come from; empty for the default.
    pub default_address_pool: Vec<String>,
    /// Prefix length of those subnets; 0 for the default.
    pub subnet_size: u32,
    /// UDP port of the data path; 0 for the default.
    pub data_path_port: u32,
    /// The unlock key, where managers are to lock themselves and the founder has done so.
    pub unlock_key: Option<Vec<u8>>,
    /// A backup, in place of everything above.
    pub restore: Option<Restoration>,
}

/// The manager that seeds.
#[derive(Debug, Clone)]
pub struct Founder<'a> {
    /// Its node id.
    pub node_id: &'a str,
    /// The cluster's id, as in its certificate.
    pub cluster_id: &'a str,
    /// Its certificate, PEM.
    pub certificate: &'a [u8],
    /// Whether it takes tasks.
    pub availability: Availability,
}

/// Creates what is missing. A cluster can only be made by somebody who knows what it should be:
/// `new` is none on managers that joined.
pub fn seed(tx: &mut Tx, founder: &Founder<'_>, new: Option<&NewCluster>) -> Result<(), TxError> {
    if tx.the_cluster().is_none()
        && let Some(new) = new.filter(|new| new.restore.is_none())
    {
        tx.create_cluster(cluster(founder.cluster_id, new))?;
        tx.create_network(ingress(founder.cluster_id))?;
    }
    if tx.node(founder.node_id).is_none() {
        let port = tx
            .the_cluster()
            .map_or(defaults::VXLAN_PORT, |cluster| cluster.vxlanudp_port);
        tx.create_node(Node {
            vxlanudp_port: port,
            ..own_node(founder)
        })?;
    }
    for name in PREDEFINED {
        if tx.network_by_name(name).is_none() {
            tx.create_network(predefined(name))?;
        }
    }
    Ok(())
}

fn cluster(id: &str, new: &NewCluster) -> Cluster {
    let (keys, clock) = initial_keys();
    let or = |value: u32, default: u32| if value == 0 { default } else { value };
    let mut cluster = Cluster {
        id: id.to_owned(),
        spec: Some(with_defaults(new.spec.clone())),
        root_ca: Some(RootCa {
            ca_key: new.root_key.clone(),
            ca_cert: new.root_cert.clone(),
            ca_cert_hash: RootDigest::of(&new.root_cert).to_hash_string(),
            join_tokens: Some(new_tokens(&new.root_cert)),
            ..RootCa::default()
        }),
        network_bootstrap_keys: keys,
        encryption_key_lamport_clock: clock,
        default_address_pool: new.default_address_pool.clone(),
        subnet_size: or(new.subnet_size, defaults::SUBNET_SIZE),
        vxlanudp_port: or(new.data_path_port, defaults::VXLAN_PORT),
        ..Cluster::default()
    };
    if cluster.default_address_pool.is_empty() {
        cluster
            .default_address_pool
            .push(defaults::ADDRESS_POOL.to_owned());
    }
    if let Some(key) = &new.unlock_key {
        cluster.unlock_keys.push(EncryptionKey {
            subsystem: MANAGER_SUBSYSTEM.to_owned(),
            algorithm: Algorithm::Aes128Gcm.into(),
            key: key.clone(),
            lamport_time: 0,
        });
    }
    follow_autolock(&mut cluster, false);
    tracing::info!(
        cluster.id = id,
        is_locked = unlock_key(&cluster).is_some(),
        "swarm founded"
    );
    cluster
}

fn with_defaults(mut spec: ClusterSpec) -> ClusterSpec {
    spec.annotations.get_or_insert_default().name = defaults::CLUSTER_NAME.to_owned();
    spec.orchestration.get_or_insert(OrchestrationConfig {
        task_history_retention_limit: defaults::TASK_HISTORY,
    });
    spec.raft.get_or_insert(RaftConfig {
        snapshot_interval: defaults::SNAPSHOT_INTERVAL,
        keep_old_snapshots: 0,
        log_entries_for_slow_followers: defaults::LOG_ENTRIES_FOR_SLOW_FOLLOWERS,
        heartbeat_tick: defaults::HEARTBEAT_TICK,
        election_tick: defaults::ELECTION_TICK,
    });
    let dispatcher = spec
        .dispatcher
        .get_or_insert_with(DispatcherConfig::default);
    dispatcher
        .heartbeat_period
        .get_or_insert(duration_message(defaults::HEARTBEAT_PERIOD));
    let ca = spec.ca_config.get_or_insert_with(CaConfig::default);
    ca.node_cert_expiry
        .get_or_insert(duration_message(defaults::NODE_CERT_EXPIRY));
    spec.task_defaults.get_or_insert_with(TaskDefaults::default);
    spec.encryption_config
        .get_or_insert_with(EncryptionConfig::default);
    spec
}

fn own_node(founder: &Founder<'_>) -> Node {
    let role = NodeRole::Manager.into();
    Node {
        id: founder.node_id.to_owned(),
        role,
        spec: Some(NodeSpec {
            annotations: Some(Annotations::default()),
            desired_role: role,
            membership: Membership::Accepted.into(),
            availability: founder.availability.into(),
        }),
        certificate: Some(Certificate {
            role,
            cn: founder.node_id.to_owned(),
            status: Some(IssuanceStatus {
                state: State::Issued.into(),
                err: String::new(),
            }),
            certificate: founder.certificate.to_vec(),
            csr: Vec::new(),
        }),
        ..Node::default()
    }
}

/// The network of the routing mesh. It has a subnet in each family, so that clients of both are
/// served with their own addresses; as IPv6 is not said to be enabled, a dockerd takes no notice.
fn ingress(cluster_id: &str) -> Network {
    let annotations = Annotations {
        name: "ingress".to_owned(),
        ..Annotations::default()
    };
    let spec = NetworkSpec {
        annotations: Some(annotations),
        ingress: true,
        driver_config: Some(Driver::default()),
        ipam: Some(skep_objects::swarmkit::IpamOptions {
            driver: Some(Driver::default()),
            configs: vec![IpamConfig::default(), local_v6(cluster_id)],
        }),
        ..NetworkSpec::default()
    };
    Network {
        id: new_id(),
        spec: Some(spec),
        ..Network::default()
    }
}

fn predefined(name: &str) -> Network {
    let labels = [(PREDEFINED_LABEL.to_owned(), "true".to_owned())].into();
    let annotations = Annotations {
        name: name.to_owned(),
        labels,
        ..Annotations::default()
    };
    let driver = Driver {
        name: name.to_owned(),
        ..Driver::default()
    };
    let spec = NetworkSpec {
        annotations: Some(annotations),
        driver_config: Some(driver),
        ..NetworkSpec::default()
    };
    Network {
        id: new_id(),
        spec: Some(spec),
        ..Network::default()
    }
}

#[cfg(test)]
mod tests {
    use skep_store::Store;

    use super::*;
    use crate::control::network::ingress_network;

    const FOUNDER: Founder<'_> = Founder {
        node_id: "n1",
        cluster_id: "c1",
        certificate: b"pem",
        availability: Availability::Active,
    };

    async fn seeded(new: Option<&NewCluster>) -> Store {
        let store = Store::in_memory();
        store.update(|tx| seed(tx, &FOUNDER, new)).await.unwrap();
        store
    }

    #[tokio::test]
    async fn a_new_swarm_has_its_defaults() {
        let new = NewCluster {
            root_cert: b"root".to_vec(),
            ..NewCluster::default()
        };
        let view = seeded(Some(&new)).await.view();
        let cluster = view.cluster_by_name("default").unwrap();
        assert_eq!(cluster.id, "c1");
        assert_eq!((cluster.subnet_size, cluster.vxlanudp_port), (24, 4789));
        assert_eq!(cluster.default_address_pool, ["10.0.0.0/8"]);
        assert_eq!(cluster.network_bootstrap_keys.len(), 6);
        let spec = cluster.spec.as_ref().unwrap();
        assert_eq!(spec.orchestration.unwrap().task_history_retention_limit, 5);
        assert_eq!(
            spec.dispatcher.unwrap().heartbeat_period.unwrap().seconds,
            5
        );
        assert!(ingress_network(&view).is_some());
        assert_eq!(view.networks().count(), 3);
        let node = view.node("n1").unwrap();
        assert_eq!(node.role(), NodeRole::Manager);
    }

    #[tokio::test]
    async fn a_removed_ingress_network_does_not_come_back_with_the_next_leader() {
        let new = NewCluster {
            root_cert: b"root".to_vec(),
            ..NewCluster::default()
        };
        let store = seeded(Some(&new)).await;
        let ingress = ingress_network(&store.view()).unwrap().id.clone();
        store
            .update(|tx| tx.remove_network(&ingress))
            .await
            .unwrap();
        let version = store.view().version();
        store
            .update(|tx| seed(tx, &FOUNDER, Some(&new)))
            .await
            .unwrap();
        assert_eq!(store.view().version(), version);
    }

    #[tokio::test]
    async fn a_manager_that_joined_makes_no_cluster() {
        assert!(seeded(None).await.view().the_cluster().is_none());
    }
}
