//! A temporary checkout with a server, and what the tests ask of it.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use portal_dev_postgres::{DevPostgres, reset, state_dir};
use rustix::process::Pid;
use tempfile::TempDir;

/// Makes `child_process` a child that uses the server of the checkout named by the value.
pub(crate) const CHILD: &str = "PORTAL_TEST_CHECKOUT";

/// An empty checkout; server, data and folders go with it.
pub(crate) struct Checkout(TempDir);

impl Checkout {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn start(&self) -> DevPostgres {
        DevPostgres::start(self.path(), &|_| ()).expect("a server")
    }

    /// The folder of data and state.
    pub(crate) fn base(&self) -> PathBuf {
        state_dir(self.path()).expect("a folder").parent().expect("a parent").to_path_buf()
    }

    /// Another process that starts or joins the server and keeps using it until it gets a line.
    pub(crate) fn child(&self) -> Child {
        self.child_running("child_process")
    }

    /// Another process that runs one test of this program.
    pub(crate) fn child_running(&self, test: &str) -> Child {
        Command::new(env::current_exe().expect("this program"))
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child")
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let done = reset(self.path());
        assert!(done.is_ok() || thread::panicking(), "{done:?}");
    }
}

/// What a child says about its server.
pub(crate) fn pid_from(child: &mut Child) -> Pid {
    Pid::from_raw(number_from(child)).expect("a process id")
}

pub(crate) fn number_from(child: &mut Child) -> i32 {
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("server ")).expect("a line about the server");
    line["server ".len()..].parse().expect("a number")
}

pub(crate) fn pid(server: &DevPostgres) -> Pid {
    Pid::from_raw(lock_file_line(server, 0).parse().expect("a number")).expect("a process id")
}

pub(crate) fn data(server: &DevPostgres) -> PathBuf {
    lock_file_line(server, 1).into()
}

fn lock_file_line(server: &DevPostgres, line: usize) -> String {
    let text = fs::read_to_string(server.socket_dir().join(".s.PGSQL.5432.lock")).expect("a lock file");
    text.lines().nth(line).expect("a line").to_owned()
}

/// The first column of the first row; empty without rows.
pub(crate) fn query(server: &DevPostgres, sql: &str) -> String {
    query_at(&server.url("postgres"), sql)
}

pub(crate) fn query_at(url: &str, sql: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
        let driver = tokio::spawn(connection);
        let messages = client.simple_query(sql).await.expect("a result");
        driver.abort();
        let first = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
            _ => None,
        });
        first.unwrap_or_default()
    })
}

pub(crate) fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain");
        thread::yield_now();
    }
}
