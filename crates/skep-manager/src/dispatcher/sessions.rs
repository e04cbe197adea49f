//! Which nodes are in touch. Pure: times come in as arguments.
//!
//! Each node has at most one session; a new one ends the one before. A node that stays silent for
//! its grace is down. What becomes of its tasks is for the orchestrator's node watch to say.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
};

use skep_objects::ids::new_id;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::timing::Timing;

/// Registrations allowed to a node within [`RATE_WINDOW`].
const RATE_LIMIT: usize = 3;
const RATE_WINDOW: Duration = Duration::from_secs(8);
/// Descriptions that a node may have stored within the same time.
const DESCRIPTIONS: usize = 10;
/// The manager itself was held up if it looks at its watch this much later than it meant to.
const STALL: Duration = Duration::from_millis(400);

/// Why a node's call is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The node has no session with this manager.
    #[error("node not registered")]
    NotRegistered,
    /// The session named is not the node's session of the moment.
    #[error("session invalid")]
    Invalid,
    /// The node asks for sessions in quick succession.
    #[error("node exceeded rate limit count of registrations")]
    TooMany,
}

/// A node's session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: Arc<str>,
    /// Ends with it.
    pub ended: CancellationToken,
}

/// What the silence of a node has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Down,
}

#[derive(Debug)]
struct Entry {
    session: Option<Session>,
    state: State,
    deadline: Instant,
    /// The one entry of the queue that counts for this node; never later than the deadline.
    queued: Option<Instant>,
    registrations: Rate,
    /// Changes of what the node says of itself.
    descriptions: Rate,
}

/// What a node did of late, of what it may do so many times within [`RATE_WINDOW`].
#[derive(Debug, Default)]
struct Rate(VecDeque<Instant>);

/// All nodes that this leader listens to.
#[derive(Debug)]
pub struct Sessions {
    nodes: BTreeMap<Arc<str>, Entry>,
    /// Deadlines as they were when pushed: a node's true one may be later, never earlier.
    queue: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
    timing: Timing,
}

impl Sessions {
    /// Nobody yet.
    pub fn new(timing: Timing) -> Self {
        Self {
            nodes: BTreeMap::new(),
            queue: BinaryHeap::new(),
            timing,
        }
    }

    /// Takes over from another leader a node that was in touch, or down.
    pub fn expect(&mut self, node: &str, down: bool, now: Instant) {
        let state = if down { State::Down } else { State::Up };
        if !self.nodes.contains_key(node) {
            self.nodes
                .insert(node.into(), Entry::new(state, now + self.timing.unknown));
            self.arm(node);
        }
    }

    /// Times to follow from now on.
    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// Gives a node a session: the one it offers if that is still its own, else a new one.
    pub fn register(
        &mut self,
        node: &str,
        offered: &str,
        now: Instant,
    ) -> Result<Session, SessionError> {
        let deadline = now + self.timing.grace;
        let entry = self
            .nodes
            .entry(node.into())
            .or_insert_with(|| Entry::new(State::Up, deadline));
        let current = entry
            .session
            .clone()
            .filter(|session| *session.id == *offered);
        let session = match current {
            Some(session) => session,
            None => {
                entry.registrations.admit(RATE_LIMIT, now)?;
                let session = Session {
                    id: new_id().into(),
                    ended: CancellationToken::new(),
                };
                if let Some(old) = entry.session.replace(session.clone()) {
                    old.ended.cancel();
                }
                session
            }
        };
        entry.state = State::Up;
        entry.deadline = deadline;
        self.arm(node);
        Ok(session)
    }

    /// Whether the node may say something new of itself now: every manager stores it. One that is
    /// refused says its latest later.
    pub fn admit_description(&mut self, node: &str, now: Instant) -> Result<(), SessionError> {
        let deadline = now + self.timing.grace;
        let entry = self
            .nodes
            .entry(node.into())
            .or_insert_with(|| Entry::new(State::Up, deadline));
        entry.descriptions.admit(DESCRIPTIONS, now)
    }

    /// Notes a sign of life; answers when the next is wanted.
    pub fn beat(
        &mut self,
        node: &str,
        session: &str,
        now: Instant,
    ) -> Result<Duration, SessionError> {
        let timing = self.timing;
        let entry = self
            .nodes
            .get_mut(node)
            .ok_or(SessionError::NotRegistered)?;
        let current = entry.session.as_ref().ok_or(SessionError::NotRegistered)?;
        if *current.id != *session {
            return Err(SessionError::Invalid);
        }
        let deadline = now + timing.grace;
        if deadline > entry.deadline {
            entry.deadline = deadline;
        }
        Ok(timing.jittered_period())
    }

    /// The node's session, if it is the one named.
    pub fn find(&self, node: &str, session: &str) -> Result<Session, SessionError> {
        let current = self
            .nodes
            .get(node)
            .and_then(|entry| entry.session.as_ref());
        let current = current.ok_or(SessionError::NotRegistered)?;
        if *current.id == *session {
            Ok(current.clone())
        } else {
            Err(SessionError::Invalid)
        }
    }

    /// The node's session, whichever it is.
    pub fn current(&self, node: &str) -> Result<Session, SessionError> {
        let entry = self.nodes.get(node);
        let current = entry.and_then(|entry| entry.session.as_ref());
        current.cloned().ok_or(SessionError::NotRegistered)
    }

    /// Whether the node was silent for its grace and has not come back.
    pub fn is_down(&self, node: &str) -> bool {
        self.nodes
            .get(node)
            .is_some_and(|entry| entry.state != State::Up)
    }

    /// The session's connection ended: the host is there, its daemon is not.
    pub fn disconnected(&mut self, node: &str, session: &str, now: Instant) {
        let Some(entry) = self.nodes.get_mut(node) else {
            return;
        };
        let current = entry
            .session
            .as_ref()
            .is_some_and(|current| *current.id == *session);
        if current && entry.state == State::Up {
            entry.deadline = entry.deadline.max(now + self.timing.reconnect);
        }
    }

    /// The node was removed: its session ends.
    pub fn forget(&mut self, node: &str) {
        if let Some(Entry {
            session: Some(session),
            ..
        }) = self.nodes.remove(node)
        {
            session.ended.cancel();
        }
    }

    /// Ends every session.
    pub fn end_all(&mut self) {
        for entry in self.nodes.values_mut() {
            if let Some(session) = entry.session.take() {
                session.ended.cancel();
            }
        }
    }

    /// When to call [`Sessions::expire`].
    pub fn next_deadline(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// The nodes that are down from now on. `planned` is when the caller meant to ask: if it is late, it was held up
    /// itself, beats wait unread in its sockets, and everybody gets their grace anew.
    pub fn expire(&mut self, planned: Instant, now: Instant) -> Vec<Arc<str>> {
        if now > planned + STALL {
            for entry in self
                .nodes
                .values_mut()
                .filter(|entry| entry.state == State::Up)
            {
                entry.deadline = entry.deadline.max(now + self.timing.grace);
            }
        }
        let mut expired = Vec::new();
        while let Some(Reverse((queued, _))) = self.queue.peek()
            && *queued <= now
        {
            let Some(Reverse((queued, node))) = self.queue.pop() else {
                break;
            };
            let Some(entry) = self.nodes.get_mut(&node) else {
                continue;
            };
            if entry.queued != Some(queued) {
                continue;
            }
            entry.queued = None;
            if entry.deadline <= now && entry.state == State::Up {
                entry.go_down();
                expired.push(node.clone());
            }
            self.arm(&node);
        }
        expired
    }

    /// Sees to it that the queue names the node no later than its deadline.
    fn arm(&mut self, node: &str) {
        let Some((node, entry)) = self.nodes.get_key_value(node) else {
            return;
        };
        let (node, deadline) = (node.clone(), entry.deadline);
        if entry.state == State::Down || entry.queued.is_some_and(|queued| queued <= deadline) {
            return;
        }
        if let Some(entry) = self.nodes.get_mut(&node) {
            entry.queued = Some(deadline);
            self.queue.push(Reverse((deadline, node)));
        }
    }
}

impl Entry {
    fn new(state: State, deadline: Instant) -> Self {
        Self {
            session: None,
            state,
            deadline,
            queued: None,
            registrations: Rate::default(),
            descriptions: Rate::default(),
        }
    }

    fn go_down(&mut self) {
        self.state = State::Down;
        if let Some(session) = self.session.take() {
            session.ended.cancel();
        }
    }
}

impl Rate {
    fn admit(&mut self, limit: usize, now: Instant) -> Result<(), SessionError> {
        let Self(times) = self;
        while times
            .front()
            .is_some_and(|at| now.duration_since(*at) > RATE_WINDOW)
        {
            times.pop_front();
        }
        if times.len() >= limit {
            return Err(SessionError::TooMany);
        }
        times.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
