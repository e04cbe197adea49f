//! `network`: networks of this host and of the swarm.

use serde_json::{Value, json};

use super::objects::{confirmed, each, inspect, label_text, text};
use crate::client::{escape, filters, url};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches, command};
use crate::opts::{labels, map_from, split_pair};
use crate::output::{Format, Row, natural_cmp, print_rows, short_id};

const COLUMNS: [(&str, &str); 4] = [
    ("NETWORK ID", "ID"),
    ("NAME", "Name"),
    ("DRIVER", "Driver"),
    ("SCOPE", "Scope"),
];

const CREATE: &str = "
--attachable
--aux-address map
--config-from string
--config-only
-d, --driver string=bridge
--gateway ipSlice
--ingress
--internal
--ip-range ipNetSlice
--ipam-driver string=default
--ipam-opt map
--ipv4
--ipv6
--label list
-o, --opt map
--scope string
--subnet ipNetSlice";

pub(super) const COMMANDS: &[Command] = &[
    command(
        "network create",
        &[],
        "[OPTIONS] NETWORK",
        "Make a network",
        Arity::Exactly(1),
        CREATE,
        |c, m| Box::pin(create(c, m)),
    ),
    command(
        "network ls",
        &["network list"],
        "[OPTIONS]",
        "List networks",
        Arity::None,
        "-f, --filter filter\n--format string\n--no-trunc\n-q, --quiet",
        |c, m| Box::pin(ls(c, m)),
    ),
    command(
        "network inspect",
        &[],
        "[OPTIONS] NETWORK [NETWORK...]",
        "Show networks in detail",
        Arity::AtLeast(1),
        "-f, --format string\n-v, --verbose",
        |c, m| Box::pin(show(c, m)),
    ),
    command(
        "network rm",
        &["network remove"],
        "NETWORK [NETWORK...]",
        "Remove networks",
        Arity::AtLeast(1),
        "-f, --force",
        |c, m| Box::pin(rm(c, m)),
    ),
    command(
        "network prune",
        &[],
        "[OPTIONS]",
        "Remove networks that nothing uses",
        Arity::None,
        "--filter filter\n-f, --force",
        |c, m| Box::pin(prune(c, m)),
    ),
    command(
        "network connect",
        &[],
        "[OPTIONS] NETWORK CONTAINER",
        "Connect a container to a network",
        Arity::Exactly(2),
        "--alias strings\n--driver-opt strings\n--gw-priority int\n--ip string\n--ip6 string\n--link list\n--link-local-ip strings",
        |c, m| Box::pin(connect(c, m)),
    ),
    command(
        "network disconnect",
        &[],
        "[OPTIONS] NETWORK CONTAINER",
        "Disconnect a container from a network",
        Arity::Exactly(2),
        "-f, --force",
        |c, m| Box::pin(disconnect(c, m)),
    ),
];

async fn create(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let config_from = match matches.text("config-from") {
        "" => Value::Null,
        name => json!({"Network": name}),
    };
    let mut body = json!({
        "Driver": matches.text("driver"),
        "Scope": matches.text("scope"),
        "IPAM": {
            "Driver": matches.text("ipam-driver"),
            "Options": map_from(matches.list("ipam-opt")),
            "Config": ipam(matches)?,
        },
        "Internal": matches.flag("internal"),
        "Attachable": matches.flag("attachable"),
        "Ingress": matches.flag("ingress"),
        "ConfigOnly": matches.flag("config-only"),
        "ConfigFrom": config_from,
        "Options": map_from(matches.list("opt")),
        "Labels": labels(&[], matches.list("label"))?,
        "Name": matches.arg(0),
    });
    for (flag, field) in [("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")] {
        if matches.given(flag) {
            body[field] = matches.flag(flag).into();
        }
    }
    let answer = context.client.post("/networks/create", &body).await?;
    if let Some(warning) = answer["Warning"]
        .as_str()
        .filter(|warning| !warning.is_empty())
    {
        eprintln!("WARNING: {warning}");
    }
    println!("{}", text(&answer, "/Id"));
    Ok(())
}

/// One entry a subnet; ranges, gateways and reserved addresses go to the subnet that holds them.
fn ipam(matches: &Matches) -> Result<Vec<Value>, CliError> {
    let split = |flag: &str| -> Vec<String> {
        matches
            .list(flag)
            .iter()
            .flat_map(|list| list.split(','))
            .map(str::to_owned)
            .collect()
    };
    let subnets = split("subnet");
    let mut configs: Vec<Value> = subnets
        .iter()
        .map(|subnet| json!({"Subnet": subnet}))
        .collect();
    for (number, subnet) in subnets.iter().enumerate() {
        let others = subnets
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number);
        if others
            .map(|(_, other)| other)
            .any(|other| contains(subnet, address_of(other)))
        {
            return Err(CliError::new(
                "multiple overlapping subnet configuration is not supported",
            ));
        }
    }
    let put = |configs: &mut Vec<Value>, what: &str, field: &str, value: &str| {
        let holder = configs
            .iter_mut()
            .find(|config| contains(text(config, "/Subnet"), address_of(value)));
        match holder {
            Some(config) if config.get(field).is_some() => Err(CliError::new(format!(
                "cannot configure multiple {what} ({value}, {}) for the same subnet ({})",
                config[field].as_str().unwrap_or_default(),
                text(config, "/Subnet")
            ))),
            Some(config) => {
                config[field] = value.into();
                Ok(())
            }
            None if subnets.is_empty() => Err(CliError::new(
                "every ip-range or gateway must have a corresponding subnet",
            )),
            None => Err(CliError::new(format!(
                "no matching subnet for {what} {value}"
            ))),
        }
    };
    for range in split("ip-range") {
        put(&mut configs, "range", "IPRange", &range)?;
    }
    for gateway in split("gateway") {
        put(&mut configs, "gateway", "Gateway", &gateway)?;
    }
    for auxiliary in matches.list("aux-address") {
        let (name, address) = split_pair(auxiliary);
        let config = configs
            .iter_mut()
            .find(|config| contains(text(config, "/Subnet"), address_of(address)))
            .ok_or_else(|| {
                CliError::new(format!("no matching subnet for aux-address {address}"))
            })?;
        config["AuxiliaryAddresses"][name] = address.into();
    }
    Ok(configs)
}

fn address_of(text: &str) -> &str {
    text.split('/').next().unwrap_or(text)
}

/// Whether a subnet holds an address; what cannot be read is left to the daemon.
fn contains(subnet: &str, address: &str) -> bool {
    let Some((base, bits)) = subnet.split_once('/') else {
        return false;
    };
    let (Ok(base), Ok(bits)) = (base.parse::<std::net::IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    match (base, address.parse::<std::net::IpAddr>()) {
        (std::net::IpAddr::V4(base), Ok(std::net::IpAddr::V4(address))) if bits <= 32 => {
            let shift = 32 - bits;
            u32::from(base).checked_shr(shift).unwrap_or(0)
                == u32::from(address).checked_shr(shift).unwrap_or(0)
        }
        (std::net::IpAddr::V6(base), Ok(std::net::IpAddr::V6(address))) if bits <= 128 => {
            let shift = 128 - bits;
            u128::from(base).checked_shr(shift).unwrap_or(0)
                == u128::from(address).checked_shr(shift).unwrap_or(0)
        }
        _ => false,
    }
}

async fn ls(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let query = filters(matches.list("filter"))?;
    let found = context
        .client
        .get(&url("/networks", &[("filters", &query)]))
        .await?;
    let mut found: Vec<Value> = found.as_array().cloned().unwrap_or_default();
    found.sort_by(|a, b| natural_cmp(text(a, "/Name"), text(b, "/Name")));
    let full = matches.flag("no-trunc");
    let id = |network: &Value| {
        let id = text(network, "/Id");
        if full { id.to_owned() } else { short_id(id) }
    };
    let format = matches.text("format");
    if matches.flag("quiet") && format.is_empty() {
        found.iter().for_each(|network| println!("{}", id(network)));
        return Ok(());
    }
    let format = if format.is_empty() {
        context.setting("networksFormat").unwrap_or_default()
    } else {
        format
    };
    let rows: Vec<Row> = found
        .iter()
        .map(|network| {
            Row::from([
                ("ID", id(network)),
                ("Name", text(network, "/Name").to_owned()),
                ("Driver", text(network, "/Driver").to_owned()),
                ("Scope", text(network, "/Scope").to_owned()),
                ("IPv4", (network["EnableIPv4"] != false).to_string()),
                ("IPv6", (network["EnableIPv6"] == true).to_string()),
                ("Internal", (network["Internal"] == true).to_string()),
                ("Labels", label_text(&network["Labels"])),
                ("CreatedAt", text(network, "/Created").to_owned()),
            ])
        })
        .collect();
    print_rows(&Format::read(format), &COLUMNS, &rows)
}

async fn show(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let verbose = if matches.flag("verbose") { "true" } else { "" };
    inspect(matches.args(), matches.text("format"), |name| {
        let path = url(
            &format!("/networks/{}", escape(name)),
            &[("verbose", verbose)],
        );
        async move { context.client.get(&path).await }
    })
    .await
}

async fn rm(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let force = matches.flag("force");
    each(matches.args(), |name| async move {
        let path = format!("/networks/{}", escape(name));
        if let Ok(network) = context.client.get(&path).await
            && network["Ingress"] == true
            && !confirmed(
                "WARNING! Before removing the routing-mesh network, make sure all the nodes in your swarm run the same docker engine version. Otherwise, removal may not be effective and functionality of newly create ingress networks will be impaired.\nAre you sure you want to continue?",
            )?
        {
            return Ok(());
        }
        match context.client.delete(&path).await {
            Err(error) if force && error.is_not_found() => {}
            result => drop(result?),
        }
        println!("{name}");
        Ok(())
    })
    .await
}

async fn prune(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let question = "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue?";
    if !matches.flag("force") && !confirmed(question)? {
        return Ok(());
    }
    let query = filters(matches.list("filter"))?;
    let answer = context
        .client
        .post_empty(&url("/networks/prune", &[("filters", &query)]))
        .await?;
    let deleted: Vec<_> = answer["NetworksDeleted"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !deleted.is_empty() {
        println!("Deleted Networks:\n{}\n", deleted.join("\n"));
    }
    Ok(())
}

async fn connect(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let mut endpoint = json!({});
    let split = |flag: &str| -> Vec<String> {
        matches
            .list(flag)
            .iter()
            .flat_map(|list| list.split(','))
            .map(str::to_owned)
            .collect()
    };
    for (flag, field) in [("alias", "Aliases"), ("link", "Links")] {
        let list = split(flag);
        if !list.is_empty() {
            endpoint[field] = json!(list);
        }
    }
    for (flag, field) in [("ip", "IPv4Address"), ("ip6", "IPv6Address")] {
        if let Some(address) = matches.given_text(flag) {
            endpoint["IPAMConfig"][field] = address.into();
        }
    }
    let local = split("link-local-ip");
    if !local.is_empty() {
        endpoint["IPAMConfig"]["LinkLocalIPs"] = json!(local);
    }
    if matches.given("driver-opt") {
        endpoint["DriverOpts"] = Value::Object(map_from(&split("driver-opt")));
    }
    if let Some(priority) = matches.number("gw-priority") {
        endpoint["GwPriority"] = priority.into();
    }
    let body = json!({"Container": matches.arg(1), "EndpointConfig": endpoint});
    context
        .client
        .post(
            &format!("/networks/{}/connect", escape(matches.arg(0))),
            &body,
        )
        .await?;
    Ok(())
}

async fn disconnect(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let body = json!({"Container": matches.arg(1), "Force": matches.flag("force")});
    context
        .client
        .post(
            &format!("/networks/{}/disconnect", escape(matches.arg(0))),
            &body,
        )
        .await?;
    Ok(())
}
