//! What services have beyond Docker's API, written into a container's spec: labels for what the API
//! has no field for, fields where it has one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use skep_objects::extras::{Extra, join_parts, parse_device, parse_gpus, split_parts};

use crate::error::{CliError, io_text};

/// Writes a label of the container, or takes it away where the value is empty.
pub fn set_extra(container: &mut Value, extra: Extra, value: &str) {
    let label = extra.label();
    if !value.is_empty() {
        container["Labels"][label] = value.into();
    } else if let Some(labels) = container.get_mut("Labels").and_then(Value::as_object_mut) {
        labels.shift_remove(&label);
    }
}

/// A label of the container; empty where it has none.
fn extra(container: &Value, extra: Extra) -> &str {
    container["Labels"][extra.label()]
        .as_str()
        .unwrap_or_default()
}

/// Devices of a container: `/dev/x[:/dev/y[:rwm]]`.
pub fn set_devices(container: &mut Value, devices: &[String]) -> Result<(), CliError> {
    for device in devices {
        parse_device(device).map_err(|why| refused("device", device, &why))?;
    }
    set_extra(container, Extra::Device, &join_parts(devices));
    Ok(())
}

/// What is in a label of several parts.
pub fn extra_parts(container: &Value, kind: Extra) -> Vec<String> {
    split_parts(extra(container, kind))
}

/// GPUs of a container.
pub fn set_gpus(container: &mut Value, gpus: &str) -> Result<(), CliError> {
    if !gpus.is_empty() {
        parse_gpus(gpus).map_err(|why| refused("gpus", gpus, &why))?;
    }
    set_extra(container, Extra::Gpus, gpus);
    Ok(())
}

/// Whose processes a container sees; only the host's can be asked for.
pub fn set_pid(container: &mut Value, mode: &str) -> Result<(), CliError> {
    match mode {
        "" | "host" => {
            set_extra(container, Extra::Pid, mode);
            Ok(())
        }
        other => Err(CliError::new(format!(
            "--pid: invalid PID mode: {other} (a service can have \"host\" only)"
        ))),
    }
}

/// Whose IPC a container shares.
pub fn set_ipc(container: &mut Value, mode: &str) -> Result<(), CliError> {
    match mode {
        "" | "host" | "none" | "private" | "shareable" => {
            set_extra(container, Extra::Ipc, mode);
            Ok(())
        }
        other => Err(CliError::new(format!(
            "--ipc: invalid IPC mode: {other} (a service can have \"host\", \"none\", \"private\" or \"shareable\")"
        ))),
    }
}

/// Security options, each to the API's field for it, or to the label.
pub fn set_security(container: &mut Value, options: &[String]) -> Result<(), CliError> {
    clear_security(container);
    let mut rest = Vec::new();
    for option in options {
        let (key, value) = option
            .split_once('=')
            .or_else(|| option.split_once(':'))
            .unwrap_or((option, ""));
        let bad = || CliError::new(format!("invalid --security-opt: {option:?}"));
        match (key, value) {
            ("no-new-privileges", "" | "true") => {
                container["Privileges"]["NoNewPrivileges"] = true.into();
            }
            ("no-new-privileges", "false") => {}
            ("seccomp", "") | ("label", "") | ("apparmor", "") => return Err(bad()),
            ("seccomp", value) => {
                container["Privileges"]["Seccomp"] = seccomp(value)?;
            }
            ("apparmor", "unconfined") => {
                container["Privileges"]["AppArmor"] = json!({"Mode": "disabled"});
            }
            ("label", value) => selinux(container, value).ok_or_else(bad)?,
            ("apparmor", _) | ("systempaths", "unconfined") => rest.push(option.clone()),
            _ => return Err(bad()),
        }
    }
    set_extra(container, Extra::SecurityOpt, &join_parts(&rest));
    Ok(())
}

/// The security options that a container has, as the flags would say them.
pub fn security_of(container: &Value) -> Vec<String> {
    let privileges = &container["Privileges"];
    let mut options = Vec::new();
    if privileges["NoNewPrivileges"] == true {
        options.push("no-new-privileges=true".to_owned());
    }
    match privileges["Seccomp"]["Mode"].as_str() {
        Some("unconfined") => options.push("seccomp=unconfined".to_owned()),
        Some("custom") => {
            let profile = privileges["Seccomp"]["Profile"]
                .as_str()
                .unwrap_or_default();
            let profile = STANDARD.decode(profile).unwrap_or_default();
            options.push(format!("seccomp={}", String::from_utf8_lossy(&profile)));
        }
        _ => {}
    }
    if privileges["AppArmor"]["Mode"] == "disabled" {
        options.push("apparmor=unconfined".to_owned());
    }
    let context = &privileges["SELinuxContext"];
    if context["Disable"] == true {
        options.push("label=disable".to_owned());
    }
    for (word, field) in SELINUX {
        if let Some(value) = context[field].as_str().filter(|value| !value.is_empty()) {
            options.push(format!("label={word}:{value}"));
        }
    }
    options.extend(extra_parts(container, Extra::SecurityOpt));
    options
}

const SELINUX: [(&str, &str); 4] = [
    ("user", "User"),
    ("role", "Role"),
    ("type", "Type"),
    ("level", "Level"),
];

fn clear_security(container: &mut Value) {
    if let Some(privileges) = container
        .get_mut("Privileges")
        .and_then(Value::as_object_mut)
    {
        privileges.shift_remove("Seccomp");
        privileges.shift_remove("AppArmor");
        for field in ["NoNewPrivileges", "SELinuxContext"] {
            if let Some(value) = privileges.get_mut(field) {
                *value = match field {
                    "NoNewPrivileges" => false.into(),
                    _ => Value::Null,
                };
            }
        }
    }
}

/// A profile is a file of ours, so its content goes along.
fn seccomp(value: &str) -> Result<Value, CliError> {
    match value {
        "unconfined" => Ok(json!({"Mode": "unconfined"})),
        "default" | "builtin" => Ok(json!({"Mode": "default"})),
        profile => {
            let text = if profile.trim_start().starts_with('{') {
                profile.to_owned()
            } else {
                std::fs::read_to_string(profile).map_err(|error| {
                    CliError::new(format!(
                        "opening seccomp profile ({profile}) failed: open {profile}: {}",
                        io_text(&error)
                    ))
                })?
            };
            let compact: Value = serde_json::from_str(&text).map_err(|error| {
                CliError::new(format!(
                    "compacting json for seccomp profile ({profile}) failed: {error}"
                ))
            })?;
            Ok(json!({"Mode": "custom", "Profile": STANDARD.encode(compact.to_string())}))
        }
    }
}

fn selinux(container: &mut Value, value: &str) -> Option<()> {
    if value == "disable" {
        container["Privileges"]["SELinuxContext"]["Disable"] = true.into();
        return Some(());
    }
    let (word, value) = value.split_once(':')?;
    let (_, field) = SELINUX.iter().find(|(known, _)| *known == word)?;
    container["Privileges"]["SELinuxContext"][*field] = value.into();
    Some(())
}

fn refused(flag: &str, text: &str, why: &str) -> CliError {
    CliError::new(format!(
        "invalid argument \"{text}\" for \"--{flag}\" flag: {why}"
    ))
    .with_code(125)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_options_go_where_the_api_has_a_place() {
        let mut container = json!({"Image": "x"});
        let options: Vec<String> = [
            "no-new-privileges",
            "seccomp=unconfined",
            "apparmor=unconfined",
            "label=type:t",
            "label=level:s0:c1,c2",
            "systempaths=unconfined",
        ]
        .map(str::to_owned)
        .into();
        set_security(&mut container, &options).unwrap();
        assert_eq!(
            container,
            json!({
                "Image": "x",
                "Privileges": {
                    "NoNewPrivileges": true,
                    "Seccomp": {"Mode": "unconfined"},
                    "AppArmor": {"Mode": "disabled"},
                    "SELinuxContext": {"Type": "t", "Level": "s0:c1,c2"},
                },
                "Labels": {"skep.security-opt": "systempaths=unconfined"},
            })
        );
        let shown = security_of(&container);
        let mut again = json!({"Image": "x"});
        set_security(&mut again, &shown).unwrap();
        assert_eq!(again, container);
        assert!(set_security(&mut again, &["magic=1".to_owned()]).is_err());
    }

    #[test]
    fn devices_are_checked_and_joined() {
        let mut container = json!({});
        let devices = ["/dev/fuse".to_owned(), "/dev/null:/dev/x:r".to_owned()];
        set_devices(&mut container, &devices).unwrap();
        assert_eq!(
            container["Labels"]["skep.device"],
            "/dev/fuse,/dev/null:/dev/x:r"
        );
        assert_eq!(extra_parts(&container, Extra::Device), devices);
        set_devices(&mut container, &[]).unwrap();
        assert_eq!(container["Labels"], json!({}));
        assert!(set_devices(&mut container, &["fuse".to_owned()]).is_err());
    }
}
