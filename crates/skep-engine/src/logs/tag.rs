//! `--log-opt tag`: a template of what the container is.

use skep_objects::ids::short_id;

use crate::container::Record;
use crate::error::{EngineError, Result};

/// What names an entry unless told otherwise.
pub(super) const DEFAULT: &str = "{{.ID}}";

/// Refuses what is no template.
pub(super) fn check(template: &str) -> Result<()> {
    render(template, &Record::default()).map(drop)
}

/// The template filled in.
pub(super) fn render(template: &str, record: &Record) -> Result<String> {
    let bad =
        |why: &str| EngineError::invalid(format!("error parsing tag template {template:?}: {why}"));
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (word, after) = after
            .split_once("}}")
            .ok_or_else(|| bad("unclosed action"))?;
        let word = word.trim().trim_matches('-').trim();
        out.push_str(&value(word, record).ok_or_else(|| bad(&format!("can't evaluate {word}")))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn value(word: &str, record: &Record) -> Option<String> {
    let image = &record.image_id;
    Some(match word {
        ".ID" => short_id(&record.id).to_owned(),
        ".FullID" | ".ContainerID" => record.id.clone(),
        ".Name" => record.name.clone(),
        ".ContainerName" => format!("/{}", record.name),
        ".ImageID" => short_id(image.trim_start_matches("sha256:")).to_owned(),
        ".ImageFullID" | ".ContainerImageID" => image.clone(),
        ".ImageName" | ".ContainerImageName" => record.config.image.clone(),
        ".ContainerEntrypoint" => record.path.clone(),
        ".Command" => {
            let words = std::iter::once(&record.path).chain(&record.args);
            words.map(String::as_str).collect::<Vec<_>>().join(" ")
        }
        ".ContainerCreated" => record.created.clone(),
        ".DaemonName" => "docker".to_owned(),
        ".Hostname" => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in_or_refused() {
        let record = Record {
            id: "0123456789abcdef".into(),
            name: "web".into(),
            image_id: "sha256:fedcba9876543210".into(),
            ..Record::default()
        };
        let check = |template: &str, expect: &str| {
            assert_eq!(render(template, &record).unwrap(), expect);
        };
        check(DEFAULT, "0123456789ab");
        check("a/{{ .Name }}/{{.ImageID}}", "a/web/fedcba987654");
        check("plain", "plain");
        for bad in ["{{.Nope}}", "{{.ID"] {
            assert!(render(bad, &record).is_err(), "{bad}");
        }
    }
}
