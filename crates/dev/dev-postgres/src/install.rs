//! What to do where the server's programs are missing: the command for the platform, and, for root on Debian and its
//! derivatives, running it.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use crate::{error::DevPostgresError, surroundings::Surroundings};

const APT_GET: &str = "apt-get install -y --no-install-recommends postgresql";

/// Whether [`run`] can be tried: nobody has to be asked for a password.
pub(crate) fn possible(here: &Surroundings) -> bool {
    here.is_root() && command(here.os, &os_release(here)) == Some(APT_GET) && apt_get(here).is_some()
}

/// Installs the server with the package manager.
pub(crate) fn run(here: &Surroundings, say: &dyn Fn(&str)) -> Result<(), DevPostgresError> {
    let apt_get = apt_get(here).unwrap_or_else(|| "apt-get".into());
    let arguments: Vec<_> = APT_GET.split(' ').skip(1).collect();
    let attempt = |arguments: &[&str]| {
        let mut command = Command::new(&apt_get);
        let command = command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
        command
            .stdin(Stdio::null())
            .output()
            .map_err(|source| DevPostgresError::Run { program: apt_get.clone(), source })
    };
    say(&format!("PostgreSQL is not installed on this machine; running `{APT_GET}`"));
    if attempt(&arguments)?.status.success() {
        return Ok(());
    }
    // A fresh image has no package lists, and old lists name versions that the mirrors dropped.
    say("The package is unknown or outdated; running `apt-get update` and trying again");
    let updated = attempt(&["update"])?;
    let installed = attempt(&arguments)?;
    if installed.status.success() {
        return Ok(());
    }
    // An update without a network succeeds, with warnings, so the cause is in what it said.
    let output = text(&updated) + &text(&installed);
    Err(DevPostgresError::InstallFailed { command: APT_GET.into(), output: last_lines(&output, 15) })
}

/// One sentence: how a person installs the server here.
pub(crate) fn remedy(here: &Surroundings) -> String {
    match command(here.os, &os_release(here)) {
        // Homebrew refuses to run as root.
        Some(command) if here.is_root() || command.starts_with("brew") => format!("Install it with `{command}`."),
        Some(command) => format!("Install it with `sudo {command}`."),
        None => "Install it with your package manager or from https://www.postgresql.org/download/.".into(),
    }
}

/// Standard output and error of a program that ended.
pub(crate) fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// The end of a text that may be long.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn command(os: &str, os_release: &str) -> Option<&'static str> {
    match os {
        "macos" => return Some("brew install postgresql@17"),
        "freebsd" => return Some("pkg install -y postgresql17-server"),
        _ => {}
    }
    // The own name first, then those of the distributions it derives from.
    ["ID=", "ID_LIKE="].into_iter().find_map(|key| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim_matches(['"', '\'']).split_whitespace().find_map(|name| match name {
            "debian" | "ubuntu" => Some(APT_GET),
            "fedora" | "rhel" | "centos" => Some("dnf install -y postgresql-server"),
            "arch" => Some("pacman -S --needed postgresql"),
            "alpine" => Some("apk add postgresql"),
            name if name.contains("suse") => Some("zypper install -y postgresql-server"),
            _ => None,
        })
    })
}

fn os_release(here: &Surroundings) -> String {
    let read = |path| fs::read_to_string(here.below_root(path)).ok();
    let debian = || read("/etc/debian_version").map(|_| "ID=debian".to_owned());
    read("/etc/os-release").or_else(|| read("/usr/lib/os-release")).or_else(debian).unwrap_or_default()
}

fn apt_get(here: &Surroundings) -> Option<PathBuf> {
    let programs = here.path.iter().map(|folder| folder.join("apt-get"));
    programs.into_iter().find(|program| fs::metadata(program).is_ok_and(|found| found.mode() & 0o111 != 0))
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, os::unix::fs::PermissionsExt};

    use tempfile::TempDir;

    use super::*;
    use crate::find;

    const DEBIAN: &str = "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\nID_LIKE=none\n";

    /// A Debian machine whose `apt-get` is the script.
    fn debian(user: u32, script: &str) -> (TempDir, Surroundings) {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/os-release"), DEBIAN).unwrap();
        let apt_get = root.path().join("apt-get");
        fs::write(&apt_get, format!("#!/bin/sh\ncd {}\n{script}\n", root.path().display())).unwrap();
        fs::set_permissions(&apt_get, PermissionsExt::from_mode(0o755)).unwrap();
        let here = Surroundings {
            user,
            path: vec![root.path().into()],
            os: "linux",
            root: root.path().into(),
            ..Surroundings::read()
        };
        (root, here)
    }

    /// Installs a server, but only after `update`.
    const APT: &str = "\
        echo \"$@ $DEBIAN_FRONTEND\" >> calls\n\
        if [ $1 = update ]; then touch updated; exit; fi\n\
        [ -e updated ] || { echo 'E: Unable to locate package postgresql'; exit 100; }\n\
        mkdir -p usr/lib/postgresql/15/bin; cd usr/lib/postgresql/15/bin\n\
        for name in initdb postgres; do echo '#!/bin/sh\necho postgres 15.1' > $name; chmod 755 $name; done";

    #[test]
    fn each_platform_has_its_command() {
        for (os, os_release, start) in [
            ("linux", DEBIAN, "apt-get install"),
            ("linux", "ID=linuxmint\nID_LIKE=\"ubuntu debian\"", "apt-get install"),
            ("linux", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"", "dnf install"),
            ("linux", "ID=manjaro\nID_LIKE=arch", "pacman -S"),
            ("linux", "ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"", "zypper install"),
            ("linux", "ID=alpine", "apk add"),
            ("macos", "", "brew install"),
            ("freebsd", "", "pkg install"),
        ] {
            let found = command(os, os_release).unwrap();
            assert!(found.starts_with(start), "{os_release}: {found}");
        }
        assert_eq!(command("linux", "ID=nixos"), None);
    }

    #[test]
    fn root_on_debian_installs_after_one_update_and_is_told() {
        let (root, here) = debian(0, APT);
        let said = RefCell::new(Vec::new());
        let found = find::find_or_install(&here, None, &|line| said.borrow_mut().push(line.to_owned())).unwrap();
        assert_eq!(found.major(), 15);
        assert!(said.borrow()[0].contains("running `apt-get install"), "{said:?}");
        let calls = fs::read_to_string(root.path().join("calls")).unwrap();
        let install = "install -y --no-install-recommends postgresql noninteractive";
        assert_eq!(calls, format!("{install}\nupdate noninteractive\n{install}\n"));
    }

    #[test]
    fn a_failing_package_manager_is_quoted() {
        let (_root, here) = debian(0, "echo 'E: no network' >&2; exit 100");
        let message = find::find_or_install(&here, None, &|_| ()).unwrap_err().to_string();
        assert!(message.ends_with("It said:\nE: no network\nE: no network"), "{message}");
    }

    #[test]
    fn an_ordinary_user_is_given_the_command_and_nothing_is_run() {
        let (root, here) = debian(4321, APT);
        assert!(matches!(find::find_or_install(&here, None, &|_| ()), Err(DevPostgresError::NotInstalled { .. })));
        assert!(!root.path().join("calls").exists());
    }

    #[test]
    fn the_end_of_a_long_output_is_kept() {
        assert_eq!(last_lines("a\nb\n\nc\n", 2), "b\nc");
        assert_eq!(last_lines("", 2), "");
    }
}
