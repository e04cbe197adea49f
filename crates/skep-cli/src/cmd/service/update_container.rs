//! A container's spec changed by the flags of `service update`.

use serde_json::{Value, json};

use super::references::{credential_config, files};
use super::spec::{capability, healthcheck};
use super::update_lists::{change_list, change_map, object, remove, replace_by, set_list, strings};
use super::values::{
    credential_spec, env, hosts, name_servers, search_domains, tagged, ulimits, words,
};
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::opts::{mount, split_pair};

/// Changes a container's spec.
pub(super) async fn apply(
    context: &Context,
    container: &mut Value,
    matches: &Matches,
) -> Result<(), CliError> {
    texts(container, matches)?;
    health(container, matches)?;
    names(container, matches)?;
    environment(container, matches)?;
    objects(container, matches)?;
    capabilities(container, matches);
    for (kind, field, name) in [
        ("secret", "Secrets", "SecretName"),
        ("config", "Configs", "ConfigName"),
    ] {
        references(context, container, matches, [kind, field, name]).await?;
    }
    credential(context, container, matches).await
}

fn texts(container: &mut Value, matches: &Matches) -> Result<(), CliError> {
    for (flag, field) in [
        ("image", "Image"),
        ("hostname", "Hostname"),
        ("workdir", "Dir"),
        ("user", "User"),
        ("stop-signal", "StopSignal"),
        ("isolation", "Isolation"),
    ] {
        match matches.given_text(flag) {
            Some("") => remove(container, field),
            Some(image) if flag == "image" => container[field] = tagged(image).into(),
            Some(given) => container[field] = given.into(),
            None => {}
        }
    }
    for (flag, field) in [("tty", "TTY"), ("read-only", "ReadOnly")] {
        match matches.given(flag).then(|| matches.flag(flag)) {
            Some(true) => container[field] = true.into(),
            Some(false) => remove(container, field),
            None => {}
        }
    }
    if matches.given("init") {
        container["Init"] = matches.flag("init").into();
    }
    for (flag, field) in [("args", "Args"), ("entrypoint", "Command")] {
        if let Some(given) = matches.given_text(flag) {
            set_list(container, field, words(given, flag)?);
        }
    }
    if let Some(period) = matches.duration("stop-grace-period") {
        container["StopGracePeriod"] = period.into();
    }
    match matches.number("oom-score-adj") {
        Some(0) => remove(container, "OomScoreAdj"),
        Some(score) => container["OomScoreAdj"] = score.into(),
        None => {}
    }
    Ok(())
}

fn health(container: &mut Value, matches: &Matches) -> Result<(), CliError> {
    let Some(changes) = healthcheck(matches)? else {
        return Ok(());
    };
    let is_off = changes["Test"] == json!(["NONE"]);
    if is_off || container["Healthcheck"]["Test"] == json!(["NONE"]) {
        container["Healthcheck"] = changes;
        return Ok(());
    }
    let check = object(&mut container["Healthcheck"]);
    for (field, value) in changes.as_object().into_iter().flatten() {
        check.insert(field.clone(), value.clone());
    }
    Ok(())
}

fn names(container: &mut Value, matches: &Matches) -> Result<(), CliError> {
    change_map(container, "Labels", matches, "container-label");
    change_map(container, "Sysctls", matches, "sysctl");
    let is_given =
        |flag: &str| matches.given(&format!("{flag}-add")) || matches.given(&format!("{flag}-rm"));
    if is_given("group") {
        let (gone, added) = (matches.list("group-rm"), matches.list("group-add"));
        change_list(container, "Groups", gone, added.to_vec());
    }
    if ["dns", "dns-search", "dns-option"]
        .into_iter()
        .any(is_given)
    {
        let dns = &mut container["DNSConfig"];
        let added = name_servers("--dns-add", matches.list("dns-add"))?;
        change_list(dns, "Nameservers", matches.list("dns-rm"), added);
        let added = search_domains("--dns-search-add", matches.list("dns-search-add"))?;
        change_list(dns, "Search", matches.list("dns-search-rm"), added);
        let added = matches.list("dns-option-add").to_vec();
        change_list(dns, "Options", matches.list("dns-option-rm"), added);
    }
    if is_given("host") {
        let mut all = strings(&container["Hosts"]);
        for gone in matches.list("host-rm") {
            let (name, ip) = gone.split_once(':').unwrap_or((gone, ""));
            all.retain(|entry| {
                let mut words = entry.split(' ');
                let same_ip = words.next() == Some(ip) || ip.is_empty();
                !(same_ip && words.any(|known| known == name))
            });
        }
        all.extend(hosts("--host-add", matches.list("host-add"))?);
        set_list(container, "Hosts", all);
    }
    Ok(())
}

fn environment(container: &mut Value, matches: &Matches) -> Result<(), CliError> {
    if !matches.given("env-add") && !matches.given("env-rm") {
        return Ok(());
    }
    let gone = matches.list("env-rm");
    let mut kept = strings(&container["Env"]);
    kept.retain(|entry| !gone.iter().any(|gone| gone == split_pair(entry).0));
    for added in env("--env-add", &[], matches.list("env-add"))? {
        let name = split_pair(&added).0;
        match kept.iter().position(|known| split_pair(known).0 == name) {
            Some(at) => kept[at] = added,
            None => kept.push(added),
        }
    }
    set_list(container, "Env", kept);
    Ok(())
}

fn objects(container: &mut Value, matches: &Matches) -> Result<(), CliError> {
    if matches.given("mount-add") || matches.given("mount-rm") {
        let added = matches.list("mount-add").iter().map(|text| mount(text));
        let added: Vec<Value> = added.collect::<Result<_, _>>()?;
        let gone = matches.list("mount-rm");
        replace_by(container, "Mounts", "Target", gone, added);
    }
    if matches.given("ulimit-add") || matches.given("ulimit-rm") {
        let added = ulimits(matches.list("ulimit-add"))?;
        let gone = matches.list("ulimit-rm");
        replace_by(container, "Ulimits", "Name", gone, added);
        if let Some(all) = container["Ulimits"].as_array_mut() {
            all.sort_by(|a, b| text(a, "/Name").cmp(text(b, "/Name")));
        }
    }
    Ok(())
}

/// Adding what is dropped takes it off the list of what is dropped, and the other way round; `RESET`
/// empties a list; `ALL` stands for every other.
fn capabilities(container: &mut Value, matches: &Matches) {
    if !matches.given("cap-add") && !matches.given("cap-drop") {
        return;
    }
    let mut add = strings(&container["CapabilityAdd"]);
    let mut drop = strings(&container["CapabilityDrop"]);
    change_capabilities(matches.list("cap-drop"), &mut drop, &mut add);
    change_capabilities(matches.list("cap-add"), &mut add, &mut drop);
    for list in [&mut add, &mut drop] {
        list.sort();
        if list.iter().any(|name| name == "ALL") {
            *list = vec!["ALL".to_owned()];
        }
    }
    set_list(container, "CapabilityAdd", add);
    set_list(container, "CapabilityDrop", drop);
}

fn change_capabilities(names: &[String], own: &mut Vec<String>, other: &mut Vec<String>) {
    for name in names.iter().map(|name| capability(name)) {
        if name == "RESET" {
            own.clear();
        } else if let Some(at) = other.iter().position(|known| *known == name) {
            other.remove(at);
        } else if !own.contains(&name) {
            own.push(name);
        }
    }
}

/// `--secret-add`, `--config-rm` and so on; what has the file of a new one makes way for it.
async fn references(
    context: &Context,
    container: &mut Value,
    matches: &Matches,
    [kind, field, name]: [&str; 3],
) -> Result<(), CliError> {
    let (add, rm) = (format!("{kind}-add"), format!("{kind}-rm"));
    if !matches.given(&add) && !matches.given(&rm) {
        return Ok(());
    }
    let mut all: Vec<Value> = container[field].as_array().cloned().unwrap_or_default();
    all.retain(|known| {
        let known = text(known, &format!("/{name}"));
        !matches
            .list(&rm)
            .iter()
            .any(|gone| is_version_of(known, gone))
    });
    for new in files(context, kind, matches.list(&add)).await? {
        all.retain(|known| known["File"]["Name"] != new["File"]["Name"]);
        all.push(new);
    }
    set_list(container, field, all);
    Ok(())
}

/// `app` and `app.v2` are `app`.
fn is_version_of(known: &str, name: &str) -> bool {
    let version = known
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix(".v"));
    known == name || version.is_some_and(|number| number.parse::<u64>().is_ok())
}

/// `--credential-spec`; an empty one takes it away, and the config it was in.
async fn credential(
    context: &Context,
    container: &mut Value,
    matches: &Matches,
) -> Result<(), CliError> {
    let Some(given) = matches.given_text("credential-spec") else {
        return Ok(());
    };
    let mut configs: Vec<Value> = container["Configs"].as_array().cloned().unwrap_or_default();
    configs.retain(|config| config.get("Runtime").is_none());
    if given.is_empty() {
        if let Some(privileges) = container.get_mut("Privileges") {
            remove(privileges, "CredentialSpec");
        }
    } else {
        let privileges = object(&mut container["Privileges"]);
        privileges
            .entry("NoNewPrivileges")
            .or_insert(Value::Bool(false));
        privileges.insert("CredentialSpec".to_owned(), credential_spec(given)?);
        configs.extend(credential_config(context, container).await?);
    }
    set_list(container, "Configs", configs);
    Ok(())
}
