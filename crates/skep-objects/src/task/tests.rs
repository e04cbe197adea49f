//! Tasks by hand are what `objects.proto` and `types.proto` say they are.

use prost::Message;
use prost::bytes::{Buf, Bytes};

use super::task_status::RuntimeStatus;
use super::{Task, TaskStatus};
use crate::swarmkit::{ContainerStatus, Meta, NetworkAttachment, PortStatus, Version};

fn task() -> Task {
    let status = TaskStatus {
        timestamp: Some(prost_types::Timestamp {
            seconds: 7,
            nanos: 8,
        }),
        state: 512,
        message: "started".into(),
        err: "é".into(),
        runtime_status: Some(RuntimeStatus::Container(ContainerStatus {
            container_id: "c1".into(),
            pid: -1,
            exit_code: 3,
        })),
        port_status: Some(Box::new(PortStatus::default())),
        applied_by: "m1".into(),
        applied_at: Some(prost_types::Timestamp::default()),
    };
    Task {
        id: "t1".into(),
        meta: Some(Meta {
            version: Some(Version { index: 300 }),
            ..Default::default()
        }),
        spec: Some(Default::default()),
        service_id: "s1".into(),
        slot: 300,
        node_id: "n1".into(),
        annotations: Some(Default::default()),
        service_annotations: Some(Default::default()),
        status: Some(status),
        desired_state: 512,
        networks: vec![NetworkAttachment {
            addresses: vec!["10.0.0.2/24".into()],
            ..Default::default()
        }],
        endpoint: Some(Default::default()),
        log_driver: Some(Default::default()),
        spec_version: Some(Version { index: 9 }),
        assigned_generic_resources: vec![Default::default()],
        job_iteration: Some(Version::default()),
        volumes: vec![Default::default(); 2],
    }
}

/// The bytes that SwarmKit's own marshaller gives for this task: tag, length, content.
const BYTES: &[&[u8]] = &[
    b"\x0a\x02t1",
    b"\x12\x05\x0a\x03\x08\xac\x02",
    b"\x1a\x00",
    b"\x22\x02s1",
    b"\x28\xac\x02",
    b"\x32\x02n1",
    b"\x3a\x00\x42\x00",
    b"\x4a\x31\x0a\x04\x08\x07\x10\x08\x10\x80\x04\x1a\x07started\x22\x02\xc3\xa9",
    b"\x2a\x11\x0a\x02c1\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x18\x03",
    b"\x32\x00\x3a\x02m1\x42\x00",
    b"\x50\x80\x04",
    b"\x5a\x0d\x12\x0b10.0.0.2/24",
    b"\x62\x00\x6a\x00",
    b"\x72\x02\x08\x09",
    b"\x7a\x00",
    b"\x82\x01\x00",
    b"\x8a\x01\x00\x8a\x01\x00",
];

#[test]
fn a_task_has_the_bytes_of_its_message() {
    let bytes = task().encode_to_vec();
    assert_eq!(bytes, BYTES.concat());
    assert_eq!(bytes.len(), task().encoded_len());
    assert_eq!(Task::decode(&bytes[..]).ok(), Some(task()));
}

#[test]
fn a_task_in_pieces_is_read_all_the_same() {
    let bytes = task().encode_to_vec();
    for cut in 0..bytes.len() {
        let (one, other) = (&bytes[..cut], Bytes::copy_from_slice(&bytes[cut..]));
        let read = Task::decode(Buf::chain(one, other));
        assert_eq!(read.ok(), Some(task()), "cut at {cut}");
    }
}

#[test]
fn fields_not_known_are_passed_over_and_nonsense_is_refused() {
    let mut more = task().encode_to_vec();
    more.extend_from_slice(b"\xfa\x3f\x03abc");
    assert_eq!(Task::decode(&more[..]).ok(), Some(task()));
    for bad in [
        &b"\x22\x02\xff\xff"[..],
        b"\x22\x7fs1",
        b"\x20\x01",
        b"\x4a\x02\x1a\x05",
    ] {
        assert!(Task::decode(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_empty_task_has_no_bytes() {
    assert_eq!(Task::default().encode_to_vec(), b"");
    assert_eq!(Task::decode(&b""[..]).ok(), Some(Task::default()));
}

const OBJECTS: &str = include_str!("../../proto/docker/swarmkit/v1/objects.proto");
const TYPES: &str = include_str!("../../proto/docker/swarmkit/v1/types.proto");

/// Number, name and type of each field that a file declares for a message; what is one of several
/// has the name of the choice.
fn declared(file: &str, message: &str) -> Vec<(u32, String, String)> {
    let head = format!("\nmessage {message} {{\n");
    let (_, rest) = file.split_once(&head).expect("the message");
    let (body, _) = rest.split_once("\n}\n").expect("its end");
    let (mut fields, mut choice) = (Vec::new(), None);
    for line in body.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("oneof ") {
            choice = Some(name.trim_end_matches(" {"));
        } else if line == "}" {
            choice = None;
        } else if let Some((field, number)) = line
            .strip_suffix(';')
            .and_then(|line| line.split_once(" = "))
        {
            let (of_type, name) = field.rsplit_once(' ').expect("a type and a name");
            let name = choice.unwrap_or(name).to_owned();
            let of_type = of_type.replace("google.protobuf.", "");
            fields.push((number.parse().expect("a number"), name, of_type));
        } else {
            assert!(line.is_empty() || line.starts_with("//"), "what is {line}?");
        }
    }
    fields
}

/// The type that a field of a Rust type is declared with.
fn declaration(rust_type: &str) -> String {
    let names: Vec<&str> = rust_type
        .split(['<', '>'])
        .filter_map(|path| path.rsplit("::").next())
        .filter(|name| !name.is_empty())
        .collect();
    match names[..] {
        ["String" | "Text"] => "string".to_owned(),
        ["u64"] => "uint64".to_owned(),
        // The only numbers of this type are states.
        ["i32"] => "TaskState".to_owned(),
        ["Option", "RuntimeStatus"] => "ContainerStatus".to_owned(),
        ["Option", "Shared", name] => format!("Shared{name}"),
        ["Option", name] | ["Option", "Box", name] => name.to_owned(),
        ["Vec", name] => format!("repeated {name}"),
        _ => panic!("{rust_type} is not known here"),
    }
}

#[test]
fn each_field_is_the_declared_one() {
    let check = |file: &str, message: &str, fields: Vec<(u32, &str, &str)>| {
        let ours: Vec<(u32, String, String)> = fields
            .into_iter()
            .map(|(number, name, of_type)| (number, name.to_owned(), declaration(of_type)))
            .collect();
        assert_eq!(ours, declared(file, message), "{message}");
    };
    check(OBJECTS, "Task", Task::fields());
    check(TYPES, "TaskStatus", TaskStatus::fields());
}
