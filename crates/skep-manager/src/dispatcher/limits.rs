//! What nodes may make the managers store: their reports are kept by every manager, in every copy
//! of the object that they are about.

use prost::Message;
use skep_objects::{
    Text,
    swarmkit::{NodeDescription, TaskStatus, task_status::RuntimeStatus},
};
use tonic::Status;

/// The largest description of a node.
pub const MAX_DESCRIPTION_BYTES: usize = 256 << 10;
/// The longest text of a task's state; what is longer loses its end.
pub const MAX_TEXT_BYTES: usize = 4 << 10;
/// The largest state of a task as a whole. One that is larger loses what describes its container.
pub const MAX_STATUS_BYTES: usize = 64 << 10;

const CUT: &str = "… (truncated)";

/// Refuses a description that is too large.
pub fn check_description(description: &NodeDescription) -> Result<(), Status> {
    let bytes = description.encoded_len();
    if bytes > MAX_DESCRIPTION_BYTES {
        return Err(Status::invalid_argument(format!(
            "node description of {bytes} bytes is larger than {MAX_DESCRIPTION_BYTES} bytes"
        )));
    }
    Ok(())
}

/// The report of a task's state, no larger than may be.
#[must_use]
pub fn bounded(mut status: TaskStatus) -> TaskStatus {
    cut(&mut status.message);
    cut(&mut status.err);
    // Written by managers.
    status.applied_by.clear();
    status.applied_at = None;
    if status.encoded_len() > MAX_STATUS_BYTES {
        status.port_status = None;
        if let Some(RuntimeStatus::Container(container)) = &mut status.runtime_status
            && container.container_id.len() > MAX_TEXT_BYTES
        {
            container.container_id.clear();
        }
    }
    status
}

fn cut(text: &mut Text) {
    if text.len() > MAX_TEXT_BYTES {
        let last = MAX_TEXT_BYTES - CUT.len();
        let end = (0..=last).rev().find(|at| text.is_char_boundary(*at));
        let end = end.unwrap_or(0);
        *text = format!("{}{CUT}", &text[..end]).into();
    }
}

#[cfg(test)]
mod tests {
    use skep_objects::swarmkit::{ContainerStatus, PortConfig, PortStatus};

    use super::*;

    #[test]
    fn long_texts_lose_their_end() {
        let status = |length: usize| TaskStatus {
            err: "ä".repeat(length).into(),
            ..TaskStatus::default()
        };
        assert_eq!(bounded(status(100)), status(100));
        let cut = bounded(status(1 << 20)).err;
        assert!(cut.len() <= MAX_TEXT_BYTES && cut.len() > MAX_TEXT_BYTES - 4);
        assert!(cut.ends_with("ä… (truncated)"), "{cut}");
    }

    #[test]
    fn a_state_is_stored_whatever_it_is_described_with() {
        let container = ContainerStatus {
            container_id: "c".repeat(1 << 20),
            exit_code: 7,
            ..ContainerStatus::default()
        };
        let ports = vec![PortConfig::default(); 100_000];
        let status = bounded(TaskStatus {
            state: 5,
            runtime_status: Some(RuntimeStatus::Container(container)),
            port_status: Some(PortStatus { ports }.into()),
            ..TaskStatus::default()
        });
        assert!(status.encoded_len() < MAX_STATUS_BYTES);
        let Some(RuntimeStatus::Container(container)) = status.runtime_status else {
            panic!("its exit code is kept");
        };
        assert_eq!(container.exit_code, 7);
    }

    #[test]
    fn a_description_has_a_size() {
        let mut description = NodeDescription::default();
        check_description(&description).unwrap();
        description.hostname = "h".repeat(MAX_DESCRIPTION_BYTES);
        let refused = check_description(&description).unwrap_err();
        assert!(refused.message().ends_with("is larger than 262144 bytes"));
    }
}
