//! `image`: images of this host.

mod list;
mod progress;
mod pull;
mod transfer;
mod tree;

use crate::grammar::{Arity, Command, command};

pub(crate) use list::items_of;
pub(crate) use pull::{pull_image, tagged};
pub(crate) use transfer::{save_stream, writable_output};

pub(super) const COMMANDS: &[Command] = &[
    command(
        "image ls",
        &["image list", "images"],
        "[OPTIONS] [REPOSITORY[:TAG]]",
        "List images",
        Arity::AtMost(1),
        "-a, --all\n--digests\n-f, --filter filter\n--format string\n--no-trunc\n-q, --quiet\n--tree @1.47",
        |c, m| Box::pin(list::ls(c, m)),
    ),
    command(
        "image pull",
        &["pull"],
        "[OPTIONS] NAME[:TAG|@DIGEST]",
        "Download an image from a registry",
        Arity::Exactly(1),
        "-a, --all-tags\n--disable-content-trust bool=true\n--platform string @1.32\n-q, --quiet",
        |c, m| Box::pin(transfer::pull(c, m)),
    ),
    command(
        "image push",
        &["push"],
        "[OPTIONS] NAME[:TAG]",
        "Upload an image to a registry",
        Arity::Exactly(1),
        "-a, --all-tags\n--disable-content-trust bool=true\n--platform string @1.46\n-q, --quiet",
        |c, m| Box::pin(transfer::push(c, m)),
    ),
    command(
        "image tag",
        &["tag"],
        "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
        Arity::Exactly(2),
        "",
        |c, m| Box::pin(list::tag(c, m)),
    ),
    command(
        "image rm",
        &["image remove", "rmi"],
        "[OPTIONS] IMAGE [IMAGE...]",
        "Remove one or more images",
        Arity::AtLeast(1),
        "-f, --force\n--no-prune\n--platform strings @1.50",
        |c, m| Box::pin(list::rm(c, m)),
    ),
    command(
        "image load",
        &["load"],
        "[OPTIONS]",
        "Load an image from a tar archive or STDIN",
        Arity::None,
        "-i, --input string\n--platform string @1.48\n-q, --quiet",
        |c, m| Box::pin(transfer::load(c, m)),
    ),
    command(
        "image save",
        &["save"],
        "[OPTIONS] IMAGE [IMAGE...]",
        "Save one or more images to a tar archive (streamed to STDOUT by default)",
        Arity::AtLeast(1),
        "-o, --output string\n--platform string @1.48",
        |c, m| Box::pin(transfer::save(c, m)),
    ),
    command(
        "image import",
        &["import"],
        "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        "Import the contents from a tarball to create a filesystem image",
        Arity::AtLeast(1),
        "-c, --change list\n-m, --message string\n--platform string @1.32",
        |c, m| Box::pin(transfer::import(c, m)),
    ),
    command(
        "image inspect",
        &[],
        "[OPTIONS] IMAGE [IMAGE...]",
        "Display detailed information on one or more images",
        Arity::AtLeast(1),
        "-f, --format string\n--platform string @1.49",
        |c, m| Box::pin(list::show(c, m)),
    ),
    command(
        "image history",
        &["history"],
        "[OPTIONS] IMAGE",
        "Show the history of an image",
        Arity::Exactly(1),
        "--format string\n-H, --human bool=true\n--no-trunc\n--platform string @1.48\n-q, --quiet",
        |c, m| Box::pin(list::history(c, m)),
    ),
    command(
        "image prune",
        &[],
        "[OPTIONS]",
        "Remove unused images",
        Arity::None,
        "-a, --all\n--filter filter\n-f, --force",
        |c, m| Box::pin(super::prune::images(c, m)),
    ),
];
