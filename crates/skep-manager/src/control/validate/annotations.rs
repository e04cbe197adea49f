//! Names.

use skep_objects::swarmkit::Annotations;

use super::{Validated, refuse};

const MAX_SERVICE_NAME: usize = 63;
const MAX_OBJECT_NAME: usize = 64;

/// A service's (and a network's, volume's, extension's) name: it becomes a DNS name.
pub fn validate_service_name(annotations: Option<&Annotations>) -> Validated {
    let name = annotations.map_or("", |annotations| &annotations.name);
    if name.is_empty() {
        return refuse("meta: name must be provided");
    }
    if !is_dns_name(name) {
        return refuse("name must be valid as a DNS name component");
    }
    if name.len() > MAX_SERVICE_NAME {
        return refuse("name must be 63 characters or fewer");
    }
    Ok(())
}

/// A secret's or config's name.
pub fn validate_object_name(annotations: Option<&Annotations>) -> Validated {
    let name = annotations.map_or("", |annotations| &annotations.name);
    if name.is_empty() {
        return refuse("name must be provided");
    }
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.len() > MAX_OBJECT_NAME || !alphanumeric_ends(name) || !name.bytes().all(inner) {
        return refuse(
            "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end \
             character must be [a-zA-Z0-9]",
        );
    }
    Ok(())
}

/// `[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*`
fn is_dns_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    alphanumeric_ends(name) && name.bytes().all(inner)
}

fn alphanumeric_ends(name: &str) -> bool {
    let ends = (name.bytes().next(), name.bytes().last());
    matches!(ends, (Some(first), Some(last))
        if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
}
