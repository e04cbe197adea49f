//! The demo image: an empty file system with this program in it.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use skep_testkit::Host;

/// Name of the image on every host.
pub(super) const NAME: &str = "skep-demo:latest";

/// The image's file system, as `docker import` takes it.
pub(super) fn archive(program: &Path) -> Result<Vec<u8>> {
    let content = std::fs::read(program).with_context(|| format!("read {}", program.display()))?;
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, "skep", content.as_slice())?;
    Ok(tar.into_inner()?)
}

/// Gives a host the image.
pub(super) fn import(host: &Host, archive: &[u8]) -> Result<()> {
    let path = "/images/create?fromSrc=-&repo=skep-demo&tag=latest&changes=CMD%20%5B%22%2Fskep%22%2C%22demo-web%22%5D";
    let answer = host.upload(path, archive)?;
    if answer.status != 200 || answer.text().contains("\"error\"") {
        bail!("import the demo image on {}: {}", host.name, answer.text());
    }
    Ok(())
}
