//! `stack ls`, `stack ps`, `stack services`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::checked_name;
use crate::client::url;
use crate::cmd::service::{given_filters, print_services, print_tasks};
use crate::compose::NAMESPACE_LABEL;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::{Format, Row, natural_cmp, print_rows};

pub(super) async fn ls(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let filter = json!({"label": {NAMESPACE_LABEL: true}}).to_string();
    let services = context
        .client
        .get(&url("/services", &[("filters", &filter)]))
        .await?;
    let mut stacks: BTreeMap<String, usize> = BTreeMap::new();
    for service in services.as_array().into_iter().flatten() {
        let name = service["Spec"]["Labels"][NAMESPACE_LABEL]
            .as_str()
            .unwrap_or_default();
        *stacks.entry(name.to_owned()).or_default() += 1;
    }
    let mut stacks: Vec<_> = stacks.into_iter().collect();
    stacks.sort_by(|(a, _), (b, _)| natural_cmp(a, b));
    let rows: Vec<Row> = stacks
        .into_iter()
        .map(|(name, count)| Row::from([("Name", name), ("Services", count.to_string())]))
        .collect();
    print_rows(
        &Format::read(matches.text("format")),
        "*formatter.stackContext",
        &[("NAME", "Name"), ("SERVICES", "Services")],
        &rows,
        &[],
    )
}

pub(super) async fn ps(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let name = checked_name(matches.arg(0))?;
    let mut filters = given_filters(context, matches).await?;
    filters.insert(
        "label".to_owned(),
        json!({format!("{NAMESPACE_LABEL}={name}"): true}),
    );
    let path = url(
        "/tasks",
        &[("filters", &Value::Object(filters).to_string())],
    );
    let tasks = context.client.get(&path).await?;
    if tasks.as_array().is_none_or(Vec::is_empty) {
        return Err(CliError::new(format!("nothing found in stack: {name}")));
    }
    print_tasks(context, matches, &tasks, false).await
}

pub(super) async fn services(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let name = checked_name(matches.arg(0))?;
    let given = crate::client::filters(matches.list("filter"))?;
    let mut filters: Value = serde_json::from_str(&given).unwrap_or_else(|_| json!({}));
    filters["label"][format!("{NAMESPACE_LABEL}={name}")] = true.into();
    let services = context
        .client
        .get(&url(
            "/services",
            &[("filters", &filters.to_string()), ("status", "true")],
        ))
        .await?;
    if services.as_array().is_none_or(Vec::is_empty) {
        eprintln!("Nothing found in stack: {name}");
        return Ok(());
    }
    print_services(&services, matches.text("format"), matches.flag("quiet"))
}
