//! The user that the server and `initdb` run as. `PostgreSQL` refuses to run as root, so root needs another one.

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    error::DevPostgresError,
    place::Place,
    surroundings::{self, Surroundings},
};

/// In this order; the first is made by the distributions' packages.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// A user and whether this process must become that user first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
    switch: bool,
}

impl Account {
    /// The user of this process.
    pub(crate) fn current(surroundings: &Surroundings) -> Self {
        Self { uid: surroundings.user, gid: surroundings.group, switch: false }
    }

    /// The user for the server of this checkout. Existing data decides, because the server must own it: a `postgres` user may
    /// have appeared after `nobody` made the data.
    pub(crate) fn of_server(place: &Place) -> Result<Self, DevPostgresError> {
        let surroundings = place.surroundings();
        if !surroundings.is_root() {
            return Ok(Self::current(surroundings));
        }
        match fs::metadata(place.data()) {
            Ok(found) if found.uid() != 0 => Ok(Self { uid: found.uid(), gid: found.gid(), switch: true }),
            _ => Self::unprivileged(&surroundings.below_root("/etc/passwd")),
        }
    }

    fn unprivileged(passwd: &Path) -> Result<Self, DevPostgresError> {
        let passwd = fs::read_to_string(passwd).map_err(DevPostgresError::file("read", passwd))?;
        UNPRIVILEGED.into_iter().find_map(|name| entry(&passwd, name)).ok_or(DevPostgresError::NoAccount)
    }

    pub(crate) fn uid(self) -> u32 {
        self.uid
    }

    pub(crate) fn gid(self) -> u32 {
        self.gid
    }

    /// A program to be run as this user, with few variables, no input, and a working directory that every user can enter.
    pub(crate) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(surroundings::inherited()).current_dir("/").stdin(Stdio::null());
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }
}

fn entry(passwd: &str, name: &str) -> Option<Account> {
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?;
    let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
    (uid != 0).then_some(Account { uid, gid, switch: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unprivileged(passwd: &str) -> Result<Account, DevPostgresError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, passwd).unwrap();
        Account::unprivileged(file.path())
    }

    #[test]
    fn root_prefers_postgres_and_makes_do_with_nobody() {
        let nobody = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";
        assert_eq!(unprivileged(nobody).unwrap(), Account { uid: 65534, gid: 65533, switch: true });
        let both = format!("{nobody}postgres:x:101:104::/var/lib/postgresql:/bin/bash\n");
        assert_eq!(unprivileged(&both).unwrap(), Account { uid: 101, gid: 104, switch: true });
    }

    #[test]
    fn without_either_user_the_message_says_what_to_do() {
        let error = unprivileged("root:x:0:0::/root:/bin/sh\npostgres:x:0:0::/:/bin/sh\n").unwrap_err();
        assert!(error.to_string().ends_with("Start the program as an ordinary user."), "{error}");
    }
}
