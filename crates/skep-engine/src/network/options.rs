//! Driver options of local networks (`--opt`): which are known, and what they say.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use skep_net::{GatewayMode, IpvlanFlag, IpvlanMode, MacvlanMode, Wire};

use super::NetworkRecord;
use crate::error::{EngineError, Result};

const PREFIX: &str = "com.docker.network.bridge.";
const MTU: &str = "com.docker.network.driver.mtu";
const IFACE_PREFIX: &str = "com.docker.network.container_iface_prefix";

/// What a bridge network's options say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct BridgeOptions {
    pub icc: bool,
    pub masquerade: bool,
    pub gateway_modes: [GatewayMode; 2],
}

impl BridgeOptions {
    /// Reads the options; unsupported values are refused by name.
    pub(super) fn parse(record: &NetworkRecord) -> Result<Self> {
        let flag = |key: &str, default: bool| match record.option(&format!("{PREFIX}{key}")) {
            None | Some("") => Ok(default),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(EngineError::invalid(format!(
                "failed to parse {PREFIX}{key} value: {other:?}"
            ))),
        };
        for key in ["trusted_host_interfaces"] {
            if record.option(&format!("{PREFIX}{key}")).is_some() {
                return Err(EngineError::NotSupported(format!(
                    "network option {PREFIX}{key}"
                )));
            }
        }
        for key in ["host_ipv4", "host_ipv6"] {
            if record
                .option(&format!("com.docker.network.{key}"))
                .is_some()
            {
                return Err(EngineError::NotSupported(format!(
                    "network option com.docker.network.{key}"
                )));
            }
        }
        mtu(record)?;
        host_binding(record)?;
        let mut modes = [GatewayMode::Nat; 2];
        for (mode, key) in modes
            .iter_mut()
            .zip(["gateway_mode_ipv4", "gateway_mode_ipv6"])
        {
            *mode = gateway_mode(record, key)?;
        }
        if flag("inhibit_ipv4", false)? {
            modes[0] = GatewayMode::Isolated;
        }
        Ok(Self {
            icc: flag("enable_icc", true)?,
            masquerade: flag("enable_ip_masquerade", true)?,
            gateway_modes: modes,
        })
    }
}

fn gateway_mode(record: &NetworkRecord, key: &str) -> Result<GatewayMode> {
    match record.option(&format!("{PREFIX}{key}")).unwrap_or_default() {
        "" | "nat" => Ok(GatewayMode::Nat),
        "nat-unprotected" => Ok(GatewayMode::NatUnprotected),
        "isolated" if record.internal => Ok(GatewayMode::Isolated),
        "isolated" => Err(EngineError::invalid(
            "gateway mode 'isolated' can only be used for an internal network",
        )),
        "routed" => Ok(GatewayMode::Routed),
        other => Err(EngineError::invalid(format!(
            "unknown gateway mode {other}"
        ))),
    }
}

fn mtu(record: &NetworkRecord) -> Result<()> {
    let Some(text) = record.option(MTU) else {
        return Ok(());
    };
    let good = text
        .parse::<u32>()
        .is_ok_and(|mtu| mtu == 0 || (68..=65_535).contains(&mtu));
    if good {
        return Ok(());
    }
    Err(EngineError::invalid(format!(
        "failed to parse {MTU} value: {text:?}"
    )))
}

/// The host's address that ports are published on when `--publish` names none.
pub(super) fn host_binding(record: &NetworkRecord) -> Result<Option<Ipv4Addr>> {
    let key = format!("{PREFIX}host_binding_ipv4");
    match record.option(&key) {
        None | Some("" | "0.0.0.0") => Ok(None),
        Some(text) => match text.parse() {
            Ok(ip) => Ok(Some(ip)),
            Err(_) => Err(EngineError::invalid(format!(
                "failed to parse {key} value: {text:?}"
            ))),
        },
    }
}

/// How ports of containers on a network are published.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Publishing {
    /// The host's address where `--publish` names none.
    pub host_ip: Option<IpAddr>,
    /// Families, IPv4 and IPv6, in which containers are reached by their own addresses only.
    pub routed: [bool; 2],
    /// Containers are reached by their own addresses too.
    pub direct: bool,
    /// What the kernel cannot translate is relayed by the daemon.
    pub relay: bool,
}

impl Publishing {
    /// What the network's options say.
    pub(super) fn of(record: &NetworkRecord) -> Result<Self> {
        let modes = BridgeOptions::parse(record)?.gateway_modes;
        Ok(Self {
            host_ip: host_binding(record)?.map(IpAddr::V4),
            routed: modes.map(|mode| mode == GatewayMode::Routed),
            direct: false,
            relay: false,
        })
    }

    /// Whether an address is reached as it is, and not by the host's.
    pub(crate) fn is_routed(&self, ip: IpAddr) -> bool {
        self.routed[usize::from(ip.is_ipv6())]
    }
}

/// How interfaces are called inside: `eth` and a number unless told.
pub(super) fn interface_prefix(record: &NetworkRecord) -> Option<&str> {
    record
        .option(IFACE_PREFIX)
        .filter(|prefix| !prefix.is_empty())
}

/// The interface of the host below a macvlan or ipvlan network, and what is made on it.
pub(super) fn wire(record: &NetworkRecord) -> Result<(Option<String>, Wire)> {
    let parent = record.option("parent").filter(|parent| !parent.is_empty());
    let option = |name: &str| record.option(name).unwrap_or_default();
    let unknown = |what: &str, value: &str, default: &str| {
        let driver = &record.driver;
        EngineError::invalid(format!(
            "requested {driver} {what} '{value}' is not valid, '{default}' {what} is the {driver} driver default"
        ))
    };
    let wire = if record.driver == "ipvlan" {
        let (mode, flag) = (option("ipvlan_mode"), option("ipvlan_flag"));
        Wire::Ipvlan(
            IpvlanMode::parse(mode).ok_or_else(|| unknown("mode", mode, "l2"))?,
            IpvlanFlag::parse(flag).ok_or_else(|| unknown("flag", flag, "bridge"))?,
        )
    } else {
        let mode = option("macvlan_mode");
        Wire::Macvlan(MacvlanMode::parse(mode).ok_or_else(|| unknown("mode", mode, "bridge"))?)
    };
    mtu(record)?;
    Ok((parent.map(str::to_owned), wire))
}

/// A word about options that the driver does not know: Docker passes over them in silence.
pub(super) fn unknown(driver: &str, options: &BTreeMap<String, String>) -> String {
    let known = |key: &&String| {
        let key = key.as_str();
        let bridge = key.strip_prefix(PREFIX).is_some_and(|name| {
            matches!(
                name,
                "name"
                    | "enable_icc"
                    | "enable_ip_masquerade"
                    | "host_binding_ipv4"
                    | "default_bridge"
                    | "gateway_mode_ipv4"
                    | "gateway_mode_ipv6"
                    | "inhibit_ipv4"
            )
        });
        let macvlan = matches!(key, "parent" | "macvlan_mode");
        let ipvlan = matches!(key, "parent" | "ipvlan_mode" | "ipvlan_flag");
        matches!(key, MTU | IFACE_PREFIX)
            || key.starts_with("com.docker.network.enable_ipv")
            || (driver == "bridge" && bridge)
            || (driver == "macvlan" && macvlan)
            || (driver == "ipvlan" && ipvlan)
    };
    let names: Vec<&str> = options
        .keys()
        .filter(|key| !known(key))
        .map(String::as_str)
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        "the {driver} driver does not know these options, which have no effect: {}",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(internal: bool, options: &[(&str, &str)]) -> NetworkRecord {
        let options = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        NetworkRecord {
            internal,
            options: Some(options.collect()),
            ..NetworkRecord::default()
        }
    }

    #[test]
    fn gateway_modes_are_read_or_refused() {
        let key = "com.docker.network.bridge.gateway_mode_ipv4";
        let check = |internal: bool, value: &str| {
            BridgeOptions::parse(&record(internal, &[(key, value)]))
                .map(|options| options.gateway_modes[0])
                .map_err(|error| error.to_string())
        };
        assert_eq!(check(false, "nat"), Ok(GatewayMode::Nat));
        assert_eq!(check(true, "isolated"), Ok(GatewayMode::Isolated));
        assert_eq!(
            check(false, "isolated").unwrap_err(),
            "gateway mode 'isolated' can only be used for an internal network"
        );
        assert_eq!(check(false, "routed"), Ok(GatewayMode::Routed));
        assert_eq!(
            check(false, "sideways").unwrap_err(),
            "unknown gateway mode sideways"
        );
    }

    #[test]
    fn flags_that_are_none_are_refused() {
        let icc = "com.docker.network.bridge.enable_icc";
        let options = BridgeOptions::parse(&record(false, &[(icc, "false")])).unwrap();
        assert!(!options.icc && options.masquerade);
        assert!(BridgeOptions::parse(&record(false, &[(icc, "maybe")])).is_err());
    }

    #[test]
    fn modes_of_wires_are_read_or_refused() {
        let check = |driver: &str, options: &[(&str, &str)]| {
            let record = NetworkRecord {
                driver: driver.to_owned(),
                ..record(false, options)
            };
            wire(&record).map_err(|error| error.to_string())
        };
        let none = Wire::Macvlan(MacvlanMode::Bridge);
        assert_eq!(check("macvlan", &[]), Ok((None, none)));
        let l3 = check("ipvlan", &[("parent", "eth0.7"), ("ipvlan_mode", "l3")]);
        let wire = Wire::Ipvlan(IpvlanMode::L3, IpvlanFlag::Bridge);
        assert_eq!(l3, Ok((Some("eth0.7".to_owned()), wire)));
        assert_eq!(
            check("ipvlan", &[("ipvlan_flag", "x")]).unwrap_err(),
            "requested ipvlan flag 'x' is not valid, 'bridge' flag is the ipvlan driver default"
        );
        assert_eq!(
            check("macvlan", &[("macvlan_mode", "l2")]).unwrap_err(),
            "requested macvlan mode 'l2' is not valid, 'bridge' mode is the macvlan driver default"
        );
    }

    #[test]
    fn unknown_options_are_named() {
        let options = [("colour".to_owned(), "red".to_owned())].into();
        assert!(unknown("bridge", &options).contains("colour"));
        let options = [(MTU.to_owned(), "1400".to_owned())].into();
        assert_eq!(unknown("bridge", &options), "");
    }
}
