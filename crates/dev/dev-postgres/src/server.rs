//! Starts the server and waits until it answers. The caller holds the start lock throughout.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    account::Account,
    cluster,
    error::DevPostgresError,
    find::find_or_install,
    install::last_lines,
    place::{PORT, Place},
    running::{POLL, Running, remove_stale_locks},
};

/// How long a server may take until it answers.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(30);

/// Between two attempts of which the first could not succeed yet.
const PAUSE: Duration = Duration::from_millis(200);

/// A log longer than this is put aside at the next start.
const LOG_LIMIT: u64 = 8 << 20;

/// The data can be made again, so nothing waits for the disk; one machine runs many of these servers, so each is small.
pub(crate) const SETTINGS: [(&str, &str); 8] = [
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("max_connections", "300"),
    ("shared_buffers", "64MB"),
    ("lc_messages", "C"),
];

/// Returns the socket directory of a server that answers, after starting one if there is none.
pub(crate) fn ensure_running(place: &Place, say: &dyn Fn(&str)) -> Result<PathBuf, DevPostgresError> {
    let mut deadline = Instant::now() + START_LIMIT;
    let mut prepared = None;
    let mut launched: Option<Launched> = None;
    while Instant::now() < deadline {
        // Looked for also after a launch that failed: it may have lost to a server whose starter was killed.
        if let Some(server) = Running::of(&place.data()) {
            if let Some(sockets) = server.answering(place)? {
                return Ok(sockets);
            }
            if server.lost_its_socket() {
                say("The socket of the development database was removed; starting the server again");
                server.stop(&place.data())?;
            }
        } else if launched.as_ref().is_none_or(Launched::ended) {
            if let Some(failed) = launched.take() {
                failed.check_worth_repeating()?;
                thread::sleep(PAUSE);
            }
            if prepared.is_none() {
                prepared = Some(Launcher::prepare(place, say)?);
                deadline = Instant::now() + START_LIMIT;
            }
            launched = prepared.as_ref().map(Launcher::launch).transpose()?;
        }
        thread::sleep(POLL);
    }
    let (seconds, log) = (START_LIMIT.as_secs(), place.log());
    Err(DevPostgresError::NoAnswer { seconds, tail: end_of(&log, 0), log })
}

/// Stops the server if it runs; says whether it did.
pub(crate) fn stop(place: &Place) -> Result<bool, DevPostgresError> {
    match Running::of(&place.data()) {
        Some(server) => server.stop(&place.data()).map(|()| true),
        None => Ok(false),
    }
}

/// What a launch needs.
struct Launcher<'a> {
    place: &'a Place,
    account: Account,
    postgres: PathBuf,
}

impl<'a> Launcher<'a> {
    /// Finds the programs (or installs them) and makes the data directory if there is none.
    fn prepare(place: &'a Place, say: &dyn Fn(&str)) -> Result<Self, DevPostgresError> {
        let cluster = cluster::version(place)?;
        let binaries = find_or_install(place.surroundings(), cluster, say)?;
        let (path, major) = (place.data(), binaries.major());
        // After the installation, which may have made the account.
        let account = Account::of_server(place)?;
        place.create_sockets(account)?;
        match cluster {
            Some(cluster) if cluster != major => {
                return Err(DevPostgresError::WrongVersion { path, cluster, found: major });
            }
            Some(_) => {}
            None => {
                say(&format!("Creating the development database in {} (initdb of PostgreSQL {major})", path.display()));
                cluster::create(place, account, &binaries)?;
            }
        }
        put_aside_if_long(&place.log());
        say(&format!("Starting PostgreSQL {major} for this checkout (log: {})", place.log().display()));
        Ok(Self { place, account, postgres: binaries.postgres() })
    }

    fn launch(&self) -> Result<Launched, DevPostgresError> {
        let (data, sockets, log) = (self.place.data(), self.place.sockets(), self.place.log());
        remove_stale_locks(&data, sockets);
        let cannot = |done| DevPostgresError::file(done, &log);
        let output = File::options().create(true).append(true).mode(0o600).open(&log).map_err(cannot("opened"))?;
        let begin = output.metadata().map_err(cannot("inspected"))?.len();
        let errors = output.try_clone().map_err(cannot("opened"))?;
        let mut command = self.account.command(&self.postgres);
        command.arg("-D").arg(&data).args(["-p", &PORT.to_string()]).stdout(output).stderr(errors);
        for (name, value) in SETTINGS {
            command.args(["-c", &format!("{name}={value}")]);
        }
        command.args(["-c", &format!("unix_socket_directories={}", quoted(sockets))]);
        // A group of its own: Ctrl-C in the terminal goes to the group of the program that was started there.
        let mut child = command
            .process_group(0)
            .spawn()
            .map_err(|source| DevPostgresError::Run { program: self.postgres.clone(), source })?;
        // Waiting for it keeps a server that is stopped later from remaining as a zombie of this process.
        Ok(Launched { log, begin, ending: thread::spawn(move || drop(child.wait())) })
    }
}

/// A server process of this program that does not answer yet.
struct Launched {
    log: PathBuf,
    /// Where its messages begin in the log.
    begin: u64,
    ending: JoinHandle<()>,
}

impl Launched {
    fn ended(&self) -> bool {
        self.ending.is_finished()
    }

    /// After `kill -9` of a server its sessions live on until they notice, and keep its memory; that passes.
    fn check_worth_repeating(self) -> Result<(), DevPostgresError> {
        let tail = end_of(&self.log, self.begin);
        if tail.contains("pre-existing shared memory block") {
            Ok(())
        } else {
            Err(DevPostgresError::ServerFailed { log: self.log, tail })
        }
    }
}

/// A directory in a setting that is a list, where commas and quotes have a meaning.
fn quoted(directory: &Path) -> String {
    format!("\"{}\"", directory.display().to_string().replace('"', "\"\""))
}

fn put_aside_if_long(log: &Path) {
    if fs::metadata(log).is_ok_and(|found| found.len() > LOG_LIMIT) {
        // If this fails the log only stays long.
        let _ = fs::rename(log, log.with_extension("log.old"));
    }
}

/// The last lines of what was written after the beginning; as much as can be read.
pub(crate) fn end_of(log: &Path, begin: u64) -> String {
    const ENOUGH: u64 = 8 << 10;
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(log) {
        let length = file.metadata().map_or(0, |found| found.len());
        let _ = file.seek(SeekFrom::Start(begin.max(length.saturating_sub(ENOUGH))));
        let _ = file.read_to_end(&mut text);
    }
    last_lines(&String::from_utf8_lossy(&text), 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_directories_with_commas_and_quotes_are_one_directory() {
        assert_eq!(quoted(Path::new("/tmp/a,b")), "\"/tmp/a,b\"");
        assert_eq!(quoted(Path::new("/tmp/a\"b")), "\"/tmp/a\"\"b\"");
    }

    #[test]
    fn an_error_shows_the_messages_of_this_start_only() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("server.log");
        fs::write(&log, "old\nFATAL: new\n").unwrap();
        assert_eq!(end_of(&log, 4), "FATAL: new");
        assert_eq!(end_of(&folder.path().join("none"), 0), "");
    }

    #[test]
    fn a_long_log_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("server.log");
        File::create(&log).unwrap().set_len(LOG_LIMIT + 1).unwrap();
        put_aside_if_long(&log);
        assert!(!log.exists());
        assert!(folder.path().join("server.log.old").exists());
    }
}
