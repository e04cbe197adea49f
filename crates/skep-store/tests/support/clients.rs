//! Clients that append numbers to one list, and what they were told.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use skep_objects::swarmkit::{Config, ConfigSpec};
use skep_store::{CommitError, Store, TxError, UpdateError, View};

use super::history::{Fate, History};

type Answer = Result<usize, UpdateError<TxError>>;

struct Client {
    number: u32,
    host: u64,
    answer: Pin<Box<dyn Future<Output = Answer>>>,
}

/// All clients under way.
#[derive(Default)]
pub struct Clients {
    waiting: Vec<Client>,
    pub history: History,
}

impl Clients {
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Another client appends, at a host's store.
    pub fn ask(&mut self, host: u64, store: Store, now: u64) -> u32 {
        let number = self.history.ask(now);
        let answer = Box::pin(append(store, number));
        self.waiting.push(Client {
            number,
            host,
            answer,
        });
        number
    }

    /// One client stops waiting: it will never know.
    pub fn give_up(&mut self, place: usize) {
        if place < self.waiting.len() {
            self.waiting.swap_remove(place);
        }
    }

    /// Clients whose answer is there learn it; answers host and number of what was acknowledged.
    pub fn poll(&mut self, now: u64) -> Vec<(u64, u32)> {
        let mut context = Context::from_waker(Waker::noop());
        let mut acknowledged = Vec::new();
        let history = &mut self.history;
        self.waiting
            .retain_mut(|client| match client.answer.as_mut().poll(&mut context) {
                Poll::Pending => true,
                Poll::Ready(answer) => {
                    let fate = fate_of(answer, now);
                    if matches!(fate, Fate::Acknowledged { .. }) {
                        acknowledged.push((client.host, client.number));
                    }
                    history.learn(client.number, fate);
                    false
                }
            });
        acknowledged
    }
}

/// Appends a number to the list; answers how long the list was before.
async fn append(store: Store, number: u32) -> Answer {
    let appended = store.update(|tx| {
        let Some(stored) = tx.config("list") else {
            let spec = ConfigSpec {
                data: number.to_le_bytes().to_vec(),
                ..ConfigSpec::default()
            };
            let config = Config {
                id: "list".into(),
                spec: Some(spec),
                ..Config::default()
            };
            tx.create_config(config)?;
            return Ok(0);
        };
        let before = bytes_of(stored).len() / 4;
        tx.edit_config("list", |config| {
            let spec = config.spec.get_or_insert_default();
            spec.data.extend(number.to_le_bytes());
        })?;
        Ok(before)
    });
    appended.await
}

fn fate_of(answer: Answer, at: u64) -> Fate {
    match answer {
        Ok(before) => Fate::Acknowledged { before, at },
        Err(UpdateError::Refused(error)) => panic!("{error}"),
        Err(UpdateError::Commit(CommitError::NotLeader | CommitError::Transferring)) => {
            Fate::Refused
        }
        Err(UpdateError::Commit(_)) => Fate::Unknown,
    }
}

fn bytes_of(config: &Config) -> &[u8] {
    config
        .spec
        .as_ref()
        .map(|spec| spec.data.as_slice())
        .unwrap_or_default()
}

/// The list as a view has it, four bytes a number.
pub fn list_bytes(view: &View) -> Vec<u8> {
    view.config("list")
        .map(|config| bytes_of(config).to_vec())
        .unwrap_or_default()
}

/// The numbers of a list.
pub fn numbers(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect()
}
