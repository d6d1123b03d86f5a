//! Archives: full partitions whose bodies lie in bundles outside the database. Every tool reads
//! through them, everything proved before is proved after, and nothing is lost at any moment.

use crate::server::{Said, Server, said};
use crate::world;
use event_log::signing_keys::SIGNING_KEYS_FILE;
use event_log::tree::guard::{GUARD_FILE, Guard};
use event_log::tree::keeper::{Evidence, Keeper};
use event_log::verify::RawRow;
use event_log::{Layout, Position, SigningKeys, migrate_with};
use installation::{Access, Installation, Place};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// So many events fill a partition here.
const ROWS: i64 = 404;
const NAME: &str = "small";

/// A furnished log in small partitions, signed to its end.
struct Small {
    server: Server,
}

impl Small {
    async fn start() -> Self {
        let server = Server::start().await;
        server.execute("postgres", &format!("create database {NAME}")).await;
        let small = Self { server };
        let owner = small.server.url(NAME).parse().unwrap();
        migrate_with(&owner, Layout { partition_rows: ROWS }).await.unwrap();
        // Another log than that of the folder, with keys of its own.
        for name in [SIGNING_KEYS_FILE, GUARD_FILE] {
            let _none = fs::remove_file(small.server.folder().join(name));
        }
        let installation = small.open().await;
        world::furnish(&installation).await;
        let world = world::World::new(&installation);
        let acme = world.executor.organization_named("acme").await.unwrap().unwrap();
        world.usage(acme, "more", "gpt-4o", 900).await;
        world.settle().await;
        small.sign(&installation).await;
        installation.close().await;
        small
    }

    fn place(&self) -> Place {
        let folder = Place::folder(self.server.folder());
        Place { database_url: Some(self.server.url(NAME)), ..folder }
    }

    async fn open(&self) -> Installation {
        Installation::open(&self.place(), Access::Write).await.unwrap()
    }

    async fn sign(&self, installation: &Installation) {
        let folder = self.server.folder();
        let keys = SigningKeys::load_or_create(&folder.join(SIGNING_KEYS_FILE)).unwrap();
        let evidence = Evidence { keys, guard: Guard::at(folder.join(GUARD_FILE)) };
        let keeper = Keeper::start(installation.log(), evidence);
        let signed = async {
            let head = installation.log().head().await.unwrap();
            loop {
                let newest = installation.log().newest_checkpoint().await.unwrap();
                if newest.is_some_and(|it| it.size >= head.0.unsigned_abs()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), signed).await.expect("it was not signed");
        keeper.stop().await;
    }

    fn tool(&self, arguments: &[&str]) -> Said {
        said(self.server.tool(NAME).args(arguments).output().unwrap())
    }

    fn partitions(&self) -> Vec<Value> {
        let listed = self.tool(&["archive", "list", "--json"]).well().json();
        listed["partitions"].as_array().unwrap().clone()
    }

    fn full(&self) -> usize {
        let filling = |it: &&Value| it["state"] != "filling";
        self.partitions().iter().filter(filling).count()
    }

    /// The names in the folder of archives.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.server.folder().join("archive"));
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> = entries
            .map(|entries| entries.map(|entry| name(entry).into_string().unwrap()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }

    fn bundle(&self, number: usize) -> PathBuf {
        let file = self.partitions()[number]["file"].as_str().unwrap().to_owned();
        self.server.folder().join("archive").join(file)
    }

    /// What tools say that read the whole log, and that do not tell the time.
    fn readings(&self) -> Vec<String> {
        let raw = self.tool(&["events", "--raw"]).well().out;
        let events = self.tool(&["events"]).well().out;
        let totals = self.tool(&["totals", "--organization", "acme", "--json"]).well().out;
        let account = self.tool(&["as-of", "credit-account", "acme", "--json"]).well().out;
        let model = self.tool(&["read-model", "credit_statement"]).well().out;
        vec![raw, events, totals, account, model]
    }

    /// Leaves what is left by work that broke off.
    async fn leave_drafts(&self, folder: &Path) {
        fs::write(folder.join("partition-00001.draft.77.draft"), "half of it").unwrap();
        self.server.execute(NAME, "create table event_log.log_a00001 (like event_log.log)").await;
    }

    /// How many tables were to take a partition's place and did not.
    async fn draft_tables(&self) -> i64 {
        let sql = "select count(*) from pg_class c where c.relname ~ '^log_[ap][0-9]{5}$'
            and c.relkind = 'r' and not exists (select from pg_inherits where inhrelid = c.oid)";
        let installation = self.open().await;
        let count = sqlx::query_scalar(sql).fetch_one(installation.pool()).await.unwrap();
        installation.close().await;
        count
    }
}

fn states(partitions: &[Value]) -> Vec<&str> {
    partitions.iter().map(|it| it["state"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn i18_every_tool_reads_the_same_through_archive_and_table_and_proofs_stay() {
    let small = Small::start().await;
    let full = small.full();
    assert!(full >= 3, "{full} partitions are full");
    let before = small.readings();
    let installation = small.open().await;
    let log = installation.log().clone();
    let size = log.newest_checkpoint().await.unwrap().unwrap().size;
    let root = log.tree_root(size).await.unwrap();
    let mut proofs = Vec::new();
    for position in [1, ROWS, ROWS + 1, 2 * ROWS + 7] {
        proofs.push(log.inclusion(Position(position), size).await.unwrap());
    }

    small.tool(&["archive", "write", "--all"]).well();
    let listed = small.partitions();
    assert!(states(&listed)[..full].iter().all(|state| *state == "archived"), "{listed:?}");
    let kept: i64 = sqlx::query_scalar(
        "select count(*) from event_log.log where position <= $1 and payload <> ''
            and stream is not null and stream not like 'denials/%'",
    )
    .bind(i64::try_from(full).unwrap() * ROWS)
    .fetch_one(log.pool())
    .await
    .unwrap();
    assert_eq!(kept, 0, "bodies are still in the table");
    assert_eq!(small.readings(), before);
    let verified = small.tool(&["verify"]).well().out;
    assert!(verified.contains("The log is whole"), "{verified}");
    for (proof, position) in proofs.iter().zip([1, ROWS, ROWS + 1, 2 * ROWS + 7]) {
        assert_eq!(log.inclusion(Position(position), size).await.unwrap(), *proof);
    }
    assert_eq!(log.tree_root(size).await.unwrap(), root);
    // A connection from before sees the same, and history goes on.
    let stream = log.event(Position(3)).await.unwrap().unwrap();
    assert!(!stream.payload.is_empty());
    world::World::new(&installation).settle().await;

    for number in 0..full {
        small.tool(&["archive", "restore", &number.to_string()]).well();
    }
    assert!(states(&small.partitions())[..full].iter().all(|state| *state == "written"));
    assert_eq!(small.readings(), before);
    small.tool(&["verify"]).well();
    installation.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i18_a_changed_byte_in_an_archive_is_found_and_a_missing_one_is_named() {
    let small = Small::start().await;
    small.tool(&["archive", "write", "0", "1"]).well();
    let path = small.bundle(1);
    let whole = fs::read(&path).unwrap();
    let position = ROWS + 40;
    let body = small.tool(&["events", "--raw"]).well().out;
    let line = body.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let payload = line
        .filter(|line| line["position"] == position)
        .find_map(|line| line["payload"].as_str().map(str::to_owned));
    // In the middle of the payload of one event.
    let needle = payload.map(|text| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap());
    let needle = needle.expect("an event with a payload");
    let at = whole.windows(needle.len()).position(|part| part == needle).unwrap();
    let mut changed = whole.clone();
    changed[at + needle.len() / 2] ^= 1;
    fs::write(&path, &changed).unwrap();
    let found = small.tool(&["verify", "--json"]);
    assert_eq!(found.code, 20, "{found:?}");
    assert_eq!(found.json()["first_bad_position"], position, "{found:?}");
    let read = small.tool(&["events"]);
    assert_eq!(read.code, 1, "{read:?}");

    fs::remove_file(&path).unwrap();
    let read = small.tool(&["events"]);
    assert_eq!(read.code, 2, "{read:?}");
    assert!(read.err.contains("bring the file back"), "{read:?}");
    let listed = small.tool(&["archive", "list"]).well().out;
    assert!(listed.contains("MISSING"), "{listed}");
    let restored = small.tool(&["archive", "restore", "1"]);
    assert_eq!(restored.code, 2, "{restored:?}");

    fs::write(&path, &whole).unwrap();
    small.tool(&["verify"]).well();
    // The index is only a short cut.
    let mut index = path.clone().into_os_string();
    index.push(".index");
    fs::write(&index, "rubbish").unwrap();
    small.tool(&["verify"]).well();
    fs::remove_file(&index).unwrap();
    small.tool(&["archive", "restore", "1"]).well();
    small.tool(&["verify"]).well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_not_full_or_not_whole_stays_as_it_is() {
    let small = Small::start().await;
    let filling = small.full();
    let refused = small.tool(&["archive", "write", &filling.to_string()]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("not full"), "{refused:?}");
    let unknown = small.tool(&["archive", "write", "99"]);
    assert!(unknown.err.contains("there is no partition 99"), "{unknown:?}");
    let unarchived = small.tool(&["archive", "restore", "0"]);
    assert!(unarchived.err.contains("not archived"), "{unarchived:?}");
    small
        .server
        .execute(
            NAME,
            "set session_replication_role = replica;
             update event_log.log set payload = payload || ' ' where position = 77",
        )
        .await;
    let damaged = small.tool(&["archive", "write", "0"]);
    assert_eq!(damaged.code, 1, "{damaged:?}");
    assert!(damaged.err.contains("77"), "{damaged:?}");
    assert_eq!(states(&small.partitions())[0], "sealed");
    assert_eq!(small.files(), Vec::<String>::new(), "what was not finished is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_came_back_after_their_rows_were_read_are_not_taken_for_purged() {
    let small = Small::start().await;
    let installation = small.open().await;
    let log = installation.log();
    let before = log.raw_rows(Position(0), 50).await.unwrap();
    small.tool(&["archive", "write", "0"]).well();
    let sql = "select * from event_log.log where position <= 50 order by position";
    let mut rows: Vec<RawRow> = sqlx::query_as(sql).fetch_all(log.pool()).await.unwrap();
    assert!(rows.iter().filter(|row| row.payload.is_empty()).count() > 20);
    small.tool(&["archive", "restore", "0"]).well();
    fs::remove_dir_all(small.server.folder().join("archive")).unwrap();
    log.complete_rows(rows.iter_mut()).await.unwrap();
    let bodies = |rows: &[RawRow]| -> Vec<_> {
        rows.iter().map(|row| (row.payload.clone(), row.meta.clone(), row.is_purged())).collect()
    };
    assert_eq!(bodies(&rows), bodies(&before));
    installation.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_needs_is_removed_and_what_is_of_another_log_stays() {
    let small = Small::start().await;
    small.tool(&["archive", "write", "0"]).well();
    let (bundle, other) = (small.bundle(0), Small::start().await);
    other.tool(&["archive", "write", "0"]).well();
    let folder = small.server.folder().join("archive");
    let (ours, foreign) = ("events-00000-0123456789abcdef.bundle", other.bundle(0));
    let foreign_name = foreign.file_name().unwrap().to_str().unwrap();
    fs::copy(&bundle, folder.join(ours)).unwrap();
    fs::copy(&foreign, folder.join(foreign_name)).unwrap();
    small.leave_drafts(&folder).await;
    // Who reads has it open; once it is removed, nobody holds what was in it.
    let installation = small.open().await;
    let _body = installation.log().event(Position(3)).await.unwrap().unwrap();
    let content = fs::read(&bundle).unwrap();
    fs::remove_file(&bundle).unwrap();
    fs::write(&bundle, content).unwrap();
    let _body = installation.log().event(Position(3)).await.unwrap().unwrap();
    let held: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter(|path| path.display().to_string().ends_with(".bundle (deleted)"))
        .collect();
    assert_eq!(held, Vec::<PathBuf>::new());
    installation.close().await;

    let listed = small.tool(&["archive", "list"]).well().out;
    assert!(listed.contains(ours) && !listed.contains(foreign_name), "{listed}");
    let would = small.tool(&["archive", "prune", "--dry-run"]).well().out;
    assert_eq!(would.lines().count(), 2, "{would}");
    assert_eq!(small.files().len(), 5, "{:?}", small.files());
    small.tool(&["archive", "prune"]).well();
    let index = format!("{}.index", bundle.file_name().unwrap().to_str().unwrap());
    let mut left = vec![small.partitions()[0]["file"].as_str().unwrap().to_owned(), index];
    left.push(foreign_name.to_owned());
    left.sort();
    assert_eq!(small.files(), left);
    assert_eq!(small.draft_tables().await, 0);
    // Whoever archives next removes drafts, too, and no bundle.
    small.leave_drafts(&folder).await;
    small.tool(&["archive", "restore", "0"]).well();
    assert_eq!(small.files(), left);
    assert_eq!(small.draft_tables().await, 0);
    small.tool(&["verify"]).well();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_every_body_is_in_the_table_or_in_the_bundle() {
    let small = Small::start().await;
    let before = small.readings();
    let full = small.full();
    // How long it takes when nobody disturbs it.
    let begun = Instant::now();
    small.tool(&["archive", "write", "0"]).well();
    let whole = u64::try_from(begun.elapsed().as_micros()).unwrap();
    small.tool(&["archive", "restore", "0"]).well();
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let mut random = u64::from(seed);
    for round in 0..8_u32 {
        let arguments: &[&str] = match round % 2 {
            0 => &["archive", "write", "--all"],
            _ => &["archive", "restore", "0"],
        };
        let mut child = small
            .server
            .tool(NAME)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        tokio::time::sleep(Duration::from_micros((random >> 20) % whole)).await;
        // It may have ended by itself.
        let _ended = child.kill();
        child.wait().unwrap();
        assert_eq!(small.readings(), before, "after round {round} of seed {seed}");
        small.tool(&["verify"]).well();
    }
    // Nobody is left who holds anything: it all goes through.
    let mut tries = 0;
    while states(&small.partitions())[..full].iter().any(|state| *state != "archived") {
        let _said = small.tool(&["archive", "write", "--all"]);
        tries += 1;
        assert!(tries < 20, "{:?}", small.tool(&["archive", "write", "--all"]));
    }
    assert_eq!(small.readings(), before);
    small.tool(&["archive", "prune"]).well();
    assert_eq!(small.files().len(), 2 * full, "{:?}", small.files());
    assert_eq!(small.draft_tables().await, 0);
}
