//! The past: the same questions, answered as of a moment.

use commands::CatalogueCommand;
use domain::catalogue::model::{ModelPriced, TokenPrice};
use domain::catalogue::standard;
use serde_json::{Value, json};
use tests::{Client, World};

#[tokio::test]
async fn a_balance_is_what_it_was() {
    let world = World::furnished().await;
    let (owner, _) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &owner).await;
    let mut moments = Vec::new();
    for credits in ["10", "20", "30"] {
        let input =
            json!({ "organizationId": organization, "credits": credits, "reason": "a test" });
        let answer = world.admin().run("creditGrant", input, "").await.accepted();
        let receipt = answer.at("/data/creditGrant/receipt").clone();
        moments.push((receipt["position"].clone(), receipt["recordedAt"].clone()));
    }
    let document = "query ($id: ID!, $asOf: AsOf) { creditBalance(organizationId: $id, \
                    asOf: $asOf) { available issued } \
                    organization(id: $id, asOf: $asOf) { status creditBalance { available } } }";
    for ((position, time), sum) in moments.iter().zip(["10.000000", "30.000000", "60.000000"]) {
        for as_of in [json!({ "position": position }), json!({ "time": time })] {
            let asked = json!({ "id": organization, "asOf": as_of });
            let answer = world.admin().ask(document, asked).await.accepted();
            assert_eq!(answer.text_at("/data/creditBalance/available"), sum, "{as_of}");
            let within = answer.text_at("/data/organization/creditBalance/available");
            assert_eq!(within, sum, "{as_of}");
        }
    }
    world.end().await;
}

#[tokio::test]
async fn what_was_asked_then_and_what_is_asked_for_then_agree() {
    let world = World::start().await;
    let (id, _) = world.user("bob", &["viewer"]).await;
    let fields = "status roles reason email name createdAt";
    let now = format!("{{ user(id: \"{id}\") {{ {fields} }} }}");
    let then = format!("query ($asOf: AsOf) {{ user(id: \"{id}\", asOf: $asOf) {{ {fields} }} }}");
    let mut seen = Vec::new();
    for (mutation, input) in [
        ("userRoleAssign", json!({ "userId": id, "role": "analyst" })),
        ("userSuspend", json!({ "userId": id, "reason": "a test" })),
        ("userReactivate", json!({ "userId": id })),
        ("userRoleRemove", json!({ "userId": id, "role": "viewer" })),
    ] {
        let answer = world.admin().run(mutation, input, "").await.accepted();
        let position = answer.text_at(&format!("/data/{mutation}/receipt/position"));
        let reader = world.admin().with_header("ops-consistency", &format!("at-least={position}"));
        let state = reader.query(&now).await.accepted().at("/data/user").clone();
        seen.push((position, state));
    }
    for (position, state) in seen {
        let asked = json!({ "asOf": { "position": position } });
        let answer = world.admin().ask(&then, asked).await.accepted();
        assert_eq!(answer.at("/data/user"), &state);
    }
    world.end().await;
}

#[tokio::test]
async fn neither_the_future_nor_before_the_beginning_is_answered() {
    let world = World::start().await;
    let me = world.admin().query("{ me { id } }").await.accepted();
    let id = me.text_at("/data/me/id");
    let document = "query ($id: ID!, $asOf: AsOf) { user(id: $id, asOf: $asOf) { status } }";
    let log = me.text_at("/extensions/consistency/position");
    let log = log.split_once('-').expect("two parts").0.to_owned();
    for as_of in [
        json!({ "time": "2999-01-01T00:00:00Z" }),
        json!({ "time": "1999-01-01T00:00:00Z" }),
        json!({ "position": format!("{log}-99999999") }),
        json!({ "position": format!("{log}-0") }),
    ] {
        let answer = world.admin().ask(document, json!({ "id": id, "asOf": as_of })).await;
        assert_eq!(answer.error_code(), "AS_OF_OUT_OF_RANGE", "{as_of}: {}", answer.text);
    }
    for as_of in [json!({}), json!({ "position": "0000" }), json!({ "time": 5 })] {
        let answer = world.admin().ask(document, json!({ "id": id, "asOf": as_of })).await;
        let code = answer.error_code();
        assert!(["BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"].contains(&code), "{}", answer.text);
    }
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_answered_for_the_past_says_so() {
    let world = World::start().await;
    let position = world.admin().query("{ me { id } }").await.accepted();
    let position = position.text_at("/extensions/consistency/position");
    let document = "query ($id: ID!, $asOf: AsOf) { node(id: $id, asOf: $asOf) { id } }";
    for id in ["chg_0000000000000000000000000a", "act_0000000000000000000000000a"] {
        let asked = json!({ "id": id, "asOf": { "position": position } });
        let answer = world.admin().ask(document, asked).await;
        assert_eq!(answer.error_code(), "AS_OF_UNSUPPORTED", "{}", answer.text);
        let now = world.admin().ask(document, json!({ "id": id })).await;
        assert_eq!(now.error_code(), "NOT_FOUND", "{}", now.text);
    }
    world.end().await;
}

/// Lists and sums, each asked with `$asOf` where the past is meant.
const LISTS: &[&str] = &[
    "tiers(AS_OF) { code versions { version name } }",
    "models(AS_OF) { totalCount nodes { name version prices { name amount } } }",
    "rateCard(AS_OF) { version } meters(AS_OF) { code }",
    "addOns(AS_OF) { code } creditPacks(AS_OF) { code price { amount } }",
    "roles(AS_OF) { code permissions } apiKeys(userId: \"SOMEBODY\", AS_OF) { scopes revokedAt }",
    "users(AS_OF) { nodes { id status roles memberships { organizationId role } } }",
    "organizations(first: 5, AS_OF) { totalCount nodes { slug name status tier tierVersion \
     memberCount members(first: 5) { nodes { userId role } } creditBalance { available } } }",
    "creditBalance(organizationId: \"ORGANIZATION\", AS_OF) { available held \
     grants { nodes { id remaining } } holds { totalCount nodes { id state } } }",
];

/// A document that asks for a list now, or as of a moment.
fn list(list: &str, is_past: bool) -> String {
    if is_past {
        return format!("query ($asOf: AsOf) {{ {} }}", list.replace("AS_OF", "asOf: $asOf"));
    }
    format!("{{ {} }}", list.replace(", AS_OF", "").replace("(AS_OF)", ""))
}

fn priced(output: &str) -> CatalogueCommand {
    let amount = |text: &str| text.parse().expect("an amount");
    let token = TokenPrice { above: 0, input: amount("2.5e-06"), output: amount(output) };
    CatalogueCommand::ModelPrice(Box::new(ModelPriced {
        model: "gpt-4o".parse().expect("a name"),
        version: 0,
        provider: "openai".parse().expect("a text"),
        mode: None,
        prices: [("output_cost_per_token".to_owned(), token.output)].into(),
        tokens: vec![token],
        max_input_tokens: None,
        max_output_tokens: None,
    }))
}

/// An organization with a history, and somebody who joins and leaves.
struct Story {
    world: World,
    owner: String,
    organization: String,
    member: String,
}

impl Story {
    /// How many things happen.
    const CHAPTERS: usize = 7;

    async fn begin() -> Self {
        let world = World::furnished().await;
        let (owner, _) = world.user("olga", &[]).await;
        let organization = world.organization("acme", "free", &owner).await;
        let (member, _) = world.user("max", &["viewer"]).await;
        Self { world, owner, organization, member }
    }

    async fn run(&self, mutation: &str, more: Value) {
        let mut input = json!({});
        for (name, value) in more.as_object().expect("an object") {
            let id = if value == "ORGANIZATION" { &self.organization } else { &self.member };
            let is_known = value == "ORGANIZATION" || value == "SOMEBODY";
            input[name] = if is_known { json!(id) } else { value.clone() };
        }
        let _done = self.world.admin().run(mutation, input, "").await.accepted();
    }

    /// What happens next.
    async fn chapter(&self, number: usize) {
        let of = "ORGANIZATION";
        match number {
            0 => self.world.carry_out(priced("1e-05")).await,
            1 => {
                let input = json!({ "organizationId": of, "credits": "50", "reason": "a test" });
                self.run("creditGrant", input).await;
                let input = json!({ "organizationId": of, "userId": "SOMEBODY", "role": "MEMBER" });
                self.run("memberAdd", input).await;
            }
            2 => {
                let input = json!({ "organizationId": of, "credits": "20", "seconds": 3_600,
                                    "reason": "a call" });
                self.run("creditHoldPlace", input).await;
                let input = json!({ "role": "auditor-of-ours", "permissions": ["audit:r"] });
                self.run("roleDefine", input).await;
            }
            3 => {
                self.world.carry_out(priced("2e-05")).await;
                let tiers = standard::tiers().expect("tiers");
                let (tier, terms) = tiers.into_iter().next().expect("a tier");
                let terms = Box::new(terms);
                self.world.carry_out(CatalogueCommand::TierPublish { tier, terms }).await;
            }
            4 => {
                let input = json!({ "organizationId": of, "userId": "SOMEBODY" });
                self.run("memberRemove", input).await;
                let input = json!({ "organizationId": of, "credits": "5", "reason": "a job" });
                self.run("creditSpend", input).await;
            }
            5 => {
                let input = json!({ "userId": "SOMEBODY", "name": "read", "scopes": ["users:r"] });
                self.run("apiKeyCreate", input).await;
                self.world.organization("bravo", "free", &self.owner).await;
            }
            _ => self.run("roleDelete", json!({ "role": "auditor-of-ours" })).await,
        }
        self.world.read_models_have_caught_up().await;
    }

    /// The answers to all lists, now or as of a moment.
    async fn answers(&self, asker: &Client, as_of: Option<&Value>) -> Vec<Value> {
        let mut answers = Vec::new();
        for question in LISTS {
            let document = list(question, as_of.is_some());
            let document = document.replace("ORGANIZATION", &self.organization);
            let document = document.replace("SOMEBODY", &self.member);
            let answer = asker.ask(&document, json!({ "asOf": as_of })).await.accepted();
            answers.push(answer.at("/data").clone());
        }
        answers
    }
}

/// I28 at the front door: balances, entitlements, prices, permissions and tiers as of a position,
/// and as of a time what they were at the position that it stands for.
#[tokio::test]
async fn lists_as_of_a_moment_are_what_they_were_at_it() {
    let story = Story::begin().await;
    let admin = story.world.admin();
    let mut seen: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for chapter in 0..Story::CHAPTERS {
        story.chapter(chapter).await;
        let head = story.world.log().head().await.expect("the head");
        let time = story.world.log().recorded_at(head).await.expect("the log").expect("a time");
        let me = admin.query("{ installation { head } }").await.accepted();
        let position = json!({ "position": me.at("/data/installation/head") });
        let answers = story.answers(admin, None).await;
        assert!(seen.iter().all(|(.., before)| *before != answers), "nothing in {chapter}");
        seen.push((position, json!({ "time": time }), answers));
    }
    for (position, time, answers) in seen {
        assert_eq!(story.answers(admin, Some(&position)).await, answers, "{position}");
        assert_eq!(story.answers(admin, Some(&time)).await, answers, "{time}");
    }
    story.world.end().await;
}

#[tokio::test]
async fn who_asks_for_the_past_sees_what_they_may_see_now_and_were_part_of_then() {
    let world = World::furnished().await;
    let (owner, client) = world.user("olga", &[]).await;
    let (member, left) = world.user("max", &[]).await;
    let organization = world.organization("acme", "free", &owner).await;
    let input = json!({ "organizationId": organization, "userId": member, "role": "MEMBER" });
    let added = world.admin().run("memberAdd", input, "").await.accepted();
    world.organization("bravo", "free", &owner).await;
    let input = json!({ "organizationId": organization, "userId": member });
    let _removed = world.admin().run("memberRemove", input, "").await.accepted();
    world.read_models_have_caught_up().await;
    let then = json!({ "asOf": { "position": added.at("/data/memberAdd/receipt/position") } });
    let document = "query ($asOf: AsOf) { organizations(asOf: $asOf) { totalCount \
                    nodes { slug memberCount } } }";
    // What came later is not there yet; what ended is there for whoever may still look.
    let seen = client.ask(document, then.clone()).await.accepted();
    let acme = json!([{ "slug": "acme", "memberCount": 2 }]);
    assert_eq!(seen.at("/data/organizations/nodes"), &acme);
    assert_eq!(seen.at("/data/organizations/totalCount"), 1);
    let seen = left.ask(document, then.clone()).await.accepted();
    assert_eq!(seen.at("/data/organizations/nodes"), &json!([]), "they may not look any more");
    // Another's keys are no more to be seen in the past than now.
    let keys = "query ($id: ID, $asOf: AsOf) { apiKeys(userId: $id, asOf: $asOf) { name } }";
    for id in [json!(owner), json!(null)] {
        let mut asked = then.clone();
        asked["id"] = id.clone();
        let answer = left.ask(keys, asked).await;
        if id.is_null() {
            assert_eq!(answer.accepted().at("/data/apiKeys"), &json!([{ "name": "a key" }]));
        } else {
            assert_eq!(answer.error_code(), "FORBIDDEN", "{}", answer.text);
        }
    }
    world.end().await;
}
