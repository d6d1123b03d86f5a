//! Why a request has no answer, as whoever asked may see it.
//!
//! A [`Problem`] is about the request, about rights, or about a fault; that the rules say no is an
//! answer and no problem. It implements neither `Display` nor conversions from database errors, so
//! that a stray `?` on one of those does not compile: a fault goes through [`Problem::internal`],
//! which writes the cause to the log under an id and shows the id only.

use axum::http::StatusCode;
use commands::Failure;
use std::error::Error;
use std::fmt::Write as _;
use uuid::Uuid;

/// What kind of problem it is: the `code` of an entry in `errors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Nobody we know asks.
    Unauthenticated,
    /// Whoever asks may not.
    Forbidden,
    /// It does not exist, or not for whoever asks.
    NotFound,
    /// What was sent cannot be understood.
    BadUserInput,
    /// It is no GraphQL document.
    GraphqlParseFailed,
    /// The document does not fit the schema.
    GraphqlValidationFailed,
    /// More was asked at once than is answered at once.
    CostLimitExceeded,
    /// The read model is not as far as was asked.
    ReadModelStale,
    /// It cannot be answered for a past moment.
    AsOfUnsupported,
    /// The moment lies in the future or before the first event.
    AsOfOutOfRange,
    /// It took too long.
    Timeout,
    /// Something it needs does not answer just now.
    Unavailable,
    /// A fault of ours.
    Internal,
}

impl Code {
    /// Every one of them.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::BadUserInput,
        Self::GraphqlParseFailed,
        Self::GraphqlValidationFailed,
        Self::CostLimitExceeded,
        Self::ReadModelStale,
        Self::AsOfUnsupported,
        Self::AsOfOutOfRange,
        Self::Timeout,
        Self::Unavailable,
        Self::Internal,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::GraphqlParseFailed => "GRAPHQL_PARSE_FAILED",
            Self::GraphqlValidationFailed => "GRAPHQL_VALIDATION_FAILED",
            Self::CostLimitExceeded => "COST_LIMIT_EXCEEDED",
            Self::ReadModelStale => "READ_MODEL_STALE",
            Self::AsOfUnsupported => "AS_OF_UNSUPPORTED",
            Self::AsOfOutOfRange => "AS_OF_OUT_OF_RANGE",
            Self::Timeout => "TIMEOUT",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }

    /// The HTTP status where the whole answer is the problem.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::BadUserInput
            | Self::GraphqlParseFailed
            | Self::GraphqlValidationFailed
            | Self::CostLimitExceeded
            | Self::AsOfUnsupported
            | Self::AsOfOutOfRange => StatusCode::BAD_REQUEST,
            Self::ReadModelStale | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Of which kind.
    pub code: Code,
    /// What stands in the way, and what to do next.
    pub message: String,
    /// Which field of the input it is about.
    pub field: Option<String>,
    /// Where a fault of ours is found in the log.
    pub error_id: Option<Uuid>,
}

impl Problem {
    /// A problem of a kind.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, error_id: None }
    }

    /// A field of the input says something it cannot.
    #[must_use]
    pub fn input(field: &str, message: impl Into<String>) -> Self {
        let problem = Self::new(Code::BadUserInput, message);
        Self { field: Some(field.to_owned()), ..problem }
    }

    /// It does not exist, or not for whoever asks: the two are not told apart.
    #[must_use]
    pub fn not_found(what: &str, name: &str) -> Self {
        let name: String = name.chars().take(80).collect();
        Self::new(Code::NotFound, format!("there is no {what} {name}"))
    }

    /// Whether it only says that whoever asks may not, or that it does not exist for them.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        matches!(self.code, Code::Forbidden | Code::NotFound)
    }

    /// A fault of ours. The cause goes to the log; an id goes to whoever asked.
    #[must_use]
    pub fn internal(cause: &(dyn Error + 'static)) -> Self {
        let error_id = Uuid::now_v7();
        tracing::error!(%error_id, cause = chain(cause), "an internal error");
        Self::with_id(error_id)
    }

    /// A fault of ours that has no error to show for it.
    #[must_use]
    pub fn fault(what: &str) -> Self {
        let error_id = Uuid::now_v7();
        tracing::error!(%error_id, what, "an internal error");
        Self::with_id(error_id)
    }

    fn with_id(error_id: Uuid) -> Self {
        let message = format!("an internal error; whoever runs this finds it as {error_id}");
        Self { error_id: Some(error_id), ..Self::new(Code::Internal, message) }
    }

    /// Something it needs does not answer just now.
    #[must_use]
    pub fn unavailable(cause: &(dyn Error + 'static)) -> Self {
        tracing::warn!(cause = chain(cause), "something needed does not answer");
        Self::new(Code::Unavailable, "the database cannot be reached just now; try again shortly")
    }
}

/// An error with all its causes, on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a text does not fail.
        let _written = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        match failure {
            Failure::Unauthenticated => Self::new(Code::Unauthenticated, message),
            Failure::Forbidden { .. } => Self::new(Code::Forbidden, message),
            Failure::Refused(_)
            | Failure::VersionConflict { .. }
            | Failure::CommandReused { .. }
            | Failure::TooLarge(_) => Self::new(Code::BadUserInput, message),
            Failure::Busy | Failure::Halted(_) => Self::new(Code::Unavailable, message),
            Failure::Unavailable(_) => {
                tracing::warn!(cause = chain(&failure), "the log does not answer");
                Self::new(Code::Unavailable, message)
            }
            Failure::Internal(_) => Self::internal(&failure),
        }
    }
}

impl From<event_log::ReadError> for Problem {
    fn from(error: event_log::ReadError) -> Self {
        match error {
            event_log::ReadError::Unavailable(_) => Self::unavailable(&error),
            event_log::ReadError::Gap { .. } | event_log::ReadError::Archive(_) => {
                Self::internal(&error)
            }
        }
    }
}

impl From<event_log::tree::read::TreeError> for Problem {
    fn from(error: event_log::tree::read::TreeError) -> Self {
        use event_log::tree::read::TreeError;
        match error {
            TreeError::Unavailable(_) => Self::unavailable(&error),
            TreeError::Beyond { .. } | TreeError::Damaged => Self::internal(&error),
        }
    }
}

impl From<projections::ReadError> for Problem {
    fn from(error: projections::ReadError) -> Self {
        match error {
            projections::ReadError::Unavailable(_) => Self::unavailable(&error),
            projections::ReadError::Shape { .. } => Self::internal(&error),
        }
    }
}

impl From<event_log::KeyError> for Problem {
    fn from(error: event_log::KeyError) -> Self {
        Self::internal(&error)
    }
}

impl From<event_log::InvalidStream> for Problem {
    fn from(error: event_log::InvalidStream) -> Self {
        Self::input("id", error.to_string())
    }
}
