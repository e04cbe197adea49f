//! `--link`: what a container is told of those it is linked to, in names and in variables.
//!
//! On the default bridge names are lines of `/etc/hosts`, as it has no name server; elsewhere they are
//! names that only this container's server knows. Both follow when the other is started anew.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::record::Record;
use super::{Container, etc_files, ports};
use crate::core::Core;
use crate::error::{EngineError, Result};

/// A container that another is linked to.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub alias: String,
    pub ip: IpAddr,
    pub name: String,
    pub hostname: String,
    env: Vec<String>,
    /// Exposed ports with their protocols.
    ports: Vec<(u16, String)>,
}

impl Link {
    /// The names of its line in `/etc/hosts`.
    pub(super) fn names(&self) -> String {
        format!("{} {} {}", self.alias, self.hostname, self.name)
    }
}

/// `name:alias`; an alias may come as the path `/web/db`.
fn parts(text: &str) -> (&str, &str) {
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    let last = alias.rsplit('/').next().unwrap_or(alias);
    (name.trim_start_matches('/'), last)
}

/// Every link of a container, those of single networks included, each once.
fn texts(record: &Record) -> Vec<&String> {
    let own = record.host_config.links.iter().flatten();
    let of_networks = record
        .endpoints
        .values()
        .flat_map(|settings| settings.links.iter().flatten());
    let mut all: Vec<&String> = own.chain(of_networks).collect();
    all.sort();
    all.dedup();
    all
}

impl Core {
    /// The containers that this one is linked to and shares a network with.
    pub(super) fn linked(&self, record: &Record) -> Vec<Link> {
        let mut links = Vec::new();
        for text in texts(record) {
            let (name, alias) = parts(text);
            let Ok(other) = self.containers.find(name) else {
                continue;
            };
            other.with(|theirs, state| {
                let shared = state
                    .endpoints
                    .iter()
                    .filter(|(network, _)| record.endpoints.contains_key(*network));
                let ip = shared
                    .filter_map(|(_, settings)| settings.ip_address.parse().ok())
                    .next();
                let exposed = theirs.config.exposed_ports.iter().flat_map(BTreeMap::keys);
                let ports = exposed.filter_map(|port| ports::parse(port).ok());
                let ports: Vec<(u16, String)> = ports
                    .map(|(port, proto)| (port, proto.to_string()))
                    .collect();
                links.extend(ip.map(|ip| Link {
                    alias: alias.to_owned(),
                    ip,
                    name: theirs.name.clone(),
                    hostname: theirs.config.hostname.clone(),
                    env: theirs.config.env.clone().unwrap_or_default(),
                    ports,
                }));
            });
        }
        links
    }

    /// On the default bridge a link is fixed at the start, so the other must run by then.
    pub(super) fn check_links(&self, record: &Record) -> Result<()> {
        if record.host_config.network_mode != "bridge" {
            return Ok(());
        }
        for text in record.host_config.links.iter().flatten() {
            let (name, alias) = parts(text);
            let other = self.containers.find(name)?;
            let runs = other.state().running;
            let (other, on_bridge) = other
                .with(|record, _| (record.name.clone(), record.endpoints.contains_key("bridge")));
            if !runs {
                return Err(EngineError::conflict(format!(
                    "Cannot link to a non running container: /{other} AS /{}/{alias}",
                    record.name
                )));
            }
            if !on_bridge {
                return Err(EngineError::conflict(format!(
                    "Cannot link to /{other}, as it does not belong to the default network"
                )));
            }
        }
        Ok(())
    }

    /// The variables that Docker sets for links on the default bridge.
    pub(super) fn link_env(&self, record: &Record) -> Vec<String> {
        if record.host_config.network_mode != "bridge" {
            return Vec::new();
        }
        let links = self.linked(record);
        links
            .iter()
            .flat_map(|link| variables(link, &record.name))
            .collect()
    }

    /// Tells running containers that are linked to this one where it is now.
    pub(super) async fn refresh_linked_to(&self, container: &Container) {
        let name = container.with(|record, _| record.name.clone());
        for other in self.containers.all() {
            let (record, running) = other.with(|record, state| (record.clone(), state.running));
            let is_linked = texts(&record).iter().any(|text| {
                let (target, _) = parts(text);
                target == name || container.id.starts_with(target)
            });
            if !is_linked || !running || other.id == container.id {
                continue;
            }
            if let Err(error) = self.refresh_links(&other, &record).await {
                tracing::warn!(container.id = %other.id, %error, "links not brought up to date");
            }
        }
    }

    async fn refresh_links(&self, container: &Container, record: &Record) -> Result<()> {
        let path = container.dir.join("hosts");
        let text = std::fs::read_to_string(&path).map_err(EngineError::io("read", &path))?;
        let updated = with_links(&text, &self.linked(record));
        if updated != text {
            etc_files::write(&path, &updated)?;
        }
        if record.endpoints.keys().any(|network| network != "bridge") {
            self.serve_names(record).await?;
        }
        Ok(())
    }

    /// `docker rm --link /web/db`: takes the alias `db` away from `web`.
    pub(crate) fn unlink(&self, reference: &str) -> Result<()> {
        let missing =
            || EngineError::not_found(format!("Cannot get parent / for link {reference}"));
        let (parent, alias) = reference
            .trim_start_matches('/')
            .rsplit_once('/')
            .ok_or_else(|| {
                EngineError::conflict(
                    "Conflict, cannot remove the default link name of the container",
                )
            })?;
        let container = self.containers.find(parent)?;
        let removed = container.change_record(|record| {
            let links = record.host_config.links.get_or_insert_default();
            let before = links.len();
            links.retain(|text| parts(text).1 != alias);
            before > links.len()
        })?;
        if removed { Ok(()) } else { Err(missing()) }
    }

    /// What else a container is called: `/web/db` for the `db` of `web`.
    pub(super) fn link_names(
        &self,
        containers: &[Arc<Container>],
    ) -> BTreeMap<String, Vec<String>> {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for container in containers {
            let links = container.with(|record, _| {
                let links = record.host_config.links.clone().unwrap_or_default();
                (record.name.clone(), links)
            });
            let (parent, links) = links;
            for text in &links {
                let (target, alias) = parts(text);
                if let Ok(other) = self.containers.find(target) {
                    names
                        .entry(other.id.clone())
                        .or_default()
                        .push(format!("/{parent}/{alias}"));
                }
            }
        }
        names
    }

    /// Links as `inspect` shows them.
    pub(super) fn shown_links(&self, record: &Record) -> Option<Vec<String>> {
        let links = record.host_config.links.as_ref()?;
        let show = |text: &String| {
            let (name, alias) = parts(text);
            let found = self.containers.find(name);
            let name = found.map_or_else(
                |_| name.to_owned(),
                |other| other.with(|record, _| record.name.clone()),
            );
            format!("/{name}:/{}/{alias}", record.name)
        };
        Some(links.iter().map(show).collect())
    }
}

/// `/etc/hosts` with the lines of these links leading where they are now.
fn with_links(text: &str, links: &[Link]) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let (_, names) = line.split_once('\t').unwrap_or(("", line));
        match links.iter().find(|link| link.names() == names) {
            Some(link) => out.push_str(&format!("{}\t{names}", link.ip)),
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

fn variables(link: &Link, parent: &str) -> Vec<String> {
    let prefix = link.alias.to_ascii_uppercase().replace(['-', '.'], "_");
    let mut env = Vec::new();
    let url = |(port, proto): &(u16, String)| format!("{proto}://{}:{port}", link.ip);
    // The lowest is the link's own; of one number TCP goes first.
    let mut ports = link.ports.clone();
    ports.sort_by_key(|(port, proto)| (*port, proto != "tcp"));
    if let Some(first) = ports.first() {
        env.push(format!("{prefix}_PORT={}", url(first)));
    }
    for port in &ports {
        let name = format!("{prefix}_PORT_{}_{}", port.0, port.1.to_ascii_uppercase());
        env.push(format!("{name}={}", url(port)));
        env.push(format!("{name}_ADDR={}", link.ip));
        env.push(format!("{name}_PORT={}", port.0));
        env.push(format!("{name}_PROTO={}", port.1));
    }
    env.push(format!("{prefix}_NAME=/{parent}/{}", link.alias));
    let theirs = link.env.iter().filter_map(|entry| entry.split_once('='));
    for (key, value) in theirs.filter(|(key, _)| !matches!(*key, "HOME" | "PATH")) {
        env.push(format!("{prefix}_ENV_{key}={value}"));
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        Link {
            alias: "my-db".into(),
            ip: "172.17.0.5".parse().unwrap(),
            name: "pg".into(),
            hostname: "h".into(),
            env: vec!["PATH=/bin".into(), "USER=pg".into()],
            ports: vec![(53, "udp".into()), (5432, "tcp".into())],
        }
    }

    #[test]
    fn a_link_sets_docker_s_variables() {
        let env = variables(&link(), "web");
        assert_eq!(env[0], "MY_DB_PORT=udp://172.17.0.5:53");
        for expect in [
            "MY_DB_PORT_5432_TCP_ADDR=172.17.0.5",
            "MY_DB_PORT_53_UDP_PROTO=udp",
            "MY_DB_NAME=/web/my-db",
            "MY_DB_ENV_USER=pg",
        ] {
            assert!(env.iter().any(|have| have == expect), "{expect}");
        }
        assert!(!env.iter().any(|have| have.contains("PATH")));
    }

    #[test]
    fn a_line_of_hosts_follows_its_container() {
        let text = "127.0.0.1\tlocalhost\n172.17.0.2\tmy-db h pg\n";
        assert_eq!(
            with_links(text, &[link()]),
            "127.0.0.1\tlocalhost\n172.17.0.5\tmy-db h pg\n"
        );
    }
}
