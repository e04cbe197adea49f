//! `/containers/*` and `/commit`.

use base64::Engine as _;
use futures::FutureExt;
use http::{HeaderValue, Method, StatusCode};
use skep_engine::{
    ArchivePutOptions, AttachOptions, CommitOptions, CreateContainer, ListOptions, RemoveOptions,
    WaitCondition,
};
use skep_objects::api::container::{
    self as api, CommitResponse, CreateRequestRest, CreateResponse,
};
use skep_objects::api::decode;

use super::call::{self, Call, Response};
use super::error::{ApiError, Result};
use super::version::ApiVersion;
use super::{attach, attachable, logs, websocket};

/// What clients send as the body of a start that has none: `{}`, `null` and a line's end.
const EMPTY_JSON_LEN: usize = 7;

/// Picks the handler.
pub async fn route(call: Call, path: &[&str]) -> Result<Response> {
    let method = call.method();
    match (method.as_str(), path) {
        ("GET", ["containers", "json"]) => list(call).await,
        ("POST", ["containers", "create"]) => create(call).await,
        ("POST", ["containers", "prune"]) => prune(call).await,
        ("POST", ["commit"]) => commit(call).await,
        ("GET", ["containers", id, what]) => get(call, id, what).await,
        ("POST", ["containers", id, what]) => post(call, id, what).await,
        ("DELETE", ["containers", id]) => remove(call, id).await,
        ("HEAD", ["containers", id, "archive"]) => archive_stat(call, id).await,
        ("PUT", ["containers", id, "archive"]) => archive_put(call, id).await,
        ("GET", ["containers", id, "attach", "ws"]) => websocket::attach(call, id).await,
        (_, ["containers", _, "checkpoints", ..]) => Err(ApiError::not_implemented(
            "checkpoints are not supported by skep",
        )),
        _ => Err(ApiError::no_route()),
    }
}

async fn get(call: Call, id: &str, what: &str) -> Result<Response> {
    let engine = call.api.engine.clone();
    match what {
        "json" => call::ok(&engine.inspect(id, call.query.flag("size")).await?),
        "top" => call::ok(&engine.top(id, call.query.get("ps_args")).await?),
        "logs" => logs::of_container(call, id).await,
        "changes" => call::ok(&engine.changes(id).await?),
        "export" => Ok(call::reader("application/x-tar", engine.export(id).await?)),
        "stats" => stats(call, id).await,
        "archive" => archive_get(call, id).await,
        "checkpoints" => Err(ApiError::not_implemented(
            "checkpoints are not supported by skep",
        )),
        _ => Err(ApiError::no_route()),
    }
}

async fn post(mut call: Call, id: &str, what: &str) -> Result<Response> {
    let engine = call.api.engine.clone();
    match what {
        "start" => {
            if call.bytes().await?.len() > EMPTY_JSON_LEN {
                return Err(ApiError::invalid(
                    "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
                ));
            }
            engine.start(id).await?;
        }
        "stop" => {
            let timeout = call.query.strict("t")?;
            engine.stop(id, call.query.given("signal"), timeout).await?;
        }
        "restart" => {
            let timeout = call.query.strict("t")?;
            engine
                .restart(id, call.query.given("signal"), timeout)
                .await?;
        }
        "kill" => {
            let signal = call.query.given("signal").unwrap_or("SIGKILL");
            engine.kill(id, signal).await?;
        }
        "pause" => engine.pause(id).await?,
        "unpause" => engine.unpause(id).await?,
        "rename" => engine.rename(id, call.query.get("name")).await?,
        "resize" => {
            let (height, width) = size(&call)?;
            engine.resize(id, height, width).await?;
            return Ok(call::empty(StatusCode::OK));
        }
        "update" => {
            let update: api::UpdateConfig = call.json().await?;
            return call::ok(&engine.update(id, &update).await?);
        }
        "wait" => return wait(call, id).await,
        "attach" => return attach_streams(call, id).await,
        "exec" => return super::exec::create(call, id).await,
        "checkpoints" => {
            return Err(ApiError::not_implemented(
                "checkpoints are not supported by skep",
            ));
        }
        _ => return Err(ApiError::no_route()),
    }
    Ok(call::empty(StatusCode::NO_CONTENT))
}

/// The size of a terminal, from the query.
pub fn size(call: &Call) -> Result<(u16, u16)> {
    let number = |name: &str| {
        let text = call.query.get(name);
        text.parse().map_err(|_| {
            ApiError::invalid(format!(
                "strconv.ParseUint: parsing {text:?}: invalid syntax"
            ))
        })
    };
    Ok((number("h")?, number("w")?))
}

async fn list(call: Call) -> Result<Response> {
    let options = ListOptions {
        all: call.query.flag("all"),
        limit: call
            .query
            .strict::<i64>("limit")?
            .unwrap_or(0)
            .try_into()
            .unwrap_or(0),
        size: call.query.flag("size"),
        filters: call.query.filters()?,
    };
    call::ok(&call.api.engine.list(&options).await?)
}

async fn create(mut call: Call) -> Result<Response> {
    let body = call.bytes().await?;
    call.check_content_type(&body)?;
    // The configuration's fields and two more share one object.
    let config: api::Config = decode::from_json(&body)?;
    let rest: CreateRequestRest = decode::from_json(&body)?;
    if config == api::Config::default() {
        return Err(ApiError::invalid(
            "config cannot be empty in order to create a container",
        ));
    }
    one_network(call.version, rest.networking_config.as_ref())?;
    let mut request = CreateContainer {
        name: call.query.get("name").trim_start_matches('/').to_owned(),
        config,
        host_config: rest.host_config.unwrap_or_default(),
        networking_config: rest.networking_config.unwrap_or_default(),
        platform: call.query.get("platform").to_owned(),
        managed: None,
    };
    let attachments = attachable::attach(&call.api, &mut request).await?;
    let created = match call.api.engine.create_container(request).await {
        Ok(created) => created,
        Err(error) => return Err(attachments.undo(error.into()).await),
    };
    let answer = CreateResponse {
        id: created.id,
        warnings: created.warnings,
    };
    call::json(StatusCode::CREATED, &answer)
}

/// Before 1.44 a container was made on one network, and connected to others afterwards.
fn one_network(version: ApiVersion, networking: Option<&api::NetworkingConfig>) -> Result<()> {
    let wanted = networking.and_then(|networking| networking.endpoints_config.as_ref());
    match wanted {
        Some(wanted) if wanted.len() > 1 && version < ApiVersion(1, 44) => {
            let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
            Err(ApiError::invalid(format!(
                "Container cannot be connected to network endpoints: {}",
                names.join(", ")
            )))
        }
        _ => Ok(()),
    }
}

async fn remove(call: Call, id: &str) -> Result<Response> {
    let options = RemoveOptions {
        force: call.query.flag("force"),
        volumes: call.query.flag("v"),
        link: call.query.flag("link"),
    };
    call.api.engine.remove(id, options).await?;
    Ok(call::empty(StatusCode::NO_CONTENT))
}

async fn prune(call: Call) -> Result<Response> {
    let filters = call.query.filters()?;
    call::ok(&call.api.engine.prune(&filters).await?)
}

/// The head goes out at once: `docker run` starts the container only after it.
async fn wait(call: Call, id: &str) -> Result<Response> {
    let condition = match call.query.get("condition") {
        "" | "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        other => return Err(ApiError::invalid(format!("invalid condition: {other:?}"))),
    };
    let exit = call.api.engine.wait(id, condition).await?;
    Ok(call::json_lines(exit.into_stream()))
}

async fn stats(call: Call, id: &str) -> Result<Response> {
    let stream = call.query.flag_or("stream", true);
    let one_shot = call.query.flag("one-shot");
    if stream && one_shot {
        return Err(ApiError::invalid(
            "cannot have stream=true and one-shot=true",
        ));
    }
    Ok(call::json_lines(
        call.api.engine.stats(id, stream, one_shot).await?,
    ))
}

/// Which streams the query of an attach asks for.
pub fn attach_options(call: &Call) -> AttachOptions {
    let query = &call.query;
    AttachOptions {
        logs: query.flag("logs"),
        stream: query.flag("stream"),
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        detach_keys: query.get("detachKeys").to_owned(),
    }
}

async fn attach_streams(mut call: Call, id: &str) -> Result<Response> {
    call.bytes().await?;
    let attached = call.api.engine.attach(id, &attach_options(&call)).await?;
    Ok(attach::respond(call, attached))
}

/// `X-Docker-Container-Path-Stat`: JSON in base64.
fn stat_header(stat: &api::PathStat) -> Result<HeaderValue> {
    let json = serde_json::to_vec(stat).map_err(|err| ApiError::internal(err.to_string()))?;
    let text = base64::engine::general_purpose::STANDARD.encode(json);
    HeaderValue::from_str(&text).map_err(|err| ApiError::internal(err.to_string()))
}

fn archive_path(call: &Call) -> Result<String> {
    match call.query.given("path") {
        Some(path) => Ok(path.to_owned()),
        None => Err(ApiError::invalid("Bad parameter: path cannot be empty")),
    }
}

async fn archive_stat(call: Call, id: &str) -> Result<Response> {
    let stat = call
        .api
        .engine
        .archive_stat(id, &archive_path(&call)?)
        .await?;
    let mut response = call::empty(StatusCode::OK);
    response
        .headers_mut()
        .insert("x-docker-container-path-stat", stat_header(&stat)?);
    Ok(response)
}

async fn archive_get(call: Call, id: &str) -> Result<Response> {
    let path = archive_path(&call)?;
    let (stat, tar) = call.api.engine.archive_get(id, &path).await?;
    let mut response = call::reader("application/x-tar", tar);
    response
        .headers_mut()
        .insert("x-docker-container-path-stat", stat_header(&stat)?);
    Ok(response)
}

async fn archive_put(call: Call, id: &str) -> Result<Response> {
    let path = archive_path(&call)?;
    let options = ArchivePutOptions {
        no_overwrite_dir_non_dir: call.query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: call.query.flag("copyUIDGID"),
    };
    let engine = call.api.engine.clone();
    engine
        .archive_put(id, &path, options, call.into_reader())
        .await?;
    Ok(call::empty(StatusCode::OK))
}

async fn commit(mut call: Call) -> Result<Response> {
    let config: Option<api::Config> = match call.method() {
        Method::POST => {
            let body = call.bytes().await?;
            let empty = body.iter().all(u8::is_ascii_whitespace);
            if empty {
                None
            } else {
                call.check_content_type(&body)?;
                decode::from_json(&body)?
            }
        }
        _ => None,
    };
    let query = &call.query;
    let options = CommitOptions {
        repo: query.get("repo").to_owned(),
        tag: query.get("tag").to_owned(),
        comment: query.get("comment").to_owned(),
        author: query.get("author").to_owned(),
        pause: query.flag_or("pause", true),
        changes: query.all("changes").map(str::to_owned).collect(),
        config,
    };
    let id = call
        .api
        .engine
        .commit(query.get("container"), options)
        .await?;
    call::json(StatusCode::CREATED, &CommitResponse { id })
}
