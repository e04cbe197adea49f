//! A node's stream of assignments: all of them first, then what changes.

use std::sync::Arc;

use futures::{Stream, stream};
use skep_objects::swarmkit::{AssignmentChange, AssignmentsMessage, assignments_message::Type};
use tokio::sync::mpsc;
use tonic::Status;

use super::{
    Dispatcher,
    assignment_set::AssignmentSet,
    router::{NodeChange, TaskChange},
    sessions::Session,
};

/// Changes in one message, about; what one transaction changed stays together.
const MAX_CHANGES: usize = 100;

struct AssignmentStream {
    dispatcher: Arc<Dispatcher>,
    session: Session,
    changes: mpsc::Receiver<NodeChange>,
    set: AssignmentSet,
    /// The first message, until it is sent.
    first: Option<Vec<AssignmentChange>>,
    sequence: u64,
    ended: bool,
}

/// The assignments of a node, while its session lasts.
pub fn assignment_stream(
    dispatcher: Arc<Dispatcher>,
    node: &str,
    session: Session,
) -> impl Stream<Item = Result<AssignmentsMessage, Status>> + Send + 'static {
    let (view, changes) = dispatcher.router.follow_tasks(node);
    let (set, first) = AssignmentSet::complete(&view, node);
    let state = AssignmentStream {
        dispatcher,
        session,
        changes,
        set,
        first: Some(first),
        sequence: 0,
        ended: false,
    };
    stream::unfold(state, |mut state| async move {
        if state.ended {
            return None;
        }
        let message = state.next().await;
        state.ended = message.is_err();
        Some((message, state))
    })
}

impl AssignmentStream {
    async fn next(&mut self) -> Result<AssignmentsMessage, Status> {
        if let Some(changes) = self.first.take() {
            return Ok(self.message(Type::Complete, changes));
        }
        let mut changes = Vec::new();
        while changes.is_empty() {
            let change = tokio::select! {
                biased;
                () = self.dispatcher.stop.cancelled() => {
                    return Err(Status::aborted("dispatcher is stopped"));
                }
                () = self.session.ended.cancelled() => {
                    return Err(Status::invalid_argument("session invalid"));
                }
                change = self.changes.recv() => change,
            };
            let change = change.ok_or_else(|| {
                Status::aborted("another stream took this one's place, or it fell behind")
            })?;
            self.apply(change, &mut changes);
            // What came in meanwhile goes along: a busy stream sends fewer, larger messages.
            while changes.len() < MAX_CHANGES
                && let Ok(change) = self.changes.try_recv()
            {
                self.apply(change, &mut changes);
            }
        }
        Ok(self.message(Type::Incremental, changes))
    }

    fn apply(&mut self, change: NodeChange, changes: &mut Vec<AssignmentChange>) {
        for task in change.tasks {
            match task {
                TaskChange::Set(task) => self.set.set_task(&change.view, &task, changes),
                TaskChange::Removed(task) => self.set.remove_task(&task.id, changes),
            }
        }
    }

    fn message(&mut self, kind: Type, changes: Vec<AssignmentChange>) -> AssignmentsMessage {
        let applies_to = match kind {
            Type::Complete => String::new(),
            Type::Incremental => self.sequence.to_string(),
        };
        self.sequence += 1;
        let results_in = self.sequence.to_string();
        AssignmentsMessage {
            r#type: kind.into(),
            applies_to,
            results_in,
            changes,
        }
    }
}
