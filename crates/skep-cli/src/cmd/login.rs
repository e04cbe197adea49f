//! `login` and `logout`.

use std::io::{IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::objects::text;
use crate::context::Context;
use crate::credentials::{self, Credentials, HUB, host_of};
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches, command};

pub(super) const COMMANDS: &[Command] = &[
    command(
        "login",
        &[],
        "[OPTIONS] [SERVER]",
        "Authenticate to a registry",
        Arity::AtMost(1),
        "-p, --password string\n--password-stdin\n-u, --username string",
        |c, m| Box::pin(login(c, m)),
    ),
    command(
        "logout",
        &[],
        "[SERVER]",
        "Log out from a registry",
        Arity::AtMost(1),
        "",
        |c, m| Box::pin(logout(c, m)),
    ),
];

/// Says that somebody without a terminal cannot be asked.
const NO_TERMINAL: &str = "Error: Cannot perform an interactive login from a non TTY device";

/// The key of the registry that the user named.
fn server_of(given: &str) -> String {
    match given {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" => HUB.to_owned(),
        _ if given == HUB => HUB.to_owned(),
        given => host_of(given).to_owned(),
    }
}

async fn login(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let (user, mut password) = (
        matches.text("username"),
        matches.text("password").to_owned(),
    );
    if matches.given("password") {
        if matches.flag("password-stdin") {
            return Err(CliError::new(
                "conflicting options: cannot specify both --password and --password-stdin",
            ));
        }
        eprintln!("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    if matches.flag("password-stdin") {
        if user.is_empty() {
            return Err(CliError::new(
                "the --password-stdin option requires --username to be set",
            ));
        }
        std::io::stdin().read_to_string(&mut password)?;
        password = password.trim_end_matches(['\r', '\n']).to_owned();
    }
    let server = server_of(matches.arg(0));
    if user.is_empty() && password.is_empty() {
        let known = credentials::get(context, &server);
        let has_secret = !known.password.is_empty() || !known.token.is_empty();
        if !known.user.is_empty() && has_secret {
            eprintln!(
                "Authenticating with existing credentials... [Username: {}]\n",
                known.user
            );
            eprintln!(
                " Info -> To login with a different account, run 'docker logout' followed by 'docker login'\n\n"
            );
            match sign_in(context, known).await {
                Err(error) if std::io::stdin().is_terminal() => {
                    eprintln!("Login did not succeed, error: {}", error.message)
                }
                result => return result,
            }
        }
    }
    let asked = Credentials {
        user: match user {
            "" => ask("Username: ", false)?,
            user => user.to_owned(),
        },
        password: match password.is_empty() {
            true => ask("Password: ", true)?,
            false => password,
        },
        token: String::new(),
        server,
    };
    sign_in(context, asked).await
}

/// Has the daemon try the credentials, and keeps what it answers.
async fn sign_in(context: &Context, mut asked: Credentials) -> Result<(), CliError> {
    let answer = context.client.post("/auth", &asked.to_json()).await?;
    let token = text(&answer, "/IdentityToken");
    if !token.is_empty() {
        asked.token = token.to_owned();
        asked.password = String::new();
    }
    let mut config = context.config_file();
    if credentials::store(&mut config, &asked)? {
        eprintln!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            config.path().display()
        );
    }
    let status = answer["Status"]
        .as_str()
        .filter(|status| !status.is_empty());
    println!("{}", status.unwrap_or("Login Succeeded"));
    Ok(())
}

/// Asks at the terminal; a secret does not show.
fn ask(question: &str, secret: bool) -> Result<String, CliError> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(CliError::new(NO_TERMINAL));
    }
    print!("{question}");
    std::io::stdout().flush()?;
    let before = match secret {
        true => tcgetattr(&stdin).ok(),
        false => None,
    };
    if let Some(before) = &before {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Now, &silent).map_err(std::io::Error::from)?;
    }
    let mut answer = String::new();
    let read = stdin.read_line(&mut answer);
    if let Some(before) = &before {
        println!();
        tcsetattr(&stdin, OptionalActions::Now, before).map_err(std::io::Error::from)?;
    }
    read?;
    let answer = answer.trim_end_matches(['\r', '\n']).to_owned();
    match (answer.is_empty(), secret) {
        (true, false) => Err(CliError::new("Error: Non-null Username Required")),
        (true, true) => Err(CliError::new("Error: Password Required")),
        _ => Ok(answer),
    }
}

async fn logout(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let given = matches.arg(0);
    let server = server_of(given);
    // Older versions kept credentials under the address as it was given.
    let mut keys = vec![server.clone()];
    if server != HUB {
        keys.extend([
            given.to_owned(),
            format!("http://{server}"),
            format!("https://{server}"),
        ]);
    }
    println!("Removing login credentials for {server}");
    let mut config = context.config_file();
    let mut failed = Vec::new();
    for key in keys {
        if let Err(error) = credentials::erase(&mut config, &key) {
            failed.push(format!("\n\t* {key}: {}", error.message));
        }
    }
    match failed.len() {
        0 => Ok(()),
        // One of the ways is enough to have forgotten.
        count if count < 4 && server != HUB => Ok(()),
        _ => Err(CliError::new(format!(
            "could not erase credentials:{}",
            failed.concat()
        ))),
    }
}
