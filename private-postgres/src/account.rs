//! Under which account the server's processes run.
//!
//! PostgreSQL refuses to run as root, for good reason: a hole in it would be a hole in the
//! machine. So as root the processes get another uid and gid (and no supplementary groups);
//! as an ordinary user they stay that user. A cluster that exists keeps its owner.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::Error;

/// Accounts that root hands the server to, best first.
const CANDIDATES: [&str; 3] = ["postgres", "_postgres", "nobody"];

/// Environment that would change what a server or `initdb` does.
const PG_ENVIRONMENT: [&str; 8] =
    ["PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGDATABASE", "PGOPTIONS", "PG_COLOR", "PGTZ"];

/// An account that may own a cluster and run a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Whether we are root and must change to it.
    changes: bool,
}

impl Account {
    /// The account for `cluster`: its owner where it exists, else the best this process can give.
    pub(crate) fn choose(cluster: &Path) -> Result<Self, Error> {
        let own_uid = rustix::process::geteuid().as_raw();
        let owner = fs::metadata(cluster).ok().map(|found| (found.uid(), found.gid()));
        if own_uid != 0 {
            return match owner {
                Some((owner, _)) if owner != own_uid => {
                    Err(Error::ForeignFolder { folder: cluster.to_path_buf(), owner })
                }
                _ => Ok(Self::own(own_uid)),
            };
        }
        match owner {
            Some((uid, gid)) if uid != 0 => {
                Ok(Self { name: uid.to_string(), uid, gid, changes: true })
            }
            _ => Self::unprivileged(),
        }
    }

    fn own(uid: u32) -> Self {
        let gid = rustix::process::getegid().as_raw();
        Self { name: uid.to_string(), uid, gid, changes: false }
    }

    fn unprivileged() -> Result<Self, Error> {
        let accounts = fs::read_to_string("/etc/passwd")
            .map_err(Error::io("reading the list of accounts", "/etc/passwd"))?;
        CANDIDATES
            .iter()
            .find_map(|name| accounts.lines().find_map(|line| parse(line, name)))
            .ok_or(Error::NoAccount)
    }

    /// A command that will run as this account, with an environment that says nothing of
    /// other servers and messages in the language that this crate reads.
    pub(crate) fn command(&self, program: &Path, working_folder: &Path) -> Command {
        let mut command = Command::new(program);
        for name in PG_ENVIRONMENT {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").current_dir(working_folder);
        if self.changes {
            // The standard library clears the supplementary groups when root changes the uid.
            command.uid(self.uid).gid(self.gid).env("HOME", working_folder);
        }
        command
    }

    /// Gives a file or folder to this account, where we are allowed to give.
    pub(crate) fn take(&self, path: &Path) -> Result<(), Error> {
        if self.changes {
            chown(path, Some(self.uid), Some(self.gid))
                .map_err(Error::io("giving a file to the server's account", path))?;
        }
        Ok(())
    }

    /// Checks that this account can enter every folder down to `path`, and says which it cannot.
    pub(crate) fn reaches(&self, path: &Path) -> Result<(), Error> {
        if !self.changes {
            return Ok(());
        }
        let path = fs::canonicalize(path).map_err(Error::io("following the path", path))?;
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.reverse();
        for folder in ancestors.into_iter().filter(|folder| folder.is_dir()) {
            let found =
                fs::metadata(folder).map_err(Error::io("reading the mode of a folder", folder))?;
            let search_bit = match (found.uid() == self.uid, found.gid() == self.gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            if found.mode() & search_bit == 0 {
                let (account, folder) = (self.name.clone(), folder.to_path_buf());
                return Err(Error::Unreachable { account, folder });
            }
        }
        Ok(())
    }
}

/// Reads one line of the account list: `name:password:uid:gid:…`.
fn parse(line: &str, name: &str) -> Option<Account> {
    let mut fields = line.split(':');
    if fields.next() != Some(name) {
        return None;
    }
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    (uid != 0).then(|| Account { name: name.to_owned(), uid, gid, changes: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_from_its_own_line_only() {
        let line = "postgres:x:101:104:PostgreSQL administrator:/var/lib/postgresql:/bin/bash";
        let account = parse(line, "postgres").expect("the line names the account");
        assert_eq!((account.uid, account.gid), (101, 104));
        assert_eq!(parse(line, "post"), None);
    }

    #[test]
    fn an_account_that_is_root_by_another_name_is_not_taken() {
        assert_eq!(parse("postgres:x:0:0::/:/bin/sh", "postgres"), None);
    }
}
