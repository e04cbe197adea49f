//! `container run`, `create`, `start`, `attach`.

use serde_json::Value;

use super::body::create_body;
use super::flags::refuse_unsupported;
use super::session::{Session, check_terminal, detach_keys};
use crate::client::{Hijacked, escape, url};
use crate::cmd::image::pull_image;
use crate::cmd::objects::{each, text};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    run_container(context, matches).await.map_err(|error| {
        if error.message.is_empty() {
            return error;
        }
        let code = if error.code == 1 { 125 } else { error.code };
        CliError::new(format!(
            "docker: {}\n\nRun 'docker run --help' for more information",
            error.message
        ))
        .with_code(code)
    })
}

async fn run_container(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let detached = matches.flag("detach");
    let body = create_body(matches, detached)?;
    let is = |field: &str| body[field] == true;
    let keys = detach_keys(matches.text("detach-keys"))?;
    if !detached {
        check_terminal(is("Tty"), is("AttachStdin"))?;
    }
    let id = create_container(context, matches, &body).await?;
    let path = format!("/containers/{id}");
    if detached {
        start_container(context, &path).await?;
        println!("{id}");
        return Ok(());
    }
    let session = Session {
        context,
        path: path.clone(),
        tty: is("Tty"),
        stdin: is("AttachStdin"),
        proxy: matches.flag("sig-proxy"),
        detach_keys: keys,
    };
    let streams = [is("AttachStdin"), is("AttachStdout"), is("AttachStderr")];
    let connection = attach_to(context, &path, streams, matches.text("detach-keys")).await?;
    let condition = if matches.flag("rm") {
        "removed"
    } else {
        "next-exit"
    };
    let waiting = wait_for(context, &path, condition).await?;
    start_container(context, &path).await?;
    finish(&session, connection, waiting).await
}

/// Runs the session, then ends with the container's exit code.
async fn finish<W>(session: &Session<'_>, connection: Hijacked, waiting: W) -> Result<(), CliError>
where
    W: Future<Output = Result<i64, CliError>>,
{
    if session.tty {
        session.resize().await;
    }
    if !session.run(connection).await? {
        return Ok(());
    }
    exit_with(waiting.await?)
}

/// Success for 0; otherwise only the code.
pub(super) fn exit_with(code: i64) -> Result<(), CliError> {
    match code {
        0 => Ok(()),
        code => Err(CliError::silent(u8::try_from(code & 0xff).unwrap_or(1))),
    }
}

/// Starts; the code tells why it could not.
async fn start_container(context: &Context, path: &str) -> Result<(), CliError> {
    let started = context.client.post_empty(&format!("{path}/start")).await;
    started.map(drop).map_err(|error| {
        let said = |texts: &[&str]| texts.iter().any(|text| error.message.contains(text));
        let code = if said(&[
            "executable file not found",
            "no such file or directory",
            "not found in $PATH",
        ]) {
            127
        } else if said(&["permission denied", "is a directory", "exec format error"]) {
            126
        } else {
            125
        };
        error.with_code(code)
    })
}

async fn attach_to(
    context: &Context,
    path: &str,
    [stdin, stdout, stderr]: [bool; 3],
    keys: &str,
) -> Result<Hijacked, CliError> {
    let switch = |on: bool| if on { "1" } else { "" };
    let query = [
        ("detachKeys", keys),
        ("stderr", switch(stderr)),
        ("stdin", switch(stdin)),
        ("stdout", switch(stdout)),
        ("stream", "1"),
    ];
    context
        .client
        .hijack(&url(&format!("{path}/attach"), &query), None)
        .await
}

/// Asks now; the future gives the exit code. The daemon answers the head at once.
async fn wait_for(
    context: &Context,
    path: &str,
    condition: &str,
) -> Result<impl Future<Output = Result<i64, CliError>> + use<>, CliError> {
    use futures::StreamExt as _;
    let path = url(&format!("{path}/wait"), &[("condition", condition)]);
    let bytes = context
        .client
        .stream(http::Method::POST, &path, &[], None)
        .await?;
    Ok(async move {
        let mut answers = crate::client::json_lines(bytes);
        match answers.next().await {
            Some(answer) => exit_code(&answer?),
            None => Err(CliError::new(
                "the daemon did not say how the container ended",
            )),
        }
    })
}

fn exit_code(answer: &Value) -> Result<i64, CliError> {
    match text(answer, "/Error/Message") {
        "" => Ok(answer["StatusCode"].as_i64().unwrap_or(0)),
        why => Err(CliError::new(why).with_code(125)),
    }
}

pub(super) async fn create(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let body = create_body(matches, false)?;
    println!("{}", create_container(context, matches, &body).await?);
    Ok(())
}

/// Creates, and pulls the image as `--pull` says.
async fn create_container(
    context: &Context,
    matches: &Matches,
    body: &Value,
) -> Result<String, CliError> {
    refuse_unsupported(matches)?;
    let cid_file = matches.text("cidfile");
    if !cid_file.is_empty() && std::path::Path::new(cid_file).exists() {
        return Err(CliError::new(format!(
            "container ID file found, make sure the other container isn't running or delete {cid_file}"
        )));
    }
    let pull = matches.text("pull");
    if !matches!(pull, "always" | "missing" | "never") {
        return Err(CliError::new(format!(
            "invalid pull option: '{pull}': must be one of \"always\", \"missing\" or \"never\""
        )));
    }
    let (image, platform) = (matches.arg(0), matches.text("platform"));
    let quiet = matches.flag("quiet");
    if pull == "always" {
        pull_image(context, image, platform, quiet, true).await?;
    }
    let query = [("name", matches.text("name")), ("platform", platform)];
    let path = url("/containers/create", &query);
    let answer = match context.client.post(&path, body).await {
        Err(error)
            if pull == "missing"
                && error.is_not_found()
                && error.message.contains("No such image") =>
        {
            if !quiet {
                eprintln!(
                    "Unable to find image '{}' locally",
                    crate::cmd::image::tagged(image)
                );
            }
            pull_image(context, image, platform, quiet, true).await?;
            context.client.post(&path, body).await?
        }
        answer => answer?,
    };
    for warning in answer["Warnings"].as_array().into_iter().flatten() {
        eprintln!("WARNING: {}", warning.as_str().unwrap_or_default());
    }
    let id = text(&answer, "/Id").to_owned();
    if !cid_file.is_empty() {
        std::fs::write(cid_file, &id)?;
    }
    Ok(id)
}

pub(super) async fn start(context: &Context, matches: &Matches) -> Result<(), CliError> {
    for flag in ["checkpoint", "checkpoint-dir"] {
        if matches.given(flag) {
            return Err(CliError::new(format!("--{flag} is not supported")).with_code(125));
        }
    }
    if !matches.flag("attach") && !matches.flag("interactive") {
        return each(matches.args(), |name| async move {
            let path = format!("/containers/{}/start", escape(name));
            context.client.post_empty(&path).await?;
            println!("{name}");
            Ok(())
        })
        .await;
    }
    if matches.args().len() > 1 {
        return Err(CliError::new(
            "you cannot start and attach multiple containers at once",
        ));
    }
    let (session, path, streams) =
        session_of(context, matches, matches.flag("interactive")).await?;
    let connection = attach_to(context, &path, streams, matches.text("detach-keys")).await?;
    let waiting = wait_for(context, &path, "next-exit").await?;
    start_container(context, &path)
        .await
        .map_err(|error| error.with_code(1))?;
    finish(&session, connection, waiting).await
}

pub(super) async fn attach(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let (session, path, streams) = session_of(context, matches, !matches.flag("no-stdin")).await?;
    let waiting = wait_for(context, &path, "not-running").await?;
    let connection = attach_to(context, &path, streams, matches.text("detach-keys")).await?;
    finish(&session, connection, waiting).await
}

/// A session with a container that exists.
async fn session_of<'a>(
    context: &'a Context,
    matches: &Matches,
    input: bool,
) -> Result<(Session<'a>, String, [bool; 3]), CliError> {
    let found = context
        .client
        .get(&format!("/containers/{}/json", escape(matches.arg(0))))
        .await?;
    if matches.command.ends_with("attach") {
        if found.pointer("/State/Running") == Some(&Value::Bool(false)) {
            return Err(CliError::new(
                "cannot attach to a stopped container, start it first",
            ));
        }
        if found.pointer("/State/Paused") == Some(&Value::Bool(true)) {
            return Err(CliError::new(
                "cannot attach to a paused container, unpause it first",
            ));
        }
    }
    let tty = found.pointer("/Config/Tty") == Some(&Value::Bool(true));
    let stdin = input && found.pointer("/Config/OpenStdin") == Some(&Value::Bool(true));
    check_terminal(tty, stdin)?;
    let path = format!("/containers/{}", text(&found, "/Id"));
    let session = Session {
        context,
        path: path.clone(),
        tty,
        stdin,
        proxy: matches.flag("sig-proxy"),
        detach_keys: detach_keys(matches.text("detach-keys"))?,
    };
    Ok((session, path, [stdin, true, true]))
}
