//! What a daemon cannot do, refused before it is asked; and what help leaves out for that.

use std::time::Duration;

use crate::client::Ping;
use crate::cmd::since;
use crate::context::{Context, env};
use crate::error::CliError;
use crate::grammar::{Command, Matches, Notes};

/// Help does not wait longer for a daemon.
const HELP_DEADLINE: Duration = Duration::from_secs(1);

/// Groups of a swarm's objects.
const SWARM_GROUPS: [&str; 6] = ["config", "node", "secret", "service", "stack", "swarm"];

/// Refuses a command, or flags, that the daemon is too old for or does not have.
pub(crate) async fn check(
    context: &Context,
    command: &Command,
    shown: &str,
    matches: &Matches,
) -> Result<(), CliError> {
    let flags = command.flags();
    let given: Vec<(&str, Notes)> = flags
        .iter()
        .filter(|flag| matches.given(flag.name))
        .map(|flag| (flag.name, flag.notes))
        .filter(|(_, notes)| notes.since.is_some() || notes.windows || notes.experimental)
        .collect();
    let needed = since(command.path);
    if needed.is_none() && given.is_empty() {
        return Ok(());
    }
    // Who cannot be asked refuses nothing: some commands need no daemon.
    let Ok(version) = context.client.version().await else {
        return Ok(());
    };
    if let Some(needed) = needed
        && older(&version, needed)
    {
        return Err(CliError::new(format!(
            "docker {shown} requires API version {needed}, but the Docker daemon API version is {version}"
        )));
    }
    // A pinned version asks the daemon nothing; these two flags need its word.
    let ping = match given
        .iter()
        .any(|(_, notes)| notes.windows || notes.experimental)
    {
        true => context.client.ping().await?,
        false => Ping::default(),
    };
    let refusals: Vec<String> = given
        .iter()
        .filter_map(|(name, notes)| refusal(name, notes, &version, &ping))
        .collect();
    if refusals.is_empty() {
        return Ok(());
    }
    Err(CliError::new(refusals.join("\n")))
}

/// Refuses what was to be done with signed images only: nothing here looks at Notary's signatures.
pub(crate) fn signatures(command: &Command, matches: &Matches) -> Result<(), CliError> {
    const FLAG: &str = "disable-content-trust";
    if !command.flags().iter().any(|flag| flag.name == FLAG) {
        return Ok(());
    }
    let asked = match matches.given(FLAG) {
        true => (!matches.flag(FLAG)).then_some("--disable-content-trust=false"),
        false => env("DOCKER_CONTENT_TRUST")
            .filter(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"))
            .map(|_| "$DOCKER_CONTENT_TRUST"),
    };
    match asked {
        Some(how) => Err(CliError::new(format!(
            "{how}: signatures of images (Docker Content Trust) are not supported"
        ))),
        None => Ok(()),
    }
}

fn refusal(name: &str, notes: &Notes, version: &str, ping: &Ping) -> Option<String> {
    if notes.windows && ping.os != "windows" {
        return Some(format!(
            "\"--{name}\" is only supported on a Docker daemon running on windows, but the Docker daemon is running on {}",
            ping.os
        ));
    }
    if notes.experimental && !ping.experimental {
        return Some(format!(
            "\"--{name}\" is only supported on a Docker daemon with experimental features enabled"
        ));
    }
    let needed = notes.since.filter(|needed| older(version, needed))?;
    Some(format!(
        "\"--{name}\" requires API version {needed}, but the Docker daemon API version is {version}"
    ))
}

/// Whether an API version comes before another.
pub(crate) fn older(version: &str, needed: &str) -> bool {
    let number = |text: &str| {
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        (
            major.parse::<u32>().unwrap_or(0),
            minor.parse::<u32>().unwrap_or(0),
        )
    };
    number(version) < number(needed)
}

/// The daemon's part in a swarm (`inactive`, `active/manager`, ...); nothing where it does not say.
pub(crate) async fn swarm_part(root: &Matches) -> Option<String> {
    let context = Context::open(root).ok()?;
    let ping = tokio::time::timeout(HELP_DEADLINE, context.client.ping());
    ping.await.ok()?.ok()?.swarm
}

/// Whether a group is about a swarm.
pub(crate) fn of_swarm(group: &str) -> bool {
    SWARM_GROUPS.contains(&group)
}

/// Whether a daemon with that part in a swarm can do anything with a group of commands.
pub(crate) fn of_use(group: &str, part: Option<&str>) -> bool {
    match part {
        None => true,
        Some("active/manager") => true,
        Some("active/worker") => matches!(group, "swarm") || !of_swarm(group),
        Some(_) => group == "swarm" || !of_swarm(group),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(older("1.24", "1.25") && older("1.9", "1.10") && !older("1.50", "1.50"));
    }

    #[test]
    fn a_host_outside_a_swarm_is_shown_how_to_make_one() {
        assert!(of_use("swarm", Some("inactive")) && !of_use("service", Some("inactive")));
        assert!(of_use("service", None) && of_use("container", Some("inactive")));
    }
}
