//! Which managers cannot be reached from here, since when; and what that means for the quorum.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Docker's words for a quorum that is lost: clients look for them.
pub(super) const NO_LEADER: &str = "The swarm does not have a leader. It's possible that too few \
                                    managers are online. Make sure more than half of the managers \
                                    are online.";

/// Members that did not take the last message sent to them.
#[derive(Debug, Default)]
pub(super) struct Missing {
    since: Mutex<BTreeMap<u64, SystemTime>>,
}

impl Missing {
    /// A message was taken.
    pub(super) fn reached(&self, raft_id: u64) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.remove(&raft_id);
    }

    /// A message was not taken.
    pub(super) fn failed(&self, raft_id: u64) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.entry(raft_id).or_insert_with(SystemTime::now);
    }

    /// Since when the member has taken nothing; none when it took the last message.
    pub(super) fn since(&self, raft_id: u64) -> Option<SystemTime> {
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.get(&raft_id).copied()
    }
}

/// A manager as the diagnosis names it.
#[derive(Debug, Clone)]
pub(super) struct Manager {
    /// Host name, or node id where that is not known.
    pub(super) name: String,
    pub(super) addr: String,
    /// Since when it cannot be reached; none if it can.
    pub(super) missing_since: Option<SystemTime>,
}

/// What a user should know, and do, when there is no leader. `own` is this manager's address.
pub(super) fn diagnosis(managers: &[Manager], own: &str) -> String {
    let missing: Vec<&Manager> = managers
        .iter()
        .filter(|manager| manager.missing_since.is_some())
        .collect();
    let (all, quorum) = (managers.len(), managers.len() / 2 + 1);
    let mut text = NO_LEADER.to_owned();
    if all - missing.len() >= quorum {
        text.push_str(
            " This manager reaches enough of the others: an election is under way, or they cannot \
             reach each other.",
        );
        return text;
    }
    let _ = write!(
        text,
        " This manager cannot reach {} of {all}, of which {quorum} are needed:",
        missing.len()
    );
    for (at, manager) in missing.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let since = manager.missing_since.map(rfc3339).unwrap_or_default();
        let _ = write!(
            text,
            "{comma} {} ({}) since {since}",
            manager.name, manager.addr
        );
    }
    let _ = write!(
        text,
        ". Start them again, or mend the network between them and this one; tasks that run go on \
         meanwhile. Only when they are lost for good, run on this manager: docker swarm init \
         --force-new-cluster --advertise-addr {own}"
    );
    text
}

fn rfc3339(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let seconds = at.replace_nanosecond(0).unwrap_or(at);
    seconds.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn manager(name: &str, missing: bool) -> Manager {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        Manager {
            name: name.to_owned(),
            addr: format!("{name}:2377"),
            missing_since: missing.then_some(at),
        }
    }

    #[test]
    fn the_missing_are_named_with_the_way_out() {
        let managers = [manager("a", false), manager("b", true), manager("c", true)];
        let text = diagnosis(&managers, "a:2377");
        let rest = text.strip_prefix(NO_LEADER).unwrap();
        assert_eq!(
            rest,
            " This manager cannot reach 2 of 3, of which 2 are needed: b (b:2377) since \
             2001-09-09T01:46:40Z, c (c:2377) since 2001-09-09T01:46:40Z. Start them again, or mend \
             the network between them and this one; tasks that run go on meanwhile. Only when they \
             are lost for good, run on this manager: docker swarm init --force-new-cluster \
             --advertise-addr a:2377"
        );
    }

    #[test]
    fn where_enough_answer_nobody_is_told_to_throw_managers_away() {
        let managers = [manager("a", false), manager("b", false), manager("c", true)];
        let text = diagnosis(&managers, "a:2377");
        assert!(text.contains("an election is under way"), "{text}");
        assert!(!text.contains("force-new-cluster"), "{text}");
    }

    #[test]
    fn who_takes_a_message_is_not_missing_any_more() {
        let missing = Missing::default();
        missing.failed(1);
        let since = missing.since(1).unwrap();
        missing.failed(1);
        assert_eq!(missing.since(1), Some(since));
        missing.reached(1);
        assert_eq!(missing.since(1), None);
    }
}
