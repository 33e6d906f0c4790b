//! A server that runs now: recognising it, asking whether it answers, and stopping it.
//!
//! `postmaster.pid` alone proves nothing, for it survives a crash and its process id may have a new owner. The command line of
//! that process settles it; `/proc` and `ps` show it for processes of other users too.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    account::Account,
    cluster::ROLE,
    error::DevPostgresError,
    place::{PORT, Place},
};

/// How often a change is looked for.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// How long a server may take to stop, for each way of asking.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A live server process.
#[derive(Debug)]
pub(crate) struct Running {
    pid: Pid,
    /// None until the server listens.
    sockets: Option<PathBuf>,
    ready: bool,
}

impl Running {
    /// The server of that data directory.
    pub(crate) fn of(data: &Path) -> Option<Self> {
        Self::named_by(&data.join("postmaster.pid"))
    }

    /// The server that a lock file names: process id, data directory, start time, port, socket directory, address, shared memory
    /// key and status, a line each, the later ones added while it starts.
    fn named_by(lock_file: &Path) -> Option<Self> {
        let text = fs::read_to_string(lock_file).ok()?;
        let lines: Vec<_> = text.lines().collect();
        let pid = Pid::from_raw(lines.first()?.trim().parse().ok().filter(|pid| *pid > 0)?)?;
        let wanted = format!("-D {} ", lines.get(1)?);
        if !command_line(pid)?.contains(&wanted) {
            return None;
        }
        let sockets = lines.get(4).filter(|line| !line.is_empty()).map(PathBuf::from);
        Some(Self { pid, sockets, ready: lines.get(7).is_some_and(|line| line.trim() == "ready") })
    }

    /// Its socket directory, if it accepts connections there now. The directory is that of the starter's environment, which may
    /// differ from this process's.
    pub(crate) fn answering(&self, place: &Place) -> Result<Option<PathBuf>, DevPostgresError> {
        let Some(sockets) = self.sockets.as_deref().filter(|sockets| sockets.exists()) else { return Ok(None) };
        place.check_owner(sockets, Account::of_server(place)?)?;
        let answers = ask(&socket(sockets)).is_ok_and(|reply| accepts(&reply));
        Ok(answers.then(|| sockets.to_path_buf()))
    }

    /// Whether it says that it accepts connections.
    #[cfg(feature = "testing")]
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether nobody can reach it any more, because something cleaned up the temporary folder.
    pub(crate) fn lost_its_socket(&self) -> bool {
        self.ready && self.sockets.as_deref().is_none_or(|sockets| !socket(sockets).exists())
    }

    /// Ends its sessions and the server; returns when the process is gone, and its socket directory with it.
    pub(crate) fn stop(&self, data: &Path) -> Result<(), DevPostgresError> {
        // A fast shutdown, then one that does not wait for anything.
        for signal in [Signal::INT, Signal::QUIT] {
            // An error means that it is gone already.
            let _ = kill_process(self.pid, signal);
            let deadline = Instant::now() + STOP_LIMIT;
            while Instant::now() < deadline {
                if Self::of(data).is_none_or(|now| now.pid != self.pid) {
                    // It removed the socket; if something else is in the directory, that stays.
                    let _ = self.sockets.as_ref().map(fs::remove_dir);
                    return Ok(());
                }
                thread::sleep(POLL);
            }
        }
        Err(DevPostgresError::StillRunning { pid: self.pid.as_raw_nonzero().get(), seconds: STOP_LIMIT.as_secs() * 2 })
    }
}

/// Removes the lock files of a server that is gone. The server would do so itself unless their process id belongs to another
/// process of the same user by now, or to an ended one that nobody waits for (a container whose first process is no init).
pub(crate) fn remove_stale_locks(data: &Path, sockets: &Path) {
    let socket_lock = socket(sockets).with_added_extension("lock");
    for lock_file in [data.join("postmaster.pid"), socket_lock] {
        if Running::named_by(&lock_file).is_none() {
            let _ = fs::remove_file(lock_file);
        }
    }
}

/// The socket in its directory.
pub(crate) fn socket(sockets: &Path) -> PathBuf {
    sockets.join(format!(".s.PGSQL.{PORT}"))
}

/// Begins a session and ends it in the same breath; the reply is everything the server says to that.
fn ask(socket: &Path) -> io::Result<Vec<u8>> {
    const PROTOCOL: u32 = 3 << 16;
    const TERMINATE: [u8; 5] = [b'X', 0, 0, 0, 4];
    let parameters = format!("user\0{ROLE}\0database\0postgres\0\0");
    let length = u32::try_from(8 + parameters.len()).map_err(io::Error::other)?;
    let message = [&length.to_be_bytes()[..], &PROTOCOL.to_be_bytes(), parameters.as_bytes(), &TERMINATE].concat();
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(&message)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(reply)
}

/// `R` accepts the role, `E` is an error; the one that means "starting up, shutting down or recovering" is `57P03`. Others (too
/// many clients, no such database) come from a server that works.
fn accepts(reply: &[u8]) -> bool {
    match reply.first() {
        Some(b'R') => true,
        Some(b'E') => !reply.windows(7).any(|part| part == b"C57P03\0"),
        _ => false,
    }
}

/// Words separated and followed by a space; empty for a process that ended and was not waited for.
fn command_line(pid: Pid) -> Option<String> {
    let words = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
    words.ok().map(|words| String::from_utf8_lossy(&words).replace('\0', " ")).or_else(|| listed_command_line(pid))
}

/// The same where there is no `/proc`.
fn listed_command_line(pid: Pid) -> Option<String> {
    let pid = pid.as_raw_nonzero().to_string();
    let output = Command::new("ps").args(["-ww", "-o", "args=", "-p", &pid]).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Stdio};

    use super::*;

    struct Sleeper(Child);

    impl Sleeper {
        /// A process whose command line ends with the arguments.
        fn new(arguments: &[&str]) -> Self {
            let script = ["-c", "read line; exit", "sh"];
            let mut command = Command::new("/bin/sh");
            let sleeper = Self(command.args(script).args(arguments).stdin(Stdio::piped()).spawn().unwrap());
            // The command line of a process appears a moment after the process.
            wait_until(|| command_line(Pid::from_child(&sleeper.0)).is_some_and(|line| !line.is_empty()));
            sleeper
        }

        fn pid(&self) -> u32 {
            self.0.id()
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn wait_until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain");
            thread::yield_now();
        }
    }

    fn lock_file(folder: &Path, pid: u32, data: &str) -> PathBuf {
        let path = folder.join("postmaster.pid");
        fs::write(&path, format!("{pid}\n{data}\n1700000000\n5432\n/tmp/sockets\n\n 5433 1\nready   \n")).unwrap();
        path
    }

    #[test]
    fn a_process_counts_only_with_the_data_directory_in_its_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let server = Sleeper::new(&["-D", "/x/data", "-p", "5432"]);
        let running = Running::named_by(&lock_file(folder.path(), server.pid(), "/x/data")).unwrap();
        assert_eq!(running.sockets, Some(PathBuf::from("/tmp/sockets")));
        assert!(running.lost_its_socket());
        assert!(Running::named_by(&lock_file(folder.path(), server.pid(), "/x/dat")).is_none());
        assert!(Running::named_by(&lock_file(folder.path(), server.pid(), "/y/data")).is_none());
        let listed = listed_command_line(Pid::from_child(&server.0));
        assert!(listed.is_none_or(|line| line.contains("-D /x/data ")), "both ways show the same, if there is ps");
    }

    #[test]
    fn a_process_that_ended_does_not_count_even_if_nobody_waited_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Sleeper::new(&["-D", "/x/data", "-p", "5432"]);
        let path = lock_file(folder.path(), server.pid(), "/x/data");
        server.0.kill().unwrap();
        wait_until(|| Running::named_by(&path).is_none());
    }

    #[test]
    fn lock_files_of_the_gone_are_removed_and_those_of_the_living_stay() {
        let folder = tempfile::tempdir().unwrap();
        let server = Sleeper::new(&["-D", "/x/data", "-p", "5432"]);
        let path = lock_file(folder.path(), server.pid(), "/x/data");
        remove_stale_locks(folder.path(), folder.path());
        assert!(path.exists());
        lock_file(folder.path(), std::process::id(), "/x/data");
        remove_stale_locks(folder.path(), folder.path());
        assert!(!path.exists());
    }

    #[test]
    fn unfinished_and_broken_lock_files_name_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postmaster.pid");
        for text in ["", "x\n", "0\n/x/data\n", "-5\n/x/data\n", "99999999\n/x/data\n", "1"] {
            fs::write(&path, text).unwrap();
            assert!(Running::named_by(&path).is_none(), "{text:?}");
        }
    }

    #[test]
    fn only_a_server_that_is_starting_or_stopping_does_not_accept() {
        assert!(accepts(b"R\0\0\0\x08\0\0\0\0"));
        assert!(accepts(b"E\0\0\0\x20SFATAL\0C53300\0Msorry, too many clients already\0\0"));
        assert!(!accepts(b"E\0\0\0\x20SFATAL\0C57P03\0Mthe database system is starting up\0\0"));
        assert!(!accepts(b""));
    }
}
