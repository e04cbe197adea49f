//! Names of containers.

use rand::seq::IndexedRandom;
use skep_objects::ErrorKind;

use crate::error::{EngineError, Result};

const MOODS: [&str; 40] = [
    "amber", "brave", "bright", "busy", "calm", "cheerful", "clever", "cosy", "daring", "drowsy",
    "eager", "early", "fair", "fond", "gentle", "glad", "golden", "hardy", "honest", "humming",
    "jolly", "keen", "kind", "lively", "lucky", "mellow", "merry", "mild", "nimble", "patient",
    "quick", "quiet", "ready", "rustic", "steady", "sunny", "sweet", "tidy", "warm", "wise",
];
const BEINGS: [&str; 40] = [
    "acacia",
    "alder",
    "aster",
    "balm",
    "basil",
    "bee",
    "borage",
    "briar",
    "carder",
    "catmint",
    "clover",
    "comfrey",
    "cornflower",
    "crocus",
    "dahlia",
    "drone",
    "fennel",
    "foxglove",
    "heather",
    "honeybee",
    "hyssop",
    "lavender",
    "linden",
    "lupin",
    "mallow",
    "mason",
    "mint",
    "phacelia",
    "poppy",
    "queen",
    "rosemary",
    "sage",
    "scout",
    "sorrel",
    "sunflower",
    "teasel",
    "thyme",
    "vetch",
    "willow",
    "worker",
];

/// Checks what a user wrote; the name without its leading slash.
pub(crate) fn validate(name: &str) -> Result<&str> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut chars = bare.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let mut rest = 0;
    let others = chars.all(|c| {
        rest += 1;
        c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
    });
    if first && others && rest > 0 {
        return Ok(bare);
    }
    Err(EngineError::refused(
        ErrorKind::InvalidArgument,
        format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
    ))
}

/// A name nobody asked for.
pub(crate) fn invent(attempt: usize) -> String {
    let mut rng = rand::rng();
    let mood = MOODS.choose(&mut rng).copied().unwrap_or("busy");
    let being = BEINGS.choose(&mut rng).copied().unwrap_or("bee");
    let digit = match attempt {
        0 => String::new(),
        1 => rand::random_range(0..10).to_string(),
        _ => rand::random_range(0..1_000_000).to_string(),
    };
    format!("{mood}_{being}{digit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_docker_s() {
        for good in ["ab", "/web.1", "a_b-c"] {
            assert!(validate(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "/", "-ab", "a b", "a/b", "é1"] {
            let text = validate(bad).unwrap_err().to_string();
            assert!(
                text.starts_with(&format!("Invalid container name ({bad})")),
                "{text}"
            );
        }
    }

    #[test]
    fn invented_names_are_valid() {
        for attempt in 0..8 {
            assert!(validate(&invent(attempt)).is_ok());
        }
    }
}
