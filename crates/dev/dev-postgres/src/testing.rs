//! Servers for tests: the address of the shared one, and servers that one test may configure, stop and start as it likes.

use std::{
    fmt::Write as _,
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{OpenOptionsExt, lchown},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Instant,
};

use rustix::process::{Pid, test_kill_process};

use crate::{
    DevPostgres, DevPostgresError,
    account::Account,
    cluster::{self, ROLE},
    find::{Binaries, find_or_install},
    lock,
    place::Place,
    running::{POLL, Running},
    server::{SETTINGS, START_LIMIT, end_of},
    surroundings::{self, Surroundings},
};

/// URL of a server where tests may create databases: `DATABASE_URL` if it is set, otherwise that of the checkout's own server,
/// which the first call of a process starts or joins and the process then uses until it ends.
pub fn admin_url(checkout: &Path) -> Result<String, DevPostgresError> {
    static SHARED: Mutex<Option<DevPostgres>> = Mutex::new(None);
    if let Some(url) = surroundings::database_url() {
        return Ok(url);
    }
    // A panic elsewhere does not make the server less usable.
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.is_none() {
        *shared = Some(DevPostgres::start(checkout, &|_| ())?);
    }
    Ok(shared.as_ref().map(|server| server.url("postgres")).unwrap_or_default())
}

/// A server of one test, on a free port of the loopback interface, with a password.
///
/// It ends with its owner, however the owner ends: a process that is killed leaves an empty folder, which the next start removes.
#[derive(Debug)]
pub struct OwnServer {
    folder: PathBuf,
    account: Account,
    postgres: PathBuf,
    settings: Vec<String>,
    port: u16,
    password: String,
    running: Option<Child>,
}

/// Names of the folders begin with this, followed by the owner's process id and a number.
const OWN: &str = "own.";

/// Runs a program, and ends it at a line on standard input or at its end: the pipe closes with the process that holds the other
/// side. In the second case nobody else is left to empty the folder, the first argument.
const WATCH: &str = r#"
folder=$1; shift
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
(read -r order <&3; kill -INT $server; [ "$order" ]) &
watcher=$!
exec 3<&-
wait $server
kill $watcher
wait $watcher
[ $? = 1 ] && rm -rf "$folder"/*
"#;

impl OwnServer {
    /// Makes a cluster, puts the files (name and text) into its data directory, readable by the server alone, and starts it with
    /// the settings (`name=value`).
    pub fn start(checkout: &Path, files: &[(&str, &str)], settings: &[&str]) -> Result<Self, DevPostgresError> {
        let place = Place::of(checkout, Surroundings::read())?;
        let binaries = find_or_install(place.surroundings(), None, &|_| ())?;
        let account = Account::of_server(&place)?;
        let mut server = Self {
            folder: make_folder(&place, account)?,
            account,
            postgres: binaries.postgres(),
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            port: free_port()?,
            password: unguessable(),
            running: None,
        };
        server.make_cluster(&binaries)?;
        for (name, text) in files {
            server.write(&server.data().join(name), text)?;
        }
        server.start_again()?;
        Ok(server)
    }

    /// Where it listens, on 127.0.0.1. Stays the same over a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Another program of the same installation, such as `pgbench`; none if it lacks that.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        Some(self.postgres.with_file_name(name)).filter(|path| path.is_file())
    }

    /// Of the role `portal`, which owns the server.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// URL of the database of that name, for the role that owns the server.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://{ROLE}:{}@localhost:{}/{database}", self.password, self.port)
    }

    /// Ends its sessions and the server; the data stays. Does nothing if it is stopped.
    pub fn stop(&mut self) {
        if let Some(mut watched) = self.running.take() {
            // Errors mean that it ended by itself.
            let _ = watched.stdin.take().map(|mut order| io::Write::write_all(&mut order, b"stop\n"));
            let _ = watched.wait();
        }
    }

    /// Starts it on the same port with the same data; returns when it accepts connections.
    pub fn start_again(&mut self) -> Result<(), DevPostgresError> {
        self.stop();
        let log = self.folder.join("server.log");
        let cannot = |done| DevPostgresError::file(done, &log);
        let output = File::options().create(true).append(true).mode(0o600).open(&log).map_err(cannot("opened"))?;
        let errors = output.try_clone().map_err(cannot("opened"))?;
        let program = PathBuf::from("/bin/sh");
        let mut command = self.account.command(&program);
        command.args(["-c", WATCH, "sh"]).arg(&self.folder).arg(&self.postgres).arg("-D").arg(self.data());
        command.args(["-p", &self.port.to_string()]);
        let fixed = SETTINGS.iter().map(|(name, value)| format!("{name}={value}"));
        let own = ["listen_addresses=127.0.0.1", "unix_socket_directories="].map(str::to_owned);
        for setting in fixed.chain(own).chain(self.settings.iter().cloned()) {
            command.arg("-c").arg(setting);
        }
        command.stdin(Stdio::piped()).stdout(output).stderr(errors);
        let mut watched = command.spawn().map_err(|source| DevPostgresError::Run { program, source })?;
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if Running::of(&self.data()).is_some_and(|server| server.is_ready()) {
                self.running = Some(watched);
                return Ok(());
            }
            if watched.try_wait().map_err(cannot("started"))?.is_some() {
                return Err(DevPostgresError::ServerFailed { tail: end_of(&log, 0), log });
            }
            thread::sleep(POLL);
        }
        self.running = Some(watched);
        self.stop();
        Err(DevPostgresError::NoAnswer { seconds: START_LIMIT.as_secs(), tail: end_of(&log, 0), log })
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn make_cluster(&self, binaries: &Binaries) -> Result<(), DevPostgresError> {
        let password_file = self.folder.join("password");
        self.write(&password_file, &self.password)?;
        let pwfile = format!("--pwfile={}", password_file.display());
        cluster::initdb(
            &self.data(),
            self.account,
            binaries,
            &["--auth-host=scram-sha-256", "--auth-local=reject", &pwfile],
        )
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), DevPostgresError> {
        let mut file = File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(DevPostgresError::file("created", path))?;
        io::Write::write_all(&mut file, text.as_bytes()).map_err(DevPostgresError::file("written", path))?;
        lchown(path, Some(self.account.uid()), Some(self.account.gid()))
            .map_err(DevPostgresError::file("handed over", path))
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A new private folder, after removing those of processes that are gone.
fn make_folder(place: &Place, account: Account) -> Result<PathBuf, DevPostgresError> {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let _starting = lock::exclusive(&place.start_lock(), || place.create_base())?;
    for entry in fs::read_dir(place.base()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(OWN)?.split('.').next()?.parse().ok());
        if owner.and_then(Pid::from_raw).is_some_and(|owner| test_kill_process(owner).is_err()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = place.base().join(format!("{OWN}{}.{number}", std::process::id()));
    // A process of the same id may have left one.
    let _ = fs::remove_dir_all(&folder);
    place.make_private(&folder, account)?;
    Ok(folder)
}

/// Free at this moment; nobody else is expected to take it in the next.
fn free_port() -> Result<u16, DevPostgresError> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(DevPostgresError::file("bound", "127.0.0.1"))
}

/// Other users of the machine can reach the port, and the role may run programs.
fn unguessable() -> String {
    (0..2).fold(String::new(), |mut text, number| {
        // The standard library draws the keys of its hash maps from the operating system. Writing to a string cannot fail.
        let _ = write!(text, "{:016x}", RandomState::new().hash_one(number));
        text
    })
}
