//! System call filters: Docker's default profile, profiles of users, and their compiled form.
//!
//! Compiling costs more than starting a container, so it is done once for each set of capabilities and
//! kept in a file:
//!
//! ```text
//! +----------+------------------------------------+
//! | SKEPBPF1 | struct sock_filter, 8 bytes each … |
//! +----------+------------------------------------+
//! ```
//!
//! We compile by ourselves rather than with a library: users' profiles mix actions and architectures in
//! one filter, and bisection keeps the filter cheap.

mod compile;
mod profile;

use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag, Process};
use profile::Profile;

use crate::sys::privilege::Instruction;

const MAGIC: &[u8; 8] = b"SKEPBPF1";

/// The kernel's own limit.
const MAX_INSTRUCTIONS: usize = 4096;

/// What goes wrong with a filter.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The file that keeps the compiled filter.
    #[error("{op} {}: {source}", path.display())]
    File {
        /// What was attempted.
        op: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{} is not a compiled filter", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The profile is not valid.
    #[error("Decoding seccomp profile failed: {0}")]
    Profile(String),
}

/// Docker's default profile for a container with these capabilities (`CAP_…`), compiled, in a file of
/// `cache_dir` that is written once per set of capabilities. The path goes to `ShimSpec::seccomp_filter`.
pub fn default_filter<'a>(
    capabilities: impl IntoIterator<Item = &'a str>,
    cache_dir: &Path,
) -> Result<PathBuf, SeccompError> {
    let capabilities = sorted(capabilities);
    cached(
        cache_dir,
        &("default", env!("CARGO_PKG_VERSION"), &capabilities),
        || Ok(Profile::docker_default(&capabilities)),
    )
}

/// A profile in Docker's JSON form (`--security-opt seccomp=FILE`), compiled and kept like the default.
pub fn profile_filter<'a>(
    profile: &[u8],
    capabilities: impl IntoIterator<Item = &'a str>,
    cache_dir: &Path,
) -> Result<PathBuf, SeccompError> {
    let capabilities = sorted(capabilities);
    cached(
        cache_dir,
        &(profile, env!("CARGO_PKG_VERSION"), &capabilities),
        || Profile::parse(profile, &capabilities),
    )
}

/// Docker's default profile, or one in Docker's JSON form, as `linux.seccomp` has it: for runtimes
/// other than our own, and for what a compiled filter does not say (flags, who listens).
pub fn oci_profile<'a>(
    profile: Option<&[u8]>,
    capabilities: impl IntoIterator<Item = &'a str>,
) -> Result<LinuxSeccomp, SeccompError> {
    let bad = |error: serde_json::Error| SeccompError::Profile(error.to_string());
    let capabilities = sorted(capabilities);
    let Some(profile) = profile else {
        let json = Profile::docker_default(&capabilities).to_oci();
        return serde_json::from_value(json).map_err(bad);
    };
    let mut json = Profile::parse(profile, &capabilities)?.to_oci();
    let given: serde_json::Value = serde_json::from_slice(profile).map_err(bad)?;
    for field in ["flags", "listenerPath", "listenerMetadata"] {
        if let Some(value) = given.get(field).filter(|value| !value.is_null()) {
            json[field] = value.clone();
        }
    }
    serde_json::from_value(json).map_err(bad)
}

/// Whose system calls a filter tells apart; those of others end the process.
pub(crate) const ARCHITECTURES: [&str; 2] = [profile::NATIVE.1, profile::NATIVE.2];

fn sorted<'a>(capabilities: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut list: Vec<&str> = capabilities.into_iter().collect();
    list.sort_unstable();
    list.dedup();
    list
}

fn cached(
    dir: &Path,
    key: &impl Hash,
    profile: impl FnOnce() -> Result<Profile, SeccompError>,
) -> Result<PathBuf, SeccompError> {
    let mut hasher = std::hash::DefaultHasher::new();
    key.hash(&mut hasher);
    let path = dir.join(format!("seccomp-{:016x}.bpf", hasher.finish()));
    if path.exists() {
        return Ok(path);
    }
    let program = compile::compile(&profile()?);
    if program.len() > MAX_INSTRUCTIONS {
        return Err(SeccompError::Profile(format!(
            "{} instructions are too many",
            program.len()
        )));
    }
    // Each writer its own file first: two may compile the same at once.
    let tmp = dir.join(format!(
        "seccomp-{:016x}.{}.{:?}.tmp",
        hasher.finish(),
        std::process::id(),
        std::thread::current().id()
    ));
    let fail = |op: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| SeccompError::File { op, path, source }
    };
    fs::create_dir_all(dir).map_err(fail("create", dir))?;
    fs::write(&tmp, encode(&program)).map_err(fail("write", &tmp))?;
    fs::rename(&tmp, &path).map_err(fail("rename", &tmp))?;
    Ok(path)
}

fn encode(program: &[Instruction]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for i in program {
        bytes.extend_from_slice(&i.code.to_ne_bytes());
        bytes.extend_from_slice(&[i.jt, i.jf]);
        bytes.extend_from_slice(&i.k.to_ne_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Vec<Instruction>> {
    let (chunks, rest) = bytes.strip_prefix(MAGIC)?.as_chunks::<8>();
    if !rest.is_empty() || chunks.is_empty() || chunks.len() > MAX_INSTRUCTIONS {
        return None;
    }
    let instruction = |c: &[u8; 8]| Instruction {
        code: u16::from_ne_bytes([c[0], c[1]]),
        jt: c[2],
        jf: c[3],
        k: u32::from_ne_bytes([c[4], c[5], c[6], c[7]]),
    };
    Some(chunks.iter().map(instruction).collect())
}

/// A filter as it is given to the kernel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_…`.
    pub flags: libc::c_ulong,
}

impl Filter {
    /// Whether it ever asks somebody outside, so that the kernel gives a listener.
    pub(crate) fn notifies(&self) -> bool {
        self.flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0
    }
}

/// The filter for a process: a compiled file, or else a profile out of `config.json`, which has the
/// flags in either case.
pub(crate) fn load(
    file: Option<&Path>,
    profile: Option<&LinuxSeccomp>,
    process: &Process,
) -> Result<Option<Filter>, SeccompError> {
    let Some(program) = load_program(file, profile, process)? else {
        return Ok(None);
    };
    let given = profile.and_then(|profile| profile.flags().as_deref());
    let mut flags = given.unwrap_or_default().iter().fold(0, |all, flag| {
        all | match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => {
                libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW
            }
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
                libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
            }
            // There is one thread to synchronise.
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
        }
    });
    if compile::notifies(&program) {
        flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    } else {
        flags &= !libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    }
    Ok(Some(Filter { program, flags }))
}

fn load_program(
    file: Option<&Path>,
    profile: Option<&LinuxSeccomp>,
    process: &Process,
) -> Result<Option<Vec<Instruction>>, SeccompError> {
    if let Some(path) = file {
        let bytes = fs::read(path).map_err(|source| SeccompError::File {
            op: "read",
            path: path.into(),
            source,
        })?;
        return decode(&bytes)
            .map(Some)
            .ok_or_else(|| SeccompError::Format { path: path.into() });
    }
    let Some(profile) = profile else {
        return Ok(None);
    };
    let names: Vec<String> = process
        .capabilities()
        .as_ref()
        .and_then(|c| c.bounding().clone())
        .into_iter()
        .flatten()
        .map(|cap| format!("CAP_{cap}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let json = serde_json::to_vec(profile).map_err(|e| SeccompError::Profile(e.to_string()))?;
    Ok(Some(compile::compile(&Profile::parse(&json, &names)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_means_the_same_in_oci_form() {
        for caps in [vec![], vec!["CAP_SYS_ADMIN"]] {
            let profile = oci_profile(None, caps.iter().copied()).unwrap();
            let json = serde_json::to_vec(&profile).unwrap();
            assert_eq!(
                Profile::parse(&json, &caps).unwrap(),
                Profile::docker_default(&caps)
            );
        }
    }

    #[test]
    fn a_filter_is_compiled_once_and_read_back() {
        let dir = std::env::temp_dir().join(format!("skep-seccomp-{}", std::process::id()));
        let path = default_filter(["CAP_CHOWN", "CAP_KILL"], &dir).unwrap();
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(
            default_filter(["CAP_KILL", "CAP_CHOWN"], &dir).unwrap(),
            path
        );
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written);
        assert_ne!(default_filter(["CAP_KILL"], &dir).unwrap(), path);
        let program = load(Some(&path), None, &Process::default())
            .unwrap()
            .unwrap();
        assert_eq!(
            program.program,
            compile::compile(&Profile::docker_default(&["CAP_CHOWN", "CAP_KILL"]))
        );
        fs::write(&path, b"SKEPBPF1half").unwrap();
        assert!(matches!(
            load(Some(&path), None, &Process::default()),
            Err(SeccompError::Format { .. })
        ));
        fs::remove_dir_all(&dir).unwrap();
    }
}
