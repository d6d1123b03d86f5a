//! Evidence through the front doors: what the server says of its log is checked with what anybody
//! has who never sees the database, and with an implementation of others.

use data_encoding::BASE64;
use event_log::note::{Checkpoint, Note, VerifierKey};
use event_log::tree::entry::Entry;
use event_log::tree::guard::Halt;
use event_log::tree::organizations::CountProof;
use event_log::tree::proof::{verify_consistency, verify_inclusion};
use event_log::{Position, evidence};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tests::{Client, World, until};
use tlog_tiles::{Error, HashReader as _, Tile, TileHashReader, TileReader};
use uuid::Uuid;

/// A checkpoint that covers everything that is recorded now, and what verifies it.
pub(crate) async fn sealed(world: &World) -> (Checkpoint, Vec<VerifierKey>) {
    let head = world.log().head().await.unwrap();
    let note = until("a checkpoint of everything", || async {
        let answer = world.admin().anonymous().get("/log/v1/checkpoint").await;
        let note: Note = answer.text.parse().ok()?;
        let checkpoint: Checkpoint = note.text().parse().ok()?;
        (checkpoint.size() >= head.0.unsigned_abs()).then_some(note)
    })
    .await;
    let keys = world.admin().anonymous().get("/log/v1/keys").await;
    let keys: Vec<VerifierKey> = keys.text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(note.verify(&keys).unwrap().len(), 1);
    (note.text().parse().unwrap(), keys)
}

fn hashes(value: &Value) -> Vec<evidence::Hash> {
    let texts = value.as_array().unwrap().iter();
    texts.map(|text| bytes(text).try_into().unwrap()).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

pub(crate) async fn raw(client: &Client, path: &str) -> (u16, Vec<u8>) {
    let response = client.request(Method::GET, path).send().await.unwrap();
    (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn an_event_is_proved_to_anybody_who_has_the_verifier_key() {
    let world = World::furnished().await;
    let (user, _) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &user).await;
    let grant = json!({ "organizationId": organization, "credits": "5", "reason": "a test" });
    let granted = world.admin().run("creditGrant", grant, "receipt { position eventIds }").await;
    let granted = granted.accepted();
    let receipt = granted.at("/data/creditGrant/receipt");
    let (_, keys) = sealed(&world).await;
    let fields = "position entry eventHash treeSize path proof checkpoint { size note }";
    let by_position = format!("{{ eventProof(position: {}) {{ {fields} }} }}", receipt["position"]);
    let proof = world.admin().query(&by_position).await.accepted();
    let by_id = format!("{{ eventProof(eventId: {}) {{ {fields} }} }}", receipt["eventIds"][0]);
    assert_eq!(
        world.admin().query(&by_id).await.accepted().text_at("/data/eventProof/position"),
        proof.text_at("/data/eventProof/position")
    );
    let proof = proof.at("/data/eventProof");

    // Everything from the one text, as a stranger would.
    let text = proof["proof"].as_str().unwrap();
    let (steps, note) = text.split_once("\n\n").unwrap();
    let mut lines = steps.lines();
    assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
    let extra = lines.next().and_then(|line| line.strip_prefix("extra ")).unwrap();
    let entry = Entry::from_bytes(&BASE64.decode(extra.as_bytes()).unwrap()).unwrap();
    let index: u64 =
        lines.next().and_then(|line| line.strip_prefix("index ")).unwrap().parse().unwrap();
    let path: Vec<evidence::Hash> =
        lines.map(|line| BASE64.decode(line.as_bytes()).unwrap().try_into().unwrap()).collect();
    let note: Note = note.parse().unwrap();
    assert_eq!(note.verify(&keys).unwrap().len(), 1);
    let checkpoint: Checkpoint = note.text().parse().unwrap();
    let leaf = entry.leaf();
    verify_inclusion(index, checkpoint.size(), &leaf, checkpoint.root(), &path).unwrap();
    assert!(
        verify_inclusion(index + 1, checkpoint.size(), &leaf, checkpoint.root(), &path).is_err()
    );
    assert_eq!(hashes(&proof["path"]), path);
    assert_eq!(bytes(&proof["entry"]), entry.to_bytes());

    // What is proved is the grant: the entry holds the hash of what the event is.
    let event = world.log().raw_rows(Position(entry.position.0 - 1), 1).await.unwrap().remove(0);
    assert_eq!((event.type_name.as_str(), event.hash()), ("credits_granted", entry.event_hash));
    world.end().await;
}

#[tokio::test]
async fn one_checkpoint_follows_from_another_and_every_organization_is_complete() {
    let world = World::furnished().await;
    let (user, client) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &user).await;
    let (old, _) = sealed(&world).await;
    world.grant(&organization, "5").await;
    let (new, _) = sealed(&world).await;
    let document =
        format!("{{ consistencyProof(from: {}, to: {}) {{ hashes }} }}", old.size(), new.size());
    let proof = client.query(&document).await.accepted();
    let steps = hashes(proof.at("/data/consistencyProof/hashes"));
    verify_consistency(old.size(), new.size(), old.root(), new.root(), &steps).unwrap();
    let backwards =
        format!("{{ consistencyProof(from: {}, to: {}) {{ hashes }} }}", new.size(), old.size());
    assert_eq!(client.query(&backwards).await.error_code(), "BAD_USER_INPUT");

    let document = format!(
        "{{ eventCountProof(organizationId: \"{organization}\") {{
            count path checkpoint {{ size note }} }} }}"
    );
    let shown = client.query(&document).await.accepted();
    let shown = shown.at("/data/eventCountProof");
    let count = shown["count"].as_i64().unwrap();
    let note: Note = shown["checkpoint"]["note"].as_str().unwrap().parse().unwrap();
    let tenants = note.text().parse::<Checkpoint>().unwrap().tenants().unwrap();
    let tenant: Uuid = organization.parse::<domain::values::OrganizationId>().unwrap().uuid();
    let proof = CountProof { count, path: hashes(&shown["path"]), instead: None };
    assert!(proof.verify(tenant, &tenants));
    assert!(!CountProof { count: count - 1, ..proof }.verify(tenant, &tenants));
    let recorded: i64 = sqlx::query_scalar("select count(*) from event_log.log where tenant = $1")
        .bind(tenant)
        .fetch_one(world.log().pool())
        .await
        .unwrap();
    assert_eq!(count, recorded);
    world.end().await;
}

/// Reads tiles over HTTP for the implementation of others.
struct Tiles<'a>(&'a Client);

impl TileReader for Tiles<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let fetch = |tile: &Tile| {
            // Its own paths name the height, too.
            let path = tile.path().replacen("tile/8/", "/log/v1/tile/", 1);
            let (status, body) = tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(raw(self.0, &path))
            });
            assert_eq!(status, 200, "{path}");
            body
        };
        Ok(tiles.iter().map(fetch).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiles_and_entries_are_read_by_an_implementation_of_others() {
    let world = World::furnished().await;
    let (user, _) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &user).await;
    for batch in 0..3 {
        let record = |number: usize| {
            json!({ "usage_id": format!("{batch}/{number}"),
            "occurred_at": "2026-11-20T10:15:00Z", "model": "openai/m",
            "quantities": { "llm_tokens_input": 10 } })
        };
        let usage = json!({ "organization": organization, "source": "test",
            "records": (0..200).map(record).collect::<Vec<_>>() });
        assert_eq!(world.admin().post("/api/v1/usage/batch", &usage).await.status, 200);
    }
    let (checkpoint, _) = sealed(&world).await;
    let size = checkpoint.size();
    assert!(size > 600);
    let anybody = world.admin().anonymous();
    let tiles = Tiles(&anybody);
    let root = tlog_tiles::Hash(*checkpoint.root());
    let reader = TileHashReader::new(size, root, &tiles);
    let mut seen = 0;
    for index in 0..=(size - 1) / 256 {
        let width = (size - index * 256).min(256);
        let partial = if width == 256 { String::new() } else { format!(".p/{width}") };
        let path = format!("/log/v1/tile/entries/{index:03}{partial}");
        assert_eq!(raw(&anybody, &path).await.0, 401);
        let (status, body) = raw(world.admin(), &path).await;
        assert_eq!(status, 200);
        for entry in body.chunks(86) {
            assert_eq!(entry[..2], [0, 84]);
            if seen % 61 == 0 || seen + 1 == size {
                let stored = tlog_tiles::stored_hash_index(0, seen);
                let hash = reader.read_hashes(&[stored]).unwrap()[0];
                assert_eq!(hash, tlog_tiles::record_hash(&entry[2..]));
            }
            seen += 1;
            assert_eq!(Entry::from_bytes(&entry[2..]).unwrap().position.0.unsigned_abs(), seen);
        }
    }
    assert_eq!(seen, size);
    for beyond in [
        "/log/v1/tile/0/999",
        "/log/v1/tile/9/000",
        "/log/v1/tile/0/1",
        "/log/v1/checkpoints/999999",
    ] {
        assert_eq!(raw(&anybody, beyond).await.0, 404, "{beyond}");
    }
    world.end().await;
}

/// The five fields of each event of a tile of bodies; none for what is not shown.
pub(crate) fn fields(mut body: &[u8]) -> Vec<[Option<Vec<u8>>; 5]> {
    let mut events = Vec::new();
    while !body.is_empty() {
        events.push(std::array::from_fn(|_| {
            let (length, rest) = body.split_first_chunk::<4>().unwrap();
            let length = u32::from_be_bytes(*length);
            body = rest;
            (length != u32::MAX).then(|| {
                let (field, rest) = body.split_at(length as usize);
                body = rest;
                field.to_vec()
            })
        }));
    }
    events
}

/// Two organizations that were granted credits, 5 and then 7, and what was signed of them; with the
/// first and its owner.
pub(crate) async fn two_organizations() -> (World, Client, String, Checkpoint) {
    let world = World::furnished().await;
    let (user, owner) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &user).await;
    let (other, _) = world.user("otto", &[]).await;
    let foreign = world.organization("rival", "free", &other).await;
    world.grant(&organization, "5").await;
    world.grant(&foreign, "7").await;
    let (checkpoint, _) = sealed(&world).await;
    (world, owner, organization, checkpoint)
}

#[tokio::test]
async fn bodies_are_shown_to_whoever_may_read_them_and_fit_the_entries() {
    let (world, owner, organization, checkpoint) = two_organizations().await;
    let width = checkpoint.size().min(255);
    let path = format!("/log/v1/bodies/000.p/{width}");
    assert_eq!(raw(&world.admin().anonymous(), &path).await.0, 401);
    let (_, entries) = raw(world.admin(), &format!("/log/v1/tile/entries/000.p/{width}")).await;
    let entries: Vec<Entry> =
        entries.chunks(86).map(|entry| Entry::from_bytes(&entry[2..]).unwrap()).collect();
    let (_, all) = raw(world.admin(), &path).await;
    let (_, own) = raw(&owner, &path).await;
    let tenant = organization.parse::<domain::values::OrganizationId>().unwrap().uuid();
    let rows = world.log().raw_rows(Position::START, entries.len()).await.unwrap();
    let mut shown = 0;
    for ((entry, row), (all, own)) in
        entries.iter().zip(&rows).zip(fields(&all).into_iter().zip(fields(&own)))
    {
        let [header, salt, payload, ..] = &all;
        let header = header.as_ref().unwrap();
        assert_eq!(<[u8; 32]>::from(Sha256::digest(header)), entry.event_hash);
        let commit = evidence::payload_commit(salt.as_ref().unwrap(), payload.as_ref().unwrap());
        assert_eq!(
            header[header.len() - 72..header.len() - 40],
            [&[0, 0, 0, 32], &commit[..28]].concat()
        );
        if row.tenant == tenant {
            assert_eq!(own, all);
            shown += 1;
        } else {
            assert_eq!(own, [const { None }; 5], "{}", row.type_name);
        }
    }
    assert!(shown > 1);

    // An event of others is proved to nobody but them.
    let mine = rows.iter().find(|row| row.tenant == tenant).unwrap();
    let theirs = rows.iter().find(|row| row.tenant != tenant && !row.tenant.is_nil()).unwrap();
    let proof = |id: Uuid| format!("{{ eventProof(eventId: \"{id}\") {{ treeSize }} }}");
    assert_eq!(owner.query(&proof(mine.event_id)).await.error_code(), "");
    assert_eq!(owner.query(&proof(theirs.event_id)).await.error_code(), "NOT_FOUND");
    assert_eq!(owner.query(&proof(Uuid::now_v7())).await.error_code(), "NOT_FOUND");
    world.end().await;
}

#[tokio::test]
async fn while_history_is_in_doubt_nothing_is_recorded_and_everybody_is_told_why() {
    let world = World::furnished().await;
    let (user, _) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &user).await;
    let (checkpoint, _) = sealed(&world).await;
    let guard = world.guard();
    let held = guard.read().unwrap().unwrap();
    let signed = Position(held.position.0 + 1_000);
    let ahead =
        event_log::tree::guard::Guarded::new(1, signed, &held.chain().unwrap(), held.note.clone());
    assert!(guard.advance(Some(&held), &ahead).unwrap());
    until("it is noticed", || async { world.log().halted() }).await;
    let head = world.log().head().await.unwrap();
    let grant = json!({ "organizationId": organization, "credits": "5", "reason": "a test" });
    let answer = world.admin().run("creditGrant", grant.clone(), "").await;
    assert_eq!(answer.error_code(), "UNAVAILABLE");
    let reason = Halt::SetBack { head, signed }.to_string();
    assert!(answer.text.contains(&json!(reason).to_string()[1..60]), "{}", answer.text);
    assert_eq!(world.log().head().await.unwrap(), head);
    let ready = world.admin().get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains("set back"), "{}", ready.text);
    let shown = world.admin().query("{ logEvidence { halted unsigned } }").await.accepted();
    assert_eq!(shown.text_at("/data/logEvidence/halted"), reason);
    let (still, _) = sealed(&world).await;
    assert_eq!(still, checkpoint);

    assert!(guard.advance(Some(&ahead), &held).unwrap());
    until("it goes on", || async { world.log().halted().is_none().then_some(()) }).await;
    let _granted = world.admin().run("creditGrant", grant, "").await.accepted();
    assert_eq!(world.admin().get("/readyz").await.status, 200);
    world.end().await;
}
