//! What a store fails with.

use sqlx::migrate::MigrateError;

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Disk full, file gone, server down, locked for too long: try again later.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The statement can't have worked; nothing was written.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// What is stored contradicts itself.
    #[error("inconsistent: {0}")]
    Inconsistent(String),
    /// The lease, generation or cursor this write was made under has moved (R2, R3).
    #[error("superseded: {0}")]
    Superseded(&'static str),
    /// The full listing that a call ends isn't open, so what it didn't see isn't known.
    #[error("{0}")]
    NotListed(String),
    /// Too much at once, or in too short a time; the text says of what.
    #[error("{reason}")]
    Busy {
        /// Of what there is too much.
        reason: String,
        /// When it may work, from now on.
        retry_after_s: u32,
    },
    /// The caller asked for something that isn't possible; the text says what to do.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// The database wasn't reached, or gave no answer: another statement may fare better.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Database(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
            ),
            _ => false,
        }
    }
}

/// What a server has against a row, whenever it comes. None: something else is wrong.
pub(in crate::store) fn unstorable(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error()?;
    says_unstorable(&error.code()?).then(|| error.message())
}

/// By SQLSTATE: a data exception, such as NUL in a text, or what is beyond PostgreSQL's own limits.
pub fn says_unstorable(code: &str) -> bool {
    code.len() == 5 && (code.starts_with("22") || code.starts_with("54"))
}

pub(super) fn migration_error(of: &str, error: MigrateError) -> Error {
    match error {
        MigrateError::VersionMissing(version) => Error::Refused(format!(
            "{of} has schema version {version}, which this program doesn't know: start the newer \
             rowgate that wrote it"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            let error = Error::Database(error);
            match error.is_away() {
                true => Error::Unavailable(format!("{of}: {error}")),
                false => Error::Inconsistent(format!("{of}: {error}")),
            }
        }
        other => Error::Inconsistent(format!("{of}: {other}")),
    }
}
