//! Where a copy lands, by the rules of `cp -a` that Docker follows in both directions.

use crate::error::CliError;

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// Its last name.
    pub(super) name: String,
    pub(super) is_dir: bool,
    /// Whether only what is within is wanted: the path ends with `/.`.
    pub(super) contents: bool,
}

/// Where it is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) exists: bool,
    pub(super) is_dir: bool,
}

/// The folder to write in, and the name there; no name where contents go into the folder itself.
pub(super) fn placed(source: &Source, place: &Place) -> Result<(String, Option<String>), CliError> {
    let beside = || {
        let (dir, name) = split_last(&place.path);
        (dir, Some(name))
    };
    if place.is_dir {
        return Ok(match source.is_dir && source.contents {
            true => (place.path.clone(), None),
            false => (place.path.clone(), Some(source.name.clone())),
        });
    }
    match (place.exists, source.is_dir) {
        (true, true) => Err(CliError::new("cannot copy directory")),
        (false, false) if place.path.ends_with('/') || place.path.ends_with("/.") => {
            Err(CliError::new("no such directory"))
        }
        _ => Ok(beside()),
    }
}

/// The folder and the last name of a path.
fn split_last(path: &str) -> (String, String) {
    let path = path.trim_end_matches('/');
    match path.rsplit_once('/') {
        Some(("", name)) => ("/".to_owned(), name.to_owned()),
        Some((dir, name)) => (dir.to_owned(), name.to_owned()),
        None => (".".to_owned(), path.to_owned()),
    }
}

/// The last name of a path, where it has one of its own.
pub(super) fn base_name(path: &str) -> Option<String> {
    let path = path
        .strip_suffix("/.")
        .unwrap_or(path)
        .trim_end_matches('/');
    let name = path.rsplit('/').next()?;
    (!matches!(name, "" | "." | "..")).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        source: (&str, bool, bool),
        place: (&str, bool, bool),
        expected: Result<(&str, Option<&str>), &str>,
    ) {
        let source = Source {
            name: source.0.to_owned(),
            is_dir: source.1,
            contents: source.2,
        };
        let place = Place {
            path: place.0.to_owned(),
            exists: place.1,
            is_dir: place.2,
        };
        let got = placed(&source, &place);
        let got = got
            .as_ref()
            .map(|(dir, name)| (dir.as_str(), name.as_deref()));
        assert_eq!(got.map_err(|error| error.message.as_str()), expected);
    }

    #[test]
    fn a_copy_lands_where_cp_would_put_it() {
        check(
            ("f", false, false),
            ("/d", true, true),
            Ok(("/d", Some("f"))),
        );
        check(
            ("f", false, false),
            ("/d/g", true, false),
            Ok(("/d", Some("g"))),
        );
        check(
            ("f", false, false),
            ("/g", false, false),
            Ok(("/", Some("g"))),
        );
        check(
            ("f", false, false),
            ("/new/", false, false),
            Err("no such directory"),
        );
        check(
            ("s", true, false),
            ("/d", true, true),
            Ok(("/d", Some("s"))),
        );
        check(("s", true, true), ("/d", true, true), Ok(("/d", None)));
        check(
            ("s", true, true),
            ("new", false, false),
            Ok((".", Some("new"))),
        );
        check(
            ("s", true, false),
            ("/f", true, false),
            Err("cannot copy directory"),
        );
    }
}
