//! A private, real PostgreSQL server for `portal dev` and for every test that needs a database.
//!
//! One server per checkout, started by whoever needs it first and joined by everybody else. It listens on a socket in a
//! directory that only its user can enter, never on TCP. Its programs come from the machine. Linked for development only: the
//! server does not wait for the disk (`fsync=off`), so a power failure can cost the data, and `kill -9` the last commits.

mod account;
mod cluster;
mod error;
mod find;
mod install;
mod lock;
mod place;
mod running;
mod server;
mod surroundings;
#[cfg(feature = "testing")]
pub mod testing;

use std::{
    fmt::Write,
    fs::{self, File},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::{cluster::ROLE, place::Place, surroundings::Surroundings};

pub use crate::error::DevPostgresError;

/// A use of the server of a checkout. Dropping it leaves the server running, so that the next start is immediate.
///
/// While it lives it holds a shared file lock, which is how [`DevPostgres::stop_if_unused`] of another process knows about it;
/// the lock ends with the process, however that ends.
#[derive(Debug)]
pub struct DevPostgres {
    place: Place,
    sockets: PathBuf,
    used: File,
}

impl DevPostgres {
    /// Starts the server of this checkout, or joins it when it is already running.
    ///
    /// Returns when the server answers, or with an error if it does not within 30 s. Any number of threads and processes may
    /// call this at the same time; one of them starts it. The server survives the end of this process and Ctrl-C in its
    /// terminal. `say` gets one line for a person when something slow or notable happens: installing PostgreSQL (as root on
    /// Debian or Ubuntu), `initdb`, a start.
    pub fn start(checkout: &Path, say: &dyn Fn(&str)) -> Result<Self, DevPostgresError> {
        let place = Place::of(checkout, Surroundings::read())?;
        let starting = lock::exclusive(&place.start_lock(), || place.create_base())?;
        let used = lock::shared(&place.use_lock())?;
        let sockets = server::ensure_running(&place, say)?;
        drop(starting);
        Ok(Self { place, sockets, used })
    }

    /// A libpq style URL of the database of that name, which need not exist; `postgres` always does.
    ///
    /// The role owns the server: it may create databases and roles. There is no password.
    pub fn url(&self, database: &str) -> String {
        let (database, host) = (encoded(database.as_bytes()), encoded(self.sockets.as_os_str().as_bytes()));
        // With the port, lest libpq takes it from PGPORT.
        format!("postgresql:///{database}?host={host}&user={ROLE}&port={}", place::PORT)
    }

    /// The directory of the socket. It may lie elsewhere than this process's environment suggests: whoever started the server
    /// chose it.
    pub fn socket_dir(&self) -> &Path {
        &self.sockets
    }

    /// Stops the server if nobody else holds a [`DevPostgres`] of this checkout, in whatever process; true if it stopped it.
    ///
    /// Open connections do not count as use.
    pub fn stop_if_unused(self) -> Result<bool, DevPostgresError> {
        let place = &self.place;
        let _starting = lock::exclusive(&place.start_lock(), || place.create_base())?;
        // After a reset our lock is on a deleted file, and whoever came later cannot be seen through it.
        if !lock::in_place(&self.used, &place.use_lock()) {
            return Ok(false);
        }
        // Nobody can begin to use the server between the two calls, because that takes the start lock.
        let _ = self.used.unlock();
        if self.used.try_lock().is_err() {
            return Ok(false);
        }
        server::stop(place)
    }
}

impl Drop for DevPostgres {
    fn drop(&mut self) {
        // Explicitly: closing the file does not end the lock while a child process that is just being made has a copy of it.
        let _ = self.used.unlock();
    }
}

/// A directory for other private development state of a checkout (the identity provider's key, peppers), made if it is missing.
///
/// Mode 0700, owned by the current user, beside the server's data and deleted by [`reset`]. It needs no running server.
pub fn state_dir(checkout: &Path) -> Result<PathBuf, DevPostgresError> {
    Place::of(checkout, Surroundings::read())?.create_state()
}

/// Stops the server, also while others use it, and deletes its data and the state directory. Does nothing if there is nothing.
///
/// A [`DevPostgres`] from before is of no further use; the next [`DevPostgres::start`] begins with an empty server.
pub fn reset(checkout: &Path) -> Result<(), DevPostgresError> {
    let place = Place::of(checkout, Surroundings::read())?;
    if !place.base().exists() {
        return Ok(());
    }
    let _starting = lock::exclusive(&place.start_lock(), || place.create_base())?;
    server::stop(&place)?;
    let entries = fs::read_dir(place.base()).map_err(DevPostgresError::file("read", place.base()))?;
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| *path != place.start_lock()) {
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(DevPostgresError::file("deleted", path))?;
    }
    place.remove_sockets();
    // The lock goes last. Whoever waits for it, or makes it anew meanwhile, notices; then the folder stays.
    fs::remove_file(place.start_lock()).map_err(DevPostgresError::file("deleted", place.start_lock()))?;
    let _ = fs::remove_dir(place.base());
    Ok(())
}

/// Stops the server, also while others use it; true if it ran.
pub fn stop(checkout: &Path) -> Result<bool, DevPostgresError> {
    let place = Place::of(checkout, Surroundings::read())?;
    if !place.base().exists() {
        return Ok(false);
    }
    let _starting = lock::exclusive(&place.start_lock(), || place.create_base())?;
    server::stop(&place)
}

/// Percent-encoded, all but the characters that never need it.
fn encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(char::from(*byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_with_a_meaning_in_urls_is_encoded() {
        assert_eq!(encoded(b"/tmp/portal-dev-0a1b"), "%2Ftmp%2Fportal-dev-0a1b");
        assert_eq!(encoded("a b&c=d?e%\u{e9}".as_bytes()), "a%20b%26c%3Dd%3Fe%25%C3%A9");
    }
}
