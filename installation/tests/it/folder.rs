//! Installations without a database of the user's own.

use crate::{Folder, append};
use event_log::{Opened, Position};
use installation::{Access, Error, Installation, Place};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_there_when_it_is_opened_again() {
    let folder = Folder::new();
    let place = Place::folder(&folder.0);
    let (tenant, subject) = (Uuid::nil(), Uuid::now_v7());
    let first = Installation::open(&place, Access::Serve).await.unwrap();
    assert!(first.is_owner());
    assert_eq!(append(first.log()).await, Position(1));
    let keys = first.keys().unwrap();
    let sealed = keys.seal(tenant, subject, b"Ada").await.unwrap();
    let log_id = first.signing_keys().unwrap().log_id();
    first.close().await;
    assert!(!folder.0.join("postgres/postmaster.pid").exists());

    let second = Installation::open(&place, Access::Read).await.unwrap();
    assert_eq!(second.log().head().await.unwrap(), Position(1));
    let opened = second.keys().unwrap().unseal(tenant, subject, &sealed).await;
    assert_eq!(opened.unwrap(), Opened::Clear(b"Ada".to_vec()));
    assert_eq!(second.signing_keys().unwrap().log_id(), log_id);
    second.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_server_a_second_one_is_refused_and_a_writer_joins() {
    let folder = Folder::new();
    let place = Place::folder(&folder.0);
    let server = Installation::open(&place, Access::Serve).await.unwrap();
    let refused = Installation::open(&place, Access::Serve).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("--data") && text.contains("in use"), "{text}");

    let beside = Installation::open(&place, Access::Write).await.unwrap();
    assert!(!beside.is_owner());
    let position = append(beside.log()).await;
    beside.close().await;
    assert_eq!(server.log().head().await.unwrap(), position);
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_what_is_not_there_makes_nothing() {
    let folder = Folder::new();
    let place = Place::folder(&folder.0);
    let error = Installation::open(&place, Access::Read).await.unwrap_err();
    assert!(matches!(error, Error::NothingHere { .. }), "{error}");
    assert!(error.to_string().contains("opscenter demo"), "{error}");
    assert!(!folder.0.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_can_neither_append_nor_write_anything_else() {
    let folder = Folder::new();
    let place = Place::folder(&folder.0);
    let server = Installation::open(&place, Access::Serve).await.unwrap();
    for name in ["master.key", "log-keys.json"] {
        fs::remove_file(folder.0.join(name)).unwrap();
    }
    let reader = Installation::open(&place, Access::Read).await.unwrap();
    let deleted = sqlx::query("delete from event_log.consumer").execute(reader.pool()).await;
    let text = deleted.unwrap_err().to_string();
    assert!(text.contains("read-only transaction"), "{text}");
    let keys = reader.keys().unwrap_err();
    assert!(matches!(keys, Error::NoMasterKey { .. }), "{keys}");
    let signing = reader.signing_keys().unwrap_err();
    assert!(matches!(signing, Error::NoLogKeys { .. }), "{signing}");
    for name in ["master.key", "log-keys.json"] {
        assert!(!folder.0.join(name).exists());
    }
    reader.close().await;
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_can_read_or_that_is_another_is_refused() {
    let folder = Folder::new();
    let place = Place::folder(&folder.0);
    let server = Installation::open(&place, Access::Serve).await.unwrap();
    let key = server.keys().unwrap();
    key.seal(Uuid::nil(), Uuid::now_v7(), b"Ada").await.unwrap();
    let file = folder.0.join("master.key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = Installation::open(&place, Access::Write).await.unwrap_err();
    assert!(exposed.to_string().contains("chmod 600"), "{exposed}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let signing = folder.0.join("log-keys.json");
    fs::set_permissions(&signing, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = Installation::open(&place, Access::Write).await.unwrap_err();
    assert!(exposed.to_string().contains("log-keys.json can be read by others"), "{exposed}");
    // Who looks does without.
    let reader = Installation::open(&place, Access::Read).await.unwrap();
    assert!(reader.signing_keys().is_err());
    reader.close().await;
    fs::remove_file(&signing).unwrap();
    fs::remove_file(&file).unwrap();
    // A new one is made, and does not open what the old one sealed.
    let other = Installation::open(&place, Access::Write).await.unwrap_err();
    assert!(other.to_string().contains("restore"), "{other}");
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_server_that_died_is_started_again() {
    let folder = Folder::new();
    let place = Place::folder(&folder.0);
    let mut server = Installation::open(&place, Access::Serve).await.unwrap();
    let position = append(server.log()).await;
    assert!(!server.ensure_running().await.unwrap(), "it runs");
    let pid_file = fs::read_to_string(folder.0.join("postgres/postmaster.pid")).unwrap();
    let pid = pid_file.lines().next().unwrap().to_owned();
    let killed = std::process::Command::new("kill").args(["-9", &pid]).status();
    assert!(killed.unwrap().success());
    while !server.ensure_running().await.unwrap() {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.log().head().await.unwrap(), position);
    server.close().await;
}
