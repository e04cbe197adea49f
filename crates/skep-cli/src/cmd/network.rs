//! `network`: networks of this host and of the swarm.

use serde_json::{Value, json};

use super::many::{self, Listing};
use super::objects::{Shown, confirmed, each, label_text, text};
use crate::client::escape;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches, command};
use crate::opts::{endpoint_settings, labels, map_from, split_pair};
use crate::output::{Item, List, Row, local_text, short_id};

const COLUMNS: [(&str, &str); 4] = [
    ("NETWORK ID", "ID"),
    ("NAME", "Name"),
    ("DRIVER", "Driver"),
    ("SCOPE", "Scope"),
];

const CREATE: &str = "
--attachable @1.25
--aux-address map
--config-from string @1.30
--config-only @1.30
-d, --driver string=bridge
--gateway strings
--ingress @1.29
--internal
--ip-range strings
--ipam-driver string=default
--ipam-opt map
--ipv4
--ipv6
--label list
-o, --opt map
--scope string @1.30
--subnet strings";

pub(super) const COMMANDS: &[Command] = &[
    command(
        "network create",
        &[],
        "[OPTIONS] NETWORK",
        "Create a network",
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
        "Display detailed information on one or more networks",
        Arity::AtLeast(1),
        "-f, --format string\n-v, --verbose @1.28",
        |c, m| Box::pin(show(c, m)),
    ),
    command(
        "network rm",
        &["network remove"],
        "NETWORK [NETWORK...]",
        "Remove one or more networks",
        Arity::AtLeast(1),
        "-f, --force",
        |c, m| Box::pin(rm(c, m)),
    ),
    command(
        "network prune",
        &[],
        "[OPTIONS]",
        "Remove all unused networks",
        Arity::None,
        "--filter filter\n-f, --force",
        |c, m| Box::pin(super::prune::networks(c, m)),
    ),
    command(
        "network connect",
        &[],
        "[OPTIONS] NETWORK CONTAINER",
        "Connect a container to a network",
        Arity::Exactly(2),
        "--alias strings\n--driver-opt strings\n--gw-priority int @1.48\n--ip string\n--ip6 string\n--link list\n--link-local-ip strings",
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
    // Daemons before 1.44 make a second network of the same name unless they are told.
    if crate::gate::older(&context.client.version().await?, "1.44") {
        body["CheckDuplicate"] = true.into();
    }
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
    let put = |configs: &mut Vec<Value>, flag: &str, what: &str, field: &str, value: &str| {
        let holder = configs
            .iter_mut()
            .find(|config| contains(text(config, "/Subnet"), address_of(value)));
        match holder {
            _ if subnets.len() < split(flag).len() => Err(CliError::new(
                "every ip-range or gateway must have a corresponding subnet",
            )),
            Some(config) if config.get(field).is_some() => Err(CliError::new(format!(
                "cannot configure multiple {what} ({value}, {}) on the same subnet ({})",
                config[field].as_str().unwrap_or_default(),
                text(config, "/Subnet")
            ))),
            Some(config) => {
                config[field] = value.into();
                Ok(())
            }
            None => Err(CliError::new(format!(
                "no matching subnet for {what} {value}"
            ))),
        }
    };
    for range in split("ip-range") {
        put(&mut configs, "ip-range", "range", "IPRange", &range)?;
    }
    for gateway in split("gateway") {
        put(&mut configs, "gateway", "gateway", "Gateway", &gateway)?;
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

const LISTING: Listing<'_> = Listing {
    path: "/networks",
    field: "",
    setting: "networksFormat",
    list: List {
        kind: "*network.networkContext",
        columns: &COLUMNS,
        heads: &[
            ("CREATED AT", "CreatedAt"),
            ("IPV4", "IPv4"),
            ("IPV6", "IPv6"),
        ],
        raw: &[
            ("network_id", "ID"),
            ("name", "Name"),
            ("driver", "Driver"),
            ("scope", "Scope"),
        ],
    },
    quiet: id_of,
    item,
};

fn id_of(network: &Value, full: bool) -> String {
    let id = text(network, "/Id");
    if full { id.to_owned() } else { short_id(id) }
}

fn item(network: &Value, full: bool) -> Item {
    let row = Row::from([
        ("ID", id_of(network, full)),
        ("Name", text(network, "/Name").to_owned()),
        ("Driver", text(network, "/Driver").to_owned()),
        ("Scope", text(network, "/Scope").to_owned()),
        ("IPv4", (network["EnableIPv4"] == true).to_string()),
        ("IPv6", (network["EnableIPv6"] == true).to_string()),
        ("Internal", (network["Internal"] == true).to_string()),
        ("Labels", label_text(&network["Labels"])),
        ("CreatedAt", local_text(text(network, "/Created"))),
    ]);
    Item::new(row, &network["Labels"])
}

async fn ls(context: &Context, matches: &Matches) -> Result<(), CliError> {
    many::list(context, matches, &LISTING).await
}

async fn show(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let verbose = if matches.flag("verbose") { "true" } else { "" };
    let shown = Shown::of_host(|_| "network.Inspect", true);
    many::show(
        context,
        matches,
        "/networks",
        &[("verbose", verbose)],
        shown,
    )
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
            result => {
                result?;
                println!("{name}");
            }
        }
        Ok(())
    })
    .await
    // Docker says its exit code, too.
    .map_err(|error| CliError::new(format!("{}\nexit status 1", error.message)))
}

async fn connect(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let split = |flag: &str| -> Vec<String> {
        let lists = matches.list(flag).iter();
        lists
            .flat_map(|list| list.split(','))
            .map(str::to_owned)
            .collect()
    };
    let mut addresses = json!({});
    for (flag, field) in [("ip", "IPv4Address"), ("ip6", "IPv6Address")] {
        if let Some(address) = matches.given_text(flag) {
            addresses[field] = address.into();
        }
    }
    let local = split("link-local-ip");
    if !local.is_empty() {
        addresses["LinkLocalIPs"] = json!(local);
    }
    let links = match matches.list("link") {
        [] => Value::Null,
        links => json!(links),
    };
    let endpoint = endpoint_settings(
        addresses,
        links,
        json!(split("alias")),
        Value::Object(map_from(&split("driver-opt"))),
        "",
        matches.number("gw-priority").unwrap_or(0),
    );
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
