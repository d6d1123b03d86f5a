//! Who may ask what: every query and every mutation, both ways.
//!
//! Each case is asked with a key that is limited to the one permission it needs, and with one that
//! has every permission but that. A field of the schema without a case fails the sweep.

mod cases;

use cases::{mutations, queries};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use tests::{Client, World, until};

/// Everything that can be permitted, as keys write it.
fn everything() -> Vec<String> {
    use domain::access::{Action, Permission, Resource};
    let all = Resource::ALL.iter().flat_map(|resource| {
        Action::ALL.iter().map(|action| Permission::new(*resource, *action).to_string())
    });
    all.collect()
}

/// Ids of things that exist.
struct Things {
    user: String,
    key: String,
    organization: String,
    purchase: String,
    charge: String,
    service: String,
    grant: String,
    event: String,
}

async fn furnish(world: &World) -> Things {
    let (user, client) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &user).await;
    let admin = world.admin();
    let grant = json!({ "organizationId": organization, "credits": "100", "reason": "a test" });
    let grant = admin.run("creditGrant", grant, "id receipt { eventIds }").await.accepted();
    let event = grant.text_at("/data/creditGrant/receipt/eventIds/0");
    let proof = format!("{{ eventProof(eventId: \"{event}\") {{ treeSize }} }}");
    until("a checkpoint", || async {
        admin.query(&proof).await.error_code().is_empty().then_some(())
    })
    .await;
    let purchase = json!({ "organizationId": organization, "creditPack": "credits-1000" });
    let purchase = admin.run("purchaseInitiate", purchase, "purchase { id }").await.accepted();
    let service = json!({ "name": "vllm", "container": "vllm", "verbs": ["RESTART"] });
    let service = admin.run("serviceRegister", service, "service { id }").await.accepted();
    let keys = client.query("{ apiKeys { id } }").await.accepted();
    let usage = json!({ "organization": organization, "source": "test", "records": [{
        "usage_id": "1", "occurred_at": "2026-11-20T10:15:00Z", "model": "openai/m",
        "quantities": { "llm_tokens_input": 10 } }] });
    let recorded = admin.post("/api/v1/usage/batch", &usage).await;
    assert_eq!(recorded.status, 200, "{}", recorded.text);
    let document =
        format!("{{ charges(organizationId: \"{organization}\") {{ nodes {{ id }} }} }}");
    let charge = until("a charge", || async {
        let seen = admin.query(&document).await.accepted();
        seen.at("/data/charges/nodes/0/id").as_str().map(str::to_owned)
    })
    .await;
    Things {
        user,
        key: keys.text_at("/data/apiKeys/0/id"),
        purchase: purchase.text_at("/data/purchaseInitiate/purchase/id"),
        charge,
        service: service.text_at("/data/serviceRegister/service/id"),
        grant: grant.text_at("/data/creditGrant/id"),
        event,
        organization,
    }
}

/// What needs no permission, and why.
const FREE: [(&str, &str); 4] = [
    ("consistencyProof", "anybody can work it out from the public tiles"),
    ("logEvidence", "tells what the public checkpoint tells, and refuses whoever sends no key"),
    ("me", "tells who asks about themself, and refuses whoever sends no key"),
    ("setupComplete", "the token in it is the right to it, and works once"),
];

/// The fields of a type of the schema.
fn fields_of(name: &str) -> BTreeSet<String> {
    let sdl = api::sdl();
    let (_, rest) = sdl.split_once(&format!("\ntype {name} {{\n")).expect("the type");
    let body = rest.split_once("\n}").expect("its end").0;
    let fields = body.lines().filter_map(|line| {
        let field = line.strip_prefix('\t')?;
        let name: String = field.chars().take_while(char::is_ascii_alphanumeric).collect();
        (!name.is_empty()).then_some(name)
    });
    fields.collect()
}

#[tokio::test]
async fn every_field_is_open_to_its_permission_and_to_nothing_else() {
    let world = World::furnished().await;
    let things = furnish(&world).await;
    let keys = Keys::make(&world).await;
    let mut tried: BTreeSet<String> = FREE.iter().map(|(name, _)| (*name).to_owned()).collect();
    for (name, selection, permission) in queries(&things) {
        let document = format!("{{ {selection} }}");
        let denied = keys.without(permission).query(&document).await;
        let shows_none = denied.at(&format!("/data/{name}/nodes")) == &json!([]);
        // A list of what one may see is empty for who may see none of it.
        let is_closed = is_denied(denied.error_code()) || name == "organizations" && shows_none;
        assert!(is_closed, "{name} without {permission}: {}", denied.text);
        let allowed = keys.only(permission).query(&document).await;
        let is_missing = name == "model" && allowed.error_code() == "NOT_FOUND";
        let is_open = allowed.error_code().is_empty() || is_missing;
        assert!(is_open, "{name} with {permission}: {}", allowed.text);
        tried.insert(name.to_owned());
    }
    for (name, input, permission) in mutations(&things) {
        let denied = keys.without(permission).run(name, input.clone(), "").await;
        assert!(is_denied(denied.error_code()), "{name} without {permission}: {}", denied.text);
        let allowed = keys.only(permission).run(name, input, "").await;
        assert_eq!(allowed.error_code(), "", "{name} with {permission}: {}", allowed.text);
        tried.insert(name.to_owned());
    }
    let all: BTreeSet<String> =
        fields_of("Query").into_iter().chain(fields_of("Mutation")).collect();
    let missing: Vec<_> = all.difference(&tried).collect();
    assert!(missing.is_empty(), "fields without a case: {missing:?}");
    let gone: Vec<_> = tried.difference(&all).collect();
    assert!(gone.is_empty(), "cases of fields that are not there: {gone:?}");
    world.end().await;
}

fn is_denied(code: &str) -> bool {
    ["FORBIDDEN", "NOT_FOUND"].contains(&code)
}

/// Keys of an administrator: for each permission one with it alone and one with all others.
struct Keys(BTreeMap<String, (Client, Client)>);

impl Keys {
    async fn make(world: &World) -> Self {
        // Not the one whose things are asked for: what is one's own is open anyway.
        let (id, _) = world.user("root", &["admin"]).await;
        let mut keys = BTreeMap::new();
        for permission in everything() {
            let others: Vec<_> = everything().into_iter().filter(|it| *it != permission).collect();
            let mut made = Vec::new();
            for scopes in [vec![permission.clone()], others] {
                let input = json!({ "userId": id, "name": "limited", "scopes": scopes });
                made.push(world.admin().with_key(&world.key(input).await));
            }
            let (without, only) = (made.pop(), made.pop());
            let pair = only.zip(without).expect("two keys");
            keys.insert(permission, pair);
        }
        Self(keys)
    }

    fn only(&self, permission: &str) -> &Client {
        &self.0[permission].0
    }

    fn without(&self, permission: &str) -> &Client {
        &self.0[permission].1
    }
}

#[tokio::test]
async fn what_belongs_to_another_organization_does_not_exist() {
    let world = World::furnished().await;
    let things = furnish(&world).await;
    let (sam, stranger) = world.user("sam", &[]).await;
    let _own = world.organization("other", "free", &sam).await;
    world.read_models_have_caught_up().await;
    let Things { organization, purchase, charge, key, .. } = &things;
    let none = "0000000000000000000000000a";
    for (what, id) in [("org", organization), ("pur", purchase), ("chg", charge), ("key", key)] {
        let ask = |id: &str| {
            let document = format!("{{ node(id: \"{id}\") {{ id }} }}");
            let stranger = stranger.clone();
            async move { stranger.query(&document).await }
        };
        let there = ask(id).await;
        let not_there = ask(&format!("{what}_{none}")).await;
        assert_eq!(there.error_code(), "NOT_FOUND", "{}", there.text);
        let message =
            |answer: &tests::Answer, id: &str| answer.text_at("/errors/0/message").replace(id, "…");
        let missing = format!("{what}_{none}");
        assert_eq!(message(&there, id), message(&not_there, &missing), "{what} is told apart");
    }
    let of = format!("organizationId: \"{organization}\"");
    for field in [
        format!("creditBalance({of}) {{ available }}"),
        format!("creditStatement({of}) {{ nodes {{ change }} }}"),
        format!("usage({of}) {{ nodes {{ quantity }} }}"),
        format!("charges({of}) {{ nodes {{ id }} }}"),
        format!("bill({of}) {{ totalUsd }}"),
        format!("purchases(where: {{ {of} }}) {{ nodes {{ id }} }}"),
        format!("auditTrail(where: {{ {of} }}) {{ nodes {{ action }} }}"),
        "organization(slug: \"acme\") { id }".to_owned(),
    ] {
        let answer = stranger.query(&format!("{{ {field} }}")).await;
        assert_eq!(answer.error_code(), "NOT_FOUND", "{field}: {}", answer.text);
    }
    let spend = json!({ "organizationId": organization, "credits": "1", "reason": "theft" });
    let answer = stranger.run("creditSpend", spend, "").await;
    assert_eq!(answer.error_code(), "NOT_FOUND", "{}", answer.text);
    let mine = stranger.query("{ organizations { nodes { slug } } }").await.accepted();
    assert_eq!(mine.at("/data/organizations/nodes"), &json!([{ "slug": "other" }]));
    world.end().await;
}

#[tokio::test]
async fn members_see_their_own_and_platform_readers_see_all() {
    let world = World::furnished().await;
    let things = furnish(&world).await;
    let organization = &things.organization;
    let (mia, member) = world.user("mia", &[]).await;
    let add = json!({ "organizationId": organization, "userId": mia, "role": "MEMBER" });
    let _added = world.admin().run("memberAdd", add, "").await.accepted();
    world.read_models_have_caught_up().await;
    let document = format!(
        "{{ organization(id: \"{organization}\") {{ slug memberCount \
         members {{ nodes {{ role user {{ name email }} }} }} creditBalance {{ available }} }} \
         tiers {{ code }} me {{ name memberships {{ role organization {{ slug }} }} }} }}"
    );
    let seen = member.query(&document).await.accepted();
    assert_eq!(seen.at("/data/organization/memberCount"), &json!(2));
    let people = seen.at("/data/organization/members/nodes").as_array().expect("members").clone();
    let names: BTreeSet<_> = people.iter().map(|it| it["user"]["name"].to_string()).collect();
    assert_eq!(names, ["\"mia\"", "\"olga\""].map(str::to_owned).into());
    let own = json!([{ "role": "MEMBER", "organization": { "slug": "acme" } }]);
    assert_eq!(seen.at("/data/me/memberships"), &own);
    let (_, finance) = world.user("fred", &["finance"]).await;
    let bill = format!("{{ bill(organizationId: \"{organization}\") {{ totalUsd }} }}");
    let _billed = finance.query(&bill).await.accepted();
    assert_eq!(finance.query("{ users { nodes { id } } }").await.error_code(), "FORBIDDEN");
    let key = json!({ "userId": mia, "name": "one", "organizationId": organization });
    let limited = world.admin().with_key(&world.key(key).await);
    let seen = limited.query("{ organizations { nodes { slug } } }").await.accepted();
    assert_eq!(seen.at("/data/organizations/nodes"), &json!([{ "slug": "acme" }]));
    world.end().await;
}

#[tokio::test]
async fn a_suspended_user_may_nothing_at_once() {
    let world = World::start().await;
    let (id, client) = world.user("bob", &["admin"]).await;
    let _before = client.query("{ users { nodes { id } } }").await.accepted();
    let suspend = json!({ "userId": id, "reason": "a test" });
    let _suspended = world.admin().run("userSuspend", suspend, "").await.accepted();
    let after = client.query("{ users { nodes { id } } }").await;
    assert!(["FORBIDDEN", "UNAUTHENTICATED"].contains(&after.error_code()), "{}", after.text);
    world.end().await;
}
