//! Services of a stack.

use std::time::Duration;

use serde_json::{Value, json};

use super::remove::list;
use super::{dependencies, files, of_stack};
use crate::client::url;
use crate::cmd::objects::text;
use crate::cmd::service::{stored_auth, tagged, unpinned};
use crate::compose::{IMAGE_LABEL, Stack};
use crate::context::Context;
use crate::error::CliError;
use crate::opts::{pinned_image, registry_auth_header};

/// When images are looked up in their registry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Resolve {
    Always,
    Changed,
    Never,
}

impl Resolve {
    pub(super) fn from_flag(text: &str) -> Result<Self, CliError> {
        match text {
            "always" => Ok(Self::Always),
            "changed" => Ok(Self::Changed),
            "never" => Ok(Self::Never),
            other => Err(CliError::new(format!(
                "Invalid option {other} for flag --resolve-image"
            ))),
        }
    }
}

/// How services are made and updated.
pub(super) struct Deployment<'a> {
    pub context: &'a Context,
    pub stack: &'a str,
    pub resolve: Resolve,
    pub with_auth: bool,
    pub quiet: bool,
    /// How long a service may take to become what another one waits for.
    pub patience: Duration,
    pub secrets: files::Objects,
    pub configs: files::Objects,
}

impl Deployment<'_> {
    /// Makes or updates each, behind those that it waits for; ids and names.
    pub(super) async fn services(&self, stack: &Stack) -> Result<Vec<(String, String)>, CliError> {
        let known = list(self.context, "/services", &of_stack(self.stack)).await?;
        let mut deployed = Vec::new();
        for spec in &stack.services {
            let name = text(spec, "/Name").to_owned();
            for (other, condition) in stack.waits.get(&name).into_iter().flatten() {
                let (patience, quiet) = (self.patience, self.quiet);
                dependencies::wait(self.context, other, *condition, patience, quiet)
                    .await
                    .map_err(|error| {
                        CliError::new(format!(
                            "service {name} was not deployed: {}",
                            error.message
                        ))
                    })?;
            }
            let service = known.iter().find(|known| text(known, "/Spec/Name") == name);
            let id = self.one(spec.clone(), &name, service).await?;
            deployed.push((id, name));
        }
        Ok(deployed)
    }

    async fn one(
        &self,
        mut spec: Value,
        name: &str,
        known: Option<&Value>,
    ) -> Result<String, CliError> {
        files::fill_ids(self.context, &mut spec, &self.secrets, &self.configs).await?;
        let image = text(&spec, "/TaskTemplate/ContainerSpec/Image").to_owned();
        let auth = registry_auth_header(self.context, &image);
        match known {
            Some(service) => {
                println!("Updating service {name} (id: {})", text(service, "/ID"));
                self.update(spec, service, &image, &auth)
                    .await
                    .map_err(|error| {
                        CliError::new(format!(
                            "failed to update service {name}: {}",
                            error.message
                        ))
                    })
            }
            None => {
                println!("Creating service {name}");
                self.create(spec, &image, &auth).await.map_err(|error| {
                    CliError::new(format!(
                        "failed to create service {name}: {}",
                        error.message
                    ))
                })
            }
        }
    }

    async fn create(&self, mut spec: Value, image: &str, auth: &str) -> Result<String, CliError> {
        if self.resolve == Resolve::Never {
            put_image(&mut spec, &tagged(image));
        } else {
            // Docker says nothing here where the registry does not answer.
            pin(self.context, &mut spec, image, auth).await;
        }
        let answer = self.send("/services/create", &spec, auth).await?;
        Ok(text(&answer, "/ID").to_owned())
    }

    async fn update(
        &self,
        mut spec: Value,
        service: &Value,
        image: &str,
        auth: &str,
    ) -> Result<String, CliError> {
        let was = service["Spec"]["Labels"][IMAGE_LABEL]
            .as_str()
            .unwrap_or_default();
        let is_changed = was != image;
        if self.resolve == Resolve::Always || (self.resolve == Resolve::Changed && is_changed) {
            if !pin(self.context, &mut spec, image, auth).await {
                eprintln!("{}", unpinned(&tagged(image)));
            }
        } else if !is_changed {
            let before = &service["Spec"]["TaskTemplate"];
            spec["TaskTemplate"]["ContainerSpec"]["Image"] =
                before["ContainerSpec"]["Image"].clone();
            // Without these the task would look like another one.
            if let Some(platforms) = before["Placement"].get("Platforms") {
                spec["TaskTemplate"]["Placement"]["Platforms"] = platforms.clone();
            }
        }
        spec["TaskTemplate"]["ForceUpdate"] =
            service["Spec"]["TaskTemplate"]["ForceUpdate"].clone();
        let version = service["Version"]["Index"].to_string();
        // Without credentials of ours the daemon keeps those that it has.
        let query = [("version", version.as_str())];
        let id = text(service, "/ID");
        self.send(&url(&format!("/services/{id}/update"), &query), &spec, auth)
            .await?;
        Ok(id.to_owned())
    }

    async fn send(&self, path: &str, spec: &Value, auth: &str) -> Result<Value, CliError> {
        let headers: Vec<_> = self
            .with_auth
            .then_some(("x-registry-auth", stored_auth(auth)))
            .into_iter()
            .collect();
        let answer = self
            .context
            .client
            .json_with(http::Method::POST, path, Some(spec), &headers)
            .await?;
        let warnings = answer["Warnings"].as_array().into_iter().flatten();
        for warning in warnings.filter_map(Value::as_str) {
            eprintln!("{warning}");
        }
        Ok(answer)
    }
}

/// Puts in the digest that the registry has for an image; whether it answered.
async fn pin(context: &Context, spec: &mut Value, image: &str, auth: &str) -> bool {
    let Some((pinned, platforms)) = pinned_image(context, image, auth).await else {
        put_image(spec, &tagged(image));
        return false;
    };
    put_image(spec, &pinned);
    if !platforms.is_empty() {
        spec["TaskTemplate"]["Placement"]["Platforms"] = json!(platforms);
    }
    true
}

fn put_image(spec: &mut Value, image: &str) {
    spec["TaskTemplate"]["ContainerSpec"]["Image"] = image.into();
}
