//! Hears of what other programs do to the host's tables, and has what is ours put back.

use std::sync::Weak;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::restore::Loss;
use crate::net::{Inner, Net};
use crate::netlink::nft::{Event, Heard, NftWatch, Table};

/// Listens until it is dropped.
#[derive(Debug)]
pub(crate) struct RulesMinder(AbortHandle);

impl RulesMinder {
    /// Listens to all but `own`, the port of the socket that writes our tables; `name` is what those
    /// tables' names begin with.
    pub fn spawn(
        inner: Weak<Inner>,
        runtime: &Handle,
        watch: NftWatch,
        own: u32,
        name: String,
    ) -> Self {
        Self(runtime.spawn(mind(inner, watch, own, name)).abort_handle())
    }
}

impl Drop for RulesMinder {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn mind(inner: Weak<Inner>, mut watch: NftWatch, own: u32, name: String) {
    loop {
        let heard = match watch.next().await {
            Ok(heard) => heard,
            Err(error) => {
                tracing::error!(%error, "changes of the firewall are not heard of any more");
                return;
            }
        };
        let loss = loss(heard, own, &name);
        if loss == Loss::default() {
            continue;
        }
        let Some(inner) = inner.upgrade() else { return };
        // It waits for the lock, and for the kernel.
        let restore = move || Net { inner }.restore(&loss);
        let _ = tokio::task::spawn_blocking(restore).await;
    }
}

fn loss(heard: Vec<Heard>, own: u32, name: &str) -> Loss {
    let mut loss = Loss::default();
    let further = format!("{name}-");
    let is_ours = |table: &Table| table.name == name || table.name.starts_with(&further);
    for Heard { by, event } in heard {
        match event {
            _ if by == own => {}
            Event::TableGone(table) if is_ours(&table) => loss.tables.push(table),
            Event::TableGone(_) => {}
            Event::RuleGone { comment } => loss.passage |= comment == name,
            Event::ForwardDropped => loss.passage = true,
            Event::Missed => loss.is_unknown = true,
            Event::Committed { program } => loss.program = program,
        }
    }
    if loss.tables.is_empty() && !loss.passage && !loss.is_unknown {
        return Loss::default();
    }
    loss
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::nft::Family;

    fn check(heard: &[(u32, Event)], expect: Loss) {
        let heard = heard.iter().cloned();
        let heard = heard.map(|(by, event)| Heard { by, event }).collect();
        assert_eq!(loss(heard, 7, "skep-a"), expect);
    }

    #[test]
    fn only_what_others_take_from_us_is_a_loss() {
        let gone = |name: &str| Event::TableGone(Table::new(Family::Ip, name));
        let rule = |comment: &str| Event::RuleGone {
            comment: comment.into(),
        };
        let by_nft = Event::Committed {
            program: "nft".into(),
        };
        check(&[(7, gone("skep-a")), (7, rule("skep-a"))], Loss::default());
        let others = [gone("filter"), gone("skep-ab"), rule("x"), by_nft.clone()];
        check(&others.map(|event| (9, event)), Loss::default());
        let loss = Loss {
            tables: vec![Table::new(Family::Ip, "skep-a-wg")],
            program: "nft".into(),
            ..Loss::default()
        };
        check(
            &[(9, gone("filter")), (9, gone("skep-a-wg")), (9, by_nft)],
            loss,
        );
        let passage = Loss {
            passage: true,
            ..Loss::default()
        };
        check(&[(9, rule("skep-a"))], passage.clone());
        check(&[(9, Event::ForwardDropped)], passage);
        let unknown = Loss {
            is_unknown: true,
            ..Loss::default()
        };
        check(&[(0, Event::Missed)], unknown);
    }
}
