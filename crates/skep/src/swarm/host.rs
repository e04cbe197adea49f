//! What membership asks of the host's engine.

use async_trait::async_trait;
use skep_engine::{Engine, EngineError, SwarmInfo};

/// The host's networks, as far as membership touches them.
#[async_trait]
pub trait SwarmHost: Send + Sync + 'static {
    /// The host is, or no longer is, a member.
    async fn set_swarm(&self, swarm: Option<SwarmInfo>) -> Result<(), EngineError>;
    /// Whether an interface belongs to a network of this engine: other hosts cannot reach it.
    fn is_own_interface(&self, name: &str) -> bool;
}

/// The engine of this host.
#[derive(Clone, Debug)]
pub struct EngineHost {
    engine: Engine,
    bridge: String,
}

impl EngineHost {
    /// For the engine that tasks run in.
    pub fn new(engine: Engine) -> Self {
        let bridge = engine.config().default_bridge.name.clone();
        Self { engine, bridge }
    }
}

#[async_trait]
impl SwarmHost for EngineHost {
    async fn set_swarm(&self, swarm: Option<SwarmInfo>) -> Result<(), EngineError> {
        self.engine.set_swarm(swarm).await
    }

    fn is_own_interface(&self, name: &str) -> bool {
        name == self.bridge
            || ["docker0", "docker_gwbridge"].contains(&name)
            || ["br-", "veth", "ing-", "wg-", "vx-", "sk"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
    }
}
