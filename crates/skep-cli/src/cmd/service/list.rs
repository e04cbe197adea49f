//! `service ls` and `service rm`.

use serde_json::Value;

use crate::client::{escape, filters, url};
use crate::cmd::objects::{each, text};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::{Format, Row, natural_cmp, print_rows, short_id};

const COLUMNS: [(&str, &str); 6] = [
    ("ID", "ID"),
    ("NAME", "Name"),
    ("MODE", "Mode"),
    ("REPLICAS", "Replicas"),
    ("IMAGE", "Image"),
    ("PORTS", "Ports"),
];

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let query = filters(matches.list("filter"))?;
    let services = context
        .client
        .get(&url(
            "/services",
            &[("filters", &query), ("status", "true")],
        ))
        .await?;
    let given = matches.text("format");
    let given = if given.is_empty() && !matches.flag("quiet") {
        context.setting("servicesFormat").unwrap_or_default()
    } else {
        given
    };
    print_services(&services, given, matches.flag("quiet"))
}

/// Prints a list of services, by name.
pub(crate) fn print_services(services: &Value, format: &str, quiet: bool) -> Result<(), CliError> {
    let mut services: Vec<&Value> = services.as_array().into_iter().flatten().collect();
    services.sort_by(|a, b| natural_cmp(text(a, "/Spec/Name"), text(b, "/Spec/Name")));
    if quiet && format.is_empty() {
        for service in services {
            println!("{}", short_id(text(service, "/ID")));
        }
        return Ok(());
    }
    let rows: Vec<Row> = services.into_iter().map(row).collect();
    print_rows(
        &Format::read(format),
        "*service.serviceContext",
        &COLUMNS,
        &rows,
        &[
            ("id", "ID"),
            ("name", "Name"),
            ("mode", "Mode"),
            ("replicas", "Replicas"),
            ("image", "Image"),
            ("ports", "Ports"),
        ],
    )
}

fn row(service: &Value) -> Row {
    Row::from([
        ("ID", short_id(text(service, "/ID"))),
        ("Name", text(service, "/Spec/Name").to_owned()),
        ("Mode", mode(service).to_owned()),
        ("Replicas", replicas(service)),
        (
            "Image",
            image(text(service, "/Spec/TaskTemplate/ContainerSpec/Image")).to_owned(),
        ),
        ("Ports", ports(&service["Endpoint"]["Ports"])),
    ])
}

pub(super) fn mode(service: &Value) -> &'static str {
    let modes = [
        ("Replicated", "replicated"),
        ("Global", "global"),
        ("ReplicatedJob", "replicated job"),
        ("GlobalJob", "global job"),
    ];
    let given = &service["Spec"]["Mode"];
    modes
        .iter()
        .find(|(field, _)| given.get(field).is_some())
        .map_or("", |(_, name)| name)
}

fn replicas(service: &Value) -> String {
    let status = &service["ServiceStatus"];
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let counts = format!(
        "{}/{}",
        number(&status["RunningTasks"]),
        number(&status["DesiredTasks"])
    );
    let mode = &service["Spec"]["Mode"];
    if mode.get("ReplicatedJob").is_some() || mode.get("GlobalJob").is_some() {
        let total = match mode.get("ReplicatedJob") {
            Some(job) => number(&job["TotalCompletions"]),
            None => number(&status["DesiredTasks"]) + number(&status["CompletedTasks"]),
        };
        return format!(
            "{counts} ({}/{total} completed)",
            number(&status["CompletedTasks"])
        );
    }
    match service["Spec"]["TaskTemplate"]["Placement"]["MaxReplicas"].as_u64() {
        Some(most) if most > 0 => format!("{counts} (max {most} per node)"),
        _ => counts,
    }
}

/// An image as lists show it: a digest beside a tag is left out.
pub(crate) fn image(image: &str) -> &str {
    match image.split_once("@sha256:") {
        Some((name, _))
            if name
                .rsplit('/')
                .next()
                .is_some_and(|last| last.contains(':')) =>
        {
            name
        }
        _ => image,
    }
}

/// `*:80-82->8080-8082/tcp, ...`: ingress ports, runs of them merged.
pub(super) fn ports(ports: &Value) -> String {
    let mut all: Vec<(String, u64, u64)> = ports
        .as_array()
        .into_iter()
        .flatten()
        .filter(|port| text(port, "/PublishMode") == "ingress")
        .map(|port| {
            let number = |field: &str| port[field].as_u64().unwrap_or(0);
            (
                text(port, "/Protocol").to_owned(),
                number("PublishedPort"),
                number("TargetPort"),
            )
        })
        .collect();
    all.sort();
    let mut runs: Vec<(String, u64, u64, u64)> = Vec::new();
    for (protocol, published, target) in all {
        match runs.last_mut() {
            Some((known, first, first_target, length))
                if *known == protocol
                    && *first + *length == published
                    && *first_target + *length == target =>
            {
                *length += 1;
            }
            _ => runs.push((protocol, published, target, 1)),
        }
    }
    let range = |first: u64, length: u64| {
        if length == 1 {
            first.to_string()
        } else {
            format!("{first}-{}", first + length - 1)
        }
    };
    runs.iter()
        .map(|(protocol, published, target, length)| {
            format!(
                "*:{}->{}/{protocol}",
                range(*published, *length),
                range(*target, *length)
            )
        })
        .collect::<Vec<_>>()
        .join(", ")
}

pub(super) async fn rm(context: &Context, matches: &Matches) -> Result<(), CliError> {
    each(matches.args(), |name| async move {
        context
            .client
            .delete(&format!("/services/{}", escape(name)))
            .await?;
        println!("{name}");
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn runs_of_ports_are_merged() {
        let port = |published: u64, target: u64, mode: &str| json!({"Protocol": "tcp", "PublishedPort": published, "TargetPort": target, "PublishMode": mode});
        let list = json!([
            port(82, 8082, "ingress"),
            port(80, 8080, "ingress"),
            port(81, 8081, "ingress"),
            port(9, 9, "host")
        ]);
        assert_eq!(ports(&list), "*:80-82->8080-8082/tcp");
    }

    #[test]
    fn a_digest_beside_a_tag_is_not_shown() {
        let digest = "a".repeat(64);
        assert_eq!(image(&format!("nginx:1@sha256:{digest}")), "nginx:1");
        assert_eq!(image("r:5000/nginx:1"), "r:5000/nginx:1");
    }
}
