//! `swarm`: making, joining and leaving a swarm.

mod rotation;
mod spec;

use serde_json::{Value, json};

use super::objects::{hidden_line, text};
use crate::client::url;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches};

const SPEC_FLAGS: &str = "
--autolock
--cert-expiry duration=2160h0m0s
--dispatcher-heartbeat duration=5s
--external-ca external-ca
--max-snapshots uint
--placement-strategy string
--snapshot-interval uint=10000
--task-history-limit int=5";

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "swarm init",
        aliases: &[],
        usage: "[OPTIONS]",
        about: "Initialize a swarm",
        arity: Arity::None,
        stops_at_argument: false,
        flags: "
--advertise-addr string
--autolock
--availability string=active
--cert-expiry duration=2160h0m0s
--data-path-addr string
--data-path-port uint32
--default-addr-pool ipNetSlice
--default-addr-pool-mask-length uint32=24
--dispatcher-heartbeat duration=5s
--external-ca external-ca
--force-new-cluster
--listen-addr node-addr=0.0.0.0:2377
--max-snapshots uint
--placement-strategy string
--snapshot-interval uint=10000
--task-history-limit int=5",
        run: |context, matches| Box::pin(init(context, matches)),
    },
    Command {
        path: "swarm join",
        aliases: &[],
        usage: "[OPTIONS] HOST:PORT",
        about: "Join a swarm as a node and/or manager",
        arity: Arity::Exactly(1),
        stops_at_argument: false,
        flags: "
--advertise-addr string
--availability string=active
--data-path-addr string
--listen-addr node-addr=0.0.0.0:2377
--token string",
        run: |context, matches| Box::pin(join(context, matches)),
    },
    Command {
        path: "swarm join-token",
        aliases: &[],
        usage: "[OPTIONS] (worker|manager)",
        about: "Manage join tokens",
        arity: Arity::Exactly(1),
        stops_at_argument: false,
        flags: "-q, --quiet\n--rotate",
        run: |context, matches| Box::pin(join_token(context, matches)),
    },
    Command {
        path: "swarm leave",
        aliases: &[],
        usage: "[OPTIONS]",
        about: "Leave the swarm",
        arity: Arity::None,
        stops_at_argument: false,
        flags: "-f, --force",
        run: |context, matches| Box::pin(leave(context, matches)),
    },
    Command {
        path: "swarm update",
        aliases: &[],
        usage: "[OPTIONS]",
        about: "Update the swarm",
        arity: Arity::None,
        stops_at_argument: false,
        flags: SPEC_FLAGS,
        run: |context, matches| Box::pin(update(context, matches)),
    },
    Command {
        path: "swarm unlock",
        aliases: &[],
        usage: "",
        about: "Unlock swarm",
        arity: Arity::None,
        stops_at_argument: false,
        flags: "",
        run: |context, matches| Box::pin(unlock(context, matches)),
    },
    Command {
        path: "swarm unlock-key",
        aliases: &[],
        usage: "[OPTIONS]",
        about: "Manage the unlock key",
        arity: Arity::None,
        stops_at_argument: false,
        flags: "-q, --quiet\n--rotate",
        run: |context, matches| Box::pin(unlock_key(context, matches)),
    },
    Command {
        path: "swarm ca",
        aliases: &[],
        usage: "[OPTIONS]",
        about: "Display and rotate the root CA",
        arity: Arity::None,
        stops_at_argument: false,
        flags: "
--ca-cert pem-file
--ca-key pem-file
--cert-expiry duration=2160h0m0s
-d, --detach
--external-ca external-ca
-q, --quiet
--rotate",
        run: |context, matches| Box::pin(ca(context, matches)),
    },
];

async fn init(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let mut spec = json!({
        "Labels": null,
        "Orchestration": {},
        "Raft": {"ElectionTick": 0, "HeartbeatTick": 0},
        "Dispatcher": {},
        "CAConfig": {},
        "TaskDefaults": {},
        "EncryptionConfig": {"AutoLockManagers": matches.flag("autolock")},
    });
    spec::apply(&mut spec, matches)?;
    let body = json!({
        "ListenAddr": spec::listen_addr(matches)?,
        "AdvertiseAddr": matches.text("advertise-addr"),
        "DataPathAddr": matches.text("data-path-addr"),
        "DataPathPort": matches.count("data-path-port").unwrap_or(0),
        "ForceNewCluster": matches.flag("force-new-cluster"),
        "Spec": spec,
        "AutoLockManagers": matches.flag("autolock"),
        "Availability": spec::availability(matches)?,
        "DefaultAddrPool": spec::pools(matches)?,
        "SubnetSize": matches.count("default-addr-pool-mask-length").unwrap_or(24),
    });
    let node = context
        .client
        .post("/swarm/init", &body)
        .await
        .map_err(|mut error| {
            if error
                .message
                .contains("could not choose an IP address to advertise")
            {
                error
                    .message
                    .push_str(" - specify one with --advertise-addr");
            }
            error
        })?;
    println!(
        "Swarm initialized: current node ({}) is now a manager.\n",
        node.as_str().unwrap_or_default()
    );
    print_join_command(context, "worker").await?;
    println!(
        "To add a manager to this swarm, run 'docker swarm join-token manager' and follow the instructions."
    );
    if matches.flag("autolock") {
        print_unlock_key(context).await?;
    }
    Ok(())
}

async fn join(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let body = json!({
        "ListenAddr": spec::listen_addr(matches)?,
        "AdvertiseAddr": matches.text("advertise-addr"),
        "DataPathAddr": matches.text("data-path-addr"),
        "RemoteAddrs": [matches.arg(0)],
        "JoinToken": matches.text("token"),
        "Availability": spec::availability(matches)?,
    });
    context.client.post("/swarm/join", &body).await?;
    let info = context.client.get("/info").await?;
    let role = if info["Swarm"]["ControlAvailable"] == true {
        "manager"
    } else {
        "worker"
    };
    println!("This node joined a swarm as a {role}.");
    Ok(())
}

async fn join_token(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let role = matches.arg(0);
    let parameter = match role {
        "worker" => "rotateWorkerToken",
        "manager" => "rotateManagerToken",
        other => return Err(CliError::new(format!("unknown role {other}"))),
    };
    if matches.flag("rotate") {
        update_swarm(context, &[(parameter, "true")], |_| Ok(())).await?;
        if !matches.flag("quiet") {
            println!("Successfully rotated {role} join token.\n");
        }
    }
    if matches.flag("quiet") {
        let swarm = context.client.get("/swarm").await?;
        println!("{}", token(&swarm, role));
        return Ok(());
    }
    print_join_command(context, role).await
}

async fn leave(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let force = if matches.flag("force") { "1" } else { "" };
    context
        .client
        .post_empty(&url("/swarm/leave", &[("force", force)]))
        .await?;
    println!("Node left the swarm.");
    Ok(())
}

async fn update(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let before = context.client.get("/swarm").await?;
    let was_locked = before["Spec"]["EncryptionConfig"]["AutoLockManagers"] == true;
    let root = text(&before, "/TLSInfo/TrustRoot").to_owned();
    update_swarm(context, &[], |spec| {
        spec::apply(spec, matches)?;
        if matches.given("external-ca") {
            spec::default_root(spec, &root);
        }
        if matches.given("autolock") {
            spec["EncryptionConfig"]["AutoLockManagers"] = matches.flag("autolock").into();
        }
        Ok(())
    })
    .await?;
    println!("Swarm updated.");
    if matches.flag("autolock") && !was_locked {
        print_unlock_key(context).await?;
    }
    Ok(())
}

async fn unlock(context: &Context, _: &Matches) -> Result<(), CliError> {
    let info = context.client.get("/info").await?;
    match text(&info, "/Swarm/LocalNodeState") {
        "inactive" => return Err(CliError::new("Error: This node is not part of a swarm")),
        "locked" => {}
        _ => return Err(CliError::new("Error: swarm is not locked")),
    }
    let key = hidden_line("Enter unlock key: ")?;
    context
        .client
        .post("/swarm/unlock", &json!({"UnlockKey": key.trim()}))
        .await?;
    Ok(())
}

async fn unlock_key(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let quiet = matches.flag("quiet");
    if matches.flag("rotate") {
        let swarm = context.client.get("/swarm").await?;
        if swarm["Spec"]["EncryptionConfig"]["AutoLockManagers"] != true {
            return Err(CliError::new(
                "cannot rotate because autolock is not turned on",
            ));
        }
        update_swarm(context, &[("rotateManagerUnlockKey", "true")], |_| Ok(())).await?;
        if !quiet {
            println!("Successfully rotated manager unlock key.\n");
        }
    }
    let answer = context.client.get("/swarm/unlockkey").await?;
    let key = text(&answer, "/UnlockKey");
    if key.is_empty() {
        return Err(CliError::new("no unlock key is set"));
    }
    if quiet {
        println!("{key}");
        return Ok(());
    }
    print_unlock_key(context).await
}

async fn ca(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let files = ["ca-cert", "ca-key"].map(|flag| spec::pem_file(matches, flag));
    let [cert, key] = files;
    let files = [cert?, key?];
    if !matches.flag("rotate") {
        let alone = ["ca-cert", "ca-key", "cert-expiry", "external-ca"];
        if let Some(flag) = alone.iter().find(|flag| matches.given(flag)) {
            return Err(CliError::new(format!(
                "`--{flag}` flag requires the `--rotate` flag to update the CA"
            )));
        }
        let swarm = context.client.get("/swarm").await?;
        let root = text(&swarm, "/TLSInfo/TrustRoot");
        if root.is_empty() {
            return Err(CliError::new("No CA information available"));
        }
        println!("{}", root.trim());
        return Ok(());
    }
    let [cert, key] = files;
    update_swarm(context, &[], |spec| {
        spec::apply(spec, matches)?;
        let config = &mut spec["CAConfig"];
        if cert.is_none() && key.is_none() {
            config["ForceRotate"] = (config["ForceRotate"].as_u64().unwrap_or(0) + 1).into();
        }
        for (file, field) in [(cert, "SigningCACert"), (key, "SigningCAKey")] {
            match file {
                Some(text) => config[field] = text.into(),
                // A rotation to a root of the swarm's own.
                None => {
                    if let Some(config) = config.as_object_mut() {
                        config.shift_remove(field);
                    }
                }
            }
        }
        Ok(())
    })
    .await?;
    if matches.flag("detach") {
        return Ok(());
    }
    rotation::wait(context, matches.flag("quiet")).await
}

/// Reads the swarm's spec, changes it and writes it back.
async fn update_swarm(
    context: &Context,
    query: &[(&str, &str)],
    change: impl FnOnce(&mut Value) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let swarm = context.client.get("/swarm").await?;
    let mut spec = swarm["Spec"].clone();
    change(&mut spec)?;
    let version = swarm["Version"]["Index"].to_string();
    let mut all = vec![("version", version.as_str())];
    for rotation in [
        "rotateManagerToken",
        "rotateManagerUnlockKey",
        "rotateWorkerToken",
    ] {
        let is_asked = query.contains(&(rotation, "true"));
        all.push((rotation, if is_asked { "true" } else { "false" }));
    }
    context
        .client
        .post(&url("/swarm/update", &all), &spec)
        .await?;
    Ok(())
}

fn token<'a>(swarm: &'a Value, role: &str) -> &'a str {
    text(
        swarm,
        if role == "manager" {
            "/JoinTokens/Manager"
        } else {
            "/JoinTokens/Worker"
        },
    )
}

async fn print_join_command(context: &Context, role: &str) -> Result<(), CliError> {
    let info = context.client.get("/info").await?;
    let node = context
        .client
        .get(&format!("/nodes/{}", text(&info, "/Swarm/NodeID")))
        .await?;
    let swarm = context.client.get("/swarm").await?;
    let address = text(&node, "/ManagerStatus/Addr");
    if !address.is_empty() {
        println!("To add a {role} to this swarm, run the following command:\n");
        println!(
            "    docker swarm join --token {} {address}\n",
            token(&swarm, role)
        );
    }
    Ok(())
}

async fn print_unlock_key(context: &Context) -> Result<(), CliError> {
    let answer = context.client.get("/swarm/unlockkey").await?;
    println!(
        "To unlock a swarm manager after it restarts, run the `docker swarm unlock`\ncommand and provide the following key:\n\n    {}\n\nRemember to store this key in a password manager, since without it you\nwill not be able to restart the manager.",
        text(&answer, "/UnlockKey")
    );
    Ok(())
}
