//! Every field of the log is on its page, docs/design/logging.md, and in one spelling.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const MACROS: [&str; 12] = [
    "error!(",
    "warn!(",
    "info!(",
    "debug!(",
    "trace!(",
    "event!(",
    "span!(",
    "error_span!(",
    "warn_span!(",
    "info_span!(",
    "debug_span!(",
    "trace_span!(",
];

#[test]
fn every_field_of_the_log_is_on_its_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/design/logging.md")).unwrap();
    let listed: BTreeSet<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| line.split('|').nth(1).unwrap_or_default().split(", "))
        .map(|name| name.trim().trim_matches('`'))
        .collect();
    let mut used = BTreeSet::new();
    let mut missing = Vec::new();
    for krate in fs::read_dir(root.join("crates")).unwrap() {
        visit(&krate.unwrap().path().join("src"), &mut |path, text| {
            for name in fields(text) {
                if !listed.contains(name.as_str()) {
                    missing.push(format!("{} in {}", name, path.display()));
                }
                used.insert(name);
            }
        });
    }
    assert!(missing.is_empty(), "not on the page: {missing:#?}");
    let idle: Vec<_> = listed
        .iter()
        .filter(|name| !used.contains(**name))
        .collect();
    assert!(idle.is_empty(), "on the page, and used nowhere: {idle:?}");
}

fn visit(dir: &Path, found: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

/// The names of the fields in all calls of the log's macros.
fn fields(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for name in MACROS {
        for (at, _) in text.match_indices(name) {
            let is_whole = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if is_whole {
                names.extend(
                    arguments(&text[at + name.len()..])
                        .iter()
                        .filter_map(|a| field(a)),
                );
            }
        }
    }
    names
}

/// The arguments of a call, given what follows its bracket.
fn arguments(text: &str) -> Vec<String> {
    let (mut all, mut current, mut depth, mut is_quoted) = (Vec::new(), String::new(), 0, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if is_quoted => {
                current.push(c);
                current.extend(chars.next());
                continue;
            }
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                all.push(std::mem::take(&mut current));
                continue;
            }
            _ => {}
        }
        current.push(c);
    }
    all.push(current);
    all
}

/// `node.id = …`, `%error` or `?delay`; none of a message.
fn field(argument: &str) -> Option<String> {
    let argument = argument.trim();
    let start = argument.trim_start_matches(['%', '?']);
    let name: String = start
        .chars()
        .take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(*c))
        .collect();
    // `target: "…"` is for the log itself.
    let is_directive = start[name.len()..].starts_with(':');
    (!name.is_empty() && !is_directive).then_some(name)
}

#[test]
fn fields_are_told_from_messages() {
    let text = r#"warn!(target: "x", %error, node.id = %node(a, b), "cannot, so \"far\"", ); span!(?delay)"#;
    assert_eq!(fields(text), ["error", "node.id", "delay"]);
}
