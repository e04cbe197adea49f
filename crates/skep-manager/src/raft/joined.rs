//! Messages for one member that wait behind each other, put together where one says it all: a member
//! that is slow to take them, or far away, then gets few long ones.

use skep_objects::raftpb::{Message, MessageType};
use tokio::sync::mpsc;

/// Bytes of entries in one message, at most; receivers take 4 MiB with everything.
const MAX_BYTES: usize = 1 << 20;

/// The messages that wait for one member.
#[derive(Debug)]
pub(super) struct Joined {
    queue: mpsc::Receiver<Message>,
    /// One that could not be put together with the one before it.
    held: Option<Message>,
}

impl Joined {
    pub(super) fn new(queue: mpsc::Receiver<Message>) -> Self {
        Joined { queue, held: None }
    }

    /// The next message, with all that waits behind it and can be said with it.
    pub(super) async fn next(&mut self) -> Option<Message> {
        let mut message = match self.held.take() {
            Some(held) => held,
            None => self.queue.recv().await?,
        };
        while let Ok(next) = self.queue.try_recv() {
            if let Some(other) = join(&mut message, next) {
                self.held = Some(other);
                break;
            }
        }
        Some(message)
    }

    /// Drops everything that waits.
    pub(super) fn clear(&mut self) {
        self.held = None;
        while self.queue.try_recv().is_ok() {}
    }
}

/// Puts two messages together, or gives the second one back.
fn join(first: &mut Message, mut next: Message) -> Option<Message> {
    let is_same = first.r#type == next.r#type && first.term == next.term;
    if !is_same || first.context.is_some() || next.context.is_some() {
        return Some(next);
    }
    match next.r#type() {
        // Entries that go on where the others end.
        MessageType::App
            if first.index() + first.entries.len() as u64 == next.index()
                && bytes(first) + bytes(&next) <= MAX_BYTES =>
        {
            first.commit = Some(first.commit().max(next.commit()));
            first.entries.append(&mut next.entries);
            None
        }
        // A later word about how far the log reaches stands for the earlier.
        MessageType::AppResp
            if !first.reject() && !next.reject() && first.index() <= next.index() =>
        {
            *first = next;
            None
        }
        _ => Some(next),
    }
}

fn bytes(message: &Message) -> usize {
    let entries = message.entries.iter();
    entries.map(|entry| entry.data().len() + 24).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_objects::raftpb::Entry;

    fn app(term: u64, before: u64, entries: u64, commit: u64) -> Message {
        let entry = |index| Entry {
            term: Some(term),
            index: Some(index),
            data: Some(vec![7; 10].into()),
            ..Entry::default()
        };
        Message {
            r#type: Some(MessageType::App as i32),
            term: Some(term),
            index: Some(before),
            commit: Some(commit),
            entries: (before + 1..=before + entries).map(entry).collect(),
            ..Message::default()
        }
    }

    fn answer(index: u64, reject: bool) -> Message {
        Message {
            r#type: Some(MessageType::AppResp as i32),
            term: Some(1),
            index: Some(index),
            reject: Some(reject),
            ..Message::default()
        }
    }

    async fn sent(messages: Vec<Message>) -> Vec<Message> {
        let (sender, receiver) = mpsc::channel(16);
        for message in messages {
            sender.send(message).await.unwrap();
        }
        drop(sender);
        let mut joined = Joined::new(receiver);
        let mut sent = Vec::new();
        while let Some(message) = joined.next().await {
            sent.push(message);
        }
        sent
    }

    #[tokio::test]
    async fn entries_that_go_on_are_one_message() {
        let all = sent(vec![app(1, 5, 2, 4), app(1, 7, 3, 6), app(1, 10, 0, 7)]).await;
        assert_eq!(all, [app(1, 5, 5, 7)]);
    }

    #[tokio::test]
    async fn what_does_not_go_on_stays_apart() {
        let messages = vec![app(1, 5, 2, 4), app(1, 8, 1, 4), app(2, 9, 1, 4)];
        assert_eq!(sent(messages.clone()).await, messages);
        let messages = vec![answer(3, true), answer(4, false), app(1, 4, 1, 4)];
        assert_eq!(sent(messages.clone()).await, messages);
    }

    #[tokio::test]
    async fn the_last_answer_stands_for_all() {
        let all = sent(vec![answer(3, false), answer(4, false), answer(7, false)]).await;
        assert_eq!(all, [answer(7, false)]);
    }
}
