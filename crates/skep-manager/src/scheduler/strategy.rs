//! Which of the eligible nodes a task goes to.

use std::collections::BTreeMap;

pub use skep_objects::STRATEGY_LABEL;

/// How nodes are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The node with the fewest tasks of the service, then with the fewest tasks.
    #[default]
    Spread,
    /// The fullest node by reserved CPU and memory, then by number of tasks.
    Binpack,
    /// Any.
    Random,
}

impl Strategy {
    /// The strategy of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "spread" => Some(Self::Spread),
            "binpack" => Some(Self::Binpack),
            "random" => Some(Self::Random),
            _ => None,
        }
    }

    /// The service's label, else the swarm's, else spread.
    #[must_use]
    pub fn choose(
        service: &BTreeMap<String, String>,
        swarm: Option<&BTreeMap<String, String>>,
    ) -> Self {
        let named = |labels: &BTreeMap<String, String>| {
            labels
                .get(STRATEGY_LABEL)
                .and_then(|name| Self::from_name(name))
        };
        named(service)
            .or_else(|| swarm.and_then(named))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(value: &str) -> BTreeMap<String, String> {
        [(STRATEGY_LABEL.to_owned(), value.to_owned())].into()
    }

    #[test]
    fn the_services_strategy_wins_over_the_swarms() {
        let none = BTreeMap::new();
        assert_eq!(Strategy::choose(&none, None), Strategy::Spread);
        assert_eq!(
            Strategy::choose(&none, Some(&labels("binpack"))),
            Strategy::Binpack
        );
        assert_eq!(
            Strategy::choose(&labels("Random"), Some(&labels("binpack"))),
            Strategy::Random
        );
        assert_eq!(
            Strategy::choose(&labels("best"), Some(&labels("binpack"))),
            Strategy::Binpack
        );
    }
}
