use std::fs;
use std::path::PathBuf;

use super::*;
use crate::shim::spec::LogFile;

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("skep-log-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn log(&self, max_size_bytes: Option<u64>, max_files: u32) -> Log {
        let path = self.0.join("log");
        let spec = LogSpec::JsonFile(LogFile {
            path,
            max_size_bytes,
            max_files,
            compress: false,
            attrs: Default::default(),
        });
        Log::open(&spec).unwrap().unwrap()
    }

    fn lines(&self, name: &str) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.0.join(name)).unwrap();
        text.lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn lines_are_joined_across_reads() {
    let place = Place::new("join");
    let mut log = place.log(None, 1);
    log.write(Stream::Stdout, b"hel");
    log.write(Stream::Stderr, b"oops\n");
    log.write(Stream::Stdout, b"lo\nwor");
    log.finish();
    let got: Vec<_> = place
        .lines("log")
        .iter()
        .map(|l| (l["stream"].to_string(), l["log"].to_string()))
        .collect();
    let want = [
        ("stderr", r"oops\n"),
        ("stdout", r"hello\n"),
        ("stdout", "wor"),
    ];
    assert_eq!(
        got,
        want.map(|(s, t)| (format!("\"{s}\""), format!("\"{t}\"")))
    );
}

#[test]
fn long_lines_are_cut_at_16_kib() {
    let place = Place::new("long");
    let mut log = place.log(None, 1);
    let mut text = vec![b'x'; MAX_LINE * 2 + 5];
    text.push(b'\n');
    for part in text.chunks(10_000) {
        log.write(Stream::Stdout, part);
    }
    let lengths: Vec<usize> = place
        .lines("log")
        .iter()
        .map(|l| l["log"].as_str().unwrap().len())
        .collect();
    assert_eq!(lengths, [MAX_LINE, MAX_LINE, 6]);
}

#[test]
fn a_log_that_was_taken_away_begins_anew() {
    for max_files in [1, 3] {
        let place = Place::new(&format!("away-{max_files}"));
        let mut log = place.log(Some(200), max_files);
        log.write(Stream::Stdout, b"line 0\n");
        fs::remove_file(place.0.join("log")).unwrap();
        for n in 1..=7 {
            log.write(Stream::Stdout, format!("line {n}\n").as_bytes());
        }
        assert_eq!(place.lines("log").last().unwrap()["log"], "line 7\n");
    }
}

#[test]
fn rotation_keeps_so_many_files() {
    let place = Place::new("rotate");
    let mut log = place.log(Some(200), 3);
    for n in 0..20 {
        log.write(Stream::Stdout, format!("line {n}\n").as_bytes());
    }
    let mut names: Vec<_> = fs::read_dir(&place.0)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["log", "log.1", "log.2"]);
    assert_eq!(place.lines("log").last().unwrap()["log"], "line 19\n");
    let last_of_older = place.lines("log.1").last().unwrap()["log"].clone();
    let first_of_newer = place.lines("log")[0]["log"].clone();
    let n = |v: &serde_json::Value| {
        v.as_str()
            .unwrap()
            .trim()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse::<u32>()
            .unwrap()
    };
    assert_eq!(n(&last_of_older) + 1, n(&first_of_newer));
}
