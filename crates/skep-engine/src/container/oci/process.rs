//! The process that a container starts with, and further ones.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skep_objects::api::container::{Config, HostConfig};
use skep_runtime::user::ResolvedUser;

use super::capabilities::daemon_has;
use super::{CapabilitySet, Inputs, SecurityOptions};
use crate::error::{EngineError, Result};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `process` of the container's own.
pub(super) fn init_process(
    inputs: &Inputs<'_>,
    capabilities: &CapabilitySet,
    security: &SecurityOptions,
) -> Result<Value> {
    let record = inputs.record;
    let config = &record.config;
    let mut args: Vec<&str> = Vec::new();
    if inputs.init {
        args.extend([skep_runtime::init::PATH, "--"]);
    }
    args.push(&record.path);
    args.extend(record.args.iter().map(String::as_str));
    let cwd = if config.working_dir.is_empty() {
        "/"
    } else {
        &config.working_dir
    };
    let mut process = json!({
        "terminal": config.tty,
        "user": user(inputs.user),
        "args": args,
        "env": environment(config, inputs.hostname, &inputs.user.home, &inputs.link_env, config.tty),
        "cwd": cwd,
        "capabilities": capability_sets(capabilities, inputs.user.uid),
        "rlimits": rlimits(&record.host_config, inputs.default_ulimits)?,
        "noNewPrivileges": security.no_new_privileges,
    });
    let size = record.host_config.console_size;
    if config.tty && size != [0, 0] {
        process["consoleSize"] = json!({"height": size[0], "width": size[1]});
    }
    if let Some(score) = oom_score(&record.host_config) {
        process["oomScoreAdj"] = json!(score);
    }
    Ok(process)
}

/// What `--oom-score-adj` says holds for every process of the container.
fn oom_score(host: &HostConfig) -> Option<i64> {
    Some(host.oom_score_adj).filter(|score| *score != 0)
}

/// The lowest score that a process of this daemon's can have; none where it has the right to any.
pub(crate) fn lowest_oom_score() -> Option<i64> {
    if daemon_has("CAP_SYS_RESOURCE") {
        return None;
    }
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").ok()?;
    own.trim().parse().ok()
}

/// `process` of an exec.
#[allow(clippy::too_many_arguments)] // one each for what a process is made of
pub(crate) fn exec_process(
    host: &HostConfig,
    default_ulimits: &BTreeMap<String, (i64, i64)>,
    args: &[String],
    env: &[String],
    cwd: &str,
    tty: bool,
    size: Option<[u32; 2]>,
    who: &ResolvedUser,
    privileged: bool,
) -> Result<Value> {
    let capabilities = super::for_exec(host, privileged)?;
    let security = SecurityOptions::parse(host)?;
    let mut process = json!({
        "terminal": tty,
        "user": user(who),
        "args": args,
        "env": env,
        "cwd": cwd,
        "capabilities": capability_sets(&capabilities, who.uid),
        "rlimits": rlimits(host, default_ulimits)?,
        "noNewPrivileges": security.no_new_privileges,
    });
    if let Some(score) = oom_score(host) {
        process["oomScoreAdj"] = json!(score);
    }
    if let Some([height, width]) = size.filter(|size| tty && *size != [0, 0]) {
        process["consoleSize"] = json!({"height": height, "width": width});
    }
    Ok(process)
}

fn user(user: &ResolvedUser) -> Value {
    let mut groups = vec![user.gid];
    groups.extend(user.additional_gids.iter().filter(|gid| **gid != user.gid));
    json!({"uid": user.uid, "gid": user.gid, "additionalGids": groups})
}

/// A user other than root has none but may gain them from files.
fn capability_sets(set: &CapabilitySet, uid: u32) -> Value {
    let own: &[&str] = if uid == 0 { set } else { &[] };
    json!({"bounding": set, "effective": own, "permitted": own})
}

/// Variables in Docker's order: its own first, then the user's, each once and the user's winning.
pub(crate) fn environment(
    config: &Config,
    hostname: &str,
    home: &str,
    links: &[String],
    tty: bool,
) -> Vec<String> {
    let mut env = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if tty {
        env.push("TERM=xterm".to_owned());
    }
    env.extend(links.iter().cloned());
    overlay(&mut env, config.env.as_deref().unwrap_or_default());
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={home}"));
    }
    env
}

/// Lays variables over others; one without `=` removes.
pub(crate) fn overlay(env: &mut Vec<String>, more: &[String]) {
    for entry in more {
        let key = entry.split('=').next().unwrap_or_default();
        let at = env
            .iter()
            .position(|have| have.split('=').next() == Some(key));
        match (at, entry.contains('=')) {
            (Some(at), true) => env[at].clone_from(entry),
            (Some(at), false) => {
                env.remove(at);
            }
            (None, true) => env.push(entry.clone()),
            (None, false) => {}
        }
    }
}

const LIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

fn rlimits(host: &HostConfig, defaults: &BTreeMap<String, (i64, i64)>) -> Result<Vec<Value>> {
    let mut all = defaults.clone();
    for limit in host.ulimits.iter().flatten() {
        if !LIMITS.contains(&limit.name.as_str()) {
            return Err(EngineError::invalid(format!(
                "invalid ulimit type: {}",
                limit.name
            )));
        }
        all.insert(limit.name.clone(), (limit.soft, limit.hard));
    }
    let value = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    Ok(all
        .into_iter()
        .map(|(name, (soft, hard))| {
            let (mut soft, mut hard) = (value(soft), value(hard));
            if let Some(most) = own_hard_limit(&name).filter(|_| !daemon_has("CAP_SYS_RESOURCE")) {
                (soft, hard) = (soft.min(most), hard.min(most));
            }
            json!({"type": format!("RLIMIT_{}", name.to_ascii_uppercase()), "soft": soft, "hard": hard})
        })
        .collect())
}

/// The daemon's own hard limit, above which it can raise none without privilege.
fn own_hard_limit(name: &str) -> Option<u64> {
    let label = match name {
        "as" => "Max address space",
        "core" => "Max core file size",
        "cpu" => "Max cpu time",
        "data" => "Max data size",
        "fsize" => "Max file size",
        "locks" => "Max file locks",
        "memlock" => "Max locked memory",
        "msgqueue" => "Max msgqueue size",
        "nice" => "Max nice priority",
        "nofile" => "Max open files",
        "nproc" => "Max processes",
        "rss" => "Max resident set",
        "rtprio" => "Max realtime priority",
        "rttime" => "Max realtime timeout",
        "sigpending" => "Max pending signals",
        _ => "Max stack size",
    };
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with(label))?;
    line[label.len()..].split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_s_variables_replace_dockers_in_place() {
        let config = Config {
            env: Some(vec!["PATH=/x".into(), "A=1".into(), "HOSTNAME".into()]),
            ..Config::default()
        };
        assert_eq!(
            environment(&config, "h", "/root", &[], true),
            ["PATH=/x", "TERM=xterm", "A=1", "HOME=/root"]
        );
    }

    #[test]
    fn an_unknown_ulimit_is_refused() {
        let limit = skep_objects::api::container::Ulimit {
            name: "x".into(),
            hard: 1,
            soft: 1,
        };
        let host = HostConfig {
            ulimits: Some(vec![limit]),
            ..HostConfig::default()
        };
        assert!(rlimits(&host, &Default::default()).is_err());
    }
}
