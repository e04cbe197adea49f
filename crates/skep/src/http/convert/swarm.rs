//! The swarm's own object and spec.

use proto::external_ca::CaProtocol;
use skep_objects::api::encode::{duration, nanoseconds};
use skep_objects::api::node::TlsInfo;
use skep_objects::api::swarm as api;
use skep_objects::swarmkit as proto;
use x509_parser::prelude::FromDer;

use super::{ConvertError, annotations, from_driver, invalid, meta, proto_name, to_driver, word};

/// The swarm as `GET /swarm` shows it.
pub fn from_cluster(cluster: &proto::Cluster) -> api::Swarm {
    let info = from_cluster_info(cluster);
    let tokens = cluster
        .root_ca
        .as_ref()
        .and_then(|ca| ca.join_tokens.clone())
        .unwrap_or_default();
    api::Swarm {
        id: info.id,
        version: info.version,
        created_at: info.created_at,
        updated_at: info.updated_at,
        spec: info.spec,
        tls_info: info.tls_info,
        root_rotation_in_progress: info.root_rotation_in_progress,
        default_addr_pool: info.default_addr_pool,
        subnet_size: info.subnet_size,
        data_path_port: info.data_path_port,
        join_tokens: api::JoinTokens {
            worker: tokens.worker,
            manager: tokens.manager,
        },
    }
}

/// The swarm as `GET /info` shows it.
pub fn from_cluster_info(cluster: &proto::Cluster) -> api::ClusterInfo {
    let (version, created_at, updated_at) = meta(cluster.meta.as_ref());
    let root = cluster.root_ca.clone().unwrap_or_default();
    let pools = cluster.default_address_pool.clone();
    api::ClusterInfo {
        id: cluster.id.clone(),
        version,
        created_at,
        updated_at,
        spec: cluster.spec.as_ref().map(from_spec).unwrap_or_default(),
        tls_info: from_root(&root),
        root_rotation_in_progress: root.root_rotation.is_some(),
        default_addr_pool: Some(pools).filter(|p| !p.is_empty()),
        subnet_size: cluster.subnet_size,
        data_path_port: cluster.vxlanudp_port,
    }
}

/// The trust root, and who issues certificates now: the new root while one is being rotated in.
fn from_root(root: &proto::RootCa) -> TlsInfo {
    let issuer = root
        .root_rotation
        .as_ref()
        .map_or(&root.ca_cert, |rotation| &rotation.ca_cert);
    let (subject, public_key) = issuer_of(issuer).unwrap_or_default();
    TlsInfo {
        trust_root: String::from_utf8_lossy(&root.ca_cert).into_owned(),
        cert_issuer_subject: subject,
        cert_issuer_public_key: public_key,
    }
}

/// Subject and public key, both as DER, of the first certificate in `pem`.
fn issuer_of(pem: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    let (_, cert) = x509_parser::certificate::X509Certificate::from_der(&pem.contents).ok()?;
    Some((
        cert.subject().as_raw().to_vec(),
        cert.public_key().raw.to_vec(),
    ))
}

fn from_spec(spec: &proto::ClusterSpec) -> api::SwarmSpec {
    let (name, labels) = annotations(spec.annotations.as_ref());
    let raft = spec.raft.unwrap_or_default();
    let ca = spec.ca_config.clone().unwrap_or_default();
    let external = |ca: &proto::ExternalCa| api::ExternalCa {
        protocol: word(ca.protocol().as_str_name(), "CAPROTOCOL_"),
        url: ca.url.clone(),
        options: ca.options.clone(),
        ca_cert: String::from_utf8_lossy(&ca.ca_cert).into_owned(),
    };
    let heartbeat = spec
        .dispatcher
        .as_ref()
        .and_then(|d| d.heartbeat_period.as_ref());
    let log_driver = spec
        .task_defaults
        .as_ref()
        .and_then(|t| t.log_driver.as_ref());
    api::SwarmSpec {
        name,
        labels,
        orchestration: api::OrchestrationConfig {
            task_history_retention_limit: Some(
                spec.orchestration
                    .map_or(0, |o| o.task_history_retention_limit),
            ),
        },
        raft: api::RaftConfig {
            snapshot_interval: raft.snapshot_interval,
            keep_old_snapshots: Some(raft.keep_old_snapshots),
            log_entries_for_slow_followers: raft.log_entries_for_slow_followers,
            election_tick: i64::from(raft.election_tick),
            heartbeat_tick: i64::from(raft.heartbeat_tick),
        },
        dispatcher: api::DispatcherConfig {
            heartbeat_period: nanoseconds(heartbeat),
        },
        ca_config: api::CaConfig {
            node_cert_expiry: nanoseconds(ca.node_cert_expiry.as_ref()),
            external_cas: ca.external_cas.iter().map(external).collect(),
            signing_ca_cert: String::from_utf8_lossy(&ca.signing_ca_cert).into_owned(),
            // Never shown: what can sign may only go in.
            signing_ca_key: String::new(),
            force_rotate: ca.force_rotate,
        },
        task_defaults: api::TaskDefaults {
            log_driver: log_driver.map(from_driver),
        },
        encryption_config: api::EncryptionConfig {
            auto_lock_managers: spec.encryption_config.is_some_and(|e| e.auto_lock_managers),
        },
    }
}

/// What a swarm has whose maker said nothing.
pub fn default_spec() -> proto::ClusterSpec {
    #[allow(deprecated)] // the field must be named
    proto::ClusterSpec {
        annotations: Some(proto::Annotations {
            name: "default".to_owned(),
            ..proto::Annotations::default()
        }),
        acceptance_policy: None,
        orchestration: Some(proto::OrchestrationConfig {
            task_history_retention_limit: 5,
        }),
        raft: Some(proto::RaftConfig {
            snapshot_interval: 10_000,
            keep_old_snapshots: 0,
            log_entries_for_slow_followers: 500,
            heartbeat_tick: 1,
            election_tick: 10,
        }),
        dispatcher: Some(proto::DispatcherConfig {
            heartbeat_period: Some(duration(5_000_000_000)),
        }),
        ca_config: Some(proto::CaConfig {
            node_cert_expiry: Some(duration(90 * 24 * 3_600_000_000_000)),
            ..proto::CaConfig::default()
        }),
        task_defaults: Some(proto::TaskDefaults::default()),
        encryption_config: Some(proto::EncryptionConfig {
            auto_lock_managers: false,
        }),
    }
}

/// What `spec` says, over `base` where it says nothing (zero or null).
pub fn to_spec(
    spec: api::SwarmSpec,
    mut base: proto::ClusterSpec,
) -> Result<proto::ClusterSpec, ConvertError> {
    let notes = base.annotations.get_or_insert_default();
    if !spec.name.is_empty() {
        notes.name = spec.name;
    }
    notes.labels = spec.labels.unwrap_or_default();
    if let Some(limit) = spec.orchestration.task_history_retention_limit {
        base.orchestration
            .get_or_insert_default()
            .task_history_retention_limit = limit;
    }
    let raft = base.raft.get_or_insert_default();
    let set = |slot: &mut u64, value: u64| {
        if value != 0 {
            *slot = value;
        }
    };
    set(&mut raft.snapshot_interval, spec.raft.snapshot_interval);
    set(
        &mut raft.log_entries_for_slow_followers,
        spec.raft.log_entries_for_slow_followers,
    );
    raft.keep_old_snapshots = spec
        .raft
        .keep_old_snapshots
        .unwrap_or(raft.keep_old_snapshots);
    let tick = |what: &str, value: i64| {
        u32::try_from(value).map_err(|_| invalid(what, &value.to_string()))
    };
    if spec.raft.heartbeat_tick != 0 {
        raft.heartbeat_tick = tick("HeartbeatTick", spec.raft.heartbeat_tick)?;
    }
    if spec.raft.election_tick != 0 {
        raft.election_tick = tick("ElectionTick", spec.raft.election_tick)?;
    }
    if spec.dispatcher.heartbeat_period != 0 {
        base.dispatcher.get_or_insert_default().heartbeat_period =
            Some(duration(spec.dispatcher.heartbeat_period));
    }
    to_ca_config(spec.ca_config, base.ca_config.get_or_insert_default())?;
    base.task_defaults.get_or_insert_default().log_driver =
        spec.task_defaults.log_driver.map(to_driver);
    base.encryption_config
        .get_or_insert_default()
        .auto_lock_managers = spec.encryption_config.auto_lock_managers;
    Ok(base)
}

fn to_ca_config(spec: api::CaConfig, base: &mut proto::CaConfig) -> Result<(), ConvertError> {
    if spec.node_cert_expiry != 0 {
        base.node_cert_expiry = Some(duration(spec.node_cert_expiry));
    }
    if !spec.signing_ca_cert.is_empty() {
        base.signing_ca_cert = spec.signing_ca_cert.into_bytes();
    }
    if !spec.signing_ca_key.is_empty() {
        base.signing_ca_key = spec.signing_ca_key.into_bytes();
    }
    base.force_rotate = spec.force_rotate;
    base.external_cas.clear();
    for ca in spec.external_cas {
        let protocol = CaProtocol::from_str_name(&proto_name("CAPROTOCOL_", &ca.protocol))
            .ok_or_else(|| invalid("protocol", &ca.protocol))?;
        base.external_cas.push(proto::ExternalCa {
            protocol: protocol.into(),
            url: ca.url,
            options: ca.options,
            ca_cert: ca.ca_cert.into_bytes(),
        });
    }
    Ok(())
}
