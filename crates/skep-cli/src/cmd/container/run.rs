//! `container run`, `create`, `start`, `attach`.

use serde_json::Value;

use super::body::{HANDED_ON, create_body};
use super::session::{self, Session, check_terminal, console_size, detach_keys};
use crate::client::{Hijacked, escape, url};
use crate::cmd::image::pull_image;
use crate::cmd::objects::text;
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::Matches;
use crate::opts::platform;

pub(super) async fn run(context: &Context, matches: &Matches) -> Result<(), CliError> {
    run_container(context, matches).await.map_err(|error| {
        let is_plain = error.message.is_empty() || error.is_about_flags() || error.code == PLAIN;
        match is_plain {
            true if error.code == PLAIN => error.with_code(1),
            true => error,
            false => with_help(error, "run"),
        }
    })
}

/// Marks an error that is told as it is, with exit code 1.
const PLAIN: u8 = 255;

/// An error with where to read on, as `run` and `create` tell what is wrong with their flags.
fn with_help(error: CliError, verb: &str) -> CliError {
    let code = if error.code == 1 { 125 } else { error.code };
    let text = format!(
        "docker: {}\n\nRun 'docker {verb} --help' for more information",
        error.message
    );
    CliError {
        message: text,
        code,
        ..error
    }
}

async fn run_container(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let detached = matches.flag("detach");
    let mut body = create_body(context, matches, detached)?;
    body["HostConfig"]["ConsoleSize"] = serde_json::json!(console_size());
    let plain = |error: CliError| error.with_code(PLAIN);
    if detached && matches.given("attach") {
        return Err(plain(CliError::new(
            "conflicting options: cannot specify both --attach and --detach",
        )));
    }
    let is = |field: &str| body[field] == true;
    let keys_text = keys_text(context, matches);
    let keys = detach_keys(&keys_text, is("Tty"))?;
    if !detached {
        check_terminal(is("Tty"), is("AttachStdin")).map_err(plain)?;
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
    let connection = attach_to(context, &path, streams, &keys_text).await?;
    let condition = if matches.flag("rm") {
        "removed"
    } else {
        "next-exit"
    };
    let waiting = wait_for(context, &path, condition).await?;
    start_container(context, &path).await?;
    finish(&session, connection, waiting).await
}

/// Runs the session, then ends with the container's exit code. Who leaves what was started here is well.
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

/// The keys that end a session: the flag's, or what `config.json` says.
pub(super) fn keys_text(context: &Context, matches: &Matches) -> String {
    let text = matches
        .given_text("detach-keys")
        .or_else(|| context.setting("detachKeys"));
    text.unwrap_or_default().to_owned()
}

pub(super) async fn create(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let tell = |error: CliError| match error.is_about_flags() {
        true => error,
        false => with_help(error, "create"),
    };
    check_pull(matches).map_err(tell)?;
    let body = create_body(context, matches, false).map_err(tell)?;
    println!("{}", create_container(context, matches, &body).await?);
    Ok(())
}

fn check_pull(matches: &Matches) -> Result<(), CliError> {
    let pull = matches.text("pull");
    match pull {
        "always" | "missing" | "never" | "" => Ok(()),
        _ => Err(CliError::new(format!(
            "invalid pull option: '{pull}': must be one of \"always\", \"missing\" or \"never\""
        ))),
    }
}

/// An image is named by a reference or an id.
fn check_reference(image: &str) -> Result<(), CliError> {
    use skep_objects::reference::Reference;
    let is_id = image.len() == 64 && image.bytes().all(|byte| byte.is_ascii_hexdigit());
    match Reference::parse(image) {
        Err(error) if !is_id && !image.starts_with("sha256:") => {
            Err(CliError::new(error.to_string()))
        }
        _ => Ok(()),
    }
}

/// Gives a container the caller's credentials, for `--use-api-socket`.
async fn hand_on_credentials(context: &Context, id: &str) -> Result<(), CliError> {
    let auths: serde_json::Map<String, Value> = crate::credentials::all(context)
        .into_iter()
        .map(|(server, found)| (server, found.to_json()))
        .collect();
    if auths.is_empty() {
        return Ok(());
    }
    let text = serde_json::json!({"auths": auths}).to_string();
    let mut archive = tar::Builder::new(Vec::new());
    let mut head = tar::Header::new_gnu();
    head.set_size(text.len() as u64);
    head.set_mode(0o600);
    let name = format!("{}/config.json", HANDED_ON.trim_start_matches('/'));
    archive.append_data(&mut head, name, text.as_bytes())?;
    let bytes = archive.into_inner()?;
    let path = url(
        &format!("/containers/{id}/archive"),
        &[("noOverwriteDirNonDir", "true"), ("path", "/")],
    );
    let headers = [("content-type", "application/x-tar")];
    let body = crate::client::full(bytes);
    context
        .client
        .send(http::Method::PUT, &path, &headers, body)
        .await
        .map(drop)
}

/// Creates, and pulls the image as `--pull` says.
async fn create_container(
    context: &Context,
    matches: &Matches,
    body: &Value,
) -> Result<String, CliError> {
    check_pull(matches)?;
    let cid_file = matches.text("cidfile");
    if !cid_file.is_empty() && std::path::Path::new(cid_file).exists() {
        return Err(CliError::new(format!(
            "container ID file found, make sure the other container isn't running or delete {cid_file}"
        )));
    }
    let pull = matches.text("pull");
    let (image, platform) = (matches.arg(0), platform(matches)?);
    let platform = platform.as_str();
    check_reference(image)?;
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
    if matches.flag("use-api-socket") {
        hand_on_credentials(context, &id).await?;
    }
    if !cid_file.is_empty() {
        std::fs::write(cid_file, &id)?;
    }
    Ok(id)
}

pub(super) async fn start(context: &Context, matches: &Matches) -> Result<(), CliError> {
    if !matches.flag("attach") && !matches.flag("interactive") {
        return start_each(context, matches).await;
    }
    if matches.args().len() > 1 {
        return Err(CliError::new(
            "you cannot start and attach multiple containers at once",
        ));
    }
    let (session, path, streams) =
        session_of(context, matches, matches.flag("interactive")).await?;
    let connection = attach_to(context, &path, streams, &keys_text(context, matches)).await?;
    let waiting = wait_for(context, &path, "next-exit").await?;
    start_container(context, &path)
        .await
        .map_err(|error| error.with_code(1))?;
    finish(&session, connection, waiting).await
}

async fn start_each(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let query = [
        ("checkpoint", matches.text("checkpoint")),
        ("checkpoint-dir", matches.text("checkpoint-dir")),
    ];
    let mut failed = Vec::new();
    for name in matches.args() {
        let path = url(&format!("/containers/{}/start", escape(name)), &query);
        match context.client.post_empty(&path).await {
            Ok(_) => println!("{name}"),
            Err(error) => {
                eprintln!("{}", error.message);
                failed.push(name.as_str());
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(CliError::new(format!(
        "Error: failed to start containers: {}",
        failed.join(", ")
    )))
}

pub(super) async fn attach(context: &Context, matches: &Matches) -> Result<(), CliError> {
    let (session, path, streams) = session_of(context, matches, !matches.flag("no-stdin")).await?;
    let waiting = wait_for(context, &path, "").await?;
    let connection = attach_to(context, &path, streams, &keys_text(context, matches)).await?;
    if session.tty {
        session.redraw().await;
    }
    if !session.run(connection).await? {
        return Err(session::detached());
    }
    exit_with(waiting.await?)
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
                "You cannot attach to a stopped container, start it first",
            ));
        }
        if found.pointer("/State/Restarting") == Some(&Value::Bool(true)) {
            return Err(CliError::new(
                "You cannot attach to a restarting container, wait until it is running",
            ));
        }
        if found.pointer("/State/Paused") == Some(&Value::Bool(true)) {
            return Err(CliError::new(
                "You cannot attach to a paused container, unpause it first",
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
        detach_keys: detach_keys(&keys_text(context, matches), tty)?,
    };
    Ok((session, path, [stdin, true, true]))
}
