//! Runs the lines of a transcript and compares.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::body::{difference, lines};
use super::canned::{Asked, Canned};

/// Plays one transcript; panics where something differs.
pub fn check(name: &str) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let file = here.join(format!("{name}.txt"));
    let old = std::fs::read_to_string(&file).unwrap();
    let accept = std::env::var_os("SKEP_ACCEPT").is_some();
    let recorder = std::env::var_os("SKEP_RECORD").map(PathBuf::from);
    let program = recorder.clone().unwrap_or_else(own_program);
    assert!(program.exists(), "{} is not built", program.display());
    let stage = Stage::new(&here, &program);
    let mut base = None;
    let (mut new, mut differing) = (String::new(), Vec::new());
    for case in cases(&old) {
        let Some(line) = case.lines().find_map(|line| line.strip_prefix("$ ")) else {
            new.push_str(&case);
            continue;
        };
        let comments: String = case
            .lines()
            .take_while(|line| !line.starts_with("$ "))
            .fold(String::new(), |text, line| text + line + "\n");
        let told = format!("{comments}$ {line}\n{}\n", stage.run(line, &mut base));
        let is_ours = comments.contains("# ours");
        if recorder.is_some() && is_ours || accept && !is_ours {
            new.push_str(&case);
            continue;
        }
        if told.trim_end() != case.trim_end() {
            differing.push(format!("--- expected\n{case}--- got\n{told}"));
        }
        new.push_str(&told);
    }
    if recorder.is_some() || accept {
        std::fs::write(&file, new).unwrap();
        return;
    }
    let shown = if std::env::var_os("SKEP_SHOW").is_some() {
        usize::MAX
    } else {
        3
    };
    let count = differing.len();
    differing.truncate(shown);
    assert!(
        count == 0,
        "{count} differ in {name}:\n{}",
        differing.join("\n")
    );
}

/// The example `docker`, which is built along with the tests.
fn own_program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("examples/docker")
}

/// Pieces that begin with a line of `$`, or with the comments before one.
fn cases(text: &str) -> Vec<String> {
    let mut all: Vec<String> = vec![String::new()];
    let mut open = false;
    for line in text.lines() {
        if open && (line.starts_with("# ") || line.starts_with("$ ")) {
            all.push(String::new());
            open = false;
        }
        open |= line.starts_with("$ ");
        let last = all.last_mut().unwrap();
        last.push_str(line);
        last.push('\n');
    }
    all
}

/// A home directory, a `docker` on the path, and a daemon.
struct Stage {
    dir: tempfile::TempDir,
    canned: Canned,
}

impl Stage {
    fn new(here: &Path, program: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("cli").tempdir().unwrap();
        for name in ["bin", "home", "work"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink(program, dir.path().join("bin/docker")).unwrap();
        for entry in std::fs::read_dir(here.join("files")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(
                entry.path(),
                dir.path().join("work").join(entry.file_name()),
            )
            .unwrap();
        }
        let canned = Canned::serve(&dir.path().join("d.sock"), &here.join("answers"));
        Self { dir, canned }
    }

    /// What a line printed and asked for, as a transcript tells it.
    fn run(&self, line: &str, base: &mut Option<Vec<String>>) -> String {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let output = Command::new("timeout")
            .args(["20", "sh", "-c", line])
            .env_clear()
            .env(
                "PATH",
                format!("{}:{}/bin:/usr/bin:/bin", at("bin"), at("home")),
            )
            .env("HOME", at("home"))
            .env("TZ", "UTC")
            .env("LANG", "C.UTF-8")
            .env("DOCKER_HOST", format!("unix://{}", at("d.sock")))
            .current_dir(at("work"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let mut told = String::new();
        for (mark, bytes) in [("1", &output.stdout), ("2", &output.stderr)] {
            let text = String::from_utf8_lossy(bytes)
                .replace(&at(""), "/TMP/")
                .replace('\x1b', "^[");
            for line in text.lines() {
                let _ = writeln!(told, "{mark} {line}");
            }
            if !text.is_empty() && !text.ends_with('\n') {
                let _ = writeln!(told, "{mark}~");
            }
        }
        if output.status.code() != Some(0) {
            let _ = writeln!(told, "= {}", output.status.code().unwrap_or(-1));
        }
        let mut taken = self.canned.taken();
        // Docker waits for a container even where it does not stay with it.
        if !taken.iter().any(|asked| asked.path.contains("/attach?")) {
            taken.retain(|asked| !asked.path.contains("/wait?"));
        }
        let mut asked: Vec<_> = taken.iter().map(|asked| request(asked, base)).collect();
        asked.sort();
        masked(&(told + &asked.concat().replace(&at(""), "/TMP/")))
    }
}

/// Without what differs from one day to the next: times, and seconds that count from now.
fn masked(text: &str) -> String {
    use std::sync::LazyLock;
    static DATE: LazyLock<regex::Regex> = LazyLock::new(|| {
        regex::Regex::new(r"20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d( \+0000 UTC|Z)").unwrap()
    });
    static SECONDS: LazyLock<regex::Regex> =
        LazyLock::new(|| regex::Regex::new(r"(since|until)=(\d{10})\b").unwrap());
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let dated = DATE.replace_all(text, "DATE");
    let seconds = SECONDS.replace_all(&dated, |found: &regex::Captures<'_>| {
        let ago = now.saturating_sub(found[2].parse().unwrap());
        match ago < 86400 {
            true => format!("{}=NOW-{}", &found[1], (ago + 5) / 10 * 10),
            false => found[0].to_owned(),
        }
    });
    seconds.into_owned()
}

fn request(asked: &Asked, base: &mut Option<Vec<String>>) -> String {
    let mut text = format!("> {} {}\n", asked.method, asked.path);
    for (name, value) in &asked.headers {
        let _ = writeln!(text, "> {name}: {value}");
    }
    let Ok(body) = serde_json::from_slice(&asked.body) else {
        if !asked.body.is_empty() {
            let _ = writeln!(text, "| {} bytes", asked.body.len());
        }
        return text;
    };
    let mut shown = lines(&body);
    if asked.path.contains("/containers/create") {
        match base {
            Some(base) => shown = difference(base, &shown),
            None => *base = Some(shown.clone()),
        }
    }
    for line in shown {
        let _ = writeln!(text, "| {line}");
    }
    text
}
