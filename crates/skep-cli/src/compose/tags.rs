//! `!reset` and `!override`: what a later file, or a service that extends another, takes away or puts
//! in the place of all that was said before.

use serde_json::Value;
use serde_norway::Value as Yaml;

/// A place in a file that is marked.
#[derive(Debug)]
pub(super) struct Tag {
    path: Vec<String>,
    resets: bool,
}

/// Finds the marks of a file.
pub(super) fn find(value: &Yaml, path: &mut Vec<String>, found: &mut Vec<Tag>) {
    match value {
        Yaml::Tagged(tagged) => {
            let resets = tagged.tag == "!reset";
            if resets || tagged.tag == "!override" {
                found.push(Tag {
                    path: path.clone(),
                    resets,
                });
            }
            find(&tagged.value, path, found);
        }
        Yaml::Mapping(map) => {
            for (key, value) in map {
                path.push(key.as_str().unwrap_or_default().to_owned());
                find(value, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Takes what is marked away from what was said before.
pub(super) fn clear(base: &mut Value, tags: &[Tag]) {
    tags.iter().for_each(|tag| remove(base, &tag.path));
}

/// Takes what is to be as if nobody had said it away from the whole.
pub(super) fn reset(whole: &mut Value, tags: &[Tag]) {
    let resets = tags.iter().filter(|tag| tag.resets);
    resets.for_each(|tag| remove(whole, &tag.path));
}

fn remove(value: &mut Value, path: &[String]) {
    match path {
        [last] => {
            if let Value::Object(map) = value {
                map.shift_remove(last);
            }
        }
        [first, rest @ ..] => {
            if let Some(inner) = value.get_mut(first) {
                remove(inner, rest);
            }
        }
        [] => {}
    }
}
