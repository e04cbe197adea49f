//! The `filters` parameter as the managers' filters.

use std::collections::BTreeMap;

use skep_engine::Filters;
use skep_objects::swarmkit as proto;

use crate::http::error::{ApiError, Result};

fn all(filters: &Filters, name: &str) -> Vec<String> {
    filters.get(name).map(str::to_owned).collect()
}

/// `key=value` or `key` (any value).
fn labels(filters: &Filters, name: &str) -> BTreeMap<String, String> {
    let pair = |text: &str| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    filters.get(name).map(pair).collect()
}

/// Words that stand for numbers of the protocol.
fn words(
    filters: &Filters,
    name: &str,
    what: &str,
    number: impl Fn(&str) -> Option<i32>,
) -> Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for word in filters.get(name).filter(|word| !word.is_empty()) {
        let known = number(&word.to_uppercase());
        let refusal = || ApiError::invalid(format!("Invalid {what} filter: '{word}'"));
        numbers.push(known.ok_or_else(refusal)?);
    }
    Ok(numbers)
}

/// `GET /nodes`.
pub fn nodes(filters: &Filters) -> Result<proto::list_nodes_request::Filters> {
    filters.validate(&["id", "label", "membership", "name", "node.label", "role"])?;
    let role =
        |word: &str| proto::NodeRole::from_str_name(&format!("NODE_ROLE_{word}")).map(i32::from);
    let membership = |word: &str| {
        let name = format!("MEMBERSHIP_{word}");
        proto::node_spec::Membership::from_str_name(&name).map(i32::from)
    };
    Ok(proto::list_nodes_request::Filters {
        name_prefixes: all(filters, "name"),
        id_prefixes: all(filters, "id"),
        labels: labels(filters, "label"),
        node_labels: labels(filters, "node.label"),
        roles: words(filters, "role", "role", role)?,
        memberships: words(filters, "membership", "membership", membership)?,
        ..Default::default()
    })
}

/// `GET /services`, but for `mode`, which managers do not know.
pub fn services(filters: &Filters) -> Result<proto::list_services_request::Filters> {
    filters.validate(&["id", "label", "mode", "name", "runtime"])?;
    let mut runtimes = all(filters, "runtime");
    if runtimes.is_empty() {
        runtimes.push("container".to_owned());
    }
    Ok(proto::list_services_request::Filters {
        name_prefixes: all(filters, "name"),
        id_prefixes: all(filters, "id"),
        labels: labels(filters, "label"),
        runtimes,
        ..Default::default()
    })
}

/// `GET /tasks`; names of services and nodes must have become ids before.
pub fn tasks(filters: &Filters) -> Result<proto::list_tasks_request::Filters> {
    let known = [
        "_up-to-date",
        "desired-state",
        "id",
        "label",
        "name",
        "node",
        "runtime",
        "service",
    ];
    filters.validate(&known)?;
    let state =
        |word: &str| proto::TaskState::from_str_name(&format!("TASK_STATE_{word}")).map(i32::from);
    let mut runtimes = all(filters, "runtime");
    if runtimes.is_empty() {
        // Only what runs containers, by name or by saying nothing.
        runtimes = vec!["container".to_owned(), String::new()];
    }
    Ok(proto::list_tasks_request::Filters {
        name_prefixes: all(filters, "name"),
        id_prefixes: all(filters, "id"),
        labels: labels(filters, "label"),
        desired_states: words(filters, "desired-state", "desired_state", state)?,
        up_to_date: filters.flag("_up-to-date")?.unwrap_or(false),
        runtimes,
        ..Default::default()
    })
}

/// `GET /secrets`.
pub fn secrets(filters: &Filters) -> Result<proto::list_secrets_request::Filters> {
    filters.validate(&["id", "label", "name", "names"])?;
    Ok(proto::list_secrets_request::Filters {
        names: all(filters, "names"),
        name_prefixes: all(filters, "name"),
        id_prefixes: all(filters, "id"),
        labels: labels(filters, "label"),
    })
}

/// `GET /configs`.
pub fn configs(filters: &Filters) -> Result<proto::list_configs_request::Filters> {
    filters.validate(&["id", "label", "name", "names"])?;
    Ok(proto::list_configs_request::Filters {
        names: all(filters, "names"),
        name_prefixes: all(filters, "name"),
        id_prefixes: all(filters, "id"),
        labels: labels(filters, "label"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(json: &str) -> Filters {
        Filters::parse(json).expect(json)
    }

    #[test]
    fn words_become_numbers() {
        let tasks = tasks(&filters(
            r#"{"desired-state":["running","shutdown"],"_up-to-date":{"true":true}}"#,
        ));
        let tasks = tasks.expect("good");
        assert_eq!(tasks.desired_states, [512, 640]);
        assert!(tasks.up_to_date);
        assert_eq!(tasks.runtimes, ["container", ""]);
        let nodes = nodes(&filters(
            r#"{"role":["manager"],"membership":["accepted"]}"#,
        ))
        .expect("good");
        assert_eq!((nodes.roles, nodes.memberships), (vec![1], vec![1]));
    }

    #[test]
    fn unknown_filters_and_words_are_refused() {
        let refusal = services(&filters(r#"{"color":["red"]}"#)).expect_err("unknown");
        assert_eq!(
            (refusal.status.as_u16(), refusal.message.as_str()),
            (400, "invalid filter 'color'")
        );
        let refusal = nodes(&filters(r#"{"role":["chief"]}"#)).expect_err("unknown");
        assert_eq!(refusal.message, "Invalid role filter: 'chief'");
    }

    #[test]
    fn a_label_without_value_matches_any() {
        let services = services(&filters(r#"{"label":["a","b=c"]}"#)).expect("good");
        assert_eq!(services.labels["a"], "");
        assert_eq!(services.labels["b"], "c");
    }
}
