//! Which server binaries are used.
//!
//! A folder given by the caller or by `OPS_POSTGRES_BIN` is the only one looked at. Otherwise
//! everything that is found competes: a cluster that exists needs its own major version, a new
//! one gets the newest. Client tools are not needed: `postgres` and `initdb` are enough.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

/// The oldest major version that works.
pub const VERSION_MIN: u32 = 15;

/// Folders with one folder per version, and where `bin` is inside that.
const VERSIONED: [(&str, &str); 8] = [
    ("/usr/lib/postgresql", "bin"),
    ("/usr/libexec", ""),
    ("/usr/local/lib/postgresql", "bin"),
    ("/usr", "bin"),
    ("/opt/homebrew/opt", "bin"),
    ("/usr/local/opt", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "bin"),
];

/// A folder with `postgres` and `initdb`, and what they say of themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binaries {
    pub(crate) folder: PathBuf,
    pub(crate) major: u32,
    /// As it is printed: `15.18`, `18beta2`.
    pub(crate) version: String,
}

impl Binaries {
    pub(crate) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub(crate) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    /// Finds binaries: of exactly `made_by` for a cluster that exists, else the newest.
    pub(crate) fn find(
        given: Option<&Path>,
        cluster: &Path,
        made_by: Option<u32>,
    ) -> Result<Self, Error> {
        let folders = match given.map(Path::to_path_buf).or_else(named_by_environment) {
            Some(folder) => vec![folder],
            None => folders(),
        };
        choose(&folders, cluster, made_by)
    }
}

fn named_by_environment() -> Option<PathBuf> {
    env::var_os("OPS_POSTGRES_BIN").filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn choose(folders: &[PathBuf], cluster: &Path, made_by: Option<u32>) -> Result<Binaries, Error> {
    let mut looked_in = Vec::new();
    let mut found: Vec<Binaries> = Vec::new();
    for folder in folders {
        match inspect(folder) {
            Ok((major, version)) if major >= VERSION_MIN => {
                found.push(Binaries { folder: folder.clone(), major, version });
            }
            Ok((major, _)) => looked_in.push(format!("{} is version {major}", folder.display())),
            Err(why) => looked_in.push(format!("{} {why}", folder.display())),
        }
    }
    let wanted = |binaries: &&Binaries| made_by.is_none_or(|major| binaries.major == major);
    // The first of equals wins: what the caller's PATH names comes before what we guess.
    let best = found.iter().rev().filter(wanted).max_by_key(|binaries| binaries.major);
    match (best, made_by) {
        (Some(binaries), _) => Ok(binaries.clone()),
        (None, Some(made_by)) if !found.is_empty() => {
            let versions: BTreeSet<String> =
                found.iter().map(|binaries| binaries.major.to_string()).collect();
            let found = versions.into_iter().collect::<Vec<_>>().join(", ");
            Err(Error::OtherVersion { folder: cluster.to_path_buf(), made_by, found })
        }
        (None, _) => {
            let looked_in = match looked_in.is_empty() {
                true => "PATH and the usual folders".to_owned(),
                false => looked_in.join("; "),
            };
            Err(Error::NoBinaries { minimum: VERSION_MIN, looked_in })
        }
    }
}

/// The version of a folder's `postgres`, its major part first, or why the folder will not do.
fn inspect(folder: &Path) -> Result<(u32, String), String> {
    for name in ["postgres", "initdb"] {
        if !folder.join(name).is_file() {
            return Err(format!("has no `{name}`"));
        }
    }
    let output = Command::new(folder.join("postgres"))
        .arg("--version")
        .output()
        .map_err(|error| format!("has a `postgres` that does not start ({error})"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    version(&said).ok_or_else(|| format!("has a `postgres` that says {:?}", said.trim()))
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` and the like.
fn version(said: &str) -> Option<(u32, String)> {
    let version = said.strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((digits.parse().ok()?, version.to_owned()))
}

/// Every folder worth a look that exists, once each, best first.
fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    for (parent, inside) in VERSIONED {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let mut versions: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| is_versioned(path)).collect();
        versions.sort();
        folders.extend(versions.into_iter().rev().map(|version| version.join(inside)));
    }
    folders.extend(tools_folders());
    let mut seen = BTreeSet::new();
    folders.retain(|folder| {
        let real = fs::canonicalize(folder).unwrap_or_else(|_| folder.clone());
        folder.join("postgres").is_file() && seen.insert(real)
    });
    folders
}

/// `15`, `pgsql-17`, `postgresql@16`, `postgresql`: not every folder beside them.
fn is_versioned(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_number = name.starts_with(|c: char| c.is_ascii_digit());
    is_number || ["postgresql", "pgsql"].iter().any(|prefix| name.starts_with(prefix))
}

/// What `./ops setup` unpacks where there is no package: `.tools/postgres/bin`, in the working
/// folder or in a folder above the program.
fn tools_folders() -> Vec<PathBuf> {
    let program = env::current_exe().unwrap_or_default();
    let working_folder = env::current_dir().unwrap_or_default();
    let above = program.ancestors().chain([working_folder.as_path()]);
    above.map(|folder| folder.join(".tools/postgres/bin")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A folder whose `postgres` says it is of this version; removed by its owner.
    fn pretended(name: &str, version: &str) -> PathBuf {
        let unique = format!("private-postgres-bin-{}-{name}", std::process::id());
        let folder = env::temp_dir().join(unique);
        fs::create_dir_all(&folder).expect("a folder");
        for program in ["postgres", "initdb"] {
            let path = folder.join(program);
            fs::write(&path, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n"))
                .expect("a script");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        }
        folder
    }

    #[test]
    fn versions_are_read_as_distributions_print_them() {
        let debian = version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n");
        assert_eq!(debian, Some((15, "15.18".to_owned())));
        let beta = version("postgres (PostgreSQL) 18beta2\n");
        assert_eq!(beta, Some((18, "18beta2".to_owned())));
        assert_eq!(version("something else"), None);
    }

    #[test]
    fn a_new_cluster_gets_the_newest_and_an_old_one_its_own_version() {
        let folders = [pretended("a", "15.3"), pretended("b", "17.1"), pretended("c", "16.0")];
        let cluster = Path::new("cluster");
        let new = choose(&folders, cluster, None).expect("three to choose from");
        assert_eq!(new.major, 17);
        let old = choose(&folders, cluster, Some(15)).expect("its own version is there");
        assert_eq!(old.folder, fs::canonicalize(&folders[0]).expect("it is there"));
        let error = choose(&folders, cluster, Some(18)).expect_err("nothing of version 18");
        assert!(error.to_string().contains("this machine has 15, 16, 17"), "{error}");
    }

    #[test]
    fn too_old_binaries_are_named_in_the_error() {
        let folder = pretended("old", "14.9");
        let result = choose(std::slice::from_ref(&folder), Path::new("cluster"), None);
        fs::remove_dir_all(folder).expect("the folder goes with the test");
        let error = result.expect_err("14 is too old");
        assert!(error.to_string().contains("is version 14"), "{error}");
        assert!(error.to_string().contains("./ops setup"), "{error}");
    }
}
