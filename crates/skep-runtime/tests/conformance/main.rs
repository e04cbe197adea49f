//! The OCI runtime specification 1.2, row by row: what each property of `config.json` does as seen from
//! inside, what is refused, and what each operation may and must not do. What has a counterpart in
//! Debian's runc is compared with it in `oci.rs`. Needs root and busybox-static.
#![allow(clippy::unwrap_used, reason = "a test panics")]

#[path = "../support/mod.rs"]
mod support;

mod hooks;
mod kernel;
mod listener;
mod namespaces;
mod operations;
mod process;
mod root;

use serde_json::Value;
use support::Bundle;
use support::runtime::Runtime;

/// What a container must say, or the runtime.
enum Expect {
    /// The script's output, without the line feed at its end.
    Says(&'static str),
    /// The creation fails with this in its text, and leaves nothing.
    Refused(&'static str),
}
use Expect::{Refused, Says};

/// One property: where in `config.json`, with what value, and a script that looks.
type Row = (&'static str, Value, &'static str, Expect);

fn check((pointer, value, script, expect): Row) {
    let mut bundle = Bundle::shell(script);
    if !pointer.is_empty() {
        bundle = bundle.set(pointer, value.clone());
    }
    let (code, out, err) = Runtime::ours(&bundle).run(&bundle);
    let row = format!("{pointer} = {value}, {script}: {code} {out} {err}");
    match expect {
        Says(text) => assert_eq!((code, out.trim_end()), (0, text), "{row}"),
        Refused(text) => {
            assert_ne!(code, 0, "{row}");
            assert!(err.contains(text), "{row}");
        }
    }
    bundle.assert_clean();
}
