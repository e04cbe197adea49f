//! What goes wrong, as HTTP: the one place where kinds of failure become status codes.

use http::StatusCode;
use skep_objects::ErrorKind;
use skep_objects::api::decode::DecodeError;

use super::convert::ConvertError;

/// A refusal: status code and the text that clients show.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The status code.
    pub status: StatusCode,
    /// Docker's text.
    pub message: String,
}

/// What every handler returns.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    /// A refusal of some kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            status: status_of(kind),
            message: message.into(),
        }
    }

    /// The request can never be right.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// The object named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// No such route.
    pub fn no_route() -> Self {
        Self::not_found("page not found")
    }

    /// What skep does not do.
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotImplemented, message)
    }

    /// Something broke.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
}

/// The status code of a kind of failure.
pub fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict | ErrorKind::AlreadyExists => StatusCode::CONFLICT,
        ErrorKind::NotAllowed => StatusCode::FORBIDDEN,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::NotModified => StatusCode::NOT_MODIFIED,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<skep_engine::EngineError> for ApiError {
    fn from(error: skep_engine::EngineError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<ConvertError> for ApiError {
    fn from(error: ConvertError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<tonic::Status> for ApiError {
    /// A manager's answer: Docker shows it with gRPC's code, whatever the status code is.
    fn from(status: tonic::Status) -> Self {
        use tonic::Code;
        let (kind, code) = match status.code() {
            Code::InvalidArgument => (ErrorKind::InvalidArgument, "InvalidArgument"),
            Code::FailedPrecondition => (ErrorKind::InvalidArgument, "FailedPrecondition"),
            Code::OutOfRange => (ErrorKind::InvalidArgument, "OutOfRange"),
            Code::NotFound => (ErrorKind::NotFound, "NotFound"),
            Code::AlreadyExists => (ErrorKind::AlreadyExists, "AlreadyExists"),
            Code::PermissionDenied => (ErrorKind::NotAllowed, "PermissionDenied"),
            Code::Unauthenticated => (ErrorKind::Unauthenticated, "Unauthenticated"),
            Code::Unimplemented => (ErrorKind::NotImplemented, "Unimplemented"),
            Code::Unavailable => (ErrorKind::Unavailable, "Unavailable"),
            Code::DeadlineExceeded => (ErrorKind::Internal, "DeadlineExceeded"),
            Code::Cancelled => (ErrorKind::Internal, "Canceled"),
            Code::Aborted => (ErrorKind::Internal, "Aborted"),
            Code::Internal => (ErrorKind::Internal, "Internal"),
            Code::DataLoss => (ErrorKind::Internal, "DataLoss"),
            Code::ResourceExhausted => (ErrorKind::Internal, "ResourceExhausted"),
            Code::Unknown | Code::Ok => (ErrorKind::Internal, "Unknown"),
        };
        let message = status.message();
        Self::new(kind, format!("rpc error: code = {code} desc = {message}"))
    }
}
