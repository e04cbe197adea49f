//! Secrets and configs. A secret's data goes in and never out.

use skep_objects::api::{config, secret};
use skep_objects::swarmkit as proto;

use super::{annotations, from_driver, meta, to_annotations, to_driver};

/// A secret as the API shows it.
pub fn from_secret(object: &proto::Secret) -> secret::Secret {
    let (version, created_at, updated_at) = meta(object.meta.as_ref());
    let spec = object.spec.clone().unwrap_or_default();
    let (name, labels) = annotations(spec.annotations.as_ref());
    secret::Secret {
        id: object.id.clone(),
        version,
        created_at,
        updated_at,
        spec: secret::SecretSpec {
            name,
            labels,
            data: Vec::new(),
            driver: spec.driver.as_ref().map(from_driver),
            templating: spec.templating.as_ref().map(from_driver),
        },
    }
}

/// A secret's spec as managers keep it.
pub fn to_secret_spec(spec: secret::SecretSpec) -> proto::SecretSpec {
    proto::SecretSpec {
        annotations: to_annotations(spec.name, spec.labels),
        data: spec.data,
        templating: spec.templating.map(to_driver),
        driver: spec.driver.map(to_driver),
    }
}

/// A config as the API shows it.
pub fn from_config(object: &proto::Config) -> config::Config {
    let (version, created_at, updated_at) = meta(object.meta.as_ref());
    let spec = object.spec.clone().unwrap_or_default();
    let (name, labels) = annotations(spec.annotations.as_ref());
    config::Config {
        id: object.id.clone(),
        version,
        created_at,
        updated_at,
        spec: config::ConfigSpec {
            name,
            labels,
            data: spec.data,
            templating: spec.templating.as_ref().map(from_driver),
        },
    }
}

/// A config's spec as managers keep it.
pub fn to_config_spec(spec: config::ConfigSpec) -> proto::ConfigSpec {
    proto::ConfigSpec {
        annotations: to_annotations(spec.name, spec.labels),
        data: spec.data,
        templating: spec.templating.map(to_driver),
    }
}
