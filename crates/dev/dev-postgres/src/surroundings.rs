//! The only module that reads environment variables and the user id.
//!
//! Everything else gets a [`Surroundings`], so that tests can describe a machine instead of changing this one.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// What the crate wants to know about the user and the machine.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) home: Option<PathBuf>,
    pub(crate) data_home: Option<PathBuf>,
    pub(crate) runtime_dir: Option<PathBuf>,
    pub(crate) temporary: PathBuf,
    pub(crate) path: Vec<PathBuf>,
    /// As in [`env::consts::OS`].
    pub(crate) os: &'static str,
    /// `/` except in tests; the usual folders of PostgreSQL and `/etc` are looked up below it.
    pub(crate) root: PathBuf,
}

/// Passed on to the programs started here. Nothing else is: the server outlives its starter and should not keep the starter's
/// secrets, and `PG*` variables would change its settings.
const INHERITED: [&str; 5] = ["PATH", "HOME", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

impl Surroundings {
    /// Of this process.
    pub(crate) fn read() -> Self {
        Self {
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
            home: absolute("HOME"),
            data_home: absolute("XDG_DATA_HOME"),
            runtime_dir: absolute("XDG_RUNTIME_DIR"),
            temporary: clean(&env::temp_dir()).unwrap_or_else(|| PathBuf::from("/tmp")),
            path: env::var_os("PATH").map_or_else(Vec::new, |path| env::split_paths(&path).collect()),
            os: env::consts::OS,
            root: PathBuf::from("/"),
        }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.user == 0
    }

    /// An absolute path, below the root of these surroundings.
    pub(crate) fn below_root(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

/// The environment of a program started here.
pub(crate) fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.into_iter().filter_map(|name| Some((name, env::var_os(name)?))).chain([("LC_ALL", OsString::from("C"))])
}

/// The server that is to be used instead of a private one; none if it is unset, empty or not text.
#[cfg(feature = "testing")]
pub(crate) fn database_url() -> Option<String> {
    env::var_os("DATABASE_URL")?.into_string().ok().filter(|url| !url.is_empty())
}

fn absolute(name: &str) -> Option<PathBuf> {
    env::var_os(name).and_then(|value| clean(Path::new(&value)))
}

/// None for a relative path, which the XDG specification has ignored. The server drops doubled and final slashes from the paths
/// it is given, and is recognised by them, so they go here.
fn clean(path: &Path) -> Option<PathBuf> {
    path.is_absolute().then(|| path.components().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_started_here_speak_english_and_know_the_path() {
        let names: Vec<_> = inherited().map(|(name, _)| name).collect();
        assert!(names.contains(&"LC_ALL") && names.contains(&"PATH"), "{names:?}");
        assert!(inherited().all(|(name, value)| name != "LC_ALL" || value == "C"), "messages are compared");
    }

    #[test]
    fn paths_are_absolute_and_written_one_way() {
        assert_eq!(clean(Path::new("//home//ann/./")).unwrap().as_os_str(), "/home/ann");
        assert_eq!(clean(Path::new("share")), None);
    }

    #[test]
    fn paths_below_another_root_do_not_leave_it() {
        let mut here = Surroundings::read();
        here.root = PathBuf::from("/elsewhere");
        assert_eq!(here.below_root("/etc/passwd"), PathBuf::from("/elsewhere/etc/passwd"));
    }
}
