//! Join tokens: made for a root bundle, changed on request, compared without telling by time how
//! much of a guess was right.

use skep_objects::swarmkit::{Cluster, JoinTokens, NodeRole};
use skep_rpc::identity::JoinToken;

/// Two new tokens for the nodes that trust this root bundle.
pub fn new_tokens(ca_cert: &[u8]) -> JoinTokens {
    JoinTokens {
        worker: JoinToken::generate(ca_cert).to_string(),
        manager: JoinToken::generate(ca_cert).to_string(),
    }
}

/// Replaces the secret of one or both tokens.
pub fn rotate_tokens(cluster: &mut Cluster, worker: bool, manager: bool) {
    let Some(root) = &mut cluster.root_ca else {
        return;
    };
    let tokens = root.join_tokens.get_or_insert_default();
    if worker {
        tokens.worker = JoinToken::generate(&root.ca_cert).to_string();
    }
    if manager {
        tokens.manager = JoinToken::generate(&root.ca_cert).to_string();
    }
}

/// The role that a token gives; none if it is not a token of this cluster.
pub fn role_of_token(cluster: &Cluster, token: &str) -> Option<NodeRole> {
    let tokens = cluster.root_ca.as_ref()?.join_tokens.as_ref()?;
    let is_manager = equal_in_constant_time(&tokens.manager, token);
    let is_worker = equal_in_constant_time(&tokens.worker, token);
    match (is_manager, is_worker) {
        (true, _) => Some(NodeRole::Manager),
        (false, true) => Some(NodeRole::Worker),
        (false, false) => None,
    }
}

/// An unset token equals nothing.
fn equal_in_constant_time(token: &str, guess: &str) -> bool {
    if token.is_empty() || token.len() != guess.len() {
        return false;
    }
    let differing = token
        .bytes()
        .zip(guess.bytes())
        .fold(0, |seen, (a, b)| seen | (a ^ b));
    std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use skep_objects::swarmkit::RootCa;

    use super::*;

    fn cluster() -> Cluster {
        let root = RootCa {
            ca_cert: b"root".to_vec(),
            join_tokens: Some(new_tokens(b"root")),
            ..Default::default()
        };
        Cluster {
            root_ca: Some(root),
            ..Default::default()
        }
    }

    fn tokens(cluster: &Cluster) -> JoinTokens {
        cluster
            .root_ca
            .as_ref()
            .unwrap()
            .join_tokens
            .clone()
            .unwrap()
    }

    #[test]
    fn each_token_gives_its_role_and_nothing_else_gives_any() {
        let cluster = cluster();
        let JoinTokens { worker, manager } = tokens(&cluster);
        assert_eq!(role_of_token(&cluster, &worker), Some(NodeRole::Worker));
        assert_eq!(role_of_token(&cluster, &manager), Some(NodeRole::Manager));
        let other = JoinToken::generate(b"root").to_string();
        for wrong in ["", "SWMTKN-1", &other, &worker[1..]] {
            assert_eq!(role_of_token(&cluster, wrong), None);
        }
        assert_eq!(role_of_token(&Cluster::default(), ""), None);
    }

    #[test]
    fn a_rotated_token_stops_to_work_and_the_other_stays() {
        let mut cluster = cluster();
        let before = tokens(&cluster);
        rotate_tokens(&mut cluster, true, false);
        assert_eq!(role_of_token(&cluster, &before.worker), None);
        assert_eq!(
            role_of_token(&cluster, &before.manager),
            Some(NodeRole::Manager)
        );
        rotate_tokens(&mut cluster, false, true);
        assert_eq!(role_of_token(&cluster, &before.manager), None);
        assert_eq!(
            JoinToken::parse(&tokens(&cluster).worker).unwrap().digest(),
            JoinToken::parse(&before.worker).unwrap().digest()
        );
    }
}
