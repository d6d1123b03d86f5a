//! A disk that is full. It takes a file system of its own, which only root may mount.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use private_postgres::{Error, PrivatePostgres};

use crate::{Folder, connected, note, notes, skip, started};

/// A file system of a few megabytes, unmounted with the test.
struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// None where mounting is not allowed.
    fn mounted(folder: &Folder, megabytes: u32) -> Option<Self> {
        let place = folder.0.clone();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(&place)
            .status();
        if !status.is_ok_and(|status| status.success()) {
            return None;
        }
        fs::set_permissions(&place, Permissions::from_mode(0o755)).expect("open to the server");
        Some(Self { place })
    }

    /// Writes until nothing fits any more, and returns what to remove to make room.
    fn fill(&self) -> PathBuf {
        let path = self.place.join("filler");
        let mut file = fs::File::create(&path).expect("an empty file fits");
        let mut size = 1024 * 1024;
        while size > 0 {
            if file.write_all(&vec![0; size]).is_err() {
                size /= 2;
            }
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.place).status();
    }
}

#[test]
fn a_disk_too_small_for_a_cluster_is_named() {
    let folder = Folder::new();
    let Some(_disk) = SmallDisk::mounted(&folder, 20) else {
        return skip("a disk too small", "mounting a small file system is not allowed here");
    };
    let error = PrivatePostgres::start(&folder.options()).expect_err("20 MB do not suffice");
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_has_filled_up_needs_nothing_but_room() {
    let folder = Folder::new();
    let Some(disk) = SmallDisk::mounted(&folder, 160) else {
        return skip("a full disk", "mounting a small file system is not allowed here");
    };
    let server = started(&folder.options());
    note(&mut connected(&server).await, "kept").await;
    drop(server);

    let filler = disk.fill();
    let error = PrivatePostgres::start(&folder.options()).expect_err("nothing can be written");
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("free some space"), "{error}");

    fs::remove_file(filler).expect("room again");
    let server = started(&folder.options());
    assert_eq!(notes(&mut connected(&server).await).await, ["kept"]);
}
