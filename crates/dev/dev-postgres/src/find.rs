//! Finds the server's programs on this machine.
//!
//! Distributions keep them out of PATH, in a folder per major version; the newest of those wins, after PATH.

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{account::Account, error::DevPostgresError, install, place::open_to_all, surroundings::Surroundings};

/// The oldest major version that the product supports.
pub(crate) const MINIMUM: u32 = 15;

/// Folders as parent, beginning of the name of a folder in it, and where its programs are; the rest of the name is a version.
const USUAL: [(&str, &str, &str); 8] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/lib", "postgresql", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// Folders without a version in their name.
const PLAIN: [&str; 2] = ["/opt/homebrew/bin", "/usr/local/pgsql/bin"];

/// Programs whose links lead to the folder that has all of them.
const LINKED: [&str; 3] = ["postgres", "initdb", "pg_ctl"];

/// One installed server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binaries {
    folder: PathBuf,
    major: u32,
}

impl Binaries {
    pub(crate) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub(crate) fn major(&self) -> u32 {
        self.major
    }

    fn at(folder: PathBuf, account: Account) -> Option<Self> {
        let (initdb, postgres) = (folder.join("initdb"), folder.join("postgres"));
        if !initdb.is_file() || !postgres.is_file() {
            return None;
        }
        let output = account.command(&postgres).arg("--version").stderr(Stdio::null()).output().ok()?;
        let major = parse_major(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { folder, major })
    }
}

/// The installed server to use: one of the wanted major version if there is existing data, else the first that is new enough.
/// Installs one where that is possible without a question.
pub(crate) fn find_or_install(
    here: &Surroundings,
    wanted: Option<u32>,
    say: &dyn Fn(&str),
) -> Result<Binaries, DevPostgresError> {
    match find(here, wanted) {
        Err(DevPostgresError::NotInstalled { .. }) if install::possible(here) => {
            install::run(here, say)?;
            find(here, wanted)
        }
        found => found,
    }
}

/// The same without installing.
pub(crate) fn find(here: &Surroundings, wanted: Option<u32>) -> Result<Binaries, DevPostgresError> {
    let account = Account::current(here);
    let found = folders(here).into_iter().filter_map(|folder| Binaries::at(folder, account));
    let (mut recent, old): (Vec<_>, Vec<_>) = found.partition(|found| found.major >= MINIMUM);
    let best = recent.iter().position(|found| Some(found.major) == wanted).unwrap_or_default();
    if best < recent.len() {
        return Ok(recent.swap_remove(best));
    }
    let (minimum, remedy) = (MINIMUM, install::remedy(here));
    if old.is_empty() {
        return Err(DevPostgresError::NotInstalled { minimum, remedy });
    }
    let names: Vec<_> = old.iter().map(|found| format!("{} in {}", found.major, found.folder.display())).collect();
    Err(DevPostgresError::TooOld { minimum, found: names.join(", "), remedy })
}

/// Every folder that could have the programs, best first, each once.
fn folders(here: &Surroundings) -> Vec<PathBuf> {
    let linked = here.path.iter().flat_map(|folder| LINKED.map(|program| folder.join(program)));
    let linked = linked.filter_map(|program| Some(program.canonicalize().ok()?.parent()?.to_path_buf()));
    let usual = USUAL.iter().flat_map(|(parent, start, end)| versions(&here.below_root(parent), start, end));
    let plain = PLAIN.iter().map(|folder| here.below_root(folder));
    let mut seen = BTreeSet::new();
    linked
        .chain(usual.chain(plain).filter_map(|folder| folder.canonicalize().ok()))
        .filter(|folder| seen.insert(folder.clone()))
        // As root the programs run as another user.
        .filter(|folder| !here.is_root() || open_to_all(folder))
        .collect()
}

/// The folders of all versions, the newest first.
fn versions(parent: &Path, start: &str, end: &str) -> Vec<PathBuf> {
    let names = fs::read_dir(parent).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(start)).collect();
    names.sort_by_key(|name| Reverse(leading_number(&name[start.len()..])));
    names.into_iter().map(|name| parent.join(name).join(end)).collect()
}

/// From what `postgres --version` prints, for example `postgres (PostgreSQL) 17.2 (Debian 17.2-1.pgdg120+1)`.
fn parse_major(text: &str) -> Option<u32> {
    text.split_whitespace().find_map(leading_number)
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|next: char| !next.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    /// A machine with nothing on it, of the distribution whose `/etc/os-release` is given.
    fn machine(os_release: &str) -> (TempDir, Surroundings) {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/os-release"), os_release).unwrap();
        let here = Surroundings {
            user: 4321,
            path: vec![root.path().join("usr/bin")],
            os: "linux",
            root: root.path().into(),
            ..Surroundings::read()
        };
        (root, here)
    }

    fn install_fake(here: &Surroundings, folder: &str, version: &str) -> PathBuf {
        let folder = here.below_root(folder);
        fs::create_dir_all(&folder).unwrap();
        for name in LINKED {
            let program = folder.join(name);
            fs::write(&program, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")).unwrap();
            fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        }
        folder.canonicalize().unwrap()
    }

    #[test]
    fn versions_of_releases_and_previews_are_understood() {
        for (text, major) in [
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 17.2\n", Some(17)),
            ("postgres (PostgreSQL) 18beta1\n", Some(18)),
            ("postgres (PostgreSQL) 19devel\n", Some(19)),
            ("postgres (PostgreSQL) 9.6.24\n", Some(9)),
            ("command not found", None),
            ("", None),
        ] {
            assert_eq!(parse_major(text), major, "{text}");
        }
    }

    #[test]
    fn the_newest_of_the_usual_folders_is_taken() {
        let (_root, here) = machine("ID=debian");
        for major in ["9.6", "15", "17", "16"] {
            install_fake(&here, &format!("/usr/lib/postgresql/{major}/bin"), major);
        }
        assert_eq!(find(&here, None).unwrap().major(), 17);
    }

    #[test]
    fn existing_data_is_served_by_its_own_version() {
        let (_root, here) = machine("ID=debian");
        install_fake(&here, "/usr/lib/postgresql/17/bin", "17.1");
        install_fake(&here, "/usr/lib/postgresql/15/bin", "15.1");
        assert_eq!(find(&here, Some(15)).unwrap().major(), 15);
        assert_eq!(find(&here, Some(16)).unwrap().major(), 17);
    }

    #[test]
    fn a_link_in_path_leads_to_the_folder_with_all_programs() {
        let (root, here) = machine("ID=debian");
        let real = install_fake(&here, "/opt/elsewhere", "16.0");
        install_fake(&here, "/usr/lib/postgresql/17/bin", "17.0");
        fs::create_dir_all(&here.path[0]).unwrap();
        symlink(real.join("pg_ctl"), root.path().join("usr/bin/pg_ctl")).unwrap();
        assert_eq!(find(&here, None).unwrap(), Binaries { folder: real, major: 16 });
    }

    #[test]
    fn homebrew_folders_are_searched() {
        let (_root, here) = machine("");
        install_fake(&here, "/opt/homebrew/opt/postgresql@16/bin", "16.0");
        install_fake(&here, "/opt/homebrew/opt/postgresql@17/bin", "17.0");
        assert_eq!(find(&here, None).unwrap().major(), 17);
    }

    #[test]
    fn a_server_that_is_too_old_is_named() {
        let (_root, here) = machine("ID=debian");
        let folder = install_fake(&here, "/usr/lib/postgresql/14/bin", "14.9");
        let message = find(&here, None).unwrap_err().to_string();
        assert!(message.contains(&format!("found only 14 in {}", folder.display())), "{message}");
    }

    #[test]
    fn missing_programs_are_answered_with_the_command_of_the_platform() {
        for (os, os_release, command) in [
            ("linux", "ID=debian", "sudo apt-get install -y --no-install-recommends postgresql"),
            ("linux", "ID=fedora", "sudo dnf install -y postgresql-server"),
            ("macos", "", "brew install postgresql@17"),
        ] {
            let (_root, mut here) = machine(os_release);
            here.os = os;
            let message = find(&here, None).unwrap_err().to_string();
            assert!(message.contains("initdb and postgres were not found"), "{message}");
            assert!(message.contains(&format!("Install it with `{command}`.")), "{message}");
        }
    }

    #[test]
    fn root_does_not_take_programs_that_only_root_can_reach() {
        let (_root, mut here) = machine("ID=fedora");
        let folder = install_fake(&here, "/usr/lib/postgresql/17/bin", "17.0");
        here.user = 0;
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
        assert!(matches!(find(&here, None), Err(DevPostgresError::NotInstalled { .. })));
    }
}
