//! Installations on a database of the user's own.

use crate::{Folder, append};
use event_log::Position;
use installation::survey::{self, DatabaseFound, PostgresFound};
use installation::{Access, Error, Installation, Place, SERVICE_ROLE};
use private_postgres::{Options, PrivatePostgres};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use std::time::Duration;
use uuid::Uuid;

/// Somebody's server with an empty database.
struct Theirs {
    server: PrivatePostgres,
    place: Place,
    _folder: Folder,
    _data: Folder,
}

impl Theirs {
    fn start() -> Self {
        let (folder, data) = (Folder::new(), Folder::new());
        let server = PrivatePostgres::start(&Options::throwaway(&folder.0)).unwrap();
        let place = Place {
            database_url: Some(server.connection_url(server.superuser())),
            ..Place::folder(&data.0)
        };
        Self { server, place, _folder: folder, _data: data }
    }

    async fn execute(&self, sql: &str) {
        let url = self.server.connection_url(self.server.superuser());
        let mut connection = PgConnection::connect(&url).await.unwrap();
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
    }

    fn as_role(&self, role: &str) -> Place {
        Place { database_url: Some(self.server.connection_url(role)), ..self.place.clone() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_migrated_by_its_url_and_used_as_the_service() {
    let theirs = Theirs::start();
    let opened = Installation::open(&theirs.place, Access::Serve).await.unwrap();
    assert!(!opened.is_private() && !opened.is_owner());
    let role: String =
        sqlx::query_scalar("select current_user::text").fetch_one(opened.pool()).await.unwrap();
    assert_eq!(role, SERVICE_ROLE);
    assert_eq!(append(opened.log()).await, Position(1));
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_the_right_to_migrate_needs_an_owner() {
    let theirs = Theirs::start();
    theirs.execute("create role ada login; create role boss login superuser").await;
    let mut place = theirs.as_role("ada");
    let refused = Installation::open(&place, Access::Write).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("\"ada\"") && text.contains("DATABASE_OWNER_URL"), "{text}");
    // The owner makes the tables; ada may still not append to them.
    place.owner_url = Some(theirs.server.connection_url("boss"));
    let refused = Installation::open(&place, Access::Write).await.unwrap_err();
    assert!(matches!(refused, Error::NoRight { .. }), "{refused}");
    theirs.execute("grant opscenter_service to ada").await;
    let opened = Installation::open(&place, Access::Write).await.unwrap();
    assert_eq!(append(opened.log()).await, Position(1));
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_with_nothing_but_the_right_to_read_may_look() {
    let theirs = Theirs::start();
    let writer = Installation::open(&theirs.place, Access::Write).await.unwrap();
    append(writer.log()).await;
    writer.close().await;
    theirs
        .execute(
            "create role auditor login;
             grant usage on schema event_log to auditor;
             grant select on all tables in schema event_log to auditor",
        )
        .await;
    let place = theirs.as_role("auditor");
    let reader = Installation::open(&place, Access::Read).await.unwrap();
    assert_eq!(reader.log().head().await.unwrap(), Position(1));
    reader.close().await;
    let refused = Installation::open(&place, Access::Write).await.unwrap_err();
    assert!(matches!(refused, Error::NoRight { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_an_empty_database_says_what_to_run_first() {
    let theirs = Theirs::start();
    let error = Installation::open(&theirs.place, Access::Read).await.unwrap_err();
    assert!(matches!(error, Error::NothingHere { .. }), "{error}");
    let sql = "select count(*) from pg_namespace where nspname = 'event_log'";
    let url = theirs.server.connection_url(theirs.server.superuser());
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
    assert_eq!(count, 0, "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_and_an_older_schema_are_told_apart() {
    let theirs = Theirs::start();
    let opened = Installation::open(&theirs.place, Access::Write).await.unwrap();
    opened.close().await;
    theirs.execute("insert into event_log.schema_migration values (9999, 'later', '\\x00')").await;
    for access in [Access::Serve, Access::Write, Access::Read] {
        let error = Installation::open(&theirs.place, access).await.unwrap_err();
        assert!(error.to_string().contains("newer than this program"), "{error}");
    }
    theirs.execute("delete from event_log.schema_migration where version > 1").await;
    let error = Installation::open(&theirs.place, Access::Read).await.unwrap_err();
    assert!(matches!(error, Error::NotMigrated { found: 1, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_the_address_is_said_without_showing_a_password() {
    let theirs = Theirs::start();
    let missing = theirs.server.connection_url_to(theirs.server.superuser(), "elsewhere");
    let stranger = theirs.server.connection_url("stranger");
    for (url, expected) in [
        ("postgres://ada:hush@127.0.0.1:1/none", "127.0.0.1:1 cannot be reached"),
        ("hush:not a url", "DATABASE_URL cannot be read"),
        (missing.as_str(), "createdb elsewhere"),
        (stranger.as_str(), "does not let role \"stranger\" in"),
    ] {
        let place = Place {
            database_url: Some(url.to_owned()),
            ..Place::folder(std::env::temp_dir().join(Uuid::now_v7().to_string()))
        };
        let error = Installation::open(&place, Access::Write).await.unwrap_err();
        let text = format!("{error} {place:?}");
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_says_what_a_start_would_find_and_makes_nothing() {
    let limit = Duration::from_secs(10);
    let theirs = Theirs::start();
    theirs.execute("create role ada login; create role boss login superuser").await;
    let mut place = theirs.as_role("ada");
    let refused = survey::postgres(&place, limit).await.unwrap_err();
    assert!(matches!(&refused, Error::NoRight { role, .. } if role == "ada"), "{refused}");
    place.owner_url = Some(theirs.server.connection_url("boss"));
    let found = named(survey::postgres(&place, limit).await.unwrap());
    assert_eq!((found.role.as_str(), found.schema_version), ("ada", None));
    // As whoever could make the tables, nothing was made either.
    let found = named(survey::postgres(&theirs.place, limit).await.unwrap());
    assert_eq!((found.encoding.as_str(), found.schema_version), ("UTF8", None));
    assert!(!survey::data_folder(&theirs.place).await.unwrap().exists);

    Installation::open(&theirs.place, Access::Write).await.unwrap().close().await;
    let found = named(survey::postgres(&theirs.place, limit).await.unwrap());
    assert_eq!(found.schema_version, Some(found.schema_version_needed));
    let refused = survey::postgres(&place, limit).await.unwrap_err();
    assert!(refused.to_string().contains("may not use the log"), "{refused}");
    let newer = "insert into event_log.schema_migration (version, name, checksum)
                 values (1000, 'of a later version', '')";
    theirs.execute(newer).await;
    let refused = survey::postgres(&theirs.place, limit).await.unwrap_err();
    assert!(refused.to_string().contains("newer than this program's"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_which_text_would_not_survive_is_told() {
    let theirs = Theirs::start();
    theirs.execute("create database ascii encoding 'SQL_ASCII' template template0").await;
    let url = theirs.server.connection_url_to(theirs.server.superuser(), "ascii");
    let place = Place { database_url: Some(url), ..theirs.place.clone() };
    let refused = survey::postgres(&place, Duration::from_secs(10)).await.unwrap_err();
    assert!(refused.to_string().contains("encoding SQL_ASCII"), "{refused}");
}

/// The database that was named.
fn named(found: PostgresFound) -> DatabaseFound {
    match found {
        PostgresFound::Named(database) => database,
        PostgresFound::Running { .. } | PostgresFound::Stopped(_) => panic!("{found:?}"),
    }
}
