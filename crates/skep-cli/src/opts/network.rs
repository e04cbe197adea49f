//! `--network`: a name, or `name=,alias=,driver-opt=,...`.

use serde_json::{Map, Value, json};

use super::fields;
use crate::error::CliError;

/// What a `--network` flag says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NetworkAttachment {
    /// Name or id of the network.
    pub target: String,
    /// Other names of the container there.
    pub aliases: Vec<String>,
    /// Options for the driver.
    pub driver_opts: Map<String, Value>,
    /// A wish for an address.
    pub ipv4: String,
    /// A wish for an address.
    pub ipv6: String,
    /// A wish for a MAC address.
    pub mac: String,
    /// Link-local addresses.
    pub link_local: Vec<String>,
    /// Which network's gateway is the default route.
    pub gateway_priority: i64,
}

impl NetworkAttachment {
    /// As services take it, with the network's id.
    pub fn to_service(&self, id: &str) -> Value {
        let mut value = json!({"Target": id});
        if !self.aliases.is_empty() {
            value["Aliases"] = json!(self.aliases);
        }
        if !self.driver_opts.is_empty() {
            value["DriverOpts"] = Value::Object(self.driver_opts.clone());
        }
        value
    }
}

/// What an endpoint of a container asks for, as the API takes it, with every field of Go's.
pub fn endpoint_settings(
    addresses: Value,
    links: Value,
    aliases: Value,
    options: Value,
    mac: &str,
    priority: i64,
) -> Value {
    json!({
        "IPAMConfig": addresses, "Links": links, "Aliases": aliases, "MacAddress": mac,
        "DriverOpts": options, "GwPriority": priority, "NetworkID": "", "EndpointID": "",
        "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "",
        "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "DNSNames": null,
    })
}

/// Reads one flag.
pub fn network_attachment(text: &str) -> Result<NetworkAttachment, CliError> {
    if !text.contains('=') {
        return Ok(NetworkAttachment {
            target: text.to_owned(),
            ..Default::default()
        });
    }
    let bad = |why: String| {
        CliError::new(format!(
            "invalid argument \"{text}\" for \"--network\" flag: {why}"
        ))
        .with_code(125)
    };
    let mut attachment = NetworkAttachment::default();
    for field in fields(text)? {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| bad(format!("invalid field {field}")))?;
        // Docker reads all of the long form without regard to case.
        let value = &value.trim().to_lowercase();
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => attachment.target = value.clone(),
            "alias" => attachment.aliases.push(value.clone()),
            "driver-opt" => {
                let (name, value) = value.split_once('=').ok_or_else(|| {
                    bad("invalid key value pair format in driver options".to_owned())
                })?;
                attachment
                    .driver_opts
                    .insert(name.trim().to_ascii_lowercase(), value.trim().into());
            }
            "ip" => attachment.ipv4 = value.clone(),
            "ip6" => attachment.ipv6 = value.clone(),
            "mac-address" => attachment.mac = value.clone(),
            "link-local-ip" => attachment.link_local.push(value.clone()),
            "gw-priority" => {
                attachment.gateway_priority = value
                    .parse()
                    .map_err(|_| bad(format!("invalid gw-priority ({value})")))?;
            }
            other => return Err(bad(format!("invalid field key {other}"))),
        }
    }
    if attachment.target.is_empty() {
        return Err(bad("network name/id is not specified".to_owned()));
    }
    Ok(attachment)
}
