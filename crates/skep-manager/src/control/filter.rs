//! List filters: kinds of filter are ANDed, the values inside one are ORed; no value, no filter.

use std::collections::BTreeMap;

/// The filters that every listed kind has.
#[derive(Debug, Clone, Copy)]
pub struct NameFilter<'a> {
    /// Whole names.
    pub names: &'a [String],
    /// Beginnings of names.
    pub name_prefixes: &'a [String],
    /// Beginnings of ids.
    pub id_prefixes: &'a [String],
    /// Labels that must be there; an empty value asks for the key only.
    pub labels: &'a BTreeMap<String, String>,
}

impl NameFilter<'_> {
    /// Whether an object of this id, name and these labels passes.
    pub fn passes(&self, id: &str, name: &str, labels: &BTreeMap<String, String>) -> bool {
        any(self.names, |wanted| wanted == name)
            && any(self.name_prefixes, |prefix| {
                name.starts_with(prefix.as_str())
            })
            && any(self.id_prefixes, |prefix| id.starts_with(prefix.as_str()))
            && has_labels(labels, self.labels)
    }
}

/// Whether some value passes, or there is none to pass.
pub fn any<T>(values: &[T], test: impl FnMut(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(test)
}

/// Whether all wanted labels are there.
pub fn has_labels(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| {
        labels
            .get(key)
            .is_some_and(|actual| value.is_empty() || actual == value)
    })
}

/// The filters of a list request, by the field names that all of them share.
macro_rules! name_filter {
    ($filters:expr) => {
        $crate::control::filter::NameFilter {
            names: &$filters.names,
            name_prefixes: &$filters.name_prefixes,
            id_prefixes: &$filters.id_prefixes,
            labels: &$filters.labels,
        }
    };
}
pub(crate) use name_filter;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        names: &[&str],
        prefixes: &[&str],
        ids: &[&str],
        label: Option<(&str, &str)>,
        expect: bool,
    ) {
        let own = |values: &[&str]| {
            values
                .iter()
                .map(|value| (*value).to_owned())
                .collect::<Vec<_>>()
        };
        let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let labels = label.map(pair).into_iter().collect();
        let (names, prefixes, ids) = (own(names), own(prefixes), own(ids));
        let filter = NameFilter {
            names: &names,
            name_prefixes: &prefixes,
            id_prefixes: &ids,
            labels: &labels,
        };
        let actual = [pair(("tier", "front"))].into_iter().collect();
        assert_eq!(filter.passes("id1", "web", &actual), expect, "{filter:?}");
    }

    #[test]
    fn values_are_ored_and_filters_are_anded() {
        check(&[], &[], &[], None, true);
        check(&["web", "db"], &[], &[], None, true);
        check(&["db"], &[], &[], None, false);
        check(&["web"], &["w"], &["id"], None, true);
        check(&["web"], &["x"], &["id"], None, false);
        check(&[], &[], &["x", "id1"], None, true);
    }

    #[test]
    fn an_empty_wanted_value_asks_for_the_key() {
        check(&[], &[], &[], Some(("tier", "")), true);
        check(&[], &[], &[], Some(("tier", "front")), true);
        check(&[], &[], &[], Some(("tier", "back")), false);
        check(&[], &[], &[], Some(("zone", "")), false);
    }
}
