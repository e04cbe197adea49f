//! Verbs on running containers: stop, kill, restart, pause, rm, rename, wait, update.

use serde_json::{Value, json};

use super::host::restart_policy;
use crate::client::{escape, url};
use crate::cmd::objects::{each, text};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;

/// POSTs `/containers/NAME/VERB` for each argument and prints the name.
async fn post_each(
    context: &Context,
    names: &[String],
    verb: &str,
    query: &[(&str, &str)],
) -> Result<(), CliError> {
    each(names, |name| async move {
        let path = url(&format!("/containers/{}/{verb}", escape(name)), query);
        context.client.post_empty(&path).await?;
        println!("{name}");
        Ok(())
    })
    .await
}

/// `stop`, `restart`, `kill`, `pause`, `unpause`: the command's last word is the verb.
pub(super) async fn verb(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let verb = matches.command.rsplit(' ').next().unwrap_or_default();
    let query = [
        ("signal", matches.text("signal")),
        ("t", matches.text("timeout")),
    ];
    post_each(context, matches.args(), verb, &query).await
}

pub(super) async fn rm(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let switch = |flag: &str| if matches.flag(flag) { "1" } else { "" };
    let query = [
        ("force", switch("force")),
        ("link", switch("link")),
        ("v", switch("volumes")),
    ];
    let force = matches.flag("force");
    each(matches.args(), |name| async move {
        let path = format!(
            "/containers/{}",
            escape(name.trim_matches('/')).replace("%2F", "/")
        );
        match context.client.delete(&url(&path, &query)).await {
            // Docker says so and goes on with success.
            Err(error) if force && error.is_not_found() => eprintln!("{}", error.message),
            result => {
                result?;
                println!("{name}");
            }
        }
        Ok(())
    })
    .await
}

pub(super) async fn rename(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let path = format!("/containers/{}/rename", escape(matches.arg(0)));
    let path = url(&path, &[("name", matches.arg(1))]);
    context
        .client
        .post_empty(&path)
        .await
        .map(drop)
        .map_err(|error| {
            CliError::new(format!(
                "{}\nError: failed to rename container named {}",
                error.message,
                matches.arg(0)
            ))
        })
}

pub(super) async fn wait(context: &Context, matches: &Matches) -> Result<(), CliError> {
    each(matches.args(), |name| async move {
        let path = format!("/containers/{}/wait", escape(name));
        let answer = context.client.post_empty(&path).await?;
        match text(&answer, "/Error/Message") {
            "" => println!("{}", answer["StatusCode"]),
            why => return Err(CliError::new(why)),
        }
        Ok(())
    })
    .await
}

pub(super) async fn update(context: &Context, matches: &Matches) -> Result<(), CliError> {
    const NUMBERS: [(&str, &str); 7] = [
        ("blkio-weight", "BlkioWeight"),
        ("cpu-period", "CpuPeriod"),
        ("cpu-quota", "CpuQuota"),
        ("cpu-rt-period", "CpuRealtimePeriod"),
        ("cpu-rt-runtime", "CpuRealtimeRuntime"),
        ("cpu-shares", "CpuShares"),
        ("pids-limit", "PidsLimit"),
    ];
    const SIZES: [(&str, &str); 4] = [
        ("kernel-memory", "KernelMemory"),
        ("memory", "Memory"),
        ("memory-reservation", "MemoryReservation"),
        ("memory-swap", "MemorySwap"),
    ];
    if matches.given_flags().next().is_none() {
        return Err(CliError::new(
            "you must provide one or more flags when using this command",
        ));
    }
    let mut body = json!({
        "BlkioWeight": 0, "BlkioWeightDevice": null, "BlkioDeviceReadBps": null,
        "BlkioDeviceReadIOps": null, "BlkioDeviceWriteBps": null, "BlkioDeviceWriteIOps": null,
        "CgroupParent": "", "CpuCount": 0, "CpuPercent": 0, "CpusetCpus": "", "CpusetMems": "",
        "CpuPeriod": 0, "CpuQuota": 0, "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0,
        "CpuShares": 0, "DeviceCgroupRules": null, "DeviceRequests": null, "Devices": null,
        "IOMaximumBandwidth": 0, "IOMaximumIOps": 0, "Memory": 0, "MemoryReservation": 0,
        "MemorySwap": 0, "MemorySwappiness": null, "NanoCpus": 0, "OomKillDisable": null,
        "PidsLimit": null, "Ulimits": null,
    });
    for (flag, field) in NUMBERS {
        if let Some(number) = matches.number(flag) {
            body[field] = number.into();
        }
    }
    for (flag, field) in SIZES {
        match matches.given_text(flag) {
            None => {}
            Some("-1") => body[field] = (-1).into(),
            Some(_) => body[field] = matches.bytes(flag).into(),
        }
    }
    for (flag, field) in [("cpuset-cpus", "CpusetCpus"), ("cpuset-mems", "CpusetMems")] {
        body[field] = matches.text(flag).into();
    }
    if let Some(cpus) = matches.cpus("cpus") {
        body["NanoCpus"] = cpus.into();
    }
    body["RestartPolicy"] = restart_policy(matches.text("restart"))?;
    let (body, warnings) = (&body, &std::sync::Mutex::new(Vec::new()));
    let result = each(matches.args(), |name| async move {
        let path = format!("/containers/{}/update", escape(name));
        let answer = context.client.post(&path, body).await?;
        println!("{name}");
        let told = answer["Warnings"].as_array().into_iter().flatten();
        let told = told.filter_map(Value::as_str).map(str::to_owned);
        warnings
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .extend(told);
        Ok(())
    })
    .await;
    let warnings = warnings
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    warnings.iter().for_each(|warning| println!("{warning}"));
    result
}
