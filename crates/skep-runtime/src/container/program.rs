//! Finding the program to run, with the words of Go's `exec.LookPath`, which Docker's users see.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::{CreateError, errno_text};

/// Looks `program` up as this process's user, in `PATH` of `env` when it has no slash.
pub(crate) fn find(program: &str, env: &[String]) -> Result<PathBuf, CreateError> {
    if program.contains('/') {
        return match check(Path::new(program)) {
            Ok(()) => Ok(program.into()),
            Err(e) => Err(refuse(program, &e)),
        };
    }
    let path = env
        .iter()
        .rev()
        .find_map(|v| v.strip_prefix("PATH="))
        .unwrap_or_default();
    let mut denied = None;
    for dir in path.split(':') {
        // An empty element is the working directory.
        let candidate = Path::new(if dir.is_empty() { "." } else { dir }).join(program);
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(e) if e.raw_os_error() == Some(libc::EACCES) => denied = Some(e),
            Err(_) => {}
        }
    }
    // A program that is there but not ours to run is told apart from none at all.
    let _ = denied;
    Err(CreateError::ProgramNotFound {
        program: program.into(),
        reason: "executable file not found in $PATH".into(),
    })
}

fn refuse(program: &str, error: &io::Error) -> CreateError {
    let program = program.to_owned();
    match error.raw_os_error() {
        Some(libc::EACCES) => CreateError::ProgramNotExecutable {
            program,
            reason: "permission denied".into(),
        },
        Some(libc::EISDIR) => CreateError::ProgramNotExecutable {
            program,
            reason: "is a directory".into(),
        },
        _ => CreateError::ProgramNotFound {
            reason: format!("stat {program}: {}", errno_text(error)),
            program,
        },
    }
}

fn check(path: &Path) -> io::Result<()> {
    let meta = std::fs::metadata(path)?;
    if meta.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    let c = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a C string and plain numbers.
    if unsafe { libc::faccessat(libc::AT_FDCWD, c.as_ptr(), libc::X_OK, libc::AT_EACCESS) } == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// Takes the place of this process; returns only when that failed.
pub(crate) fn execute(program: &Path, args: &[String], env: &[String]) -> io::Error {
    let c = |text: &[u8]| CString::new(text);
    let build = || -> Result<_, std::ffi::NulError> {
        Ok((
            c(program.as_os_str().as_bytes())?,
            args.iter()
                .map(|a| c(a.as_bytes()))
                .collect::<Result<Vec<_>, _>>()?,
            env.iter()
                .map(|e| c(e.as_bytes()))
                .collect::<Result<Vec<_>, _>>()?,
        ))
    };
    let (program, args, env) = match build() {
        Ok(parts) => parts,
        Err(e) => return e.into(),
    };
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter()
            .map(|s| s.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let (argv, envp) = (pointers(&args), pointers(&env));
    // SAFETY: C strings, and null-terminated arrays of such, all alive.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(program: &str, expect: &str) {
        let env = ["PATH=/bin:/usr/bin".to_owned()];
        assert_eq!(find(program, &env).unwrap_err().to_string(), expect);
    }

    #[test]
    fn refusals_have_dockers_words() {
        check_text(
            "no-such-thing",
            r#"exec: "no-such-thing": executable file not found in $PATH"#,
        );
        check_text(
            "/no/such",
            r#"exec: "/no/such": stat /no/such: no such file or directory"#,
        );
        check_text("/etc/passwd", r#"exec: "/etc/passwd": permission denied"#);
        check_text("/etc", r#"exec: "/etc": is a directory"#);
    }

    #[test]
    fn the_path_is_the_containers_own() {
        assert!(find("sh", &["PATH=/nowhere".to_owned()]).is_err());
        assert_eq!(
            find("sh", &["PATH=/nowhere:/bin".to_owned()]).unwrap(),
            Path::new("/bin/sh")
        );
    }
}
