//! Programs that add commands, as Docker finds them: `docker-NAME` below `cli-plugins`.

use std::path::PathBuf;
use std::process::Command;

use crate::context::config_dir;
use crate::error::CliError;
use crate::grammar::Matches;

const DIRECTORIES: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// Runs the program that has this command; its exit code, or nothing where there is none.
pub(crate) fn run(root: &Matches, words: &[String]) -> Result<Option<u8>, CliError> {
    let name = &words[0];
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !is_name {
        return Ok(None);
    }
    let own = config_dir(root).join("cli-plugins");
    let mut places = std::iter::once(own).chain(DIRECTORIES.map(PathBuf::from));
    let Some(program) = places
        .find_map(|place| Some(place.join(format!("docker-{name}"))).filter(|file| file.is_file()))
    else {
        return Ok(None);
    };
    let mut command = Command::new(&program);
    command.args(root_flags(root)).args(words);
    if let Ok(this) = std::env::current_exe() {
        command.env("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", this);
    }
    let status = command
        .status()
        .map_err(|error| CliError::new(format!("run {}: {error}", program.display())))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(Some(code.unwrap_or(1)))
}

/// The root flags that the user gave, as words.
fn root_flags(root: &Matches) -> Vec<String> {
    let mut words = Vec::new();
    for name in root.given_flags() {
        for value in root.list(name) {
            words.push(format!("--{name}={value}"));
        }
    }
    words
}
