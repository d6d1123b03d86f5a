//! Files that are not what they should be: an answer to act on, and nothing changed that should
//! not.

use crate::world::World;
use domain::catalogue::rate_card::PowerLevel;
use serde_json::{Value, json};

const PRICES: &str = r#"{
    "gpt-4o": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-06,
               "output_cost_per_token": 1e-05},
    "picture": {"litellm_provider": "p", "mode": "image_generation",
                "output_cost_per_image": 0.04}}"#;
const MAP: &str = "occurred_at=at,llm_tokens_input=in";

async fn world() -> World {
    let world = World::furnished().await;
    let list = world.file("prices.json", PRICES);
    world.run(&["import", "models", &list]).await.ended(0);
    world
}

fn with<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let usual = ["import", "usage", file, "--organization", "managed"];
    let mut arguments = usual.to_vec();
    for option in [["--model", "gpt-4o"], ["--map", MAP]] {
        if !more.contains(&option[0]) {
            arguments.extend(option);
        }
    }
    arguments.extend(more);
    arguments
}

#[tokio::test]
async fn what_cannot_begin_says_why_and_what_to_do_and_records_nothing() {
    let world = world().await;
    let good = world.file("good.csv", "at,in,out\n2023-11-16 18:15:46,374,44\n");
    let empty = world.file("empty.csv", "");
    let packed = world.file("packed.csv.gz", b"\x1f\x8b\x08\x00");
    let wide = world.file("wide.csv", b"\xff\xfea\x00t\x00");
    let quote = world.file("quote.csv", format!("at,in\n\"{}", "x".repeat(9_000_000)));
    let head = world.head().await;
    let cases: [(&str, &[&str], &[&str]); 14] = [
        ("/no/such.csv", &[], &["/no/such.csv cannot be opened"]),
        ("/tmp", &[], &["/tmp is a folder"]),
        (&empty, &[], &["the file is empty"]),
        (&packed, &[], &["is compressed", "gzip -dc"]),
        (&wide, &[], &["save it as UTF-8"]),
        (&quote, &[], &["the row that begins in line 2", "is a quote not closed?"]),
        (
            &good,
            &["--map", "occurred_at=at,llm_tokens_input=inn"],
            &[r#"no column "inn"; did you mean "in"?"#, r#"the columns are "at", "in", "out""#],
        ),
        (&good, &["--map", "occurred_at=at,llm_token_input=in"], &["did you mean \"llm_tokens_in"]),
        (&good, &["--model", "gpt-4"], &["on no price list", "did you mean \"gpt-4o\"?"]),
        (&good, &["--model", "picture"], &["not sold by the token", "output_cost_per_image"]),
        (&good, &["--power-level", "full"], &["use eco, balanced or precision"]),
        (&good, &["--id-column", "at"], &["--source"]),
        (&good, &["--map", "occurred_at=at"], &["no column says how much"]),
        ("-", &[], &["give --source and --id-column"]),
    ];
    for (file, more, reasons) in cases {
        let said = world.run(&with(file, more)).await;
        assert!(matches!(said.code, Some(1 | 2)), "{file} {more:?}: {said:?}");
        for reason in reasons {
            assert!(said.err.contains(reason), "{file} {more:?}: {reason:?} not in {}", said.err);
        }
    }
    let misspelt =
        ["import", "usage", &good, "--organization", "managd", "--model", "gpt-4o", "--map", MAP];
    let said = world.run(&misspelt).await.ended(1);
    assert!(said.err.contains(r#"there is no organization "managd"; did you mean "managed"?"#));
    assert_eq!(world.head().await, head, "nothing was recorded");
}

/// A file with every fault that a row can have; the good rows are the second and the last.
const FAULTY: &str = "at,in\n\
    yesterday,1\n\
    2023-11-16 18:15:46,2\n\
    2023-11-16 18:15:46\n\
    2023-11-16 18:15:46,-3\n\
    2023-11-16 18:15:46,4.0\n\
    2023-11-16 18:15:46,\n\
    2123-11-16 18:15:46,5\n\
    2023-11-16 18:15:46,99999999999999999999999\n\
    2023-11-16 18:15:46,1000000000001\n\
    2023-11-16 18:15:46,6,7\n\
    2023-11-16 18:15:46,8\n";

fn refused(said: &Value) -> Vec<(u64, Value)> {
    let rows = said["refusals"].as_array().expect("a list");
    rows.iter().map(|row| (row["line"].as_u64().expect("a line"), row["column"].clone())).collect()
}

#[tokio::test]
async fn every_faulty_row_is_named_and_by_default_nothing_of_the_file_is_recorded() {
    let world = world().await;
    let file = world.file("faulty.csv", FAULTY);
    let head = world.head().await;
    let said = world.run(&with(&file, &["--json"])).await.ended(1).json();
    assert_eq!((&said["read"], &said["recorded"]), (&json!(11), &json!(0)));
    let (at, quantity, row) = (json!("at"), json!("in"), Value::Null);
    let expected = [
        (2, &at),
        (4, &row),
        (5, &quantity),
        (6, &quantity),
        (7, &quantity),
        (8, &at),
        (9, &quantity),
        (10, &row),
        (11, &row),
    ]
    .map(|(line, column)| (line, column.clone()));
    assert_eq!(refused(&said), expected);
    assert_eq!(world.head().await, head);
    let told = world.run(&with(&file, &[])).await.ended(1).out;
    for line in [
        r#"line 2, column "at": "yesterday" is no time; write it like"#,
        "line 4: the row has 1 columns and the header has 2",
        r#"line 5, column "in": "-3" is no whole number"#,
        r#"line 7, column "in": the quantity is empty"#,
        "nothing was recorded; correct the rows and import again",
    ] {
        assert!(told.contains(line), "{line:?} is not in\n{told}");
    }
}

#[tokio::test]
async fn asked_to_skip_it_records_the_good_rows_and_still_ends_otherwise_than_well() {
    let world = world().await;
    let file = world.file("faulty.csv", FAULTY);
    let said = world.run(&with(&file, &["--on-error", "skip", "--json"])).await.ended(3).json();
    assert_eq!(
        (&said["read"], &said["recorded"], &said["refused"]),
        (&json!(11), &json!(2), &json!(9))
    );
    let totals = world.totals("managed").await;
    assert_eq!((totals.records, totals.charged_records), (2, 2));
    // (2 + 8) tokens: 0.00000625 and 0.000025, each rounded half-even.
    assert_eq!(totals.charge_usd, "0.000031");
    let again = world.run(&with(&file, &["--on-error", "skip", "--json"])).await.ended(3).json();
    assert_eq!((&again["recorded"], &again["repeated"]), (&json!(0), &json!(2)));
}

#[tokio::test]
async fn the_same_file_as_another_model_is_refused_and_not_counted_twice() {
    let world = world().await;
    let file = world.file("calls.csv", "at,in\n2023-11-16 18:15:46,10\n2023-11-16 18:15:47,20\n");
    world.run(&with(&file, &[])).await.ended(0);
    let before = world.totals("managed").await;
    let said = world.run(&with(&file, &["--power-level", "eco"])).await.ended(1);
    assert!(said.out.contains("line 2: it was recorded before, at position"), "{}", said.out);
    assert_eq!(world.totals("managed").await, before);
    // Another organization is another matter.
    let other = ["import", "usage", &file, "--organization", "free", "--model", "gpt-4o"];
    world.run(&[&other[..], &["--map", MAP]].concat()).await.ended(0);
    assert_eq!(world.totals("free").await.records, 2);
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_suspected_aloud() {
    let world = world().await;
    let file = world.file("cut.csv", "at,in\n2023-11-16 18:15:46,10\n2023-11-16 18:15:47,2");
    let said = world.run(&with(&file, &["--json"])).await.ended(0).json();
    let warning = said["warnings"][0].as_str().expect("a warning");
    assert!(warning.contains("does not end with a line break"), "{warning}");
}

#[tokio::test]
async fn json_lines_name_their_models_and_their_ids_and_come_through_a_pipe_too() {
    let world = world().await;
    let line = |id: &str, tokens: u64| {
        let usage = json!({ "in": tokens });
        json!({ "id": id, "time": 1_700_158_546, "model": "gpt-4o", "usage": usage }).to_string()
    };
    let text = [line("a", 10), line("b", 20), line("a", 10)].join("\n");
    let more = [
        "--map",
        "occurred_at=time,model=model,llm_tokens_input=usage.in",
        "--source",
        "gateway-1",
        "--id-column",
        "id",
        "--power-level",
        PowerLevel::Precision.as_str(),
        "--json",
    ];
    let file = world.file("calls.jsonl", &text);
    let usual = ["import", "usage", &file, "--organization", "managed"];
    let said = world.run(&[&usual[..], &more].concat()).await.ended(0).json();
    assert_eq!(
        (&said["read"], &said["recorded"], &said["repeated"]),
        (&json!(3), &json!(2), &json!(1))
    );
    // The same records in another file of the same source are the same records.
    let piped = ["import", "usage", "-", "--format", "jsonl", "--organization", "managed"];
    let mut command = world.program(&[&piped[..], &more].concat());
    let input = std::fs::File::open(&file).expect("the file opens");
    let output = command.stdin(input).output().await.expect("it can be started");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&said["recorded"], &said["repeated"]), (&json!(0), &json!(3)));
    // And one that says something else under a known id is refused.
    let file = world.file("other.jsonl", [line("c", 1), line("a", 11)].join("\n"));
    let usual = ["import", "usage", &file, "--organization", "managed"];
    let said = world.run(&[&usual[..], &more].concat()).await.ended(1).json();
    assert_eq!((&said["recorded"], &said["refused"]), (&json!(1), &json!(1)));
    assert_eq!(said["refusals"][0]["line"], json!(2));
}
