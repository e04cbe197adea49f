//! `secret update`, `config update`: a new version, rolled out to the services that use the name.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::objects::text;
use super::service::wait;
use super::versions::{self, Version};
use crate::client::url;
use crate::context::Context;
use crate::error::{CliError, join};

/// How to roll out.
pub(super) struct Rollout<'a> {
    pub context: &'a Context,
    /// `secret` or `config`.
    pub kind: &'static str,
    /// The name that users know.
    pub name: &'a str,
    pub detach: bool,
    pub quiet: bool,
    /// Leave services as they are when one of them fails.
    pub keeps_failed: bool,
}

/// A service that was switched to the new version.
struct Switched {
    id: String,
    name: String,
}

impl Rollout<'_> {
    /// Makes the version and switches every service; takes everything back when one of them fails.
    pub(super) async fn run(&self, body: Value) -> Result<(), CliError> {
        let (kind, name) = (self.kind, self.name);
        let known = versions::versions(self.context, kind, name).await?;
        let Some(newest) = known.last() else {
            return Err(CliError::new(format!("no such {kind}: {name}")));
        };
        if self.is_same(newest, &body).await? {
            println!("{name}");
            return Ok(());
        }
        let number = newest.number + 1;
        let body = with_settings(body, newest);
        let version = versions::create(self.context, kind, name, number, body).await?;
        println!("{name}");
        let ids = known
            .iter()
            .map(|version| version.id().to_owned())
            .collect();
        let switched = self.switch_all(&ids, &version).await;
        let outcome = match switched {
            (switched, Ok(())) if self.detach => {
                if switched.is_empty() {
                    versions::remove_superseded(self.context, kind, name).await?;
                }
                return Ok(());
            }
            (switched, Ok(())) => self.await_all(&switched).await.map_err(|e| (switched, e)),
            (switched, Err(error)) => Err((switched, error)),
        };
        match outcome {
            Ok(()) => {
                versions::remove_superseded(self.context, kind, name).await?;
                Ok(())
            }
            Err((_, error)) if self.keeps_failed => Err(error),
            Err((switched, error)) => Err(self.take_back(switched, &version, error).await),
        }
    }

    /// The daemon accepts an update that leaves the content alone, and refuses another one.
    async fn is_same(&self, newest: &Version, body: &Value) -> Result<bool, CliError> {
        let mut same = newest.object["Spec"].clone();
        same["Data"] = body["Data"].clone();
        let index = newest.object["Version"]["Index"].to_string();
        let path = format!("/{}s/{}/update", self.kind, newest.id());
        let path = url(&path, &[("version", &index)]);
        match self.context.client.post(&path, &same).await {
            Ok(_) => Ok(true),
            Err(error) if versions::is_change_of_content(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn switch_all(
        &self,
        ids: &BTreeSet<String>,
        version: &Version,
    ) -> (Vec<Switched>, Result<(), CliError>) {
        let mut switched = Vec::new();
        let services = match self.context.client.get("/services").await {
            Ok(services) => services,
            Err(error) => return (switched, Err(error)),
        };
        for service in services.as_array().into_iter().flatten() {
            let mut spec = service["Spec"].clone();
            if !versions::switch(&mut spec, self.kind, ids, version) {
                continue;
            }
            let name = text(service, "/Spec/Name");
            if let Err(error) = self.update(service, &spec, &[]).await {
                let text = format!("failed to update service {name}: {}", error.message);
                return (switched, Err(CliError::new(text)));
            }
            if !self.quiet {
                println!("Updating service {name} (id: {})", text(service, "/ID"));
            }
            switched.push(Switched {
                id: text(service, "/ID").to_owned(),
                name: name.to_owned(),
            });
        }
        (switched, Ok(()))
    }

    async fn update(
        &self,
        service: &Value,
        spec: &Value,
        more: &[(&str, &str)],
    ) -> Result<(), CliError> {
        let index = service["Version"]["Index"].to_string();
        let mut query = vec![("version", index.as_str()), ("registryAuthFrom", "spec")];
        query.extend(more);
        let path = format!("/services/{}/update", text(service, "/ID"));
        self.context.client.post(&url(&path, &query), spec).await?;
        Ok(())
    }

    async fn await_all(&self, switched: &[Switched]) -> Result<(), CliError> {
        for service in switched {
            wait(self.context, &service.id, &service.name, self.quiet)
                .await
                .and(self.must_not_be_rolled_back(service).await)
                .map_err(|error| {
                    CliError::new(format!("service {}: {}", service.name, error.message))
                })?;
        }
        Ok(())
    }

    /// A service with `--update-failure-action rollback` goes back by itself.
    async fn must_not_be_rolled_back(&self, service: &Switched) -> Result<(), CliError> {
        let path = format!("/services/{}", service.id);
        let service = self.context.client.get(&path).await?;
        if text(&service, "/UpdateStatus/State").starts_with("rollback") {
            let message = text(&service, "/UpdateStatus/Message");
            return Err(CliError::new(format!("rolled back: {message}")));
        }
        Ok(())
    }

    /// Rolls services back and removes the version; what failed first is the error.
    async fn take_back(
        &self,
        switched: Vec<Switched>,
        version: &Version,
        cause: CliError,
    ) -> CliError {
        let mut errors = vec![cause];
        for service in switched {
            if let Err(error) = self.roll_back(&service, version).await {
                errors.push(CliError::new(format!(
                    "failed to roll back service {}: {}",
                    service.name, error.message
                )));
            }
        }
        if errors.len() == 1 {
            let path = format!("/{}s/{}", self.kind, version.id());
            match self.context.client.delete(&path).await {
                Ok(_) => errors.push(CliError::new(format!(
                    "{} {} stays as it was",
                    self.kind, self.name
                ))),
                Err(error) => errors.push(error),
            }
        }
        join(errors).err().unwrap_or_else(|| CliError::silent(1))
    }

    async fn roll_back(&self, switched: &Switched, version: &Version) -> Result<(), CliError> {
        let path = format!("/services/{}", switched.id);
        let service = self.context.client.get(&path).await?;
        let used = versions::referred(
            &[json!({"Spec": service["Spec"], "PreviousSpec": null})],
            self.kind,
        );
        if used.contains(version.id()) {
            if !self.quiet {
                println!("Rolling back service {}", switched.name);
            }
            let spec = service["Spec"].clone();
            self.update(&service, &spec, &[("rollback", "previous")])
                .await?;
        }
        Ok(())
    }
}

/// A new version has the labels and the templating of the one before, where nothing else is said.
fn with_settings(mut body: Value, newest: &Version) -> Value {
    let spec = &newest.object["Spec"];
    let mut labels = spec["Labels"].as_object().cloned().unwrap_or_default();
    labels.extend(body["Labels"].as_object().cloned().unwrap_or_default());
    body["Labels"] = labels.into();
    if body.get("Templating").is_none() && !spec["Templating"].is_null() {
        body["Templating"] = spec["Templating"].clone();
    }
    body
}
