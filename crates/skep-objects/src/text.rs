//! A text that many objects hold alike: ids that tasks mention, and words of their states.
//!
//! One word long, counted, never changed: a copy is one more holder of the same bytes. What the empty
//! text is held by costs nothing.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use arcstr::ArcStr;

/// An immutable text behind a count of those who hold it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(ArcStr);

impl Text {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both are the same piece of memory.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        ArcStr::ptr_eq(&self.0, &other.0)
    }

    /// Makes it the empty text.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

macro_rules! made_from {
    ($($type:ty),*) => {$(
        impl From<$type> for Text {
            fn from(text: $type) -> Self {
                if text.is_empty() {
                    return Self::default();
                }
                Text(ArcStr::from(text))
            }
        }
    )*};
}

made_from! { &str, String, &String }

impl From<&Text> for Text {
    fn from(text: &Text) -> Self {
        text.clone()
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.as_str().to_owned()
    }
}

impl From<&Text> for String {
    fn from(text: &Text) -> Self {
        text.as_str().to_owned()
    }
}

macro_rules! compares_to {
    ($($type:ty),*) => {$(
        impl PartialEq<$type> for Text {
            fn eq(&self, other: &$type) -> bool {
                let other: &str = other.as_ref();
                self.as_str() == other
            }
        }

        impl PartialEq<Text> for $type {
            fn eq(&self, other: &Text) -> bool {
                other == self
            }
        }
    )*};
}

compares_to! { str, &str, String }

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn copies_are_the_same_memory_and_equal_texts_need_not_be() {
        let one = Text::from("running");
        let other = Text::from("running".to_owned());
        assert!(one.is_same(&one.clone()));
        assert!(!one.is_same(&other));
        assert_eq!(one, other);
        assert_eq!(one, "running");
        assert_eq!("running".to_owned(), one);
        assert_eq!(std::mem::size_of::<Text>(), std::mem::size_of::<usize>());
    }

    #[test]
    fn empty_texts_are_all_one() {
        assert!(Text::from("").is_same(&Text::default()));
        assert!(Text::from(String::new()).is_same(&Text::default()));
    }
}
