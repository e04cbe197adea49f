//! Which sources glibc asks for names of hosts, users and groups.

use std::ffi::{CStr, c_char, c_int};

unsafe extern "C" {
    fn __nss_configure_lookup(database: *const c_char, sources: *const c_char) -> c_int;
}

const SOURCES: [(&CStr, &CStr); 3] = [
    (c"hosts", c"files dns"),
    (c"passwd", c"files"),
    (c"group", c"files"),
];

/// Limits glibc to the sources that it has built in.
///
/// The program is linked statically; `/etc/nsswitch.conf` may name modules that glibc would load at
/// run time, which crashes a static program. To be called before any thread is started.
pub fn use_built_in_name_sources() {
    for (database, sources) in SOURCES {
        // SAFETY: both are constant C strings; the function copies what it keeps. It fails only for
        // want of memory, and then the file's sources stay.
        unsafe { __nss_configure_lookup(database.as_ptr(), sources.as_ptr()) };
    }
}
