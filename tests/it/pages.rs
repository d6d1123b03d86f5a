//! Lists in pages: both ways, in both orders, every list alike.

use serde_json::{Value, json};
use tests::{Client, World, until};

/// One list of the API.
struct List {
    /// What asks for it; `ARGUMENTS` and `SELECTION` stand for what every list has.
    field: String,
    /// Where it is in the answer.
    path: &'static str,
    /// What tells its rows apart.
    row: &'static str,
    /// Its order when nobody says another.
    order: &'static str,
    /// At least so many rows are there.
    rows: usize,
}

const ORDERS: [&str; 2] = ["ASCENDING", "DESCENDING"];
/// Rows of a page: so few that every list has several pages.
const ROWS: usize = 2;

impl List {
    fn document(&self) -> String {
        let field = self.field.replace(
            "ARGUMENTS",
            "first: $first, after: $after, last: $last, before: $before, orderBy: $order",
        );
        let selection = format!(
            "nodes {{ {} }} edges {{ cursor }} totalCount pageInfo {{ hasNextPage \
             hasPreviousPage startCursor endCursor }}",
            self.row
        );
        format!(
            "query ($first: Int, $after: Cursor, $last: Int, $before: Cursor, $order: ListOrder) \
             {{ {} }}",
            field.replace("SELECTION", &selection)
        )
    }

    /// One page, as it is answered.
    async fn page(&self, client: &Client, arguments: Value) -> Value {
        let answer = client.ask(&self.document(), arguments).await.accepted();
        answer.at(self.path).clone()
    }

    /// Every row, found page by page from one end, in the order of the list.
    async fn walked(&self, client: &Client, order: &str, is_back: bool) -> Vec<Value> {
        let (count, edge, cursor, more, begun) = if is_back {
            ("last", "before", "startCursor", "hasPreviousPage", "hasNextPage")
        } else {
            ("first", "after", "endCursor", "hasNextPage", "hasPreviousPage")
        };
        let (mut rows, mut at): (Vec<Value>, Value) = (Vec::new(), Value::Null);
        loop {
            let page = self.page(client, json!({ count: ROWS, edge: at, "order": order })).await;
            let (mut found, info) = (nodes(&page), &page["pageInfo"]);
            assert_eq!(info[begun], json!(!rows.is_empty()), "{} {order}: {page}", self.path);
            assert!((1..=ROWS).contains(&found.len()), "{} {order}: {page}", self.path);
            let edges = page["edges"].as_array().expect("edges");
            assert_eq!(edges.first().expect("the first edge")["cursor"], info["startCursor"]);
            assert_eq!(edges.last().expect("the last edge")["cursor"], info["endCursor"]);
            if is_back {
                found.append(&mut rows);
                rows = found;
            } else {
                rows.append(&mut found);
            }
            at = info[cursor].clone();
            if info[more] == json!(false) {
                return rows;
            }
        }
    }

    /// Holds every way through the list against the whole of it.
    async fn check(&self, client: &Client) {
        let whole = self.page(client, json!({ "first": 200 })).await;
        let total = whole["totalCount"].as_u64();
        let whole = nodes(&whole);
        assert!(whole.len() >= self.rows, "{}: {whole:?}", self.path);
        assert_eq!(total, u64::try_from(whole.len()).ok(), "{}", self.path);
        for order in ORDERS {
            let mut expected = whole.clone();
            if order != self.order {
                expected.reverse();
            }
            for is_back in [false, true] {
                let walked = self.walked(client, order, is_back).await;
                assert_eq!(walked, expected, "{} {order}, back: {is_back}", self.path);
            }
        }
    }
}

fn nodes(page: &Value) -> Vec<Value> {
    page["nodes"].as_array().unwrap_or_else(|| panic!("no nodes: {page}")).clone()
}

fn list(
    field: impl Into<String>,
    path: &'static str,
    row: &'static str,
    order: &'static str,
    rows: usize,
) -> List {
    List { field: field.into(), path, row, order, rows }
}

/// What the lists are about.
struct Things {
    owner: Client,
    organization: String,
    /// A service with an action on it.
    service: String,
    /// Where the log stood when the members had been added.
    joined: String,
}

/// Every list of the API has rows after this.
async fn furnish(world: &World) -> Things {
    let admin = world.admin();
    let (owner_id, owner) = world.user("olga", &[]).await;
    let organization = world.organization("acme", "free", &owner_id).await;
    for slug in ["beta", "gamma", "delta"] {
        let _organization = world.organization(slug, "free", &owner_id).await;
    }
    let mut joined = String::new();
    for name in ["x", "y", "z", "w"] {
        let (user, _) = world.user(name, &[]).await;
        let add = json!({ "organizationId": organization, "userId": user, "role": "MEMBER" });
        let added = admin.run("memberAdd", add, "").await.accepted();
        joined = added.text_at("/data/memberAdd/receipt/position");
    }
    for at in 0..3 {
        world.grant(&organization, "1000").await;
        let hold = json!({ "organizationId": organization, "credits": "1", "seconds": 3_600,
            "reason": "a test" });
        let _held = admin.run("creditHoldPlace", hold, "").await.accepted();
        let purchase = json!({ "organizationId": organization, "creditPack": "credits-1000" });
        let _begun = admin.run("purchaseInitiate", purchase, "").await.accepted();
        let price = json!({ "name": "input_cost_per_token", "amount": "0.000001" });
        let model = json!({ "model": format!("m{at}"), "provider": "p", "prices": [price] });
        let _priced = admin.run("modelPrice", model, "").await.accepted();
    }
    let mut service = String::new();
    for name in ["vllm", "tika", "redis"] {
        let register = json!({ "name": name, "container": name, "verbs": ["RESTART"] });
        let made = admin.run("serviceRegister", register, "service { id }").await.accepted();
        service = made.text_at("/data/serviceRegister/service/id");
        let restart = json!({ "serviceId": service });
        let _asked = admin.run("serviceRestart", restart, "").await.accepted();
    }
    use_and_charge(world, &organization).await;
    Things { owner, organization, service, joined }
}

/// Usage of three months, each a charge, with several rows in every hour.
async fn use_and_charge(world: &World, organization: &str) {
    let records = ["2026-09", "2026-10", "2026-11"].map(|month| {
        ["openai/a", "openai/b"].map(|model| {
            json!({ "usage_id": format!("{month} {model}"), "model": model,
                "occurred_at": format!("{month}-05T10:15:00Z"),
                "quantities": { "llm_tokens_input": 1_000, "llm_tokens_output": 500 } })
        })
    });
    let usage = json!({ "organization": organization, "source": "test",
        "records": records.as_flattened() });
    let recorded = world.admin().post("/api/v1/usage/batch", &usage).await;
    assert_eq!(recorded.status, 200, "{}", recorded.text);
    let document =
        format!("{{ charges(organizationId: \"{organization}\") {{ nodes {{ id }} }} }}");
    until("a charge for each month", || async {
        let seen = world.admin().query(&document).await.accepted();
        (nodes(seen.at("/data/charges")).len() == 3).then_some(())
    })
    .await;
    world.read_models_have_caught_up().await;
}

/// The lists that an administrator may see.
fn lists(things: &Things) -> Vec<List> {
    let (up, down) = ("ASCENDING", "DESCENDING");
    let Things { organization: id, service, joined, .. } = things;
    let of = format!("organizationId: \"{id}\"");
    let within = "(ARGUMENTS) { SELECTION }";
    let members = "/data/organization/members";
    let member = "role user { id }";
    let then = format!("asOf: {{ position: \"{joined}\" }}");
    let audit = format!("auditTrail(where: {{ action: \"credit.\" }}, {}", &within[1..]);
    vec![
        list(format!("users{within}"), "/data/users", "id", up, 6),
        list(format!("organizations{within}"), "/data/organizations", "id", up, 4),
        list(format!("organization(id: \"{id}\") {{ members{within} }}"), members, member, up, 5),
        list(
            format!("organization(id: \"{id}\", {then}) {{ members{within} }}"),
            members,
            member,
            up,
            5,
        ),
        list(format!("models{within}"), "/data/models", "name", up, 3),
        list(format!("usage({of}, {}", &within[1..]), "/data/usage", "hour meter model", up, 12),
        list(
            format!("creditStatement({of}, {}", &within[1..]),
            "/data/creditStatement",
            "position",
            down,
            6,
        ),
        list(
            format!("creditBalance({of}) {{ grants{within} }}"),
            "/data/creditBalance/grants",
            "id",
            up,
            3,
        ),
        list(
            format!("creditBalance({of}) {{ holds{within} }}"),
            "/data/creditBalance/holds",
            "id",
            down,
            3,
        ),
        list(format!("charges({of}, {}", &within[1..]), "/data/charges", "id", down, 3),
        list(format!("purchases{within}"), "/data/purchases", "id", down, 3),
        list(format!("serviceActions{within}"), "/data/serviceActions", "id", down, 3),
        list(
            format!("service(id: \"{service}\") {{ actions{within} }}"),
            "/data/service/actions",
            "id",
            down,
            1,
        ),
        list(audit, "/data/auditTrail", "position action", down, 6),
    ]
}

#[tokio::test]
async fn every_list_is_walked_both_ways_in_both_orders() {
    let world = World::furnished().await;
    let things = furnish(&world).await;
    for list in lists(&things) {
        list.check(world.admin()).await;
    }
    // What somebody without rights to all sees is put together in another way.
    let field = "organizations(ARGUMENTS) { SELECTION }";
    let own = list(field, "/data/organizations", "id", ORDERS[0], 4);
    own.check(&things.owner).await;
    world.end().await;
}

#[test]
fn every_connection_of_the_schema_takes_the_same_arguments() {
    let sdl = api::sdl();
    let fields: Vec<&str> = sdl
        .lines()
        .filter(|line| line.ends_with("Connection!") || line.ends_with("Connection"))
        .filter(|line| line.starts_with('\t'))
        .collect();
    assert!(fields.len() >= 13, "only {} lists were found: {fields:?}", fields.len());
    for argument in
        ["after: Cursor", "before: Cursor", "first: Int", "last: Int", "orderBy: ListOrder"]
    {
        let missing: Vec<_> = fields.iter().filter(|field| !field.contains(argument)).collect();
        assert!(missing.is_empty(), "without {argument}: {missing:?}");
    }
}

#[tokio::test]
async fn a_page_goes_forward_or_back_and_a_cursor_stays_in_its_order() {
    let world = World::start().await;
    for name in ["b", "c", "d"] {
        let _user = world.user(name, &[]).await;
    }
    world.read_models_have_caught_up().await;
    let users = list("users(ARGUMENTS) { SELECTION }", "/data/users", "id", ORDERS[0], 4);
    let page = users.page(world.admin(), json!({ "first": 2 })).await;
    let at = &page["pageInfo"]["endCursor"];
    for (arguments, field) in [
        (json!({ "first": 2, "last": 2 }), "last"),
        (json!({ "first": 2, "before": at }), "before"),
        (json!({ "last": 2, "after": at }), "last"),
        (json!({ "after": at, "before": at }), "before"),
        (json!({ "last": 0 }), "last"),
        (json!({ "last": -1 }), "last"),
        (json!({ "last": 201 }), "last"),
        (json!({ "last": 2, "before": "bm90IGFuIGlk" }), "before"),
        (json!({ "after": at, "order": "DESCENDING" }), "after"),
        (json!({ "before": at, "order": "DESCENDING" }), "before"),
    ] {
        let answer = world.admin().ask(&users.document(), arguments.clone()).await;
        assert_eq!(answer.error_code(), "BAD_USER_INPUT", "{arguments}: {}", answer.text);
        assert_eq!(answer.text_at("/errors/0/extensions/field"), field, "{arguments}");
    }
    // The order that a list has anyway may be named, and a page may end before a row without a
    // number of rows.
    let named = json!({ "before": at, "order": "ASCENDING" });
    let earlier = users.page(world.admin(), named).await;
    assert_eq!(nodes(&earlier), nodes(&page)[..1]);
    assert_eq!(earlier["pageInfo"]["hasPreviousPage"], json!(false));
    world.end().await;
}
