//! What a document may cost: refused before anything runs.

use serde_json::json;
use std::fmt::Write as _;
use tests::World;

async fn refused(world: &World, what: &str, document: &str) {
    let before = world.log().head().await.expect("the head");
    let answer = world.admin().query(document).await;
    assert_eq!(answer.error_code(), "COST_LIMIT_EXCEEDED", "{what}: {}", answer.text);
    assert!(answer.at("/data").is_null(), "{what}: something ran");
    assert_eq!(world.log().head().await.expect("the head"), before, "{what}: something happened");
}

#[tokio::test]
async fn documents_that_ask_for_too_much_are_refused() {
    let world = World::start().await;
    let many = |count: usize, part: &dyn Fn(usize) -> String| {
        (0..count).fold(String::new(), |mut text, at| {
            let _written = write!(text, "{} ", part(at));
            text
        })
    };
    let tokens = format!("{{ {} }}", many(2_001, &|_| "__typename".to_owned()));
    refused(&world, "tokens", &tokens).await;
    let aliases = format!("{{ {} }}", many(51, &|at| format!("a{at}: __typename")));
    refused(&world, "aliases", &aliases).await;
    for end in ["first", "last"] {
        let members = format!("members({end}: 200) {{ nodes {{ role }} }}");
        let members = format!("{{ organizations({end}: 200) {{ nodes {{ {members} }} }} }}");
        refused(&world, end, &members).await;
    }
    let deep = (0..7).fold("userId".to_owned(), |inner, _| {
        format!("members {{ nodes {{ user {{ memberships {{ organization {{ {inner} }} }} }} }} }}")
    });
    let deep = format!("{{ organization(slug: \"x\") {{ {deep} }} }}");
    refused(&world, "depth", &deep).await;
    let invite = |at: usize| {
        format!(
            "m{at}: userInvite(input: {{ commandId: \"{}\", email: \"u{at}@example.org\", \
             name: \"u\" }}) {{ receipt {{ position }} }}",
            tests::command_id()
        )
    };
    refused(&world, "mutations", &format!("mutation {{ {} }}", many(11, &invite))).await;
    world.end().await;
}

#[tokio::test]
async fn fragments_that_unfold_without_end_are_weighed_and_refused() {
    let world = World::start().await;
    let mut bomb = String::from("{ ...F0 } ");
    for at in 0..60 {
        let next = at + 1;
        let _written =
            write!(bomb, "fragment F{at} on Query {{ ...F{next} ... on Query {{ ...F{next} }} }} ");
    }
    bomb.push_str("fragment F60 on Query { __typename }");
    refused(&world, "a bomb", &bomb).await;
    let cycle = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }";
    let answer = world.admin().query(cycle).await;
    assert_eq!(answer.error_code(), "GRAPHQL_VALIDATION_FAILED", "{}", answer.text);
    world.end().await;
}

#[tokio::test]
async fn pages_asked_for_by_variables_cost_as_much() {
    let world = World::start().await;
    for end in ["first", "last"] {
        let document = |variable: &str| {
            format!(
                "query ($n: {variable}) {{ organizations({end}: $n) {{ nodes {{ \
                 members({end}: $n) {{ nodes {{ role }} }} }} }} }}"
            )
        };
        let small = world.admin().ask(&document("Int!"), json!({ "n": 10 })).await.accepted();
        assert!(small.at("/data/organizations/nodes").is_array());
        let large = world.admin().ask(&document("Int!"), json!({ "n": 200 })).await;
        assert_eq!(large.error_code(), "COST_LIMIT_EXCEEDED", "{end}: {}", large.text);
        let small = world.admin().query(&document("Int = 10")).await.accepted();
        assert!(small.at("/data/organizations/nodes").is_array());
        refused(&world, end, &document("Int = 200")).await;
        // What is sent counts, not what it would have been by default.
        let sent = world.admin().ask(&document("Int = 200"), json!({ "n": 10 })).await.accepted();
        assert!(sent.at("/data/organizations/nodes").is_array());
    }
    world.end().await;
}

#[tokio::test]
async fn a_page_has_one_to_two_hundred_rows() {
    let world = World::start().await;
    for first in [0, -1, 201] {
        let document = format!("{{ users(first: {first}) {{ nodes {{ id }} }} }}");
        let answer = world.admin().query(&document).await;
        assert_eq!(answer.error_code(), "BAD_USER_INPUT", "{first}: {}", answer.text);
    }
    let foreign = "{ users(after: \"bm90IGFuIGlk\") { nodes { id } } }";
    assert_eq!(world.admin().query(foreign).await.error_code(), "BAD_USER_INPUT");
    world.end().await;
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let world = World::start().await;
    for name in ["b", "c", "d", "e"] {
        let _user = world.user(name, &[]).await;
    }
    world.read_models_have_caught_up().await;
    let all = world.admin().query("{ users { totalCount nodes { id } } }").await.accepted();
    assert_eq!(all.at("/data/users/totalCount"), &json!(5));
    let all: Vec<String> = ids(all.at("/data/users/nodes"));
    let (mut seen, mut after) = (Vec::new(), json!(null));
    let document = "query ($after: Cursor) { users(first: 2, after: $after) { \
                    nodes { id } pageInfo { hasNextPage hasPreviousPage endCursor } } }";
    loop {
        let page = world.admin().ask(document, json!({ "after": after })).await.accepted();
        let info = page.at("/data/users/pageInfo").clone();
        assert_eq!(info["hasPreviousPage"], json!(!seen.is_empty()));
        seen.extend(ids(page.at("/data/users/nodes")));
        after = info["endCursor"].clone();
        if info["hasNextPage"] == json!(false) {
            break;
        }
    }
    assert_eq!(seen, all);
    world.end().await;
}

fn ids(nodes: &serde_json::Value) -> Vec<String> {
    let nodes = nodes.as_array().expect("nodes");
    nodes.iter().map(|node| node["id"].as_str().expect("an id").to_owned()).collect()
}
