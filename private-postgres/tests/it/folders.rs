//! Folders as they are found: long, odd, half made, stale, foreign.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use private_postgres::{Error, PrivatePostgres};

use crate::{Folder, connected, is_root, note, notes, started};

#[tokio::test(flavor = "multi_thread")]
async fn a_path_too_long_for_a_socket_gets_one_elsewhere() {
    let folder = Folder::named(&"long".repeat(30));
    let server = started(&folder.options());
    assert!(server.socket_dir().starts_with("/tmp"));
    let mode = fs::metadata(server.socket_dir()).expect("the folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    connected(&server).await;
    let socket = server.socket_dir().to_path_buf();
    drop(server);
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_with_characters_of_every_kind_works() {
    let folder = Folder::named("Ada's data, new & old = 100%");
    let server = started(&folder.options());
    note(&mut connected(&server).await, "reached").await;
    assert_eq!(notes(&mut connected(&server).await).await, ["reached"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pid_file_that_names_a_process_which_is_no_server_is_no_obstacle() {
    let folder = Folder::new();
    let mut server = started(&folder.options());
    note(&mut connected(&server).await, "kept").await;
    server.kill_immediately();
    drop(server);
    // After a restart of the machine the number of the old server may be anybody's: ours, say.
    let pid_file = folder.cluster().join("postmaster.pid");
    let text = fs::read_to_string(&pid_file).expect("a killed server leaves its pid file");
    let (_, rest) = text.split_once('\n').expect("several lines");
    fs::write(&pid_file, format!("{}\n{rest}", std::process::id())).expect("rewritten");

    let server = started(&folder.options());
    assert_eq!(notes(&mut connected(&server).await).await, ["kept"]);
}

#[test]
fn a_cluster_left_half_made_is_made_again() {
    let folder = Folder::new();
    let half = folder.0.join("postgres.new");
    fs::create_dir_all(half.join("base")).expect("half a cluster");
    fs::write(half.join("PG_VERSION"), "15\n").expect("its first file");
    let mut server = started(&folder.options());
    assert!(server.is_running());
    assert!(!half.exists());
}

#[test]
fn a_folder_that_is_no_cluster_is_not_touched() {
    let folder = Folder::new();
    let photos = folder.cluster().join("photo.png");
    fs::create_dir_all(folder.cluster()).expect("a folder");
    fs::write(&photos, "mine").expect("a file");
    let error = PrivatePostgres::start(&folder.options()).expect_err("it is somebody's");
    assert!(matches!(error, Error::NotACluster { .. }), "{error}");
    assert_eq!(fs::read_to_string(photos).expect("still there"), "mine");
}

#[test]
fn without_binaries_the_error_says_what_to_do() {
    let folder = Folder::new();
    let mut options = folder.options();
    options.bin_dir = Some(folder.0.clone());
    let error = PrivatePostgres::start(&options).expect_err("the folder is empty");
    let text = error.to_string();
    for advice in ["./ops setup", "postgresql-15", "OPS_POSTGRES_BIN", "DATABASE_URL"] {
        assert!(text.contains(advice), "{text}");
    }
}

#[test]
fn a_cluster_of_another_version_is_not_started() {
    let folder = Folder::new();
    drop(started(&folder.options()));
    fs::write(folder.cluster().join("PG_VERSION"), "9.6\n").expect("an old cluster");
    let error = PrivatePostgres::start(&folder.options()).expect_err("nobody has 9.6");
    assert!(error.to_string().contains("made by PostgreSQL 9"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn below_a_folder_that_is_closed_to_others_it_works_just_as_well() {
    let folder = Folder::new();
    let parent = folder.0.parent().expect("its parent").to_path_buf();
    fs::set_permissions(&parent, Permissions::from_mode(0o700)).expect("closed to others");
    let server = started(&folder.options());
    note(&mut connected(&server).await, "kept").await;
    drop(server);
    // Root's server, which is not root's own, lives elsewhere; everybody else's where it belongs.
    assert_eq!(fs::read_link(folder.cluster()).is_ok(), is_root());

    let server = started(&folder.options());
    assert_eq!(notes(&mut connected(&server).await).await, ["kept"]);
    let mode = fs::metadata(parent).expect("the parent").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "nothing was opened");
}

#[test]
fn binaries_the_servers_account_cannot_enter_are_named() {
    let folder = Folder::new();
    let closed = folder.0.join("closed");
    let bin = closed.join("bin");
    fs::create_dir_all(&bin).expect("a folder");
    for program in ["postgres", "initdb"] {
        fs::write(bin.join(program), "#!/bin/sh\necho 'postgres (PostgreSQL) 15.1'\n").expect("it");
        fs::set_permissions(bin.join(program), Permissions::from_mode(0o755)).expect("its mode");
    }
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).expect("closed to others");
    let mut options = folder.options();
    options.bin_dir = Some(bin);
    let error = PrivatePostgres::start(&options).expect_err("these are no server binaries");
    match error {
        Error::Unreachable { folder, .. } if is_root() => assert_eq!(folder, closed),
        // An ordinary user may enter, and finds that they do nothing.
        error => assert!(!is_root(), "{error}"),
    }
}
