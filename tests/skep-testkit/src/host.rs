//! One host: a namespace, a directory, a daemon.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::http::{self, Answer};
use crate::wait::eventually;

/// What a command printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code; 128 and the signal's number where one ended it.
    pub code: i32,
}

impl Output {
    /// Standard output without the last newline. Panics where the command failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(
            self.code, 0,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self.stdout.trim_end().to_owned()
    }

    /// Standard error without the last newline. Panics where the command did not fail.
    #[track_caller]
    pub fn refused(self) -> String {
        assert_ne!(
            self.code, 0,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self.stderr.trim_end().to_owned()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Host {
    /// The host name.
    pub name: String,
    /// The pinned network namespace.
    pub namespace: PathBuf,
    /// The address of its `eth0`.
    pub address: Ipv4Addr,
    /// Where everything of it lies.
    pub dir: PathBuf,
    program: PathBuf,
    cgroup: String,
    flags: Vec<String>,
    daemon: Option<Child>,
}

impl Host {
    pub(crate) fn new(
        name: &str,
        namespace: PathBuf,
        address: Ipv4Addr,
        dir: PathBuf,
        program: &Path,
        cgroup: String,
        flags: &[String],
    ) -> Result<Self> {
        fs::create_dir_all(&dir)?;
        Ok(Self {
            name: name.to_owned(),
            namespace,
            address,
            dir,
            program: program.to_owned(),
            cgroup,
            flags: flags.to_vec(),
            daemon: None,
        })
    }

    /// The API socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("skep.sock")
    }

    /// `unix://` and the socket, for `DOCKER_HOST`.
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The daemon's `--exec-root`.
    pub fn exec_root(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The daemon's `--data-root`.
    pub fn data_root(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The cgroup that the host's containers are below.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// Starts the daemon and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        self.start_with(&[])
    }

    /// The same with more flags.
    pub fn start_with(&mut self, flags: &[&str]) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("daemon.log"))?;
        let mut command = self.inside("unshare");
        // The name is set in a UTS namespace of the daemon's own.
        let script = r#"echo "$0" > /proc/sys/kernel/hostname && exec "$@""#;
        command
            .args(["--uts", "--", "sh", "-c", script, &self.name])
            .arg(&self.program)
            .arg("daemon");
        command
            .arg("--data-root")
            .arg(self.data_root())
            .arg("--exec-root")
            .arg(self.exec_root())
            .args(["--host", &self.docker_host()])
            .arg("--pidfile")
            .arg(self.dir.join("skep.pid"))
            .args(["--cgroup-parent", &self.cgroup])
            .args(&self.flags)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command
            .spawn()
            .context("start nsenter (Debian: util-linux)")?;
        self.attend(child)
    }

    /// Takes the daemon that was started, and waits until it answers.
    pub(crate) fn attend(&mut self, child: Child) -> Result<()> {
        self.daemon = Some(child);
        let socket = self.socket();
        eventually(&format!("{} answers", self.name), || {
            if let Some(status) = self
                .daemon
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten())
            {
                panic!(
                    "the daemon of {} ended with {status}:\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            match http::request(&socket, "GET", "/_ping", None) {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(answer.text()),
                Err(error) => Err(error.to_string()),
            }
        });
        Ok(())
    }

    /// The daemon's process id.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// Ends the daemon as a service manager would, and waits for it.
    pub fn stop(&mut self) {
        self.end(Signal::SIGTERM);
    }

    /// Ends the daemon as a crash would.
    pub fn kill(&mut self) {
        self.end(Signal::SIGKILL);
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended already.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    fn end(&mut self, signal: Signal) {
        self.signal(signal);
        if let Some(mut child) = self.daemon.take() {
            let _ = child.wait();
        }
    }

    /// A command that will run in the host's network namespace.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.namespace.display()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs Docker's command line against this host.
    pub fn docker(&self, args: &[&str]) -> Output {
        let mut command = self.inside("docker");
        command
            .args(args)
            .env("DOCKER_HOST", self.docker_host())
            .env("DOCKER_CONFIG", self.dir.join("docker"));
        run(command, None)
    }

    /// The same with something to read on standard input.
    pub fn docker_with_input(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.inside("docker");
        command
            .args(args)
            .env("DOCKER_HOST", self.docker_host())
            .env("DOCKER_CONFIG", self.dir.join("docker"));
        run(command, Some(input))
    }

    /// Runs skep's own command line against this host.
    pub fn skep(&self, args: &[&str]) -> Output {
        let mut command = self.inside(&self.program.to_string_lossy());
        command
            .args(args)
            .env("DOCKER_HOST", self.docker_host())
            .env("DOCKER_CONFIG", self.dir.join("docker"));
        run(command, None)
    }

    /// Asks the API.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        http::request(&self.socket(), method, path, body)
    }

    /// Asks the API with one more header.
    pub fn api_with(
        &self,
        method: &str,
        path: &str,
        header: (&str, &str),
        body: Option<&Value>,
    ) -> Result<Answer> {
        http::request_with(&self.socket(), method, path, header, body)
    }

    /// Sends the API a body that is no JSON.
    pub fn upload(&self, path: &str, body: &[u8]) -> Result<Answer> {
        http::upload(&self.socket(), path, body)
    }

    /// The last lines of the daemon's log.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.dir.join("daemon.log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command to its end.
fn run(mut command: Command, input: Option<&[u8]>) -> Output {
    use std::io::Write as _;
    command.stdin(if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.spawn().and_then(|mut child| {
        let stdin = child.stdin.take();
        std::thread::scope(|scope| {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // A command that does not read to the end closes the pipe.
                scope.spawn(move || stdin.write_all(input));
            }
            child.wait_with_output()
        })
    });
    match output {
        Ok(output) => {
            use std::os::unix::process::ExitStatusExt as _;
            let code = output
                .status
                .code()
                .unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
            Output {
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
                code,
            }
        }
        Err(error) => Output {
            stdout: String::new(),
            stderr: format!("{command:?}: {error}"),
            code: 127,
        },
    }
}
