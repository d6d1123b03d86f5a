//! What every request meets at the door: sizes, media types, ids, headers, who may come in.

use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use tests::{World, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn what_is_not_json_is_not_read() {
    let world = World::start().await;
    let mutation = r#"{"query":"mutation { __typename }"}"#;
    for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let request = world.admin().request(Method::POST, "/graphql");
        let request = request.header("content-type", media).body(mutation);
        let answer = world.admin().send(request).await;
        assert_eq!((answer.status, answer.error_code()), (415, "BAD_USER_INPUT"), "{media}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let world = World::start().await;
    let long = format!("{{ __typename }} #{}", "x".repeat(256 * 1_024));
    let answer = world.admin().query(&long).await;
    assert_eq!(answer.status, 413);
    assert!(answer.text.contains("256 KiB"), "{}", answer.text);
    world.end().await;
}

#[tokio::test]
async fn batches_and_mutations_by_get_are_refused() {
    let world = World::start().await;
    let batch = world.admin().post("/graphql", &json!([{ "query": "{ __typename }" }])).await;
    assert_eq!((batch.status, batch.error_code()), (400, "BAD_USER_INPUT"));
    let mutation = "/graphql?query=mutation%20%7B%20__typename%20%7D";
    let answer = world.admin().get(mutation).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    let query = world.admin().get("/graphql?query=%7B%20__typename%20%7D").await;
    assert_eq!((query.status, query.text_at("/data/__typename")), (200, "Query".to_owned()));
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_parsed_is_told_in_few_words() {
    let world = World::start().await;
    let answer = world.admin().query(&format!("{{ {} ", "a".repeat(5_000))).await;
    assert_eq!(answer.error_code(), "GRAPHQL_PARSE_FAILED");
    assert!(answer.text.len() < 600, "{} bytes", answer.text.len());
    world.end().await;
}

#[tokio::test]
async fn every_answer_has_an_id_and_keeps_the_callers() {
    let world = World::start().await;
    let client = world.admin().with_header("x-request-id", "order-4711");
    for path in ["/healthz", "/nowhere", "/graphql?query=%7B__typename%7D"] {
        let answer = client.get(path).await;
        assert_eq!(answer.header("x-request-id"), "order-4711", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert!(answer.header("content-security-policy").contains("default-src 'none'"), "{path}");
    }
    let made = world.admin().get("/healthz").await;
    assert_eq!(made.header("x-request-id").len(), 36);
    world.end().await;
}

#[tokio::test]
async fn a_trace_is_found_again_in_the_audit_trail() {
    let world = World::start().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let client =
        world.admin().with_header("traceparent", &format!("00-{trace}-b7ad6b7169203331-01"));
    let input = json!({ "email": "eve@example.org", "name": "Eve" });
    let answer = client.run("userInvite", input, "").await.accepted();
    let position = answer.text_at("/data/userInvite/receipt/position");
    let reader = world.admin().with_header("ops-consistency", &format!("at-least={position}"));
    let found = reader.query("{ auditTrail(first: 1) { nodes { correlation origin } } }").await;
    let entry = found.at("/data/auditTrail/nodes/0");
    assert_eq!(entry["correlation"], "0af76519-16cd-43dd-8448-eb211c80319c");
    assert_eq!(entry["origin"], "127.0.0.1");
    world.end().await;
}

#[tokio::test]
async fn a_wrong_key_is_nobody() {
    let world = World::start().await;
    let mut key = world.admin().key().to_owned();
    key.replace_range(20..21, if key.as_bytes()[20] == b'a' { "b" } else { "a" });
    for key in [key.as_str(), "opc_live_x", "Basic x"] {
        let answer = world.admin().with_key(key).query("{ __typename }").await;
        assert_eq!((answer.status, answer.error_code()), (401, "UNAUTHENTICATED"), "{key}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    world.end().await;
}

#[tokio::test]
async fn a_revoked_key_stops_at_once() {
    let world = World::start().await;
    let (_, client) = world.user("bob", &["viewer"]).await;
    world.read_models_have_caught_up().await;
    let me = client.query("{ apiKeys { id } }").await.accepted();
    let id = me.text_at("/data/apiKeys/0/id");
    let revoke = json!({ "apiKeyId": id, "reason": "lost" });
    let revoked = world.admin().run("apiKeyRevoke", revoke, "apiKey { revokedAt }").await;
    assert!(revoked.accepted().at("/data/apiKeyRevoke/apiKey/revokedAt").is_string());
    assert_eq!(client.query("{ me { id } }").await.status, 401);
    world.end().await;
}

#[tokio::test]
async fn the_setup_link_works_once_and_shows_the_key_once() {
    let world = World::untouched().await;
    let (client, path) = (world.admin(), format!("/setup/{}", world.setup_token()));
    let form = client.get(&path).await;
    assert!(form.status == 200 && form.text.contains("<form"), "{}", form.text);
    assert!(
        !form.text.contains("http://") && !form.text.contains("src="),
        "something from outside"
    );
    let send = |path: String, email: &'static str| {
        let request = client.request(Method::POST, &path);
        let media = "application/x-www-form-urlencoded";
        let body = format!("email={email}&name=Ada");
        client.send(request.header("content-type", media).body(body))
    };
    let wrong = send("/setup/not-the-token".to_owned(), "ada%40example.org").await;
    assert!(wrong.status == 422 && !wrong.text.contains("opc_live"), "{}", wrong.text);
    let nobody = send(path.clone(), "no-address").await;
    assert_eq!(nobody.status, 422, "{}", nobody.text);
    let done = send(path.clone(), "ada%40example.org").await;
    let key = done.text.split_once("<code>").and_then(|(_, rest)| rest.split_once("</code>"));
    let key = key.expect("a key on the page").0;
    let me = client.with_key(key).query("{ me { email roles } }").await.accepted();
    assert_eq!(me.text_at("/data/me/email"), "ada@example.org");
    assert_eq!(me.at("/data/me/roles"), &json!(["admin"]));
    let again = send(path.clone(), "eve%40example.org").await;
    assert!(again.status == 410 && !again.text.contains("opc_live"), "{}", again.text);
    assert_eq!(client.get(&path).await.status, 410);
    world.end().await;
}

#[tokio::test]
async fn an_older_setup_link_stops_working_when_a_newer_one_is_printed() {
    let mut world = World::untouched().await;
    let old = world.setup_token();
    world.restart().await;
    let input = |token: &str| json!({ "token": token, "email": "a@example.org", "name": "A" });
    let refused = world.admin().run("setupComplete", input(&old), "printedKey").await;
    assert_eq!(refused.user_error("setupComplete"), "SETUP_TOKEN_INVALID");
    assert!(refused.at("/data/setupComplete/printedKey").is_null());
    let token = world.setup_token();
    let _done = world.admin().run("setupComplete", input(&token), "printedKey").await.accepted();
    world.restart().await;
    assert_eq!(world.server().setup_link(), None);
    world.end().await;
}

#[tokio::test]
async fn strangers_reach_health_and_nothing_that_tells_anything() {
    let world = World::start().await;
    let stranger = world.admin().anonymous();
    assert_eq!(stranger.get("/healthz").await.text_at("/status"), "alive");
    assert_eq!(stranger.get("/readyz").await.text_at("/status"), "ready");
    for query in ["{ me { id } }", "{ users { nodes { id } } }", "{ tiers { code } }"] {
        assert_eq!(stranger.query(query).await.error_code(), "UNAUTHENTICATED", "{query}");
    }
    for query in ["{ __schema { types { name } } }", "{ __type(name: \"User\") { name } }"] {
        assert_eq!(stranger.query(query).await.error_code(), "UNAUTHENTICATED", "{query}");
    }
    assert_eq!(stranger.get("/graphql/schema.graphql").await.status, 401);
    assert_eq!(stranger.post("/api/v1/usage/batch", &json!({})).await.status, 401);
    let forwarded = stranger.with_header("x-forwarded-for", "203.0.113.9");
    assert_eq!(forwarded.get("/metrics").await.status, 401);
    assert_eq!(stranger.get("/metrics").await.status, 200);
    world.end().await;
}

#[tokio::test]
async fn figures_count_commands_by_name_and_outcome() {
    let world = World::start().await;
    let (owner, _) = world.user("olga", &[]).await;
    let input = json!({ "slug": "x", "name": "x", "owner": owner, "tier": "no-such-tier" });
    let refused = world.admin().run("organizationCreate", input, "").await;
    assert_eq!(refused.user_error("organizationCreate"), "NOT_FOUND");
    let figures = world.admin().get("/metrics").await.text;
    let wanted = "opscenter_commands_total{command=\"organization_create\",outcome=\"refused\"}";
    assert!(figures.contains(wanted), "{figures}");
    for name in ["opscenter_log_head", "opscenter_projection_lag_events{name=\"directory\"}"] {
        assert!(figures.contains(name), "{name} is missing in {figures}");
    }
    assert!(!figures.contains(world.admin().key()));
    world.end().await;
}

#[tokio::test]
async fn readiness_names_a_read_model_that_stands_still() {
    let world = World::start().await;
    let sql = "update read_model.projection set state = 'stopped', error = 'for a test'
                where name = 'directory'";
    world.postgres().execute(sql).await;
    let answer = until("not ready", || async {
        let answer = world.admin().get("/readyz").await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(answer.text_at("/wrong/0").contains("directory"), "{}", answer.text);
    world.end().await;
}

#[tokio::test]
async fn a_busy_port_is_named_with_what_to_do() {
    let world = World::start().await;
    let (log, keys) = (world.log().clone(), world.keys().clone());
    let settings = api::server::ServerSettings::new(world.address(), log, keys);
    let error = api::server::Server::start(settings).await.err().expect("a refusal").to_string();
    let port = world.address().port().to_string();
    assert!(error.contains(&port) && error.contains("--address"), "{error}");
    world.end().await;
}

#[tokio::test]
async fn a_request_under_way_is_answered_when_the_server_stops() {
    let world = World::start().await;
    let address = world.address();
    let body = r#"{"query":"{ __typename }"}"#;
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(head.as_bytes()).await.expect("the head to be sent");
    // The server asks for the body once somebody there waits for it.
    let mut asked = [0; 25];
    let _read = stream.read_exact(&mut asked).await.expect("the server to ask for the body");
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&body.as_bytes()[..5]).await.expect("a part of the body to be sent");
    let ended = tokio::spawn(world.end());
    until("no new connections", || async {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    stream.write_all(&body.as_bytes()[5..]).await.expect("the rest of the body to be sent");
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(20), reading).await;
    read.expect("an answer in time").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Query"), "{answer}");
    ended.await.expect("the server to stop");
}
