//! File locks that survive the deletion of the locked file by a reset.
//!
//! The operating system releases them when the process ends, however it ends.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use crate::error::DevPostgresError;

/// Waits until nobody else holds the file. The lock ends when the file is dropped.
///
/// `prepare` makes the folder; it is repeated when a reset removed folder and file while this process waited.
pub(crate) fn exclusive(
    path: &Path,
    prepare: impl Fn() -> Result<(), DevPostgresError>,
) -> Result<File, DevPostgresError> {
    loop {
        prepare()?;
        let file = match open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(DevPostgresError::file("opened", path))?,
        };
        file.lock().map_err(DevPostgresError::file("locked", path))?;
        if in_place(&file, path) {
            return Ok(file);
        }
    }
}

/// Waits until nobody holds the file exclusively.
pub(crate) fn shared(path: &Path) -> Result<File, DevPostgresError> {
    let file = open(path).map_err(DevPostgresError::file("opened", path))?;
    file.lock_shared().map_err(DevPostgresError::file("locked", path))?;
    Ok(file)
}

/// Whether the path still leads to this file. A lock on a deleted file excludes nobody.
pub(crate) fn in_place(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => held.dev() == named.dev() && held.ino() == named.ino(),
        _ => false,
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_lock_on_a_deleted_file_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inner/lock");
        // Made by somebody else is as good, and may be gone again by now: `create_dir_all` would call that an error.
        let prepare = || match fs::create_dir(path.parent().unwrap()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made.map_err(DevPostgresError::file("created", &path)),
        };
        let first = exclusive(&path, prepare).unwrap();
        let second = thread::scope(|scope| {
            let waiting = scope.spawn(|| exclusive(&path, prepare).unwrap());
            fs::remove_dir_all(path.parent().unwrap()).unwrap();
            drop(first);
            waiting.join().unwrap()
        });
        assert!(in_place(&second, &path));
    }

    #[test]
    fn shared_holders_keep_an_exclusive_one_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let (one, two) = (shared(&path).unwrap(), shared(&path).unwrap());
        one.unlock().unwrap();
        assert!(one.try_lock().is_err());
        two.unlock().unwrap();
        one.try_lock().unwrap();
    }
}
