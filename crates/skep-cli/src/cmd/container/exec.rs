//! `container exec`.

use std::io::IsTerminal as _;

use serde_json::{Value, json};

use super::body::or_null;
use super::run::exit_with;
use super::session::{self, Session, check_terminal, console_size, detach_keys};
use crate::client::escape;
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::opts::whole_environment;

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let name = escape(matches.arg(0));
    let client = &context.client;
    client.get(&format!("/containers/{name}/json")).await?;
    let detached = matches.flag("detach");
    let tty = matches.flag("tty");
    let stdin = matches.flag("interactive") && !detached;
    check_terminal(tty, stdin)?;
    let keys_text = super::run::keys_text(context, matches);
    let keys = detach_keys(&keys_text, tty)?;
    let mut body = json!({
        "User": matches.text("user"),
        "Privileged": matches.flag("privileged"),
        "Tty": tty,
        "AttachStdin": stdin,
        "AttachStderr": !detached,
        "AttachStdout": !detached,
        "Detach": detached,
        "DetachKeys": keys_text,
        "Env": or_null(whole_environment(matches.list("env-file"), matches.list("env"))?),
        "WorkingDir": matches.text("workdir"),
        "Cmd": matches.args()[1..],
    });
    let with_size = tty && std::io::stdout().is_terminal();
    if with_size {
        body["ConsoleSize"] = json!(console_size());
    }
    let created = client
        .post(&format!("/containers/{name}/exec"), &body)
        .await?;
    let path = format!("/exec/{}", text(&created, "/Id"));
    let mut start = json!({"Detach": detached, "Tty": tty});
    if with_size {
        start["ConsoleSize"] = json!(console_size());
    }
    if detached {
        client.post(&format!("{path}/start"), &start).await?;
        return Ok(());
    }
    let connection = client
        .hijack(&format!("{path}/start"), Some(&start))
        .await?;
    let session = Session {
        context,
        path: path.clone(),
        tty,
        stdin,
        proxy: false,
        detach_keys: keys,
    };
    if tty {
        session.resize().await;
    }
    if !session.run(connection).await? {
        return Err(session::detached());
    }
    let ended: Value = client.get(&format!("{path}/json")).await?;
    exit_with(ended["ExitCode"].as_i64().unwrap_or(0))
}
