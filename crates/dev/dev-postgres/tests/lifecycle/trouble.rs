//! What crashes, kills, clean-ups and edits do to a server.

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    process::{Command, Stdio},
};

use portal_dev_postgres::{DevPostgres, DevPostgresError};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::checkout::{Checkout, data, pid, pid_from, query, wait_until};

fn kill(pid: Pid) {
    kill_process(pid, Signal::KILL).expect("a live process");
}

#[test]
fn the_server_survives_a_killed_starter_and_is_joined() {
    let checkout = Checkout::new();
    let mut child = checkout.child();
    let expected = pid_from(&mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    let server = checkout.start();
    assert_eq!(pid(&server), expected);
    assert!(server.stop_if_unused().unwrap(), "a killed process uses nothing");
}

#[test]
fn a_starter_killed_at_any_moment_leaves_something_to_continue_from() {
    let checkout = Checkout::new();
    let base = checkout.base();
    let entries = || fs::read_dir(&base).unwrap().flatten();
    let moments: [&dyn Fn() -> bool; 3] =
        [&|| entries().any(|entry| entry.path().join("base").exists()), &|| base.join("data").exists(), &|| {
            base.join("data/postmaster.pid").exists()
        }];
    for moment in moments {
        let mut child = checkout.child();
        wait_until(moment);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(query(&checkout.start(), "select 1"), "1");
}

#[test]
fn a_killed_server_is_started_again_with_its_data() {
    let checkout = Checkout::new();
    let server = checkout.start();
    // What was committed in the last moments is lost with the server (synchronous_commit), so this does not rely on it.
    query(&server, "set synchronous_commit = on; create table kept as select 17 as number");
    let before = pid(&server);
    kill(before);
    let server = checkout.start();
    assert_ne!(pid(&server), before);
    assert_eq!(query(&server, "select number from kept"), "17");
}

#[test]
fn lock_files_that_name_another_process_do_not_stop_a_start() {
    let checkout = Checkout::new();
    let server = checkout.start();
    let (data, socket_dir) = (data(&server), server.socket_dir().to_path_buf());
    let owner = fs::metadata(&data).unwrap();
    kill(pid(&server));
    // A process of the server's own user, as after a reboot; the server by itself would take it for another server.
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped());
    if geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let mut stranger = command.spawn().unwrap();
    for lock_file in [data.join("postmaster.pid"), socket_dir.join(".s.PGSQL.5432.lock")] {
        let text = fs::read_to_string(&lock_file).unwrap();
        let (_, rest) = text.split_once('\n').unwrap();
        fs::write(&lock_file, format!("{}\n{rest}", stranger.id())).unwrap();
    }
    assert_eq!(query(&checkout.start(), "select 1"), "1");
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger was left alone");
    drop(stranger.stdin.take());
    stranger.wait().unwrap();
}

#[test]
fn a_server_whose_socket_was_cleaned_up_is_started_again() {
    let checkout = Checkout::new();
    let server = checkout.start();
    fs::remove_dir_all(server.socket_dir()).unwrap();
    assert_eq!(query(&checkout.start(), "select 1"), "1");
}

#[test]
fn a_server_that_fails_is_quoted() {
    let checkout = Checkout::new();
    let server = checkout.start();
    let settings = data(&server).join("postgresql.conf");
    assert!(server.stop_if_unused().unwrap());
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{text}\nnonsense = 1\n")).unwrap();
    let error = DevPostgres::start(checkout.path(), &|_| ()).unwrap_err();
    assert!(matches!(error, DevPostgresError::ServerFailed { .. }));
    assert!(error.to_string().contains("unrecognized configuration parameter \"nonsense\""), "{error}");
}

#[test]
fn data_of_another_version_or_of_none_asks_for_a_reset() {
    let checkout = Checkout::new();
    let data = checkout.base().join("data");
    fs::create_dir(&data).unwrap();
    let error = DevPostgres::start(checkout.path(), &|_| ()).unwrap_err();
    assert!(matches!(error, DevPostgresError::DamagedData { .. }));
    fs::write(data.join("PG_VERSION"), "9\n").unwrap();
    let error = DevPostgres::start(checkout.path(), &|_| ()).unwrap_err();
    assert!(matches!(error, DevPostgresError::WrongVersion { cluster: 9, .. }));
    assert!(error.to_string().contains("Run `portal dev --reset`"), "{error}");
}
