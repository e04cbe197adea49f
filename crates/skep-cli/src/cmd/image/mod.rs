//! `image`: images of this host.

mod list;
mod progress;
mod pull;
mod transfer;

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
        "-a, --all\n--digests\n-f, --filter filter\n--format string\n--no-trunc\n-q, --quiet",
        |c, m| Box::pin(list::ls(c, m)),
    ),
    command(
        "image pull",
        &["pull"],
        "[OPTIONS] NAME[:TAG|@DIGEST]",
        "Get an image from a registry",
        Arity::Exactly(1),
        "-a, --all-tags\n--disable-content-trust bool=true @hidden\n--platform string @1.32\n-q, --quiet",
        |c, m| Box::pin(transfer::pull(c, m)),
    ),
    command(
        "image push",
        &["push"],
        "[OPTIONS] NAME[:TAG]",
        "Bring an image to a registry",
        Arity::Exactly(1),
        "-a, --all-tags\n--disable-content-trust bool=true @hidden\n--platform string @1.46\n-q, --quiet",
        |c, m| Box::pin(transfer::push(c, m)),
    ),
    command(
        "image tag",
        &["tag"],
        "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        "Give an image another name",
        Arity::Exactly(2),
        "",
        |c, m| Box::pin(list::tag(c, m)),
    ),
    command(
        "image rm",
        &["image remove", "rmi"],
        "[OPTIONS] IMAGE [IMAGE...]",
        "Remove images",
        Arity::AtLeast(1),
        "-f, --force\n--no-prune\n--platform list @1.50",
        |c, m| Box::pin(list::rm(c, m)),
    ),
    command(
        "image load",
        &["load"],
        "[OPTIONS]",
        "Load images from an archive",
        Arity::None,
        "-i, --input string\n--platform list @1.48\n-q, --quiet",
        |c, m| Box::pin(transfer::load(c, m)),
    ),
    command(
        "image save",
        &["save"],
        "[OPTIONS] IMAGE [IMAGE...]",
        "Save images to an archive",
        Arity::AtLeast(1),
        "-o, --output string\n--platform list @1.48",
        |c, m| Box::pin(transfer::save(c, m)),
    ),
    command(
        "image import",
        &["import"],
        "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        "Make an image of an archive of files",
        Arity::AtLeast(1),
        "-c, --change list\n-m, --message string\n--platform string @1.32",
        |c, m| Box::pin(transfer::import(c, m)),
    ),
    command(
        "image inspect",
        &[],
        "[OPTIONS] IMAGE [IMAGE...]",
        "Show images in detail",
        Arity::AtLeast(1),
        "-f, --format string\n--platform string @1.49",
        |c, m| Box::pin(list::show(c, m)),
    ),
    command(
        "image history",
        &["history"],
        "[OPTIONS] IMAGE",
        "Show an image's layers",
        Arity::Exactly(1),
        "--format string\n-H, --human bool=true\n--no-trunc\n--platform string @1.48\n-q, --quiet",
        |c, m| Box::pin(list::history(c, m)),
    ),
    command(
        "image prune",
        &[],
        "[OPTIONS]",
        "Remove images that nothing uses",
        Arity::None,
        "-a, --all\n--filter filter\n-f, --force",
        |c, m| Box::pin(super::prune::images(c, m)),
    ),
];
