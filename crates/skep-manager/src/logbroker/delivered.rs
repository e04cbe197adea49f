//! How far a subscriber has got with each task's log, so that a node which comes back does not tell
//! it all again.

use std::collections::BTreeMap;

use prost_types::Timestamp;
use skep_objects::{
    swarmkit::{LogMessage, LogSubscriptionOptions},
    timestamp::unix_nanos,
};

/// What was delivered of the tasks of one node: by task, and by stream.
#[derive(Debug, Default)]
pub struct Delivered(BTreeMap<String, BTreeMap<i32, Place>>);

/// A place in a log, which is in the order of its times.
#[derive(Debug, Default)]
struct Place {
    last: Timestamp,
    /// Lines of that very time.
    at_last: usize,
    /// What is being told again: up to this time, and so many lines of it.
    again: Option<(i128, usize)>,
}

impl Delivered {
    /// The node begins anew: what was delivered will come again, all of it or a part.
    pub fn begin_again(&mut self) {
        for place in self.0.values_mut().flat_map(BTreeMap::values_mut) {
            place.again = Some((unix_nanos(&place.last), place.at_last));
        }
    }

    /// The options to ask the node with, when it has been heard before. `has_others`: whether it has
    /// tasks that nothing came of yet.
    pub fn resume(
        &self,
        mut options: LogSubscriptionOptions,
        has_others: bool,
    ) -> LogSubscriptionOptions {
        let places = self.0.values().flat_map(BTreeMap::values);
        let earliest = places.map(|place| place.last).min_by_key(unix_nanos);
        // Lines of the others may be older; without a limit they come when all are asked for.
        if earliest.is_some() && !(has_others && options.tail == 0) {
            options.since = earliest;
            options.tail = 0;
        }
        options
    }

    /// Whether anything came of this task.
    pub fn knows(&self, task: &str) -> bool {
        self.0.contains_key(task)
    }

    /// Whether the subscriber has not had this line yet; notes that it has now.
    pub fn is_new(&mut self, line: &LogMessage) -> bool {
        let (Some(context), Some(time)) = (&line.context, line.timestamp) else {
            return true;
        };
        if !self.0.contains_key(&context.task_id) {
            self.0.insert(context.task_id.clone(), BTreeMap::new());
        }
        let Some(streams) = self.0.get_mut(&context.task_id) else {
            return true;
        };
        streams.entry(line.stream).or_default().is_new(time)
    }
}

impl Place {
    fn is_new(&mut self, time: Timestamp) -> bool {
        let nanos = unix_nanos(&time);
        if let Some((last, lines)) = &mut self.again {
            if nanos < *last {
                return false;
            }
            if nanos == *last && *lines > 0 {
                *lines -= 1;
                return false;
            }
            self.again = None;
        }
        if self.at_last > 0 && time == self.last {
            self.at_last += 1;
        } else {
            (self.last, self.at_last) = (time, 1);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use skep_objects::swarmkit::LogContext;

    use super::*;

    fn line(task: &str, seconds: i64) -> LogMessage {
        LogMessage {
            context: Some(LogContext {
                task_id: task.to_owned(),
                ..Default::default()
            }),
            timestamp: Some(Timestamp { seconds, nanos: 0 }),
            ..Default::default()
        }
    }

    #[test]
    fn what_was_delivered_is_not_new_after_a_new_beginning() {
        let mut delivered = Delivered::default();
        let told = [("a", 1), ("a", 2), ("b", 7), ("a", 2), ("b", 8)];
        for (task, time) in told {
            assert!(delivered.is_new(&line(task, time)));
        }
        delivered.begin_again();
        for (task, time) in told {
            assert!(!delivered.is_new(&line(task, time)), "{task} {time}");
        }
        assert!(delivered.is_new(&line("a", 2)), "a third line of that time");
        assert!(delivered.is_new(&line("b", 9)));
        assert!(delivered.is_new(&line("c", 1)));
    }

    #[test]
    fn a_node_is_asked_from_where_the_slowest_task_is() {
        let mut delivered = Delivered::default();
        let options = || LogSubscriptionOptions {
            follow: true,
            tail: -11,
            ..Default::default()
        };
        assert_eq!(delivered.resume(options(), true), options());
        for (task, time) in [("a", 5), ("b", 3)] {
            delivered.is_new(&line(task, time));
        }
        let resumed = delivered.resume(options(), true);
        let since = resumed.since.map(|since| since.seconds);
        assert_eq!((since, resumed.tail), (Some(3), 0));
        let all = LogSubscriptionOptions::default();
        assert_eq!(delivered.resume(all.clone(), true), all);
        assert!(delivered.resume(all, false).since.is_some());
    }
}
