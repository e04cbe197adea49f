//! Which services there are, and in which order: `profiles` and `depends_on`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::error::CliError;

/// What must be true of a service before another is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// A task of it runs.
    Started,
    /// All of its tasks run, and are healthy where their health is looked at.
    Healthy,
    /// It is a job that has ended well.
    Completed,
}

impl Condition {
    fn read(text: &str) -> Option<Self> {
        match text {
            "service_started" => Some(Self::Started),
            "service_healthy" => Some(Self::Healthy),
            "service_completed_successfully" => Some(Self::Completed),
            _ => None,
        }
    }
}

/// Leaves only services whose profiles are active, and dependencies on those.
pub(super) fn activate(
    services: &mut Map<String, Value>,
    profiles: &[String],
) -> Result<(), CliError> {
    let is_active = |service: &Value| {
        let wanted = service["profiles"].as_array().filter(|p| !p.is_empty());
        wanted.is_none_or(|wanted| {
            profiles
                .iter()
                .any(|active| active == "*" || wanted.iter().any(|p| p == active))
        })
    };
    let asleep: BTreeSet<String> = services
        .iter()
        .filter(|(_, service)| !is_active(service))
        .map(|(name, _)| name.clone())
        .collect();
    services.retain(|name, _| !asleep.contains(name));
    let known: BTreeSet<String> = services.keys().cloned().collect();
    for (name, service) in services.iter_mut() {
        if let Some(service) = service.as_object_mut() {
            service.shift_remove("profiles");
        }
        let Some(Value::Object(needs)) = service.get_mut("depends_on") else {
            continue;
        };
        needs.retain(|other, how| known.contains(other) || how["required"] != false);
        if let Some(other) = needs.keys().find(|other| !known.contains(*other)) {
            let text = if asleep.contains(other) {
                format!("service {name:?} depends on {other:?}, none of whose profiles is active")
            } else {
                format!("service {name:?} depends on undefined service {other:?}")
            };
            return Err(CliError::new(format!("{text}: invalid compose project")));
        }
    }
    Ok(())
}

/// Refuses conditions that are none, and services that wait for each other.
pub(super) fn check(services: &Map<String, Value>) -> Result<(), CliError> {
    for (name, service) in services {
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            let condition = how["condition"].as_str().unwrap_or("service_started");
            if Condition::read(condition).is_none() {
                return Err(CliError::new(format!(
                    "services.{name}.depends_on.{other}.condition must be one of the following: \"service_started\", \"service_healthy\", \"service_completed_successfully\""
                )));
            }
        }
    }
    order(services).map(drop)
}

/// What a service waits for.
pub(crate) fn conditions(service: &Value) -> Vec<(String, Condition)> {
    let needs = service["depends_on"].as_object().into_iter().flatten();
    needs
        .map(|(other, how)| {
            let text = how["condition"].as_str().unwrap_or("service_started");
            (
                other.clone(),
                Condition::read(text).unwrap_or(Condition::Started),
            )
        })
        .collect()
}

/// Names so that each stands behind those that it waits for; otherwise as in the file.
pub(crate) fn order(services: &Map<String, Value>) -> Result<Vec<String>, CliError> {
    let mut states: BTreeMap<&str, bool> = BTreeMap::new();
    let mut sorted = Vec::new();
    for name in services.keys() {
        visit(services, name, &mut states, &mut Vec::new(), &mut sorted)?;
    }
    Ok(sorted)
}

fn visit<'a>(
    services: &'a Map<String, Value>,
    name: &'a str,
    states: &mut BTreeMap<&'a str, bool>,
    path: &mut Vec<&'a str>,
    sorted: &mut Vec<String>,
) -> Result<(), CliError> {
    match states.get(name) {
        Some(true) => return Ok(()),
        Some(false) => {
            path.push(name);
            let from = path.iter().position(|step| *step == name).unwrap_or(0);
            return Err(CliError::new(format!(
                "dependency cycle detected: {}",
                path[from..].join(" -> ")
            )));
        }
        None => {}
    }
    let Some(service) = services.get(name) else {
        return Ok(());
    };
    states.insert(name, false);
    path.push(name);
    for other in service["depends_on"]
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
    {
        visit(services, other, states, path, sorted)?;
    }
    path.pop();
    states.insert(name, true);
    sorted.push(name.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn services(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn what_is_waited_for_comes_first() {
        let all = services(json!({
            "web": {"depends_on": {"api": {}, "db": {}}},
            "api": {"depends_on": {"db": {"condition": "service_healthy"}}},
            "db": {},
        }));
        assert_eq!(order(&all).unwrap(), ["db", "api", "web"]);
        assert_eq!(
            conditions(&all["api"]),
            [("db".to_owned(), Condition::Healthy)]
        );
    }

    #[test]
    fn cycles_are_named() {
        let all = services(json!({
            "a": {"depends_on": {"b": {}}},
            "b": {"depends_on": {"c": {}}},
            "c": {"depends_on": {"b": {}}},
        }));
        let error = check(&all).unwrap_err();
        assert_eq!(error.message, "dependency cycle detected: b -> c -> b");
    }

    #[test]
    fn profiles_choose_services() {
        let file = json!({
            "web": {"depends_on": {"debug": {"required": false}}},
            "debug": {"profiles": ["dev"]},
        });
        let mut all = services(file.clone());
        activate(&mut all, &[]).unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["web"]);
        assert_eq!(all["web"]["depends_on"], json!({}));
        let mut all = services(file);
        activate(&mut all, &["dev".to_owned()]).unwrap();
        assert_eq!(all.len(), 2);
        let mut all = services(json!({"web": {"depends_on": {"x": {}}}}));
        let error = activate(&mut all, &[]).unwrap_err();
        assert!(error.message.contains("depends on undefined service \"x\""));
    }
}
