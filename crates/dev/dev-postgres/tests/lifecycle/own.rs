//! Servers of one test.

use std::{
    env, fs,
    net::TcpStream,
    path::{Path, PathBuf},
};

use portal_dev_postgres::testing::{OwnServer, admin_url};

use crate::checkout::{CHILD, Checkout, number_from, query_at, wait_until};

fn accepts(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn folders(checkout: &Checkout) -> Vec<PathBuf> {
    let entries = fs::read_dir(checkout.base()).expect("a folder").flatten().map(|entry| entry.path());
    entries.filter(|path| path.to_string_lossy().contains("/own.")).collect()
}

#[test]
fn it_keeps_port_and_data_over_a_restart_and_leaves_nothing() {
    let checkout = Checkout::new();
    let mut server = OwnServer::start(checkout.path(), &[], &["application_name=mine"]).unwrap();
    let (url, port) = (server.url("postgres"), server.port());
    assert_eq!(query_at(&url, "show application_name"), "mine");
    query_at(&url, "create table kept as select 17 as number");
    server.stop();
    assert!(!accepts(port));
    server.start_again().unwrap();
    assert_eq!(query_at(&url, "select number from kept"), "17");
    drop(server);
    assert!(!accepts(port));
    assert!(folders(&checkout).is_empty());
}

#[test]
fn it_asks_for_the_password_and_reads_files_from_its_data_directory() {
    let checkout = Checkout::new();
    let server = OwnServer::start(checkout.path(), &[("more.conf", "work_mem = '5MB'")], &[]).unwrap();
    let text = query_at(&server.url("postgres"), "select pg_read_file('more.conf')");
    assert_eq!(text, "work_mem = '5MB'");
    let other = server.url("postgres").replace(server.password(), "wrong");
    assert!(std::panic::catch_unwind(|| query_at(&other, "select 1")).is_err());
}

#[test]
fn a_start_that_fails_is_quoted() {
    let checkout = Checkout::new();
    let error = OwnServer::start(checkout.path(), &[], &["nonsense=1"]).unwrap_err();
    assert!(error.to_string().contains("unrecognized configuration parameter \"nonsense\""), "{error}");
    assert!(folders(&checkout).is_empty());
}

/// See the test below.
#[test]
fn child_with_own_server() {
    let Some(checkout) = env::var_os(CHILD) else { return };
    let server = OwnServer::start(Path::new(&checkout), &[], &[]).unwrap();
    println!("\nserver {}", server.port());
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn it_does_not_outlive_a_killed_owner() {
    let checkout = Checkout::new();
    let mut child = checkout.child_running("own::child_with_own_server");
    let port: u16 = number_from(&mut child).try_into().unwrap();
    assert!(accepts(port));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until(|| !accepts(port));
    wait_until(|| folders(&checkout).iter().all(|folder| fs::read_dir(folder).unwrap().next().is_none()));
    let server = OwnServer::start(checkout.path(), &[], &[]).unwrap();
    assert_eq!(folders(&checkout).len(), 1, "what the killed process left is gone");
    drop(server);
}

#[test]
fn all_tests_of_a_process_share_one_server_unless_the_environment_names_another() {
    let checkout = Checkout::new();
    let (first, second) = (admin_url(checkout.path()).unwrap(), admin_url(checkout.path()).unwrap());
    assert_eq!(first, second);
    assert!(env::var_os("DATABASE_URL").is_none_or(|url| url == first.as_str()));
}
