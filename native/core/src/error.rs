//! The engine's one error type.

use std::io;
use std::path::{Path, PathBuf};

use rayon::ThreadPoolBuildError;

/// Everything that can go wrong in the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument is wrong; the message names it and says what would be right.
    #[error("{0}")]
    Invalid(String),
    /// Rows of one call are longer than `k`, because scores are equal, than all of them may be together.
    #[error(
        "equal scores make rows of {width} results, for {queries} queries more than {most} in all; search fewer \
         queries in one call, or without ties"
    )]
    TooManyTies {
        /// Of the longest row.
        width: usize,
        /// Rows.
        queries: usize,
        /// Results of one call at most.
        most: usize,
    },
    /// A stored index is truncated, altered, or of another format version.
    #[error("{0}")]
    Damaged(String),
    /// The operating system refused a file operation.
    #[error("{}: {error}", path.display())]
    Io {
        /// What it said.
        error: io::Error,
        /// The file or folder.
        path: PathBuf,
    },
    /// The operating system refused threads.
    #[error(transparent)]
    Threads(#[from] ThreadPoolBuildError),
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Says which file or folder was refused.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::Io { error, path: path.to_owned() }
}

/// An [`Error::Invalid`] as a result.
pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(message.into()))
}

/// An [`Error::Damaged`] as a result.
pub(crate) fn damaged<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Damaged(message.into()))
}
