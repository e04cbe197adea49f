//! What ends a command, and with which exit code.

/// Why a command ended early. The message goes to standard error as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// What the user is told; empty where everything has been said.
    pub message: String,
    /// The exit code.
    pub code: u8,
    /// The HTTP status, where the daemon refused.
    pub status: Option<u16>,
}

impl CliError {
    /// An error of the command's own: exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 1,
            status: None,
        }
    }

    /// Only an exit code: everything has been said.
    pub fn silent(code: u8) -> Self {
        Self {
            message: String::new(),
            code,
            status: None,
        }
    }

    /// Another exit code.
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// What the daemon answered.
    pub fn from_daemon(status: u16, message: &str) -> Self {
        Self {
            message: format!("Error response from daemon: {message}"),
            code: 1,
            status: Some(status),
        }
    }

    /// A flag's value that the flag does not take. `flags` is its name as help has it.
    pub fn bad_flag(value: &str, flags: &str, why: impl std::fmt::Display) -> Self {
        Self::new(format!(
            "invalid argument \"{value}\" for \"{flags}\" flag: {why}"
        ))
        .with_code(125)
    }

    /// Whether it is about the words of the command line, so that its usage is worth showing.
    pub fn is_about_flags(&self) -> bool {
        self.status.is_none() && self.code == 125 && self.message.starts_with("invalid argument \"")
    }

    /// Whether the daemon does not know the object.
    pub fn is_not_found(&self) -> bool {
        self.status == Some(404)
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        // Nobody reads any more: the shell tells nobody of it either.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::silent(crate::BROKEN_PIPE);
        }
        Self::new(error.to_string())
    }
}

/// One error out of many, a line each; success where there is none.
pub fn join(errors: Vec<CliError>) -> Result<(), CliError> {
    if errors.is_empty() {
        return Ok(());
    }
    let messages: Vec<_> = errors.into_iter().map(|error| error.message).collect();
    Err(CliError::new(messages.join("\n")))
}

/// What went wrong with a file, in the words of the system.
pub(crate) fn io_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
