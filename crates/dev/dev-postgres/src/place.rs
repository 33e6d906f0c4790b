//! Where the files of a checkout are, and which of them must belong to whom.
//!
//! Data and state live in one folder named by a hash of the checkout's path; the socket lives in a private directory of its own,
//! because socket paths are short.

use std::{
    fmt::Write,
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown},
    },
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{account::Account, error::DevPostgresError, surroundings::Surroundings};

/// The port is part of the socket's file name; it is not a TCP port here.
pub(crate) const PORT: u16 = 5432;

/// Bytes of a socket path, without the final zero: `sun_path` has 108 on Linux and 104 elsewhere.
const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The paths of one checkout.
#[derive(Debug)]
pub(crate) struct Place {
    base: PathBuf,
    sockets: PathBuf,
    /// What a person can set to move `sockets`.
    variable: &'static str,
    surroundings: Surroundings,
}

impl Place {
    /// Names the paths; makes nothing.
    pub(crate) fn of(checkout: &Path, surroundings: Surroundings) -> Result<Self, DevPostgresError> {
        let checkout = checkout
            .canonicalize()
            .map_err(|source| DevPostgresError::Checkout { path: checkout.to_path_buf(), source })?;
        let hash = hash(&checkout);
        let base = data_home(&surroundings)?.join("portal-dev").join(&hash);
        let (sockets, variable) = socket_home(&surroundings);
        Ok(Self { base, sockets: sockets.join(format!("portal-dev-{hash}")), variable, surroundings })
    }

    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.base.join("data")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.base.join("server.log")
    }

    /// Held by the one process that starts, stops or deletes.
    pub(crate) fn start_lock(&self) -> PathBuf {
        self.base.join("start.lock")
    }

    /// Held, shared, by every process that uses the server.
    pub(crate) fn use_lock(&self) -> PathBuf {
        self.base.join("use.lock")
    }

    /// The socket directory of a server started now; one that runs already may have another.
    pub(crate) fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// Makes the folder of this checkout. As root the server's account must be able to pass through, whatever the umask.
    pub(crate) fn create_base(&self) -> Result<(), DevPostgresError> {
        let mode = if self.surroundings.is_root() { 0o711 } else { 0o700 };
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(&self.base)
            .map_err(DevPostgresError::file("created", &self.base))?;
        let ours = self.base.ancestors().take(2);
        ours.filter(|_| self.surroundings.is_root()).try_for_each(|folder| {
            fs::set_permissions(folder, Permissions::from_mode(mode))
                .map_err(DevPostgresError::file("opened up", folder))
        })
    }

    /// Makes the folder for state that is not the server's.
    pub(crate) fn create_state(&self) -> Result<PathBuf, DevPostgresError> {
        self.create_base()?;
        let state = self.base.join("state");
        self.make_private(&state, Account::current(&self.surroundings))?;
        Ok(state)
    }

    /// Makes the socket directory, or checks the one that is there.
    pub(crate) fn create_sockets(&self, account: Account) -> Result<(), DevPostgresError> {
        let path = self.sockets.join(format!(".s.PGSQL.{PORT}"));
        let length = path.as_os_str().len();
        if length > SOCKET_PATH_LIMIT {
            let (limit, variable) = (SOCKET_PATH_LIMIT, self.variable);
            return Err(DevPostgresError::SocketPathTooLong { path, length, limit, variable });
        }
        self.make_private(&self.sockets, account)
    }

    /// Removes the socket directory if it can be trusted to be ours; best effort.
    pub(crate) fn remove_sockets(&self) {
        let account = Account::of_server(self);
        if account.is_ok_and(|account| self.check_owner(&self.sockets, account).is_ok()) {
            let _ = fs::remove_dir_all(&self.sockets);
        }
    }

    /// Makes a directory that only the account (and root) can enter, or takes over an existing one that was already its own.
    pub(crate) fn make_private(&self, path: &Path, account: Account) -> Result<(), DevPostgresError> {
        let cannot = |done| DevPostgresError::file(done, path);
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(cannot("created")(error)),
            _ => {}
        }
        let owner = self.check_owner(path, account)?;
        if owner != account.uid() {
            lchown(path, Some(account.uid()), Some(account.gid())).map_err(cannot("handed over"))?;
        }
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(cannot("made private"))
    }

    /// The owner of a directory, which is the account or this process; an error if it is anybody else, or not a directory.
    pub(crate) fn check_owner(&self, path: &Path, account: Account) -> Result<u32, DevPostgresError> {
        // Not following links: in a folder that everybody can write to, a link leads where its maker wants.
        let found = fs::symlink_metadata(path).map_err(DevPostgresError::file("inspected", path))?;
        let owner = found.uid();
        if found.is_dir() && (owner == account.uid() || owner == self.surroundings.user) {
            return Ok(owner);
        }
        let variable = if path.starts_with(&self.base) { "XDG_DATA_HOME" } else { self.variable };
        let (path, expected) = (path.to_path_buf(), account.uid());
        Err(DevPostgresError::ForeignDirectory { path, owner, expected, variable })
    }
}

/// Whether every user can pass through the directory and the folders above it.
pub(crate) fn open_to_all(path: &Path) -> bool {
    path.ancestors().all(|folder| fs::metadata(folder).is_ok_and(|found| found.mode() & 0o001 != 0))
}

fn hash(checkout: &Path) -> String {
    let digest = Sha256::digest(checkout.as_os_str().as_bytes());
    digest.iter().take(8).fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn data_home(surroundings: &Surroundings) -> Result<PathBuf, DevPostgresError> {
    if surroundings.is_root() {
        return Ok(surroundings.below_root("/var/lib"));
    }
    let below_home = || surroundings.home.as_ref().map(|home| home.join(".local/share"));
    surroundings.data_home.clone().or_else(below_home).ok_or(DevPostgresError::NoHome)
}

fn socket_home(surroundings: &Surroundings) -> (PathBuf, &'static str) {
    let temporary = &surroundings.temporary;
    if surroundings.is_root() {
        // A temporary folder that is private to root would keep the server's account out.
        let reachable = if open_to_all(temporary) { temporary.clone() } else { PathBuf::from("/tmp") };
        return (reachable, "TMPDIR");
    }
    // After `su` the variable may still name the directory of another user.
    let own = |folder: &&PathBuf| fs::metadata(folder).is_ok_and(|found| found.uid() == surroundings.user);
    match surroundings.runtime_dir.as_ref().filter(own) {
        Some(folder) => (folder.clone(), "XDG_RUNTIME_DIR"),
        None => (temporary.clone(), "TMPDIR"),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const SOMEBODY: u32 = 4321;

    fn surroundings(home: &Path) -> Surroundings {
        let user = if cfg!(unix) { fs::metadata(home).unwrap().uid() } else { 0 };
        Surroundings { user, home: Some(home.into()), data_home: None, runtime_dir: None, ..Surroundings::read() }
    }

    fn ordinary(home: &Path) -> Surroundings {
        Surroundings { user: SOMEBODY, ..surroundings(home) }
    }

    fn folder() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn two_checkouts_share_no_path() {
        let (home, one, two) = (folder(), folder(), folder());
        let one = Place::of(one.path(), surroundings(home.path())).unwrap();
        let two = Place::of(two.path(), surroundings(home.path())).unwrap();
        assert_ne!(one.base(), two.base());
        assert_ne!(one.sockets(), two.sockets());
    }

    #[test]
    fn a_checkout_is_the_same_by_whatever_path_it_is_reached() {
        let (home, checkout) = (folder(), folder());
        let link = home.path().join("link");
        std::os::unix::fs::symlink(checkout.path(), &link).unwrap();
        let direct = Place::of(checkout.path(), surroundings(home.path())).unwrap();
        let linked = Place::of(&link, surroundings(home.path())).unwrap();
        assert_eq!(direct.base(), linked.base());
        let name = direct.base().file_name().unwrap().to_str().unwrap();
        assert_eq!(name.len(), 16);
        assert!(name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn a_missing_checkout_is_named() {
        let home = folder();
        let error = Place::of(&home.path().join("none"), surroundings(home.path())).unwrap_err();
        assert!(matches!(error, DevPostgresError::Checkout { .. }), "{error}");
    }

    #[test]
    fn data_is_found_by_xdg_then_home_then_not_at_all() {
        let home = folder();
        let mut here = ordinary(home.path());
        assert_eq!(data_home(&here).unwrap(), home.path().join(".local/share"));
        here.data_home = Some("/xdg".into());
        assert_eq!(data_home(&here).unwrap(), Path::new("/xdg"));
        (here.data_home, here.home) = (None, None);
        assert!(matches!(data_home(&here), Err(DevPostgresError::NoHome)));
        here.user = 0;
        assert_eq!(data_home(&here).unwrap(), Path::new("/var/lib"));
    }

    #[test]
    fn the_runtime_directory_of_another_user_is_not_used() {
        let (home, runtime) = (folder(), folder());
        let mut here = surroundings(home.path());
        here.runtime_dir = Some(runtime.path().into());
        here.user = SOMEBODY;
        assert_eq!(socket_home(&here), (here.temporary.clone(), "TMPDIR"));
    }

    #[test]
    fn a_too_long_socket_path_says_what_to_set() {
        let home = folder();
        let long = home.path().join("x".repeat(100));
        let here = Surroundings { temporary: long.clone(), ..ordinary(home.path()) };
        let place = Place::of(home.path(), here).unwrap();
        let error = place.create_sockets(Account::current(place.surroundings())).unwrap_err();
        assert!(matches!(error, DevPostgresError::SocketPathTooLong { .. }));
        assert!(error.to_string().contains("Set TMPDIR to a short path"), "{error}");
        assert!(!long.exists());
    }

    #[test]
    fn a_socket_directory_of_somebody_else_is_refused() {
        let (home, temporary) = (folder(), folder());
        // The directory belongs to whoever runs this test, and is claimed for somebody else.
        let here = Surroundings { temporary: temporary.path().into(), ..ordinary(home.path()) };
        let place = Place::of(home.path(), here).unwrap();
        fs::create_dir(place.sockets()).unwrap();
        let error = place.create_sockets(Account::current(place.surroundings())).unwrap_err();
        assert!(matches!(error, DevPostgresError::ForeignDirectory { expected: SOMEBODY, .. }));
        assert!(error.to_string().contains("set TMPDIR to a directory of your own"), "{error}");
    }

    #[test]
    fn a_link_in_place_of_the_socket_directory_is_refused() {
        let (home, temporary) = (folder(), folder());
        let here = Surroundings { temporary: temporary.path().into(), ..surroundings(home.path()) };
        let account = Account::current(&here);
        let place = Place::of(home.path(), Surroundings { user: SOMEBODY, ..here }).unwrap();
        std::os::unix::fs::symlink(home.path(), place.sockets()).unwrap();
        let error = place.create_sockets(account).unwrap_err();
        assert!(matches!(error, DevPostgresError::ForeignDirectory { .. }), "{error}");
    }

    #[test]
    fn an_own_directory_is_taken_over_and_made_private() {
        let (home, own) = (folder(), folder());
        fs::set_permissions(own.path(), Permissions::from_mode(0o755)).unwrap();
        let place = Place::of(home.path(), surroundings(home.path())).unwrap();
        place.make_private(own.path(), Account::current(place.surroundings())).unwrap();
        assert_eq!(fs::metadata(own.path()).unwrap().mode() & 0o777, 0o700);
    }
}
