//! `SCMP_ACT_NOTIFY`: who listens gets the filter's descriptor with the container process state, and
//! decides what calls yield.
#![allow(unsafe_code, reason = "answers are ioctls")]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::{Value, json};

use crate::support::Bundle;
use crate::support::runtime::{Runtime, silent};

/// `struct seccomp_notif`; of its data only the call's number is of interest.
#[repr(C)]
#[derive(Default)]
struct Asked {
    id: u64,
    pid: u32,
    flags: u32,
    number: i32,
    rest: [u32; 15],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;

/// Takes one connection: the state that came, and the descriptor beside it.
fn take(listener: &UnixListener) -> (Value, OwnedFd) {
    let (connection, _) = listener.accept().unwrap();
    let (mut text, mut fds) = (Vec::new(), Vec::new());
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = [0; 4096];
        let parts = &mut [std::io::IoSliceMut::new(&mut buffer)];
        let got = rustix::net::recvmsg(&connection, parts, &mut control, RecvFlags::CMSG_CLOEXEC);
        let bytes = got.unwrap().bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                fds.extend(more);
            }
        }
        // The connection carries one state, and ends.
        if bytes == 0 {
            break;
        }
        text.extend_from_slice(&buffer[..bytes]);
    }
    let fd = fds.pop().expect("a descriptor");
    (serde_json::from_slice(&text).unwrap(), fd)
}

/// Answers one call with ENODEV.
fn refuse_one(fd: &OwnedFd) {
    let mut asked = Asked::default();
    // SAFETY: the kernel writes one structure of this size.
    let received = unsafe { libc::ioctl(fd.as_raw_fd(), RECEIVE, &raw mut asked) };
    assert_eq!(received, 0, "{}", std::io::Error::last_os_error());
    let answer = Answer {
        id: asked.id,
        value: 0,
        error: -libc::ENODEV,
        flags: 0,
    };
    // SAFETY: the kernel reads one structure of this size.
    let sent = unsafe { libc::ioctl(fd.as_raw_fd(), SEND, &raw const answer) };
    assert_eq!(sent, 0, "{}", std::io::Error::last_os_error());
}

/// Listens for as many processes; returns the states that came.
fn listen(bundle: &Bundle, processes: usize) -> JoinHandle<Vec<Value>> {
    let listener = UnixListener::bind(bundle.dir.join("listener.sock")).unwrap();
    std::thread::spawn(move || {
        (0..processes)
            .map(|_| {
                let (state, fd) = take(&listener);
                refuse_one(&fd);
                state
            })
            .collect()
    })
}

fn profile(bundle: &Bundle) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "listenerPath": bundle.dir.join("listener.sock"),
        "listenerMetadata": "who asks",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }],
    })
}

#[test]
fn who_listens_decides_what_a_call_yields() {
    for privileges in [true, false] {
        let bundle = Bundle::shell("mkdir /x 2>&1; grep Seccomp: /proc/self/status");
        let profile = profile(&bundle);
        let bundle = bundle
            .set("/linux/seccomp", profile)
            .set("/process/noNewPrivileges", privileges.into());
        let listening = listen(&bundle, 1);
        let (code, out, err) = Runtime::ours(&bundle).run(&bundle);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        assert_eq!(
            out,
            "mkdir: can't create directory '/x': No such device\nSeccomp:\t2\n"
        );
        let state = listening.join().unwrap().remove(0);
        assert_eq!(state["fds"], json!(["seccompFd"]));
        assert_eq!(state["metadata"], "who asks");
        assert_eq!(state["pid"], state["state"]["pid"]);
        assert_eq!(state["state"]["status"], "creating");
        assert_eq!(state["state"]["id"], bundle.id.as_str());
        assert!(state["ociVersion"].is_string() && state["state"]["bundle"].is_string());
        bundle.assert_clean();
    }
}

#[test]
fn a_further_process_has_a_listener_of_its_own() {
    let bundle = Bundle::new(&["sh", "-c", "mkdir /x; sleep 1000"]);
    let profile = profile(&bundle);
    let bundle = bundle.set("/linux/seccomp", profile);
    let (ours, listening) = (Runtime::ours(&bundle), listen(&bundle, 2));
    bundle.write();
    silent(
        &ours,
        &[
            "create",
            "--bundle",
            bundle.dir.to_str().unwrap(),
            &bundle.id,
        ],
    );
    ours.ok(&["start", &bundle.id]);
    let output = ours.call(&["exec", &bundle.id, "mkdir", "/y"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("'/y': No such device"), "{said}");
    let states = listening.join().unwrap();
    assert_eq!(states[1]["state"]["status"], "running");
    assert_ne!(states[1]["pid"], states[1]["state"]["pid"]);
    ours.ok(&["delete", "--force", &bundle.id]);
    bundle.assert_clean();
}

#[test]
fn a_filter_that_nobody_could_answer_is_refused() {
    let refused = |change: fn(&mut Value), expect: &str| {
        let bundle = Bundle::shell("true");
        let mut profile = profile(&bundle);
        change(&mut profile);
        let bundle = bundle.set("/linux/seccomp", profile);
        let (code, _, err) = Runtime::ours(&bundle).run(&bundle);
        assert_eq!(code, 1, "{expect}");
        assert!(err.contains(expect), "{err:?} lacks {expect:?}");
        bundle.assert_clean();
    };
    refused(|p| p["listenerPath"] = json!(""), "listenerPath is not set");
    refused(
        |p| (p["listenerPath"], p["syscalls"]) = (json!(""), json!([])),
        "listenerMetadata is set",
    );
    refused(
        |p| p["defaultAction"] = json!("SCMP_ACT_NOTIFY"),
        "cannot be used as default action",
    );
    refused(
        |p| p["syscalls"][0]["names"] = json!(["write"]),
        "cannot be used for the write syscall",
    );
    refused(|_| (), "connect to the seccomp listener");
}
