//! The image of these tests: busybox of this machine, users to be, a file to copy up, a page to serve.

use tar::EntryType;

const APPLETS: &[&str] = &[
    "sh", "true", "false", "cat", "echo", "sleep", "id", "ls", "env", "kill", "hostname", "stat",
    "tty", "stty", "grep", "head", "touch", "mount", "seq", "printf", "test", "ps", "rm", "httpd",
    "wget", "nslookup", "ip", "nc", "ln",
];

/// A tar of its root.
pub fn busybox() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode) in [
        ("bin", 0o755),
        ("etc", 0o755),
        ("data", 0o750),
        ("tmp", 0o1777),
        ("www", 0o755),
    ] {
        let mut header = header(EntryType::Directory, mode, 0);
        tar.append_data(&mut header, path, &b""[..]).unwrap();
    }
    let program = std::fs::read("/bin/busybox").unwrap();
    let files: [(&str, u32, &[u8]); 5] = [
        ("bin/busybox", 0o755, &program),
        (
            "etc/passwd",
            0o644,
            b"root:x:0:0::/root:/bin/sh\nweb:x:33:44::/srv:/bin/sh\n",
        ),
        ("etc/group", 0o644, b"root:x:0:\nweb:x:44:\nmore:x:55:web\n"),
        ("data/seed", 0o640, b"from the image\n"),
        ("www/page", 0o644, b"honey\n"),
    ];
    for (path, mode, bytes) in files {
        let mut header = header(EntryType::Regular, mode, bytes.len());
        tar.append_data(&mut header, path, bytes).unwrap();
    }
    for applet in APPLETS {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")
            .unwrap();
    }
    tar.into_inner().unwrap()
}

fn header(kind: EntryType, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
