//! SwarmKit's Watch service: what happens to the store, for those outside this process's managers
//! (the Docker API's events). Each manager tells of its own copy.

mod select;

use std::pin::Pin;

use futures::{Stream, stream};
use skep_objects::swarmkit::{Version, WatchActionKind, WatchMessage, WatchRequest, watch_message};
use skep_rpc::swarmkit::watch_server;
use skep_store::{Commit, Event, Watch};
use tonic::{Request, Response, Status};

use crate::slot::LateStore;
use select::{Entry, message_object};

/// The service over a store.
#[derive(Debug, Clone)]
pub struct WatchServer {
    store: LateStore,
}

impl WatchServer {
    /// A server over this store.
    pub fn new(store: impl Into<LateStore>) -> Self {
        Self {
            store: store.into(),
        }
    }
}

/// What one caller wants to hear.
struct Watching {
    watch: Watch,
    entries: Vec<Entry>,
    include_old: bool,
    /// The first message is empty: it says that the watch has begun.
    begun: bool,
}

impl Watching {
    async fn next(&mut self) -> Option<WatchMessage> {
        if !self.begun {
            self.begun = true;
            return Some(WatchMessage {
                events: Vec::new(),
                version: Some(Version {
                    index: self.watch.view().version(),
                }),
            });
        }
        loop {
            let commit = self.watch.recv_commit().await?;
            let message = self.message(&commit);
            if !message.events.is_empty() {
                return Some(message);
            }
        }
    }

    fn message(&self, commit: &Commit) -> WatchMessage {
        let events = commit
            .events
            .iter()
            .filter_map(|event| self.event(event))
            .collect();
        WatchMessage {
            events,
            version: Some(Version {
                index: commit.view.version(),
            }),
        }
    }

    fn event(&self, event: &Event) -> Option<watch_message::Event> {
        let (action, object, old) = match event {
            Event::Created(object) => (WatchActionKind::WatchActionCreate, object, None),
            Event::Updated { old, new } => (WatchActionKind::WatchActionUpdate, new, Some(old)),
            Event::Removed(object) => (WatchActionKind::WatchActionRemove, object, None),
            Event::Committed(_) => return None,
        };
        if !self
            .entries
            .iter()
            .any(|entry| entry.matches(action, object))
        {
            return None;
        }
        Some(watch_message::Event {
            action: action.into(),
            object: Some(message_object(object)),
            old_object: old.filter(|_| self.include_old).map(message_object),
        })
    }
}

#[tonic::async_trait]
impl watch_server::Watch for WatchServer {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchMessage, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let (view, watch) = self.store.get()?.watch();
        if request
            .resume_from
            .is_some_and(|version| version.index != view.version())
        {
            return Err(Status::invalid_argument(
                "changes of the past are not kept: watch from now on",
            ));
        }
        let entries: Result<Vec<Entry>, Status> =
            request.entries.into_iter().map(Entry::read).collect();
        let watching = Watching {
            watch,
            entries: entries?,
            include_old: request.include_old_object,
            begun: false,
        };
        let messages = stream::unfold(watching, |mut watching| async move {
            let message = watching.next().await?;
            Some((Ok(message), watching))
        });
        Ok(Response::new(Box::pin(messages)))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use skep_objects::swarmkit::{
        Node, SelectBy, Service, object::Object as Inner, select_by::By, watch_request::WatchEntry,
    };
    use skep_store::Store;
    use watch_server::Watch as _;

    use super::*;

    fn entry(kind: &str, action: i32, filters: Vec<By>) -> WatchEntry {
        let filters = filters
            .into_iter()
            .map(|by| SelectBy { by: Some(by) })
            .collect();
        WatchEntry {
            kind: kind.to_owned(),
            action,
            filters,
        }
    }

    async fn ids(entries: Vec<WatchEntry>) -> Vec<String> {
        let store = Store::in_memory();
        let server = WatchServer::new(store.clone());
        let request = WatchRequest {
            entries,
            ..WatchRequest::default()
        };
        let mut stream = server
            .watch(Request::new(request))
            .await
            .unwrap()
            .into_inner();
        assert!(stream.next().await.unwrap().unwrap().events.is_empty());
        for id in ["n1", "n2"] {
            let node = Node {
                id: id.to_owned(),
                ..Node::default()
            };
            store.update(|tx| tx.create_node(node)).await.unwrap();
        }
        let service = Service {
            id: "s1".to_owned(),
            ..Service::default()
        };
        store.update(|tx| tx.create_service(service)).await.unwrap();
        store.update(|tx| tx.remove_node("n1")).await.unwrap();
        // Matches every test's filters, so that the stream's last event is known.
        let last = Node {
            id: "n9".to_owned(),
            ..Node::default()
        };
        store.update(|tx| tx.create_node(last)).await.unwrap();
        let mut seen = Vec::new();
        loop {
            for event in stream.next().await.unwrap().unwrap().events {
                let id = match event.object.unwrap().object.unwrap() {
                    Inner::Node(node) => node.id,
                    Inner::Service(service) => service.id,
                    other => panic!("{other:?}"),
                };
                if id == "n9" {
                    return seen;
                }
                seen.push(format!("{}{id}", event.action));
            }
        }
    }

    #[tokio::test]
    async fn kinds_actions_and_filters_choose_what_is_told() {
        assert_eq!(
            ids(vec![entry("node", 7, vec![])]).await,
            ["1n1", "1n2", "4n1"]
        );
        assert_eq!(ids(vec![entry("node", 1, vec![])]).await, ["1n1", "1n2"]);
        let both = vec![entry("node", 5, vec![]), entry("service", 0, vec![])];
        assert_eq!(ids(both).await, ["1n1", "1n2", "1s1", "4n1"]);
        let prefix = By::IdPrefix("n".to_owned());
        assert_eq!(
            ids(vec![entry("node", 5, vec![prefix])]).await,
            ["1n1", "1n2", "4n1"]
        );
    }

    #[tokio::test]
    async fn an_unknown_kind_is_refused() {
        let server = WatchServer::new(Store::in_memory());
        let entries = vec![entry("pod", 7, vec![])];
        let request = Request::new(WatchRequest {
            entries,
            ..WatchRequest::default()
        });
        let error = server.watch(request).await.err().unwrap();
        assert_eq!(error.message(), "unrecognized object type pod");
    }
}
