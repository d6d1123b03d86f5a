//! Starting, sharing and stopping.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use private_postgres::{Error, Mode, PrivatePostgres};
use sqlx::{Connection, PgConnection};

use crate::{Folder, connected, exists, is_root, log_of, note, notes, shown, started};

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_gives_a_durable_database_on_a_private_socket() {
    let folder = Folder::new();
    let server = started(&folder.options());
    let mut connection = connected(&server).await;
    for (setting, value) in [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("lc_collate", "C"),
        ("listen_addresses", ""),
    ] {
        // From version 16 on the collation is a property of the database alone.
        let found = match setting {
            "lc_collate" => collation(&mut connection).await,
            _ => shown(&mut connection, setting).await,
        };
        assert_eq!(found, value, "{setting}");
    }
    let mode = |path| fs::metadata(path).expect("a folder").permissions().mode() & 0o777;
    assert_eq!(mode(folder.cluster()), 0o700);
    assert_eq!(mode(server.socket_dir().to_path_buf()), 0o700);
}

async fn collation(connection: &mut PgConnection) -> String {
    sqlx::query_scalar("select datcollate from pg_database where datname = current_database()")
        .fetch_one(connection)
        .await
        .expect("our database")
}

#[test]
fn the_server_never_runs_as_root() {
    let folder = Folder::new();
    let server = started(&folder.options());
    let owner = fs::metadata(format!("/proc/{}", server.pid())).expect("its process").uid();
    assert_ne!(owner, 0);
    if !is_root() {
        assert_eq!(owner, rustix::process::geteuid().as_raw());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_owner_is_refused_and_told_by_whom() {
    let folder = Folder::new();
    let mut server = started(&folder.options());
    let error = PrivatePostgres::start(&folder.options()).expect_err("the folder has an owner");
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    assert!(server.is_running());
    connected(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_beside_the_owner_uses_its_server_and_leaves_it_running() {
    let folder = Folder::new();
    let mut server = started(&folder.options());
    let beside = PrivatePostgres::connect_or_start(&folder.options()).expect("its server");
    assert!(!beside.is_owner());
    assert_eq!(beside.pid(), server.pid());
    note(&mut connected(&beside).await, "from beside").await;
    beside.stop(Mode::Fast);
    assert!(server.is_running());
    assert_eq!(notes(&mut connected(&server).await).await, ["from beside"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_owner_a_client_starts_the_server_for_itself() {
    let folder = Folder::new();
    let server = PrivatePostgres::connect_or_start(&folder.options()).expect("a server");
    assert!(server.is_owner());
    let process = server.pid();
    server.stop(Mode::Fast);
    assert!(!exists(process));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_clean_and_the_next_start_has_nothing_to_recover() {
    let folder = Folder::new();
    let server = started(&folder.options());
    note(&mut connected(&server).await, "kept").await;
    let (log, socket) = (server.log_file().to_path_buf(), server.socket_dir().to_path_buf());
    server.stop(Mode::Fast);
    assert!(log_of(&log).contains("database system is shut down"));
    assert!(!folder.cluster().join("postmaster.pid").exists());
    assert!(!socket.exists());

    let server = started(&folder.options());
    assert_eq!(notes(&mut connected(&server).await).await, ["kept"]);
    assert!(!log_of(&log).contains("automatic recovery"));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tcp_only_a_role_with_a_password_gets_in() {
    let folder = Folder::new();
    let mut options = folder.options();
    options.tcp = true;
    let server = started(&options);
    let mut connection = connected(&server).await;
    for statement in ["create role plain login", "create role guarded login password 'open'"] {
        sqlx::query(statement).execute(&mut connection).await.expect("a role");
    }
    let url = |who: &str| format!("postgres://{who}@127.0.0.1:{}/opscenter", server.port());
    PgConnection::connect(&url("plain")).await.expect_err("no password, no entry");
    PgConnection::connect(&url("guarded:wrong")).await.expect_err("a wrong password");
    PgConnection::connect(&url("guarded:open")).await.expect("the right password");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_of_the_caller_reaches_the_server() {
    let folder = Folder::new();
    let server = started(&folder.options().with("work_mem", "7MB"));
    assert_eq!(shown(&mut connected(&server).await, "work_mem").await, "7MB");
}

#[test]
fn a_setting_that_does_not_exist_is_named_in_the_error() {
    let folder = Folder::new();
    let options = folder.options().with("no_such_setting", "1");
    let error = PrivatePostgres::start(&options).expect_err("the server refuses it");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}
