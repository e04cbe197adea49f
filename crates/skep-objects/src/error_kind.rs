//! What sort of failure an error is, whatever crate it comes from.

/// The sort of failure; the HTTP server and the gRPC services map it to their codes in one place each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request says something that can never be right.
    InvalidArgument,
    /// The object named does not exist.
    NotFound,
    /// The object's state forbids the request for now.
    Conflict,
    /// An object of that name or id exists.
    AlreadyExists,
    /// The caller, or this kind of object, may not do that.
    NotAllowed,
    /// The caller did not prove who it is.
    Unauthenticated,
    /// The part asked cannot answer now; asking again may succeed.
    Unavailable,
    /// Not something that skep can do.
    NotImplemented,
    /// The request asks for what is already so.
    NotModified,
    /// Anything else: a defect, or the machine below failing.
    Internal,
}
