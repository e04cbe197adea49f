//! Building images, which is not ours to do: a clear word instead, and `builder prune` for daemons
//! that have something to prune.

use crate::context::Context;
use crate::error::CliError;
use crate::grammar::{Arity, Command, Matches, command};

pub(super) const COMMANDS: &[Command] = &[
    command(
        "image build",
        &["build", "builder build"],
        "[OPTIONS] PATH | URL | -",
        "Build an image (not supported)",
        Arity::AtLeast(0),
        "",
        |c, m| Box::pin(refuse(c, m)),
    )
    .until_argument(),
    command(
        "builder prune",
        &[],
        "",
        "Remove build cache",
        Arity::None,
        "-a, --all\n--filter filter\n-f, --force\n--keep-storage bytes",
        |c, m| Box::pin(super::prune::builds(c, m)),
    ),
];

async fn refuse(_: &Context, _: &Matches) -> Result<(), CliError> {
    Err(CliError::new(
        "building images is not supported by skep: build with another tool (buildah, kaniko, docker buildx with a builder of its own) and 'docker load' or 'docker pull' the result",
    ))
}
