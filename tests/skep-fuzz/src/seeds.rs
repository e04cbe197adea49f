//! Valid inputs, small ones: what is changed keeps most of its shape.

use prost::Message as _;
use serde_json::{Value, json};
use skep_objects::{raftpb, swarmkit};

fn texts(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn documents(list: &[Value]) -> Vec<Vec<u8>> {
    list.iter()
        .map(|value| value.to_string().into_bytes())
        .collect()
}

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub fn references() -> Vec<Vec<u8>> {
    let digested = format!("host.test:5000/a/b_c:tag@{DIGEST}");
    texts(&[
        "nginx",
        "library/nginx:1.2",
        "localhost:5000/x",
        "[::1]:5000/x:y",
        &digested,
    ])
}

fn tar(entries: &[(&str, tar::EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let extensions: [(&str, &[u8]); 2] = [("SCHILY.xattr.user.a", &b"1"[..]), ("mtime", b"1.5")];
    // Writing to memory does not fail.
    let _ = tar.append_pax_extensions(extensions);
    for (name, kind, link, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(content.len() as u64);
        let _ = match link {
            &"" => tar.append_data(&mut header, name, *content),
            link => tar.append_link(&mut header, name, link),
        };
    }
    tar.into_inner().unwrap_or_default()
}

pub fn layers() -> Vec<Vec<u8>> {
    use tar::EntryType::{Directory, Fifo, Link, Regular, Symlink};
    let long = "very/".repeat(40) + "long";
    vec![
        tar(&[
            ("d/", Directory, "", b""),
            ("d/f", Regular, "", b"content"),
            ("d/.wh.gone", Regular, "", b""),
            ("d/.wh..wh..opq", Regular, "", b""),
            ("s", Symlink, "../outside", b""),
            ("s/x", Regular, "", b"x"),
            ("h", Link, "d/f", b""),
            ("p", Fifo, "", b""),
        ]),
        tar(&[(&long, Regular, "", b"1"), ("l", Symlink, &long, b"")]),
    ]
}

pub fn archives() -> Vec<Vec<u8>> {
    use tar::EntryType::Regular;
    let docker = json!([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l.tar"]}]);
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": DIGEST, "size": 0,
    }]});
    let config = manifests().pop().unwrap_or_default();
    vec![
        tar(&[
            ("manifest.json", Regular, "", docker.to_string().as_bytes()),
            ("c.json", Regular, "", &config),
            ("l.tar", Regular, "", &[0; 1024]),
        ]),
        tar(&[("index.json", Regular, "", index.to_string().as_bytes())]),
    ]
}

pub fn manifests() -> Vec<Vec<u8>> {
    let descriptor = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": DIGEST, "size": 7});
    documents(&[
        json!({"schemaVersion": 2, "config": descriptor, "layers": [descriptor]}),
        json!({"schemaVersion": 2, "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": DIGEST, "size": 9,
            "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"},
        }]}),
        json!({"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
            "config": {"Env": ["A=b"], "Cmd": ["sh"], "ExposedPorts": {"80/tcp": {}}},
            "rootfs": {"type": "layers", "diff_ids": [DIGEST]}, "history": [{"created_by": "x"}]}),
    ])
}

pub fn containers() -> Vec<Vec<u8>> {
    documents(&[
        json!({"Image": "a", "Cmd": ["sh", "-c", "true"], "Env": ["A=b"], "ExposedPorts": {"80/tcp": {}},
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000},
            "HostConfig": {"Binds": ["/a:/b:ro"], "Memory": 67_108_864, "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}}),
        json!({"Mounts": [{"Type": "volume", "Source": "v", "Target": "/t", "VolumeOptions": {"NoCopy": true}}],
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}, "Devices": [{"PathOnHost": "/dev/null"}]}),
        json!({"EndpointsConfig": {"n": {"IPAMConfig": {"IPv4Address": "10.0.0.2"}, "Aliases": ["a"]}}}),
        json!({"label": {"a=b": true}, "status": ["running"]}),
    ])
}

pub fn services() -> Vec<Vec<u8>> {
    documents(&[json!({
        "Name": "s", "Labels": {"a": "b"},
        "TaskTemplate": {
            "ContainerSpec": {"Image": "a", "Args": ["x"], "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1}}],
                "Secrets": [{"SecretID": "i", "SecretName": "n", "File": {"Name": "f", "UID": "0", "GID": "0", "Mode": 292}}],
                "Healthcheck": {"Test": ["NONE"]}, "Isolation": "default", "DNSConfig": {"Nameservers": ["1.1.1.1"]}},
            "Resources": {"Limits": {"NanoCPUs": 500_000_000, "MemoryBytes": 1_000_000}},
            "RestartPolicy": {"Condition": "any", "Delay": 5_000_000_000_u64, "Window": 1},
            "Placement": {"Constraints": ["node.role==manager"], "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.a"}}]},
            "Networks": [{"Target": "n", "Aliases": ["x"]}], "LogDriver": {"Name": "none"},
        },
        "Mode": {"Replicated": {"Replicas": 3}},
        "UpdateConfig": {"Parallelism": 2, "FailureAction": "rollback", "MaxFailureRatio": 0.5, "Order": "start-first"},
        "EndpointSpec": {"Mode": "vip", "Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host"}]},
    })])
}

pub fn streams() -> Vec<Vec<u8>> {
    vec![b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x03err\x03\0\0\0\0\0\0\x01x".to_vec()]
}

pub fn dns() -> Vec<Vec<u8>> {
    vec![
        b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x05tasks\0\0\x01\0\x01".to_vec(),
        b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01\x011\x010\x010\x0210\x07in-addr\x04arpa\0\0\x0c\0\x01\0\0\x29\x10\0\0\0\0\0\0\0".to_vec(),
    ]
}

pub fn messages() -> Vec<Vec<u8>> {
    let task = swarmkit::Task {
        id: "task".into(),
        service_id: "service".into(),
        slot: 3,
        spec: Some(swarmkit::TaskSpec::default().into()),
        status: Some(swarmkit::TaskStatus::default()),
        ..swarmkit::Task::default()
    };
    let message = raftpb::Message {
        entries: vec![raftpb::Entry::default(), raftpb::Entry::default()],
        ..raftpb::Message::default()
    };
    let framed = [&b"\0\0\0\x10\0\0\0\0\0\0\0\x01"[..], &[7; 32]].concat();
    vec![task.encode_to_vec(), message.encode_to_vec(), framed]
}

pub fn stacks() -> Vec<Vec<u8>> {
    texts(&[
        "version: \"3.8\"\nservices: {\"a.\": {image: x, deploy: {replicas: -1}}}\n",
        "version: \"3.8\"\nservices:\n  web:\n    image: nginx:${TAG:-1}\n    ports: [\"8080:80\", {target: 1, published: 2}]\n    deploy:\n      replicas: 2\n      update_config: {parallelism: 1, delay: 1m30s}\n    volumes: [\"data:/data:ro\", \"./x:/y\"]\n    networks: [n]\n    secrets: [s]\nvolumes: {data: {}}\nnetworks: {n: {driver: overlay}}\nsecrets: {s: {external: true}}\n",
        "x-a: &a\n  image: b\nservices:\n  c:\n    <<: *a\n    command: [\"sh\", \"-c\", \"true\"]\n    healthcheck: {test: [\"CMD\", \"x\"], interval: 10s}\n    depends_on: {d: {condition: service_healthy}}\n  d:\n    <<: *a\n",
    ])
}

pub fn oci() -> Vec<Vec<u8>> {
    documents(&[json!({
        "ociVersion": "1.2.0",
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "capabilities": {"bounding": ["CAP_KILL"]}},
        "root": {"path": "rootfs", "readonly": true},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "rbind", "size=1m"]}],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}],
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{"names": ["read", "nothing"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]},
            "resources": {"memory": {"limit": 1}}},
        "hooks": {"prestart": [{"path": "/bin/true"}]},
    })])
}

pub fn users() -> Vec<Vec<u8>> {
    texts(&[
        "nobody:nogroup|root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:\n|root:x:0:\nwheel:x:10:nobody\n",
    ])
}

pub fn tokens() -> Vec<Vec<u8>> {
    texts(&[
        "SWMTKN-1-49nj1cmql0jkz5s954yi3oex3nedyz0fb0xx14ie39trti4wxv-8vxv8rssmk743ojnwacrr2e7c",
    ])
}

pub fn requests() -> Vec<Vec<u8>> {
    documents(&[
        json!({"AttachStdout": true, "Cmd": ["sh"], "Tty": true, "ConsoleSize": [24, 80], "Env": ["A=b"], "DetachKeys": "ctrl-x"}),
        json!({"Name": "n", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": "10.1.0.0/16", "Gateway": "10.1.0.1", "AuxiliaryAddresses": {"a": "10.1.0.9"}}]},
            "Options": {"com.docker.network.bridge.name": "br"}, "EnableIPv6": false, "ConfigFrom": {"Network": "c"}}),
        json!({"Container": "c", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.1.0.2", "LinkLocalIPs": ["169.254.1.1"]}, "DriverOpts": {"a": "b"}}}),
        json!({"Name": "v", "Driver": "local", "DriverOpts": {"type": "nfs", "o": "addr=1.2.3.4", "device": ":/x"}, "Labels": {"a": "b"}}),
        json!({"Memory": 5, "CpusetCpus": "0-1", "PidsLimit": -1, "RestartPolicy": {"Name": "always"}, "BlkioWeightDevice": [{"Path": "/dev/sda", "Weight": 5}]}),
    ])
}

pub fn swarms() -> Vec<Vec<u8>> {
    documents(&[
        json!({"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "10.0.0.1", "DefaultAddrPool": ["10.0.0.0/8"], "SubnetSize": 24,
            "Spec": {"Orchestration": {"TaskHistoryRetentionLimit": 5}, "Raft": {"SnapshotInterval": 1, "ElectionTick": 3},
                "CAConfig": {"NodeCertExpiry": 7_776_000_000_000_000_u64, "ExternalCAs": [{"Protocol": "cfssl", "URL": "https://x"}]},
                "EncryptionConfig": {"AutoLockManagers": true}, "TaskDefaults": {"LogDriver": {"Name": "none"}}}}),
        json!({"RemoteAddrs": ["10.0.0.1:2377"], "JoinToken": "SWMTKN-1-a-b", "Availability": "drain"}),
        json!({"Role": "manager", "Availability": "active", "Labels": {"a": "b"}}),
        json!({"Name": "s", "Data": "YQ==", "Labels": null, "Templating": {"Name": "golang"}, "Driver": {"Name": "d"}}),
    ])
}

pub fn credentials() -> Vec<Vec<u8>> {
    texts(&["eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InAifQ==", "bnVsbA"])
}

pub fn log_records() -> Vec<Vec<u8>> {
    texts(&[
        "{\"log\":\"a\\u0000b\\n\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"b\"},\"time\":\"2026-01-01T00:00:00.123456789Z\"}\n",
        "{\"log\":\"x\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:00+01:00\"}\n{\"log\":\"half",
    ])
}

pub fn frames() -> Vec<Vec<u8>> {
    skep_runtime::fuzz::frames()
}

/// Answers of the kernel: a link with nested attributes, a route, a flow.
pub fn netlink() -> Vec<Vec<u8>> {
    let attribute = |kind: u16, value: &[u8]| {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let message = |kind: u16, body: &[u8]| {
        let length = u32::try_from(body.len() + 16).unwrap_or(u32::MAX);
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&[2, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(body);
        bytes
    };
    let kind = attribute(1, b"vxlan\0");
    let link = [
        &[0; 16][..],
        &attribute(3, b"eth0\0"),
        &attribute(18, &kind),
    ]
    .concat();
    let route = [
        &[2, 24, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0][..],
        &attribute(1, &[10, 0, 0, 0]),
    ]
    .concat();
    let tuple = attribute(
        1,
        &[attribute(1, &[10, 0, 0, 1]), attribute(2, &[10, 0, 0, 2])].concat(),
    );
    let flow = [&[2, 0, 0, 0][..], &attribute(1, &tuple)].concat();
    vec![
        [message(16, &link), message(24, &route)].concat(),
        message(256, &flow),
        message(2, &[0; 20]),
    ]
}

pub fn templates() -> Vec<Vec<u8>> {
    let bodies = |text: &str| text.repeat(60);
    let endless = format!(
        "{{{{define \"a\"}}}}{}{{{{template \"a\"}}}}{}{{{{end}}}}{{{{template \"a\"}}}}",
        bodies("{{if 1}}"),
        bodies("{{end}}")
    );
    texts(&[
        &endless,
        "{{$k := 1}}{{range $k, $v = .Labels}}{{$v}}{{end}}{{printf \"%[2]*.[1]*f\" 1 2 3.0}}",
        "{{.ID}}\t{{json .Labels}} {{if eq .Name \"a\"}}x{{else}}{{upper .Name}}{{end}}",
        "{{range $i, $e := .List}}{{$i}}={{printf \"%-5s|%d\" $e 3}}{{end}}{{with .X}}{{.}}{{end}}",
        "table {{.Names}}\t{{truncate .ID 3}}{{- /* c */ -}}",
    ])
}

pub fn task_templates() -> Vec<Vec<u8>> {
    texts(&[
        "{{.Service.Name}}-{{.Task.Slot}}.{{index .Service.Labels \"a\"}}",
        "{{env \"A\"}}{{if eq .Slot 1}}x{{else}}y{{end}}{{join \",\" .Service.Name .Task.ID}}{{range .Service.Labels}}{{.}}{{end}}",
    ])
}
