//! Which parts of this manager serve, for whoever asks before relying on them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use skep_objects::swarmkit::health_check_response::ServingStatus;
use skep_objects::swarmkit::{HealthCheckRequest, HealthCheckResponse};
use tonic::{Request, Response, Status};

/// Parts of a manager and whether they serve. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, ServingStatus>>>);

impl Health {
    /// Says whether a part serves from now on.
    pub fn set_serving(&self, part: &str, serves: bool) {
        let status = if serves {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.insert(part.to_owned(), status);
    }

    fn status(&self, part: &str) -> Option<ServingStatus> {
        if part.is_empty() {
            return Some(ServingStatus::Serving); // The server itself.
        }
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(part)
            .copied()
    }
}

#[tonic::async_trait]
impl skep_rpc::swarmkit::health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let part = request.into_inner().service;
        let status = self
            .status(&part)
            .ok_or_else(|| Status::not_found("unknown service"))?;
        Ok(Response::new(HealthCheckResponse {
            status: status as i32,
        }))
    }
}
