//! `image ls --tree`: images with the platforms they are there for, in Docker's columns.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use serde_json::Value;

use crate::cmd::objects::text;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::output::{bytes_decimal_to, short_id};

/// Columns behind the name: their heads, widths, and whether they are set to the right.
const COLUMNS: [(&str, usize, bool); 4] = [
    ("ID", 12, false),
    ("DISK USAGE", 10, true),
    ("CONTENT SIZE", 12, true),
    ("EXTRA", 5, false),
];
const SPACE: usize = 3;
/// A column that would leave less than this for names is not shown.
const LEAST_FOR_NAMES: usize = 12;

/// Flags that say what a tree cannot.
pub(super) fn check(matches: &Matches) -> Result<(), CliError> {
    let others = [
        ("quiet", "quiet"),
        ("no-trunc", "no-trunc"),
        ("digests", "show-digest"),
        ("format", "format"),
    ];
    match others.iter().find(|(flag, _)| matches.given(flag)) {
        Some((_, shown)) => Err(CliError::new(format!(
            "--{shown} is not yet supported with --tree"
        ))),
        None => Ok(()),
    }
}

/// One line: an image, or one of its platforms.
struct Line {
    /// Several for an image with several tags.
    names: Vec<String>,
    id: String,
    size: f64,
    content: f64,
    is_used: bool,
    is_dim: bool,
}

/// Prints images.
pub(super) fn print(images: &Value, matches: &Matches) {
    let shows_all = matches.flag("all")
        || matches
            .list("filter")
            .iter()
            .any(|f| f.starts_with("dangling"));
    let has_name = |image: &&Value| {
        shows_all || !list(image, "RepoTags").is_empty() || !list(image, "RepoDigests").is_empty()
    };
    let mut images: Vec<&Value> = images
        .as_array()
        .into_iter()
        .flatten()
        .filter(has_name)
        .collect();
    images.sort_by_key(|image| -image["Created"].as_i64().unwrap_or(0));
    let groups: Vec<Vec<Line>> = images.into_iter().map(group).collect();
    let is_terminal = std::io::stdout().is_terminal();
    print!("{}", drawn(&groups, width(), is_terminal));
}

fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    match columns {
        0 => 80,
        columns => columns.max(20),
    }
}

fn list<'a>(image: &'a Value, field: &str) -> Vec<&'a str> {
    let names = image[field].as_array().into_iter().flatten();
    names.filter_map(Value::as_str).collect()
}

/// An image and its platforms.
fn group(image: &Value) -> Vec<Line> {
    let mut names: Vec<String> = list(image, "RepoTags")
        .into_iter()
        .map(str::to_owned)
        .collect();
    names.sort_by(|a, b| b.cmp(a));
    let is_dim = names.is_empty();
    if is_dim {
        names.push("<untagged>".to_owned());
    }
    let mut platforms: Vec<Line> = image["Manifests"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|manifest| text(manifest, "/Kind") == "image")
        .map(platform)
        .collect();
    let last = platforms.len().saturating_sub(1);
    for (number, line) in platforms.iter_mut().enumerate() {
        let branch = if number == last { "└─" } else { "├─" };
        line.names[0] = format!("{branch} {}", line.names[0]);
    }
    let own = Line {
        names,
        id: short_id(text(image, "/Id")),
        size: image["Size"].as_f64().unwrap_or(0.0),
        content: platforms.iter().fold(0.0, |sum, line| sum + line.content),
        is_used: image["Containers"].as_i64().unwrap_or(0) > 0
            || platforms.iter().any(|line| line.is_used),
        is_dim,
    };
    std::iter::once(own).chain(platforms).collect()
}

fn platform(manifest: &Value) -> Line {
    let of = &manifest["ImageData"]["Platform"];
    let parts = ["os", "architecture", "variant"].map(|key| of[key].as_str().unwrap_or_default());
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let users = manifest["ImageData"]["Containers"].as_array();
    Line {
        names: vec![parts.join("/")],
        id: short_id(text(manifest, "/ID")),
        size: manifest["Size"]["Total"].as_f64().unwrap_or(0.0),
        content: manifest["Size"]["Content"].as_f64().unwrap_or(0.0),
        is_used: users.is_some_and(|users| !users.is_empty()),
        is_dim: manifest["Available"] != true,
    }
}

/// The whole, for a screen so wide.
fn drawn(groups: &[Vec<Line>], width: usize, is_terminal: bool) -> String {
    let mut room = width;
    let mut columns = 0;
    for (_, width, _) in COLUMNS {
        if room < width + SPACE + LEAST_FOR_NAMES {
            break;
        }
        room -= width + SPACE;
        columns += 1;
    }
    let names = groups.iter().flatten().flat_map(|line| &line.names);
    let widest = names.map(String::len).max().unwrap_or(0).max("IMAGE".len());
    let pen = Pen {
        room: room.min(widest),
        columns,
        is_terminal,
    };
    let mut out = pen.legend(width);
    for lines in groups {
        for (number, line) in lines.iter().enumerate() {
            pen.line(line, number == 0, &mut out);
        }
        // Where nothing stands below anything, images need no space between them.
        if groups.iter().any(|lines| lines.len() > 1) {
            out.push('\n');
        }
    }
    out
}

/// How lines are drawn.
struct Pen {
    room: usize,
    columns: usize,
    is_terminal: bool,
}

impl Pen {
    fn styled(&self, style: &str, text: &str) -> String {
        match self.is_terminal {
            true => format!("{style}{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    fn legend(&self, width: usize) -> String {
        const WARNING: &str = "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.";
        let mut out = format!("{}\n", self.styled("\x1b[93m", WARNING));
        let _ = match self.is_terminal {
            true => writeln!(
                out,
                "{}\x1b[1m\x1b[106m\x1b[30mi\x1b[0m\x1b[0m \x1b[96mInfo → \x1b[0m\x1b[0m {} In Use \n",
                " ".repeat(width.saturating_sub(21)),
                CHIP,
            ),
            false => writeln!(
                out,
                "{}Info ->  U In Use \n",
                " ".repeat(width.saturating_sub(18))
            ),
        };
        // The heads are bold wherever they go.
        let bold = |text: &str| format!("\x1b[39m\x1b[1m{text}\x1b[0m");
        let _ = write!(out, "{}{}", bold("IMAGE"), padding(self.room, "IMAGE"));
        for (number, (head, width, _)) in COLUMNS.iter().take(self.columns).enumerate() {
            let pad = match number + 1 == self.columns {
                true => String::new(),
                false => padding(*width, head),
            };
            let _ = write!(out, "{}{}{pad}", " ".repeat(SPACE), bold(head));
        }
        out.push('\n');
        out
    }

    fn line(&self, line: &Line, is_image: bool, out: &mut String) {
        let dim = if line.is_dim {
            "\x1b[39m\x1b[2m"
        } else {
            "\x1b[39m"
        };
        let style = match is_image && !line.is_dim {
            true => "\x1b[34m\x1b[1m",
            false => dim,
        };
        let count = line.names.len();
        for (number, name) in line.names.iter().enumerate() {
            let name = shortened(name, self.room);
            out.push_str(&self.styled(style, &name));
            match number + 1 == count {
                true => out.push_str(&padding(self.room, &name)),
                false => out.push('\n'),
            }
        }
        let style = if is_image { "\x1b[39m" } else { dim };
        let cells = [
            line.id.clone(),
            bytes_decimal_to(line.size, 3),
            bytes_decimal_to(line.content, 3),
        ];
        for ((_, width, is_right), cell) in COLUMNS.iter().zip(&cells).take(self.columns) {
            out.push_str(&" ".repeat(SPACE));
            let (pad, cell) = (padding(*width, cell), self.styled(style, cell));
            out.push_str(&match is_right {
                true => pad + &cell,
                false => cell + &pad,
            });
        }
        if self.columns == COLUMNS.len() {
            out.push_str(&" ".repeat(SPACE));
            out.push_str(match (line.is_used, self.is_terminal) {
                (false, _) => "     ",
                (true, false) => "U    ",
                (true, true) => CHIP_CELL,
            });
        }
        out.push('\n');
    }
}

const CHIP: &str = "\x1b[38;5;0m\x1b[48;5;14m U \x1b[0m";
/// The same, as wide as its column.
const CHIP_CELL: &str = "\x1b[38;5;0m\x1b[48;5;14m U \x1b[0m  ";

fn padding(width: usize, text: &str) -> String {
    " ".repeat(width.saturating_sub(text.chars().count()))
}

fn shortened(name: &str, room: usize) -> String {
    match name.chars().count() > room {
        true => name
            .chars()
            .take(room.saturating_sub(1))
            .chain(['…'])
            .collect(),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn platforms_stand_below_their_image() {
        let image = json!({
            "Id": "sha256:aaaaaaaaaaaaaaaa", "RepoTags": ["web:1", "web:latest"], "Size": 12e6,
            "Manifests": [
                {"ID": "sha256:bbbbbbbbbbbbbbbb", "Kind": "image", "Available": true,
                 "Size": {"Total": 12e6, "Content": 3e6},
                 "ImageData": {"Platform": {"os": "linux", "architecture": "amd64"}, "Containers": ["x"]}},
            ],
        });
        let shown = drawn(&[group(&image)], 80, false);
        let lines: Vec<&str> = shown.lines().skip(4).collect();
        assert_eq!(
            lines,
            [
                "web:latest",
                "web:1                aaaaaaaaaaaa         12MB            3MB   U    ",
                "└─ linux/amd64       bbbbbbbbbbbb         12MB            3MB   U    ",
                "",
            ]
        );
        assert!(!drawn(&[group(&image)], 60, false).contains("EXTRA"));
    }
}
