//! `opscenter import models`: every price of a list, exactly, and nothing twice.

use crate::data::{prices, python};
use crate::world::World;
use domain::catalogue::model::ModelPriced;
use serde_json::{Value, json};

/// As the independent reader writes an entry.
fn shown(priced: &ModelPriced) -> Value {
    let tokens: Vec<Value> = priced
        .tokens
        .iter()
        .map(|price| json!([price.above, price.input.to_string(), price.output.to_string()]))
        .collect();
    let prices: serde_json::Map<String, Value> = priced
        .prices
        .iter()
        .map(|(name, price)| (name.clone(), json!(price.to_string())))
        .collect();
    json!({
        "provider": priced.provider,
        "mode": priced.mode,
        "prices": prices,
        "tokens": tokens,
    })
}

#[tokio::test]
async fn every_priced_entry_is_loaded_as_an_independent_reader_reads_it() {
    let world = World::empty();
    let list = prices(world.folder()).display().to_string();
    let expected = python("price_list.py", &[&list]);
    let models = expected["models"].as_object().expect("an object");
    let said = world.run(&["import", "models", &list, "--json"]).await.ended(0).json();
    assert_eq!(said["entries"], expected["entries"]);
    assert_eq!(said["priced"], json!(models.len()));
    assert_eq!(said["added"], json!(models.len()));
    let left_out = expected["entries"].as_u64().expect("a count") - models.len() as u64;
    assert_eq!(said["left_out"], json!({ "states no price": left_out }));

    let open = world.open().await;
    let loaded = open.models().await;
    open.close().await;
    assert_eq!(loaded.len(), models.len());
    for (name, expected) in models {
        assert_eq!(shown(&loaded[name]), *expected, "{name}");
    }
    let head = world.head().await;
    let said = world.run(&["import", "models", &list, "--json"]).await.ended(0).json();
    assert_eq!(said["unchanged"], json!(models.len()));
    assert_eq!(said["first_position"], Value::Null);
    assert_eq!(world.head().await, head, "importing again records nothing");
}

#[tokio::test]
async fn a_changed_price_is_a_new_version_beside_the_old_one() {
    let world = World::empty();
    let list = |price: &str| {
        format!(
            r#"{{"a": {{"litellm_provider": "p", "mode": "chat", "input_cost_per_token": {price},
                 "output_cost_per_token": 2e-6}},
                "b": {{"litellm_provider": "p", "mode": "chat", "input_cost_per_token": 1e-6,
                 "output_cost_per_token": 2e-6}}}}"#
        )
    };
    let old = world.file("old.json", list("1e-6"));
    let new = world.file("new.json", list("1.5000020000000002e-05"));
    world.run(&["import", "models", &old]).await.ended(0);
    let tried = world.run(&["import", "models", &new, "--dry-run", "--json"]).await.ended(0);
    assert_eq!(tried.json()["changed"], json!(1));
    let open = world.open().await;
    assert_eq!(open.models().await["a"].version, 1, "a dry run records nothing");
    open.close().await;
    let said = world.run(&["import", "models", &new, "--json"]).await.ended(0).json();
    assert_eq!((&said["changed"], &said["unchanged"]), (&json!(1), &json!(1)));
    // And back again: what was said before is said anew.
    world.run(&["import", "models", &old]).await.ended(0);
    let open = world.open().await;
    let models = open.models().await;
    open.close().await;
    assert_eq!((models["a"].version, models["b"].version), (3, 1));
    assert_eq!(models["a"].prices["input_cost_per_token"].to_string(), "0.000001");
}

#[tokio::test]
async fn what_cannot_be_read_is_left_out_and_told_and_the_rest_is_loaded() {
    let world = World::empty();
    let list = world.file(
        "prices.json",
        r#"{"sample_spec": {"litellm_provider": "one of …", "input_cost_per_token": 0.0},
            "good": {"litellm_provider": "p", "input_cost_per_second": 1e-4},
            "text": {"litellm_provider": "p", "input_cost_per_token": "1e-6"},
            "fine": {"litellm_provider": "p", "input_cost_per_token": 1e-99},
            "free": {"litellm_provider": "p", "mode": "chat"},
            "two words": {"litellm_provider": "p", "input_cost_per_second": 1e-4},
            "good": {"litellm_provider": "q", "input_cost_per_second": 2e-4}}"#,
    );
    let said = world.run(&["import", "models", &list, "--verbose"]).await.ended(3);
    for told in [
        r#"left out "text": price input_cost_per_token is not a number but "1e-6""#,
        r#"left out "fine": price input_cost_per_token is too large or too fine"#,
        r#"left out "free": it states no price"#,
        r#"left out "two words": its name is none"#,
        r#"left out "good": it stands in the list twice"#,
        "6 entries read",
        "1 loaded as new models",
    ] {
        assert!(said.out.contains(told), "{told:?} is not in\n{}", said.out);
    }
    let open = world.open().await;
    let models = open.models().await;
    open.close().await;
    assert_eq!(models.keys().collect::<Vec<_>>(), ["good"]);
}

#[tokio::test]
async fn what_is_no_price_list_is_refused_and_changes_nothing() {
    let world = World::empty();
    let cases = [
        ("empty.json", "", "is no JSON object of model names"),
        ("cut.json", r#"{"a": {"litellm_provider": "p", "#, "if it was cut off"),
        ("list.json", "[1, 2]", "is no JSON object of model names"),
        ("none.json", "{}", "has no entries"),
    ];
    for (name, text, reason) in cases {
        let path = world.file(name, text);
        let said = world.run(&["import", "models", &path]).await.ended(1);
        assert!(said.err.contains(reason), "{name}: {}", said.err);
    }
    let said = world.run(&["import", "models", "/no/such/file.json"]).await.ended(1);
    assert!(said.err.contains("check its name"), "{}", said.err);
    assert!(!world.folder().join("data").exists(), "not even a data folder was made");
}
