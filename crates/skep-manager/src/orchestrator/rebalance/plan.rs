//! Which task to move where. Pure.
//!
//! What the scheduler's spread would make of the service if it began anew decides: branches of the
//! preference tree first, then nodes. A move is worth it where two tasks or more lie between them.

use std::collections::BTreeMap;

use skep_objects::swarmkit::Node;

use crate::scheduler::constraint::spread_value;

/// A node, as far as one service is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The node.
    pub node: &'a Node,
    /// The service's tasks there.
    pub tasks: u32,
    /// Whether the node's own object lets such tasks in.
    pub is_open: bool,
}

/// A move: from which node to which.
pub type Move<'a> = (&'a str, &'a str);

/// The next move that evens the service out; none when it is even, or no node has room.
pub fn next_move<'a>(
    places: &[Place<'a>],
    preferences: &[String],
    has_room: &mut dyn FnMut(&Node) -> bool,
) -> Option<Move<'a>> {
    let Some((descriptor, deeper)) = preferences.split_first() else {
        let fullest = places.iter().max_by_key(|place| place.tasks)?;
        let target = emptiest(places, fullest.tasks, has_room)?;
        return Some((&fullest.node.id, &target.node.id));
    };
    let Some(branches) = branches(places, descriptor) else {
        return next_move(places, deeper, has_room);
    };
    let mut by_total: Vec<_> = branches
        .values()
        .map(|places| (total(places), places))
        .collect();
    by_total.sort_by_key(|(total, _)| *total);
    if let Some((most, from)) = by_total.last()
        && let Some(fullest) = from.iter().max_by_key(|place| place.tasks)
    {
        let lighter = by_total.iter().take_while(|(total, _)| total + 2 <= *most);
        for (_, to) in lighter {
            if let Some(target) = emptiest(to, u32::MAX, has_room) {
                return Some((&fullest.node.id, &target.node.id));
            }
        }
    }
    branches
        .values()
        .find_map(|branch| next_move(branch, deeper, has_room))
}

/// Whether a task that now stands on both nodes does better on the second.
pub fn evens_out(places: &[Place<'_>], preferences: &[String], from: &str, to: &str) -> bool {
    let find = |id: &str| places.iter().find(|place| place.node.id == id);
    let (Some(from), Some(to)) = (find(from), find(to)) else {
        return false;
    };
    let mut level = places.to_vec();
    for descriptor in preferences {
        let (Some(there), Some(here)) = (
            spread_value(descriptor, to.node),
            spread_value(descriptor, from.node),
        ) else {
            continue;
        };
        let Some(mut branches) = branches(&level, descriptor) else {
            continue;
        };
        if there != here {
            let total_of = |value: &str| branches.get(value).map_or(0, |places| total(places));
            return total_of(there) < total_of(here);
        }
        level = branches.remove(there).unwrap_or_default();
    }
    to.tasks < from.tasks
}

/// The open place with the fewest tasks, at least two fewer than `than`, that has room.
fn emptiest<'p, 'a>(
    places: &'p [Place<'a>],
    than: u32,
    has_room: &mut dyn FnMut(&Node) -> bool,
) -> Option<&'p Place<'a>> {
    let mut open: Vec<_> = places
        .iter()
        .filter(|place| place.is_open && place.tasks.saturating_add(2) <= than)
        .collect();
    open.sort_by_key(|place| place.tasks);
    open.into_iter().find(|place| has_room(place.node))
}

/// The places by their value for a preference; none where it is no label, and so is ignored.
fn branches<'a>(
    places: &[Place<'a>],
    descriptor: &str,
) -> Option<BTreeMap<&'a str, Vec<Place<'a>>>> {
    let mut branches: BTreeMap<&str, Vec<Place<'a>>> = BTreeMap::new();
    for place in places {
        let value = spread_value(descriptor, place.node)?;
        branches.entry(value).or_default().push(*place);
    }
    Some(branches)
}

fn total(places: &[Place<'_>]) -> u32 {
    places.iter().map(|place| place.tasks).sum()
}

#[cfg(test)]
mod tests {
    use skep_objects::swarmkit::{Annotations, NodeSpec};

    use super::*;

    fn node(id: &str, zone: &str) -> Node {
        let labels = [("zone".to_owned(), zone.to_owned())].into();
        Node {
            id: id.to_owned(),
            spec: Some(NodeSpec {
                annotations: Some(Annotations {
                    labels,
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// Nodes as (id, zone, tasks); those whose id begins with `-` let nothing in, those with `!`
    /// have no room.
    fn check(nodes: &[(&str, &str, u32)], preferences: &[&str], expect: Option<(&str, &str)>) {
        let stored: Vec<Node> = nodes.iter().map(|(id, zone, _)| node(id, zone)).collect();
        let places: Vec<Place<'_>> = stored
            .iter()
            .zip(nodes)
            .map(|(node, (id, _, tasks))| Place {
                node,
                tasks: *tasks,
                is_open: !id.starts_with('-'),
            })
            .collect();
        let preferences: Vec<String> = preferences.iter().map(|p| (*p).to_owned()).collect();
        let found = next_move(&places, &preferences, &mut |node| !node.id.starts_with('!'));
        assert_eq!(found, expect, "{nodes:?}");
    }

    #[test]
    fn a_move_needs_a_difference_of_two() {
        check(&[("a", "", 2), ("b", "", 1)], &[], None);
        check(&[("a", "", 3), ("b", "", 1)], &[], Some(("a", "b")));
        check(
            &[("a", "", 4), ("b", "", 1), ("c", "", 0)],
            &[],
            Some(("a", "c")),
        );
        check(&[], &[], None);
    }

    #[test]
    fn closed_and_full_nodes_are_no_targets() {
        check(&[("a", "", 4), ("-b", "", 0)], &[], None);
        check(
            &[("a", "", 4), ("!b", "", 0), ("c", "", 1)],
            &[],
            Some(("a", "c")),
        );
        check(&[("-a", "", 4), ("b", "", 0)], &[], Some(("-a", "b")));
    }

    #[test]
    fn branches_come_before_nodes() {
        let zone = &["node.labels.zone"][..];
        check(&[("a", "x", 1), ("b", "x", 1), ("c", "y", 2)], zone, None);
        check(
            &[("a", "x", 2), ("b", "x", 2), ("c", "y", 1)],
            zone,
            Some(("b", "c")),
        );
        check(
            &[("a", "x", 3), ("b", "x", 0), ("c", "y", 3)],
            zone,
            Some(("a", "b")),
        );
        check(
            &[("a", "x", 3), ("b", "y", 1)],
            &["node.id"],
            Some(("a", "b")),
        );
    }

    #[test]
    fn a_task_that_stands_on_both_nodes_is_judged_with_both_counted() {
        let (a, b) = (node("a", "x"), node("b", "y"));
        let place = |node, tasks| Place {
            node,
            tasks,
            is_open: true,
        };
        assert!(evens_out(&[place(&a, 3), place(&b, 2)], &[], "a", "b"));
        assert!(!evens_out(&[place(&a, 2), place(&b, 2)], &[], "a", "b"));
        assert!(!evens_out(&[place(&a, 2)], &[], "a", "a"));
        let zone = ["node.labels.zone".to_owned()];
        assert!(!evens_out(&[place(&a, 2), place(&b, 3)], &zone, "a", "b"));
    }
}
