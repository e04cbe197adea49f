//! A swarm into a file, and back.

use skep_manager::backup::{self, Header, Restoration};
use skep_objects::api::swarm::InitRequest;
use skep_rpc::identity::Kek;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::info;

use super::error::SwarmError;
use super::{SwarmNode, info as membership, request};

impl SwarmNode {
    /// Everything that this manager has of the swarm, sealed. The key is the one given; without one
    /// the swarm's unlock key; without autolock a new one, which is answered.
    pub async fn backup(&self, key: &str) -> Result<(Vec<u8>, Option<String>), SwarmError> {
        let manager = membership::manager(&self.standing())?;
        let unlock_key = manager.unlock_key().borrow().kek.clone();
        let (kek, made) = match (key, unlock_key) {
            ("", Some(unlock_key)) => (unlock_key, None),
            ("", None) => {
                let kek = Kek::generate();
                let text = kek.to_string();
                (kek, Some(text))
            }
            (given, _) => (parse(given)?, None),
        };
        let (snapshot, index) = manager.capture();
        let cluster = snapshot.clusters.first();
        let header = Header {
            cluster_id: cluster.map(|c| c.id.clone()).unwrap_or_default(),
            node_id: self.node_id().unwrap_or_default(),
            created: OffsetDateTime::now_utc()
                .format(&Rfc3339)
                .unwrap_or_default(),
            index,
        };
        // Sealing a large swarm takes a while.
        let sealed = tokio::task::spawn_blocking(move || backup::seal(&header, &snapshot, &kek));
        let file = sealed.await.map_err(|e| SwarmError::Ended(e.to_string()))?;
        info!(
            bytes = file.len(),
            version = index,
            "backup of the swarm is made"
        );
        Ok((file, made))
    }

    /// Makes a swarm of one manager, this node, out of a backup; answers the node's id.
    pub async fn restore(
        &self,
        file: &[u8],
        key: &str,
        request: InitRequest,
    ) -> Result<String, SwarmError> {
        let _one = self.inner.change.lock().await;
        self.refuse_member()?;
        let (header, snapshot) = backup::open(file, &parse(key)?)?;
        let restoration = Restoration::prepare(snapshot)?;
        let mut asked = request::init(&self.inner.config, &request)?;
        asked.founding.root_cert = restoration.root_cert().to_vec();
        asked.founding.root_key = restoration.root_key().to_vec();
        asked.founding.restore = Some(restoration);
        let node = self.found(asked).await?;
        info!(
            cluster.id = header.cluster_id,
            created = header.created,
            "swarm is restored from a backup"
        );
        Ok(node)
    }
}

fn parse(key: &str) -> Result<Kek, SwarmError> {
    Kek::parse(key).map_err(|_| {
        SwarmError::Invalid(
            "invalid backup key: it is the one that `swarm backup` printed, or the swarm's unlock \
             key, and begins with SWMKEY-1-"
                .to_owned(),
        )
    })
}
