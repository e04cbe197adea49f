//! `--platform`: `os[/architecture[/variant]]`.

use serde_json::{Value, json};

use crate::context::env;
use crate::error::CliError;
use crate::grammar::Matches;

const SYSTEMS: [&str; 6] = ["linux", "windows", "darwin", "freebsd", "netbsd", "openbsd"];
const ARCHITECTURES: [&str; 14] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "wasm",
];

/// The platform that a command asks for: the flag's, or `$DOCKER_DEFAULT_PLATFORM`.
pub fn platform(matches: &Matches) -> Result<String, CliError> {
    let text = match matches.text("platform") {
        "" => env("DOCKER_DEFAULT_PLATFORM").unwrap_or_default(),
        text => text.to_owned(),
    };
    if !text.is_empty() {
        parts(&text).map_err(|why| {
            CliError::new(format!(
                "error parsing specified platform: {why}: invalid argument"
            ))
        })?;
    }
    Ok(text)
}

/// A platform as the query of newer requests takes it: JSON.
pub fn platform_json(text: &str) -> Result<String, CliError> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let [os, architecture, variant] = parts(text)
        .map_err(|why| CliError::new(format!("invalid platform: {why}: invalid argument")))?;
    let mut value = json!({"architecture": architecture, "os": os});
    if !variant.is_empty() {
        value["variant"] = Value::from(variant);
    }
    Ok(value.to_string())
}

fn parts(text: &str) -> Result<[String; 3], String> {
    let lower = text.to_ascii_lowercase();
    let words: Vec<&str> = lower.split('/').collect();
    let architecture = |word: &str| match word {
        "x86_64" | "x86-64" => "amd64".to_owned(),
        "aarch64" => "arm64".to_owned(),
        "i386" => "386".to_owned(),
        "armhf" | "armel" => "arm".to_owned(),
        other => other.to_owned(),
    };
    let own = architecture(std::env::consts::ARCH);
    let unknown = || format!("{text:?}: unknown operating system or architecture");
    let parts = match words.as_slice() {
        [word] if SYSTEMS.contains(word) => [(*word).to_owned(), own, String::new()],
        [word] if ARCHITECTURES.contains(&architecture(word).as_str()) => {
            ["linux".to_owned(), architecture(word), String::new()]
        }
        [os, arch] => [(*os).to_owned(), architecture(arch), String::new()],
        [os, arch, variant] => [(*os).to_owned(), architecture(arch), (*variant).to_owned()],
        [_] => return Err(unknown()),
        _ => return Err(format!("{text:?}: cannot parse platform specifier")),
    };
    if words.iter().any(|word| word.is_empty()) {
        return Err(format!(
            "{text:?} is an invalid component of {text:?}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\""
        ));
    }
    // What is the default of its architecture is not told.
    let [os, arch, variant] = parts;
    let variant = match (arch.as_str(), variant.as_str()) {
        ("arm64", "v8" | "8") | ("amd64", "v1") => String::new(),
        _ => variant,
    };
    Ok([os, arch, variant])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_platforms_are_brought_into_one_form() {
        assert_eq!(
            platform_json("linux/aarch64/v8").unwrap(),
            r#"{"architecture":"arm64","os":"linux"}"#
        );
        assert_eq!(
            platform_json("linux/arm/v7").unwrap(),
            r#"{"architecture":"arm","os":"linux","variant":"v7"}"#
        );
        assert!(platform_json("bogus").is_err());
    }
}
