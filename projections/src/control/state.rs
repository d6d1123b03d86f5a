//! The states that a generation of a read model goes through.

/// What is happening to a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is made from the beginning of the log.
    Building,
    /// It has its rows, and takes in what was recorded meanwhile.
    CatchingUp,
    /// It is as far as the live one, and is compared with it.
    Ready,
    /// It follows the log.
    Live,
    /// It stands before an event that it could not take in.
    Stopped,
    /// Another took its place; kept for going back.
    Retired,
}

impl State {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::CatchingUp => "catching_up",
            Self::Ready => "ready",
            Self::Live => "live",
            Self::Stopped => "stopped",
            Self::Retired => "retired",
        }
    }

    pub(crate) fn read(text: &str) -> Result<Self, sqlx::Error> {
        Ok(match text {
            "building" => Self::Building,
            "catching_up" => Self::CatchingUp,
            "ready" => Self::Ready,
            "live" => Self::Live,
            "stopped" => Self::Stopped,
            "retired" => Self::Retired,
            other => {
                let source = format!("{other:?} is no state of a read model").into();
                return Err(sqlx::Error::ColumnDecode { index: "state".to_owned(), source });
            }
        })
    }
}
