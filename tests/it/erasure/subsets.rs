//! Whichever people are erased and in whichever order (I30): every proof and every total is as it
//! was, nobody else loses anything, and replay makes the same read models.

use super::{rebuilds_are_equal, verified};
use event_log::StreamId;
use event_log::tree::proof::{verify_consistency, verify_inclusion};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _, Row};
use std::cell::RefCell;
use tests::World;

/// What happens to one person.
#[derive(Clone, Copy, Debug)]
struct Fate {
    is_erased: bool,
    /// When, among the others of the case.
    turn: u8,
    is_member: bool,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = (any::<bool>(), any::<u8>(), any::<bool>());
    let fate = fate.prop_map(|(is_erased, turn, is_member)| Fate { is_erased, turn, is_member });
    vec(fate, 1..6)
}

/// Somebody whose name and address stand nowhere but where they belong.
#[derive(Clone, Debug)]
struct Person {
    id: String,
    name: String,
    is_erased: bool,
}

/// One town lives through all cases: who was erased before is part of every history.
struct Town {
    world: World,
    organization: String,
    people: Vec<Person>,
}

impl Town {
    async fn found() -> Self {
        let world = World::furnished().await;
        let (owner, _) = world.user("olga", &[]).await;
        let organization = world.organization("acme", "professional", &owner).await;
        world.grant(&organization, "100").await;
        Self { world, organization, people: Vec::new() }
    }

    /// Somebody comes, does something, is refused something, and is named where it is refused.
    async fn welcome(&mut self, fate: Fate) -> Person {
        let (admin, organization) = (self.world.admin(), &self.organization);
        let name = format!("canary{}x", self.people.len());
        let (id, client) = self.world.user(&name, &["viewer"]).await;
        if fate.is_member {
            let add = json!({ "organizationId": organization, "userId": id, "role": "MEMBER" });
            let _added = admin.run("memberAdd", add, "").await.accepted();
        }
        let again = json!({ "email": format!("{name}@example.org"), "name": name });
        assert_eq!(
            admin.run("userInvite", again.clone(), "").await.user_error("userInvite"),
            "TAKEN"
        );
        assert_eq!(client.run("userInvite", again, "").await.error_code(), "FORBIDDEN");
        let spend = json!({ "organizationId": organization, "credits": "1", "reason": "a test" });
        let _spent = admin.run("creditSpend", spend, "").await;
        let person = Person { id, name, is_erased: false };
        self.people.push(person.clone());
        person
    }

    /// Balances, bills, usage and how many people there are.
    async fn totals(&self) -> Value {
        self.world.read_models_have_caught_up().await;
        let of = format!("organizationId: \"{}\"", self.organization);
        let document = format!(
            "{{ creditBalance({of}) {{ available owed }} bill({of}) {{ totalUsd }} \
             usageTotals({of}) {{ meter quantity records }} \
             organization(id: \"{}\") {{ memberCount }} users(first: 200) {{ nodes {{ id }} }} }}",
            self.organization
        );
        self.world.admin().query(&document).await.accepted().at("/data").clone()
    }

    /// Whoever was erased has neither name nor address, and everybody else has both.
    async fn everybody_is_as_they_should_be(&self) {
        let document = "{ users(first: 200) { nodes { id email name status } } }";
        let seen = self.world.admin().query(document).await.accepted();
        let seen = seen.at("/data/users/nodes").as_array().expect("people").clone();
        for Person { id, name, is_erased } in &self.people {
            let person = seen.iter().find(|it| it["id"] == **id).expect("nobody is missing");
            let (email, shown, status) = match is_erased {
                true => (Value::Null, Value::Null, "erased"),
                false => (json!(format!("{name}@example.org")), json!(name), "active"),
            };
            assert_eq!(
                (&person["email"], &person["name"], &person["status"]),
                (&email, &shown, &json!(status)),
                "{name}"
            );
        }
    }

    /// Every table as text, bytes as hexadecimal, in lower case.
    async fn dump(&self) -> String {
        let mut connection = self.world.postgres().superuser().await;
        let tables = connection
            .fetch_all(
                "select format('%I.%I', n.nspname, c.relname)
                   from pg_class c join pg_namespace n on n.oid = c.relnamespace
                  where c.relkind in ('r', 'm') and n.nspname not like 'pg\\_%'
                    and n.nspname <> 'information_schema'",
            )
            .await
            .expect("tables");
        assert!(tables.len() > 20, "{} tables", tables.len());
        let mut dump = String::new();
        for table in tables {
            let table: String = table.get(0);
            let sql = format!("select coalesce(string_agg(t::text, e'\\n'), '') from {table} t");
            let rows = connection.fetch_one(AssertSqlSafe(sql)).await.expect("rows");
            dump.push_str(&rows.get::<String, _>(0).to_lowercase());
        }
        dump
    }

    /// Nothing of whoever was erased stands in any table, and their vaults are empty.
    async fn nothing_is_left(&self) {
        let dump = self.dump().await;
        let hexadecimal = |text: &str| data_encoding::HEXLOWER.encode(text.as_bytes());
        // The search finds what is there.
        assert!(dump.contains(&hexadecimal("\"for a test\"")) && dump.contains("acme"));
        for Person { name, .. } in self.people.iter().filter(|it| it.is_erased) {
            assert!(!dump.contains(name), "{name} is left");
            assert!(!dump.contains(&hexadecimal(name)), "{name} is left as bytes");
        }
        for Person { id, name, is_erased } in &self.people {
            let user_id: domain::values::UserId = id.parse().expect("an id");
            let sql = "select count(*) from event_log.subject_vault where subject = $1";
            let items: i64 = sqlx::query_scalar(sql)
                .bind(user_id.uuid())
                .fetch_one(self.world.log().pool())
                .await
                .expect("a count");
            // Each was denied something once, from one address.
            assert_eq!(items, i64::from(!is_erased), "{name}");
        }
    }

    /// The tree as it was is the beginning of the tree as it is, with everybody's first event.
    async fn proves(&self, (size, root): (u64, event_log::evidence::Hash)) {
        let log = self.world.log();
        verified(&self.world).await;
        let now = log.grow_tree().await.expect("it grows");
        assert_eq!(log.tree_root(size).await.expect("the root"), root);
        let new = log.tree_root(now).await.expect("the root");
        let steps = log.consistency(size, now).await.expect("the proof");
        verify_consistency(size, now, &root, &new, &steps).expect("it goes on from there");
        for person in self.people.iter().filter(|it| it.is_erased) {
            let stream = StreamId::new("user", &person.id).expect("a stream");
            let events = log.read_stream(&stream, 0, None).await.expect("events");
            let first = events.first().expect("the invitation").position;
            let inclusion = log.inclusion(first, now).await.expect("the proof");
            let (leaf, index) = (inclusion.entry.leaf(), first.0.unsigned_abs() - 1);
            verify_inclusion(index, now, &leaf, &new, &inclusion.path).expect("it is in there");
        }
    }

    async fn lives_through(&mut self, fates: &[Fate]) {
        let mut erased = Vec::new();
        for fate in fates {
            let person = self.welcome(*fate).await;
            if fate.is_erased {
                erased.push((fate.turn, person.id));
            }
        }
        erased.sort();
        let totals = self.totals().await;
        let size = self.world.log().grow_tree().await.expect("it grows");
        let root = self.world.log().tree_root(size).await.expect("the root");
        for (_, id) in &erased {
            let erase = json!({ "userId": id, "ground": "CONSENT_WITHDRAWN" });
            let _erased = self.world.admin().run("personErase", erase, "").await.accepted();
        }
        for person in &mut self.people {
            person.is_erased |= erased.iter().any(|(_, id)| *id == person.id);
        }
        assert_eq!(self.totals().await, totals);
        self.everybody_is_as_they_should_be().await;
        self.nothing_is_left().await;
        self.proves((size, root)).await;
        rebuilds_are_equal(&self.world).await;
    }
}

#[test]
fn i30_whichever_people_are_erased_every_proof_and_total_stays_and_nothing_is_left_of_them() {
    let tokio = tokio::runtime::Runtime::new().expect("a runtime");
    let town = RefCell::new(tokio.block_on(Town::found()));
    let config =
        Config { cases: 10, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&fates(), |fates| {
            tokio.block_on(town.borrow_mut().lives_through(&fates));
            Ok(())
        })
        .expect("every case");
    let Town { world, people, .. } = town.into_inner();
    let erased = people.iter().filter(|person| person.is_erased).count();
    assert!(erased > 2 && people.len() - erased > 2, "{erased} of {}", people.len());
    tokio.block_on(world.end());
}
