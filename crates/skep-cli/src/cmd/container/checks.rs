//! What values of flags must look like, refused before anything is asked of the daemon.

use crate::error::CliError;
use crate::grammar::Matches;

fn refused(why: impl Into<String>) -> CliError {
    CliError::new(why).with_code(125)
}

/// Checks that need more than one look at a flag's value.
pub(super) fn flags(matches: &Matches) -> Result<(), CliError> {
    namespaces(matches)?;
    for text in matches.list("link") {
        if text.split(':').count() > 2 || text.is_empty() {
            return Err(CliError::bad_flag(
                text,
                "--link",
                format!("bad format for links: {text}"),
            ));
        }
    }
    for text in matches.list("dns") {
        if text.parse::<std::net::IpAddr>().is_err() {
            let why = format!("IP address is not correctly formatted: {text}");
            return Err(CliError::bad_flag(text, "--dns", why));
        }
    }
    for text in matches.list("device-cgroup-rule") {
        if !is_device_rule(text) {
            let why = format!("invalid device cgroup format '{text}'");
            return Err(CliError::bad_flag(text, "--device-cgroup-rule", why));
        }
    }
    for text in matches.list("sysctl") {
        if !is_sysctl(text) {
            return Err(CliError::bad_flag(
                text,
                "--sysctl",
                format!("sysctl '{text}' is not allowed"),
            ));
        }
    }
    if matches
        .list("storage-opt")
        .iter()
        .any(|text| !text.contains('='))
    {
        return Err(refused("invalid storage option"));
    }
    match matches.number("memory-swappiness") {
        Some(number) if number != -1 && !(0..=100).contains(&number) => {
            return Err(refused(format!(
                "invalid value: {number}. Valid memory swappiness range is 0-100"
            )));
        }
        _ => {}
    }
    if matches.text("log-driver") == "none" && matches.given("log-opt") {
        return Err(refused("invalid logging opts for driver none"));
    }
    Ok(())
}

fn namespaces(matches: &Matches) -> Result<(), CliError> {
    let check = |flag: &str, name: &str, others: &[&str]| {
        let mode = matches.text(flag);
        let is_known = mode.is_empty()
            || mode == "host"
            || others.contains(&mode)
            || flag == "pid"
                && mode
                    .strip_prefix("container:")
                    .is_some_and(|other| !other.is_empty());
        match is_known {
            true => Ok(()),
            false => Err(refused(format!("--{flag}: invalid {name} mode"))),
        }
    };
    check("pid", "PID", &[])?;
    check("uts", "UTS", &[])?;
    check("userns", "USER", &[])?;
    check("cgroupns", "CGROUP", &["private"])
}

/// `type major:minor rwm`.
fn is_device_rule(text: &str) -> bool {
    let words: Vec<_> = text.split(' ').collect();
    let is_number =
        |text: &str| text == "*" || !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match words.as_slice() {
        ["a" | "b" | "c", numbers, access] => {
            numbers
                .split_once(':')
                .is_some_and(|(major, minor)| is_number(major) && is_number(minor))
                && (1..=3).contains(&access.len())
                && access.bytes().all(|byte| b"rwm".contains(&byte))
        }
        _ => false,
    }
}

/// Settings of the kernel that a namespace has for itself.
fn is_sysctl(text: &str) -> bool {
    const NAMES: [&str; 9] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "fs.mqueue",
    ];
    let Some((name, _)) = text.split_once('=') else {
        return false;
    };
    NAMES.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.")
}

/// `name:address`, `name=address`; the daemon takes the first.
pub(super) fn extra_hosts(given: &[String]) -> Result<Vec<String>, CliError> {
    let one = |text: &String| {
        let bad = || {
            CliError::bad_flag(
                text,
                "--add-host",
                format!("bad format for add-host: {text:?}"),
            )
        };
        let (name, address) = text
            .split_once('=')
            .or_else(|| text.split_once(':'))
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(bad)?;
        let bare = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(address);
        if bare != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err() {
            let why = format!("invalid IP address in add-host: {address:?}");
            return Err(CliError::bad_flag(text, "--add-host", why));
        }
        Ok(format!("{name}:{bare}"))
    };
    given.iter().map(one).collect()
}

/// Upper case, with `CAP_`, each once, sorted; `ALL` stands for all.
pub(super) fn capabilities(given: &[String]) -> Vec<String> {
    let mut all: Vec<String> = given
        .iter()
        .map(|name| name.trim().to_ascii_uppercase())
        .filter(|name| !name.is_empty())
        .map(|name| match name.as_str() {
            "ALL" => name,
            _ if name.starts_with("CAP_") => name,
            _ => format!("CAP_{name}"),
        })
        .collect();
    if all.iter().any(|name| name == "ALL") {
        return vec!["ALL".to_owned()];
    }
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_one_form() {
        let given = ["sys_time", "CAP_NET_ADMIN", "net_admin"].map(str::to_owned);
        assert_eq!(capabilities(&given), ["CAP_NET_ADMIN", "CAP_SYS_TIME"]);
        assert_eq!(
            capabilities(&["chown".to_owned(), "all".to_owned()]),
            ["ALL"]
        );
    }

    #[test]
    fn hosts_have_one_form() {
        let given = ["a=1.2.3.4", "b:::1", "c=[fd::1]"].map(str::to_owned);
        assert_eq!(
            extra_hosts(&given).unwrap(),
            ["a:1.2.3.4", "b:::1", "c:fd::1"]
        );
        assert!(extra_hosts(&["a".to_owned()]).is_err());
    }
}
