//! What fuzzing calls; no interface for anybody else. Images have their own: [`crate::image::fuzz`].

/// A piece of a container's log file.
pub fn log_record(bytes: &[u8]) {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let _ = crate::logs::parse(line);
    }
}
