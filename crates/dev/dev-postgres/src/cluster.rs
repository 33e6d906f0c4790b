//! The data directory: making it, and recognising what made it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{
    account::Account,
    error::DevPostgresError,
    find::Binaries,
    install::{last_lines, text},
    place::Place,
};

/// The role that owns everything; it needs no password, because only its user (and root) can reach the socket.
pub(crate) const ROLE: &str = "portal";

/// Names of data directories in the making begin with this.
const UNFINISHED: &str = "data.new.";

/// The major version that made the data; none if there is no data yet.
pub(crate) fn version(place: &Place) -> Result<Option<u32>, DevPostgresError> {
    let path = place.data();
    if !path.exists() {
        return Ok(None);
    }
    let version = fs::read_to_string(path.join("PG_VERSION")).ok().and_then(|text| text.trim().parse().ok());
    version.map(Some).ok_or(DevPostgresError::DamagedData { path })
}

/// Makes the data directory. It appears under its name when it is complete, so a killed `initdb` leaves no half of one.
pub(crate) fn create(place: &Place, account: Account, binaries: &Binaries) -> Result<(), DevPostgresError> {
    remove_unfinished(place);
    // Not one fixed name: the `initdb` of a killed process may still be writing to it.
    let unfinished = place.base().join(format!("{UNFINISHED}{}", std::process::id()));
    place.make_private(&unfinished, account)?;
    initdb(&unfinished, account, binaries, &["--auth=trust"])?;
    let path = place.data();
    fs::rename(&unfinished, &path).map_err(DevPostgresError::file("renamed", unfinished))
}

/// Makes a cluster in a folder that the account can write to.
pub(crate) fn initdb(
    path: &Path,
    account: Account,
    binaries: &Binaries,
    authentication: &[&str],
) -> Result<(), DevPostgresError> {
    let program = binaries.initdb();
    let output = account
        .command(&program)
        .arg("-D")
        .arg(path)
        .args(["-U", ROLE, "-E", "UTF8", "--locale=C", "--no-sync"])
        .args(authentication)
        .stderr(Stdio::piped())
        .output()
        .map_err(|source| DevPostgresError::Run { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(DevPostgresError::InitdbFailed { path: path.to_path_buf(), output: last_lines(&text(&output), 10) })
}

/// Best effort: what cannot be removed costs space and nothing else.
fn remove_unfinished(place: &Place) {
    let entries = fs::read_dir(place.base()).into_iter().flatten().flatten();
    let unfinished = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED));
    for path in unfinished.map(|entry| entry.path()).collect::<Vec<PathBuf>>() {
        let _ = fs::remove_dir_all(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surroundings::Surroundings;

    fn place(home: &Path) -> Place {
        let here = Surroundings { user: 4321, home: Some(home.into()), data_home: None, ..Surroundings::read() };
        Place::of(home, here).unwrap()
    }

    #[test]
    fn the_version_is_that_of_the_data_if_there_is_any() {
        let home = tempfile::tempdir().unwrap();
        let place = place(home.path());
        assert_eq!(version(&place).unwrap(), None);
        fs::create_dir_all(place.data()).unwrap();
        assert!(matches!(version(&place), Err(DevPostgresError::DamagedData { .. })));
        fs::write(place.data().join("PG_VERSION"), "15\n").unwrap();
        assert_eq!(version(&place).unwrap(), Some(15));
    }

    #[test]
    fn remains_of_a_killed_initdb_are_removed_and_data_is_not() {
        let home = tempfile::tempdir().unwrap();
        let place = place(home.path());
        for name in ["data", "data.new.17"] {
            fs::create_dir_all(place.base().join(name).join("base")).unwrap();
        }
        remove_unfinished(&place);
        assert!(place.data().exists());
        assert!(!place.base().join("data.new.17").exists());
    }
}
