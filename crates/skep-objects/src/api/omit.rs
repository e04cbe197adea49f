//! Go's `omitempty`, and other habits of its JSON encoder that serde has no word for.

use serde::{Deserialize, Deserializer};

/// Whether Go would leave the field out: it has its zero value.
pub(crate) fn empty<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A list that may also be written as one string, as `Cmd` and `Entrypoint` may; null is none.
pub(crate) fn str_slice<'de, D>(deserializer: D) -> Result<Option<Vec<String>>, D::Error>
where
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::<Words>::deserialize(deserializer)? {
        None => None,
        Some(Words::One(word)) => Some(vec![word]),
        Some(Words::Many(words)) => Some(words),
    })
}
