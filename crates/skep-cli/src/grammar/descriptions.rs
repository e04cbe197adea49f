//! What help says of flags: `descriptions.txt`, whose head tells its form.

const DESCRIPTIONS: &str = include_str!("descriptions.txt");

/// What a flag of a command is for: the command's own text, or else that of all commands.
pub(crate) fn of(command: &str, flag: &str) -> Option<&'static str> {
    let mut general = None;
    let mut applies = true;
    let mut is_general = true;
    for line in DESCRIPTIONS.lines().filter(|line| !line.starts_with('#')) {
        if let Some(names) = line.strip_prefix('[') {
            is_general = false;
            let mut names = names.trim_end_matches(']').split(", ");
            applies = names.any(|name| name == command);
            continue;
        }
        let Some(text) = line
            .strip_prefix(flag)
            .and_then(|rest| rest.strip_prefix(": "))
            .filter(|_| applies)
        else {
            continue;
        };
        match is_general {
            true => general = Some(text),
            false => return Some(text),
        }
    }
    general
}
