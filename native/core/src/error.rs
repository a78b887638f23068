//! The engine's one error type.

use std::io;

/// Everything that can go wrong in the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument is wrong; the message names it and says what would be right.
    #[error("{0}")]
    Invalid(String),
    /// A stored index is truncated, altered, or of another format version.
    #[error("{0}")]
    Damaged(String),
    /// The operating system refused a file operation.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An [`Error::Invalid`] as a result.
pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(message.into()))
}

/// An [`Error::Damaged`] as a result.
pub(crate) fn damaged<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Damaged(message.into()))
}
