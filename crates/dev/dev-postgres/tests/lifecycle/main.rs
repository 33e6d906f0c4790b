//! Real servers, started, joined, killed and reset. Uses only what other crates can use.

mod checkout;
mod own;
mod trouble;

use std::{
    env,
    fs::{self, Permissions},
    io::Write,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use portal_dev_postgres::{DevPostgres, reset, state_dir, stop};
use rustix::process::{geteuid, getpgid};

use crate::checkout::{CHILD, Checkout, data, pid, pid_from, query};

#[test]
fn child_process() {
    let Some(checkout) = env::var_os(CHILD) else { return };
    let server = DevPostgres::start(Path::new(&checkout), &|_| ()).unwrap();
    println!("\nserver {}", pid(&server).as_raw_nonzero());
    std::io::stdin().read_line(&mut String::new()).unwrap();
    drop(server);
    // The parent does not read what the test harness would say now.
    std::process::exit(0);
}

#[test]
fn a_cold_start_is_joined_and_stopped_by_the_last_user() {
    let checkout = Checkout::new();
    let said = Mutex::new(Vec::new());
    let say = |line: &str| said.lock().unwrap().push(line.to_owned());
    let first = DevPostgres::start(checkout.path(), &say).unwrap();
    assert_eq!(said.lock().unwrap().len(), 2, "initdb and start: {said:?}");
    let second = DevPostgres::start(checkout.path(), &say).unwrap();
    assert_eq!(said.lock().unwrap().len(), 2, "joining is not worth a line: {said:?}");
    assert_eq!(pid(&first), pid(&second));
    let socket_dir = first.socket_dir().to_path_buf();
    assert_eq!(fs::metadata(&socket_dir).unwrap().mode() & 0o777, 0o700);
    assert_ne!(fs::metadata(data(&first)).unwrap().uid(), 0);

    assert!(!first.stop_if_unused().unwrap(), "the second still uses it");
    assert_eq!(query(&second, "select current_user"), "portal");
    assert!(second.stop_if_unused().unwrap());
    assert!(!socket_dir.exists());
    assert!(!stop(checkout.path()).unwrap(), "it was stopped already");

    let begin = Instant::now();
    let third = checkout.start();
    assert!(begin.elapsed() < Duration::from_secs(10), "an existing database takes well under a second");
    assert!(stop(checkout.path()).unwrap(), "also while it is used");
    assert!(!third.stop_if_unused().unwrap());
}

#[test]
fn the_server_has_the_settings_of_a_private_development_server() {
    let checkout = Checkout::new();
    let server = checkout.start();
    for (setting, value) in [
        ("listen_addresses", ""),
        ("fsync", "off"),
        ("synchronous_commit", "off"),
        ("full_page_writes", "off"),
        ("max_connections", "300"),
        ("shared_buffers", "64MB"),
        ("unix_socket_permissions", "0700"),
        ("lc_messages", "C"),
        ("lc_ctype", "C"),
        ("server_encoding", "UTF8"),
        ("port", "5432"),
    ] {
        assert_eq!(query(&server, &format!("show {setting}")), value, "{setting}");
    }
    let group = getpgid(Some(pid(&server))).unwrap();
    assert_ne!(group, getpgid(None).unwrap(), "Ctrl-C would reach it");
}

#[test]
fn ten_starts_yield_one_server() {
    let checkout = Checkout::new();
    let mut children: Vec<_> = (0..5).map(|_| checkout.child()).collect();
    let servers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..5).map(|_| scope.spawn(|| checkout.start())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let expected = pid(&servers[0]);
    assert!(servers.iter().all(|server| pid(server) == expected));
    for child in &mut children {
        assert_eq!(pid_from(child), expected);
    }
    let last = servers.into_iter().last().unwrap();
    assert!(!last.stop_if_unused().unwrap(), "the children still use it");
    for mut child in children {
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        child.wait().unwrap();
    }
    assert!(checkout.start().stop_if_unused().unwrap());
}

#[test]
fn two_checkouts_do_not_collide() {
    let (one, two) = (Checkout::new(), Checkout::new());
    let (first, second) = (one.start(), two.start());
    assert_ne!(first.socket_dir(), second.socket_dir());
    assert_ne!(data(&first), data(&second));
    query(&first, "create table mine ()");
    assert_eq!(query(&second, "select count(*) from pg_class where relname = 'mine'"), "0");
    assert!(first.stop_if_unused().unwrap());
    assert_eq!(query(&second, "select 1"), "1");
}

#[test]
fn a_reset_leaves_nothing_and_users_from_before_do_not_stop_the_next_server() {
    let checkout = Checkout::new();
    let before = checkout.start();
    query(&before, "create table gone ()");
    let state = state_dir(checkout.path()).unwrap();
    assert_eq!(fs::metadata(&state).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&state).unwrap().uid(), geteuid().as_raw());
    fs::write(state.join("key"), "secret").unwrap();
    reset(checkout.path()).unwrap();
    assert!(!state.parent().unwrap().exists());
    assert!(!before.socket_dir().exists());

    let after = checkout.start();
    assert_eq!(query(&after, "select count(*) from pg_class where relname = 'gone'"), "0");
    assert!(!before.stop_if_unused().unwrap());
    assert_eq!(query(&after, "select 1"), "1");
}

#[test]
fn stopping_and_resetting_what_never_ran_leaves_no_trace() {
    let checkout = Checkout::new();
    assert!(!stop(checkout.path()).unwrap());
    reset(checkout.path()).unwrap();
    let base = checkout.base();
    reset(checkout.path()).unwrap();
    assert!(!base.exists());
}

/// Root and ordinary users take different paths; where root runs the tests, an ordinary user runs the first of them as well.
#[test]
fn an_ordinary_user_needs_nothing_but_a_home() {
    const NOBODY: u32 = 65534;
    if !geteuid().is_root() {
        return;
    }
    // Root's own temporary folder may be closed to other users, and so may the build folder.
    let home = tempfile::tempdir_in("/tmp").unwrap();
    chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let program = home.path().join("tests");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(&program);
    command.args(["--exact", "a_cold_start_is_joined_and_stopped_by_the_last_user"]);
    command.env("HOME", home.path()).env("TMPDIR", "/tmp");
    for name in ["XDG_DATA_HOME", "XDG_RUNTIME_DIR"] {
        command.env_remove(name);
    }
    let output = command.uid(NOBODY).gid(NOBODY).current_dir("/").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert!(home.path().join(".local/share/portal-dev").is_dir());
}
