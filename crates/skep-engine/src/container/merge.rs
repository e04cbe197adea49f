//! A container's configuration over that of its image. Pure.

use skep_objects::api::container::{Config, HealthConfig};

use crate::error::{EngineError, Result};

/// Fills what the user left open from the image.
pub(crate) fn merge(user: &mut Config, image: &Config) -> Result<()> {
    if user.user.is_empty() {
        user.user.clone_from(&image.user);
    }
    if let Some(image_ports) = image
        .exposed_ports
        .as_ref()
        .filter(|ports| !ports.is_empty())
    {
        let ports = user.exposed_ports.get_or_insert_default();
        for (port, nothing) in image_ports {
            ports.entry(with_protocol(port)).or_insert(*nothing);
        }
    }
    merge_env(user, image);
    if let Some(image_labels) = image.labels.as_ref().filter(|labels| !labels.is_empty()) {
        let labels = user.labels.get_or_insert_default();
        for (key, value) in image_labels {
            labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    merge_command(user, image);
    merge_health(user, image);
    if user.working_dir.is_empty() {
        user.working_dir.clone_from(&image.working_dir);
    }
    if let Some(image_volumes) = image.volumes.as_ref().filter(|volumes| !volumes.is_empty()) {
        let volumes = user.volumes.get_or_insert_default();
        for path in image_volumes.keys() {
            volumes.entry(path.clone()).or_default();
        }
    }
    user.volumes.take_if(|volumes| volumes.is_empty());
    if user.stop_signal.is_empty() {
        user.stop_signal.clone_from(&image.stop_signal);
    }
    if user.shell.is_none() {
        user.shell.clone_from(&image.shell);
    }
    if user
        .entrypoint
        .as_deref()
        .is_some_and(|words| words == [""])
    {
        user.entrypoint = None;
    }
    let words = |list: &Option<Vec<String>>| list.as_ref().map_or(0, Vec::len);
    if words(&user.entrypoint) + words(&user.cmd) == 0 {
        return Err(EngineError::invalid("no command specified"));
    }
    Ok(())
}

fn with_protocol(port: &str) -> String {
    if port.contains('/') {
        port.to_owned()
    } else {
        format!("{port}/tcp")
    }
}

/// The user's variables first, then those of the image that the user did not set.
fn merge_env(user: &mut Config, image: &Config) {
    let Some(image_env) = image.env.as_ref().filter(|env| !env.is_empty()) else {
        return;
    };
    let env = user.env.get_or_insert_default();
    let key = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let set: Vec<String> = env.iter().map(|entry| key(entry)).collect();
    env.extend(
        image_env
            .iter()
            .filter(|entry| !set.contains(&key(entry)))
            .cloned(),
    );
}

/// An entry point of the user's own also drops the image's command.
fn merge_command(user: &mut Config, image: &Config) {
    if user.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if user.cmd.as_ref().is_none_or(Vec::is_empty) {
            user.cmd.clone_from(&image.cmd);
            user.args_escaped = image.args_escaped;
        }
        if user.entrypoint.is_none() {
            user.entrypoint.clone_from(&image.entrypoint);
        }
    }
}

fn merge_health(user: &mut Config, image: &Config) {
    let Some(image) = &image.healthcheck else {
        return;
    };
    let Some(health) = &mut user.healthcheck else {
        user.healthcheck = Some(image.clone());
        return;
    };
    if health.test.as_ref().is_none_or(Vec::is_empty) {
        health.test.clone_from(&image.test);
    }
    let fields: [fn(&mut HealthConfig) -> &mut i64; 5] = [
        |h| &mut h.interval,
        |h| &mut h.timeout,
        |h| &mut h.start_period,
        |h| &mut h.start_interval,
        |h| &mut h.retries,
    ];
    let mut image = image.clone();
    for field in fields {
        if *field(health) == 0 {
            *field(health) = *field(&mut image);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|word| (*word).to_owned()).collect())
    }

    fn image() -> Config {
        Config {
            env: words(&["PATH=/bin", "A=image"]),
            cmd: words(&["serve"]),
            entrypoint: words(&["/entry"]),
            ..Config::default()
        }
    }

    #[test]
    fn the_user_s_variables_come_first_and_win() {
        let mut user = Config {
            env: words(&["A=user"]),
            ..Config::default()
        };
        merge(&mut user, &image()).unwrap();
        assert_eq!(user.env, words(&["A=user", "PATH=/bin"]));
        assert_eq!(
            (user.entrypoint, user.cmd),
            (words(&["/entry"]), words(&["serve"]))
        );
    }

    #[test]
    fn an_entrypoint_of_the_user_s_drops_the_image_s_command() {
        let mut user = Config {
            entrypoint: words(&["sh"]),
            ..Config::default()
        };
        merge(&mut user, &image()).unwrap();
        assert_eq!((user.entrypoint, user.cmd), (words(&["sh"]), None));
    }

    #[test]
    fn an_empty_entrypoint_resets_the_image_s() {
        let mut user = Config {
            entrypoint: words(&[""]),
            cmd: words(&["ls"]),
            ..Config::default()
        };
        merge(&mut user, &image()).unwrap();
        assert_eq!((user.entrypoint, user.cmd), (None, words(&["ls"])));
    }

    #[test]
    fn nothing_to_run_is_refused() {
        let error = merge(&mut Config::default(), &Config::default()).unwrap_err();
        assert_eq!(error.to_string(), "no command specified");
    }
}
