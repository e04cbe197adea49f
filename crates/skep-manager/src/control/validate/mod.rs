//! What may be written into a spec. Pure: a spec goes in, nothing or a refusal comes out.

mod annotations;
mod container;
mod endpoint;
mod health;
mod network;
mod policy;
mod references;
mod resources;
mod service;

#[cfg(test)]
mod tests;

pub use annotations::{validate_object_name, validate_service_name};
pub use network::validate_network_spec;
pub use resources::validate_resource_requirements;
pub use service::{validate_service_spec, validate_strategy};

use super::error::ControlError;

/// What validation of one thing answers.
pub type Validated = Result<(), ControlError>;

/// A refusal of what can never be right.
fn refuse<T>(text: impl Into<String>) -> Result<T, ControlError> {
    Err(ControlError::Invalid(text.into()))
}
