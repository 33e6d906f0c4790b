//! Everything that can keep the development server from running, in words for the person at the terminal.
//!
//! Each message ends with what to do. A cause (an I/O error) is the source and not repeated in the message.

use std::{io, path::PathBuf};

/// Why the development server, or its folder, is not available.
#[derive(Debug, thiserror::Error)]
pub enum DevPostgresError {
    /// The path given as the checkout does not lead to a folder.
    #[error("The checkout {} cannot be opened. Start the program inside the checkout.", path.display())]
    Checkout { path: PathBuf, source: io::Error },

    /// There is no home directory to keep data in.
    #[error(
        "There is no place for the development database: neither XDG_DATA_HOME nor HOME is an absolute path. Set HOME."
    )]
    NoHome,

    /// Run by root on a machine without an unprivileged account.
    #[error(
        "PostgreSQL refuses to run as root, and /etc/passwd has neither the user postgres nor the user nobody to run it as. \
         Start the program as an ordinary user."
    )]
    NoAccount,

    /// The operating system limits the length of a socket path.
    #[error(
        "The socket path {} has {length} bytes; the operating system allows {limit}. \
         Set {variable} to a short path of an existing directory of yours.", path.display()
    )]
    SocketPathTooLong { path: PathBuf, length: usize, limit: usize, variable: &'static str },

    /// Somebody else made the directory first, perhaps to answer in the name of the server.
    #[error(
        "{} is not a directory of user {expected} (it belongs to user {owner}), so nothing private can be kept in it. \
         Remove it, or set {variable} to a directory of your own.", path.display()
    )]
    ForeignDirectory { path: PathBuf, owner: u32, expected: u32, variable: &'static str },

    /// No server binaries on this machine.
    #[error(
        "PostgreSQL {minimum} or newer is needed, and its programs initdb and postgres were not found in PATH or the usual folders. \
         {remedy} Or set DATABASE_URL to a server of your own."
    )]
    NotInstalled { minimum: u32, remedy: String },

    /// Server binaries exist, but each is older than the product supports.
    #[error(
        "PostgreSQL {minimum} or newer is needed; found only {found}. {remedy} Where that is still too old, \
         https://www.postgresql.org/download/ has newer packages. Or set DATABASE_URL to a server of your own."
    )]
    TooOld { minimum: u32, found: String, remedy: String },

    /// The package manager, started because the binaries were missing, failed.
    #[error("{command} failed. Repair the package manager, or install PostgreSQL yourself. It said:\n{output}")]
    InstallFailed { command: String, output: String },

    /// The data was made by a major version that is not on this machine (any more).
    #[error(
        "The development database in {} was made by PostgreSQL {cluster}, and only {found} is installed. \
         Run `portal dev --reset` to begin with an empty one, or install PostgreSQL {cluster}.", path.display()
    )]
    WrongVersion { path: PathBuf, cluster: u32, found: u32 },

    /// The data directory exists and is not a cluster.
    #[error("The development database in {} is damaged. Run `portal dev --reset` to begin with an empty one.", path.display())]
    DamagedData { path: PathBuf },

    /// `initdb` ran and failed.
    #[error("initdb could not create the development database in {}. It said:\n{output}", path.display())]
    InitdbFailed { path: PathBuf, output: String },

    /// The server ended before it was ready.
    #[error(
        "PostgreSQL did not start. If the end of {} below does not help, run `portal dev --reset` to begin with an empty database.\n{tail}",
        log.display()
    )]
    ServerFailed { log: PathBuf, tail: String },

    /// The server runs and does not accept connections.
    #[error(
        "PostgreSQL did not answer within {seconds} s. Run `portal dev --reset` to stop it and begin with an empty database. \
         The end of {}:\n{tail}", log.display()
    )]
    NoAnswer { seconds: u64, log: PathBuf, tail: String },

    /// The server ignored the request to stop.
    #[error("PostgreSQL (process {pid}) did not stop within {seconds} s. End it with `kill -9 {pid}` and try again.")]
    StillRunning { pid: i32, seconds: u64 },

    /// A program could not be started at all.
    #[error("{} could not be run. Check that it is there and may be executed.", program.display())]
    Run { program: PathBuf, source: io::Error },

    /// A file or directory could not be used.
    #[error("{} could not be {done}. Check its permissions and the free space.", path.display())]
    File { path: PathBuf, done: &'static str, source: io::Error },
}

impl DevPostgresError {
    /// For `map_err`: what was not possible with which path.
    pub(crate) fn file(done: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, done, source }
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error, io};

    use super::DevPostgresError;

    #[test]
    fn the_cause_is_the_source_and_not_part_of_the_message() {
        let error = DevPostgresError::file("created", "/x")(io::Error::other("disk on fire"));
        assert_eq!(error.to_string(), "/x could not be created. Check its permissions and the free space.");
        assert_eq!(error.source().unwrap().to_string(), "disk on fire");
    }
}
