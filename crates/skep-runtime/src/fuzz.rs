//! What fuzzing calls; no interface for anybody else.

use oci_spec::runtime::Spec;

use crate::shim::protocol::{self, Decoder, Kind, Reply, Request};

/// An OCI configuration, as far as it is read before the kernel is asked for anything.
pub fn oci_config(bytes: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<Spec>(bytes) else {
        return;
    };
    for mount in spec.mounts().iter().flatten() {
        let options = mount.options().iter().flatten().map(String::as_str);
        let options = crate::container::MountOptions::parse(options);
        let _ = (options.bind_attributes(), options.tree_attributes());
    }
    let linux = spec.linux().as_ref();
    let seccomp = linux.and_then(|linux| linux.seccomp().as_ref());
    if let (Some(seccomp), Some(process)) = (seccomp, spec.process()) {
        let _ = crate::seccomp::load(None, Some(seccomp), process);
    }
}

/// The files that a user's name is looked up in: they come with the image.
pub fn user_files(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (user, rest) = text.split_once('|').unwrap_or(("root", &text));
    let (passwd, group) = rest.split_once('|').unwrap_or((rest, ""));
    let _ = crate::user::resolve(user, &["wheel".to_owned()], passwd, group);
}

/// What comes over a shim's socket.
pub fn shim_frame(bytes: &[u8]) {
    let mut decoder = Decoder::default();
    // As it comes in pieces.
    for piece in bytes.chunks(7) {
        decoder.push(piece);
        while let Ok(Some(frame)) = decoder.next_frame() {
            let _ = (frame.request(), frame.reply(), frame.event());
        }
    }
}

/// Frames as they should be.
#[must_use]
pub fn frames() -> Vec<Vec<u8>> {
    let mut output = Request::Hello.to_bytes();
    protocol::encode(Kind::Stdout, b"out", &mut output);
    let resize = Request::Resize {
        exec: Some("e".to_owned()),
        rows: 1,
        columns: 2,
    };
    vec![output, resize.to_bytes(), Reply::Ok.to_bytes()]
}
