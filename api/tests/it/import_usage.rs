//! `opscenter import usage` on an hour of real calls: totals, charges and balances to the
//! micro-dollar, on every way of being charged.

use crate::data::{Calls, calls, prices, python};
use crate::world::{PATIENCE, Totals, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::io::{AsyncBufReadExt, BufReader};

pub(crate) const MAP: &str =
    "occurred_at=TIMESTAMP,llm_tokens_input=ContextTokens,llm_tokens_output=GeneratedTokens";

/// An organization, its model and power, the rule of its tier, its whole credits.
struct Case {
    slug: &'static str,
    model: &'static str,
    power: &'static str,
    rule: &'static str,
    credits: i64,
}

/// The last has far too few credits, one has exactly none.
const CASES: [Case; 5] = [
    Case {
        slug: "managed",
        model: "gpt-4o",
        power: "precision",
        rule: "markup:25",
        credits: 12_000,
    },
    Case {
        slug: "professional",
        model: "gemini/gemini-2.5-pro",
        power: "balanced",
        rule: "markup:60",
        credits: 60_000,
    },
    Case {
        slug: "byok",
        model: "deepseek/deepseek-chat",
        power: "precision",
        rule: "own-key:10",
        credits: 0,
    },
    Case {
        slug: "free",
        model: "mistral/mistral-small-latest",
        power: "eco",
        rule: "markup:0",
        credits: 0,
    },
    Case { slug: "granted", model: "gpt-4o", power: "eco", rule: "markup:40", credits: 123 },
];

async fn import(world: &World, calls: &Calls, case: &Case) -> Value {
    let path = calls.path.display().to_string();
    let arguments = [
        "import",
        "usage",
        &path,
        "--organization",
        case.slug,
        "--model",
        case.model,
        "--power-level",
        case.power,
        "--map",
        MAP,
        "--json",
    ];
    world.run(&arguments).await.ended(0).json()
}

/// What the log has to say of an organization, by the independent computation.
pub(crate) fn expected(calls: &Calls, prices: &str, arguments: [&str; 4]) -> (Totals, Value) {
    let [model, rule, power, credits] = arguments;
    let path = calls.path.display().to_string();
    let computed = python("charges.py", &[&path, prices, model, rule, power, credits]);
    let text = |name: &str| computed[name].as_str().expect("a text").to_owned();
    assert_eq!(computed["rows"], json!(calls.rows));
    let totals = Totals {
        records: calls.rows,
        charged_records: calls.rows,
        charge_usd: text("charge_usd"),
        balance_credits: text("balance_credits"),
        owed_credits: text("owed_credits"),
    };
    (totals, computed)
}

/// One more organization: on `starter`, whose monthly credits are taken back but for 123.
async fn granted(world: &World) {
    use commands::{CreditCommand, Subject, TenancyCommand, flows};
    use domain::values::Credits;
    let open = world.open().await;
    let owner = open.executor.user_addressed("ada@example.org").await.expect("the log can be read");
    let code = |text: &str| text.parse().expect("a code");
    let create = TenancyCommand::OrganizationCreate {
        slug: code("granted"),
        name: "Granted".parse().expect("a text"),
        owner: owner.expect("Ada exists"),
        tier: code("starter"),
    };
    let Subject::Organization(organization_id) = open.ask(create).await else { unreachable!() };
    flows::settle(&open.executor).await.expect("the flows settle");
    let credits = Credits::from_whole(20_000 - 123).expect("they fit");
    let reason = "all but a few".parse().expect("a text");
    open.ask(CreditCommand::CreditSpend { organization_id, credits, reason }).await;
    open.close().await;
}

#[tokio::test]
async fn an_hour_of_calls_is_charged_as_an_independent_computation_says() {
    let world = World::furnished().await;
    granted(&world).await;
    let (calls, list) = (calls(world.folder()), prices(world.folder()).display().to_string());
    world.run(&["import", "models", &list]).await.ended(0);
    let mut expectations = BTreeMap::new();
    let mut after = world.head().await.0;
    for case in &CASES {
        let said = import(&world, &calls, case).await;
        let credits = case.credits.to_string();
        let (totals, _) = expected(&calls, &list, [case.model, case.rule, case.power, &credits]);
        assert_eq!(said["read"], json!(calls.rows));
        assert_eq!(said["recorded"], json!(calls.rows));
        assert_eq!((&said["repeated"], &said["refused"]), (&json!(0), &json!(0)));
        assert_eq!(said["first_position"], json!(after + 1));
        assert_eq!(said["price_usd"], json!(totals.charge_usd));
        expectations.insert(case.slug.to_owned(), totals);
        after = world.head().await.0;
    }
    let open = world.open().await;
    let slugs: Vec<&str> = CASES.iter().map(|case| case.slug).collect();
    assert_eq!(open.totals(&slugs).await, expectations);
    open.close().await;
    for case in &CASES {
        let said = import(&world, &calls, case).await;
        assert_eq!(said["recorded"], json!(0));
        assert_eq!(said["repeated"], json!(calls.rows));
        assert_eq!((&said["first_position"], &said["last_position"]), (&Value::Null, &Value::Null));
    }
    assert_eq!(world.head().await.0, after, "importing again records and charges nothing");
}

#[tokio::test]
async fn rows_stand_in_the_log_as_they_stand_in_the_file() {
    let world = World::furnished().await;
    let (calls, list) = (calls(world.folder()), prices(world.folder()).display().to_string());
    world.run(&["import", "models", &list]).await.ended(0);
    import(&world, &calls, &CASES[0]).await;
    let open = world.open().await;
    let usage = open.usage("managed").await;
    open.close().await;
    let text = std::fs::read_to_string(&calls.path).expect("the file can be read");
    let mut sums = [0, 0];
    for ((place, line), (recorded, record)) in text.lines().skip(1).enumerate().zip(&usage) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(record.usage_id.as_str(), format!("{:012}", place + 1));
        let at = recorded.occurred_at.format("%Y-%m-%d %H:%M:%S.%6f").to_string();
        assert_eq!(at, cells[0][..26], "cut off after the microsecond");
        for (cell, quantity) in cells[1..].iter().zip(record.quantities.values()) {
            assert_eq!(*cell, quantity.to_string());
        }
        sums = [0, 1].map(|column| {
            sums[column] + record.quantities.values().nth(column).expect("two quantities")
        });
    }
    let (_, computed) = expected(&calls, &list, ["gpt-4o", "markup:25", "precision", "0"]);
    assert_eq!(json!(sums), json!([computed["input_tokens"], computed["output_tokens"]]));
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_cost_and_records_nothing() {
    let world = World::furnished().await;
    let (calls, list) = (calls(world.folder()), prices(world.folder()).display().to_string());
    world.run(&["import", "models", &list]).await.ended(0);
    let head = world.head().await;
    let path = calls.path.display().to_string();
    let said = world
        .run(&[
            "import",
            "usage",
            &path,
            "--organization",
            "managed",
            "--model",
            "gpt-4o",
            "--map",
            MAP,
            "--dry-run",
            "--json",
        ])
        .await
        .ended(0)
        .json();
    let (totals, _) = expected(&calls, &list, ["gpt-4o", "markup:25", "precision", "0"]);
    assert_eq!((&said["read"], &said["recorded"]), (&json!(calls.rows), &json!(0)));
    assert_eq!(said["price_usd"], json!(totals.charge_usd));
    assert_eq!(world.head().await, head);
}

#[tokio::test]
async fn beside_a_running_server_everything_is_charged_when_the_import_ends() {
    let world = World::furnished().await;
    let (calls, list) = (calls(world.folder()), prices(world.folder()).display().to_string());
    world.run(&["import", "models", &list]).await.ended(0);
    let mut server =
        world.program(&["serve", "--address", "127.0.0.1:0"]).spawn().expect("it can be started");
    let mut lines = BufReader::new(server.stdout.take().expect("standard output")).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it starts");
    assert!(line.expect("text").is_some_and(|line| line.starts_with("Ops Center listens")));
    let said = import(&world, &calls, &CASES[0]).await;
    assert_eq!(said["charged"], json!(true));
    let (totals, _) = expected(&calls, &list, ["gpt-4o", "markup:25", "precision", "12000"]);
    assert_eq!(world.totals("managed").await, totals);
    server.kill().await.expect("it can be killed");
}
