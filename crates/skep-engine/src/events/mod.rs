//! What happened on this host: broadcast to whoever listens, and the last few hundred kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use skep_objects::api::events::{Actor, Event};
use tokio::sync::broadcast;

use crate::timestamp::since_epoch;

/// As many as dockerd keeps.
const HISTORY: usize = 256;
/// A listener that is so far behind loses events; it is told so by the channel.
const BACKLOG: usize = 4096;

/// The events of one daemon. A cheap clone.
#[derive(Debug, Clone)]
pub struct Events(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    past: Mutex<VecDeque<Event>>,
    sender: broadcast::Sender<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Events {
    /// An empty history.
    #[must_use]
    pub fn new() -> Self {
        let (sender, _) = broadcast::channel(BACKLOG);
        Self(Arc::new(Inner {
            past: Mutex::new(VecDeque::new()),
            sender,
        }))
    }

    /// The events kept and a receiver of those to come, with no gap and no overlap.
    #[must_use]
    pub fn subscribe(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let past = self.0.past.lock().unwrap_or_else(PoisonError::into_inner);
        (past.iter().cloned().collect(), self.0.sender.subscribe())
    }

    /// How many listen, as `info` shows.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.0.sender.receiver_count()
    }

    /// Publishes an event of this host that happened now.
    pub fn publish(
        &self,
        kind: &str,
        action: &str,
        id: &str,
        attributes: BTreeMap<String, String>,
    ) {
        self.publish_event(local(kind, action, id, attributes, SystemTime::now()));
    }

    /// Publishes an event made elsewhere, such as one of swarm scope.
    pub fn publish_event(&self, event: Event) {
        let mut past = self.0.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == HISTORY {
            past.pop_front();
        }
        past.push_back(event.clone());
        // Sent under the lock, so that a subscriber sees each event once.
        let _ = self.0.sender.send(event);
    }
}

/// An event of local scope, with the fields that clients of old read for containers and images.
fn local(
    kind: &str,
    action: &str,
    id: &str,
    attributes: BTreeMap<String, String>,
    at: SystemTime,
) -> Event {
    let legacy = matches!(kind, "container" | "image");
    let from = if kind == "container" {
        attributes.get("image").cloned()
    } else {
        None
    };
    let time = since_epoch(at);
    Event {
        status: if legacy {
            action.to_owned()
        } else {
            String::new()
        },
        id: if legacy { id.to_owned() } else { String::new() },
        from: from.unwrap_or_default(),
        kind: kind.to_owned(),
        action: action.to_owned(),
        actor: Actor {
            id: id.to_owned(),
            attributes,
        },
        scope: "local".to_owned(),
        time: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        time_nano: i64::try_from(time.as_nanos()).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_listener_gets_each_event_once() {
        let events = Events::new();
        events.publish("volume", "create", "a", BTreeMap::new());
        let (past, mut next) = events.subscribe();
        events.publish("volume", "create", "b", BTreeMap::new());
        assert_eq!(past.len(), 1);
        assert_eq!(next.try_recv().unwrap().actor.id, "b");
        assert!(next.try_recv().is_err());
    }

    #[test]
    fn only_containers_and_images_repeat_themselves_for_clients_of_old() {
        let attributes = BTreeMap::from([("image".to_owned(), "i".to_owned())]);
        let event = local("container", "start", "x", attributes, SystemTime::now());
        assert_eq!(
            (
                event.status.as_str(),
                event.id.as_str(),
                event.from.as_str()
            ),
            ("start", "x", "i")
        );
        let event = local("volume", "create", "x", BTreeMap::new(), SystemTime::now());
        assert_eq!((event.status.as_str(), event.id.as_str()), ("", ""));
    }
}
