//! What fuzzing calls; no interface for anybody else.

use std::path::Path;

use crate::client::frame;
use crate::compose::{LoadOptions, convert, load};
use crate::output::Template;

/// A stack file, loaded and converted as `stack deploy` does. Written to `file`, since that is what
/// its loader reads.
pub fn stack_file(file: &Path, bytes: &[u8]) {
    if std::fs::write(file, bytes).is_err() {
        return;
    }
    let options = LoadOptions {
        files: vec![file.display().to_string()],
        ..LoadOptions::default()
    };
    if let Ok(loaded) = load(&options) {
        let _ = convert(&loaded, "stack");
    }
}

/// A multiplexed stream of standard output and error.
pub fn multiplexed(bytes: &[u8]) {
    let mut kept = bytes::BytesMut::from(bytes);
    while let Ok(Some(_)) = frame(&mut kept) {}
}

/// A template of `--format`, and what it makes of an object.
pub fn template(bytes: &[u8]) {
    let object = serde_json::json!({"ID": "abc", "Name": "a", "Labels": {"a": "b"}, "List": [1, 2], "X": null});
    if let Ok(template) = Template::compile(&String::from_utf8_lossy(bytes)) {
        let _ = template.render(&object, "swarm.Service");
        let _ = template.render_raw(&object);
        let _ = template.render_heads(&object);
    }
}
