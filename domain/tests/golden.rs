//! One stored sample for every event name and version, read for as long as the project lives.

#![cfg(test)]

use domain::{Event, Personal};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

fn samples() -> Vec<(String, i16, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut samples = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let (name, version) = stem.rsplit_once(".v").expect("a sample is called <name>.v<version>");
        let text = std::fs::read_to_string(&path).unwrap();
        samples.push((name.to_owned(), version.parse().unwrap(), text));
    }
    samples
}

#[test]
fn every_event_that_can_be_written_has_a_sample() {
    let have: BTreeSet<_> =
        samples().into_iter().map(|(name, version, _)| (name, version)).collect();
    for (name, version) in Event::names() {
        assert!(
            have.contains(&(name.to_owned(), version)),
            "golden/{name}.v{version}.json is missing"
        );
    }
}

#[test]
fn every_sample_is_read_and_written_back_without_losing_a_field() {
    for (name, version, text) in samples() {
        let event = Event::decode(&name, version, text.as_bytes()).unwrap_or_else(|error| {
            panic!("{name}.v{version}: {error}: {:?}", error_source(&error))
        });
        if event.schema_version() != version {
            continue;
        }
        let written: serde_json::Value = serde_json::from_slice(&event.encode().unwrap()).unwrap();
        let stored: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(written, stored, "{name}.v{version}");
    }
}

fn error_source(error: &dyn std::error::Error) -> Option<String> {
    error.source().map(ToString::to_string)
}

#[test]
fn no_two_events_share_a_name() {
    let names: Vec<_> = Event::names().into_iter().map(|(name, _)| name).collect();
    let different: BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), different.len());
}

#[test]
fn an_unknown_event_or_a_newer_version_is_said_to_be_so() {
    for (name, version) in [("unheard_of", 1), ("credits_granted", 2)] {
        let error = Event::decode(name, version, b"{}").unwrap_err();
        assert!(matches!(error, domain::DecodeError::Unknown { .. }), "{error}");
    }
}

/// What would be somebody's e-mail address, postal address, or card number.
fn looks_personal(text: &str) -> bool {
    let words = text.split(|c: char| !(c.is_alphanumeric() || "@._+-".contains(c)));
    let address = words.clone().any(|word| {
        word.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
    });
    address || has_card(text) || has_street(text)
}

/// Thirteen to nineteen digits that pass the check of card numbers, set apart or not.
fn has_card(text: &str) -> bool {
    let runs = text.split(|c: char| !(c.is_ascii_digit() || c == ' ' || c == '-'));
    runs.into_iter().any(|run| {
        let digits: Vec<u32> = run.chars().filter_map(|c| c.to_digit(10)).collect();
        let sum: u32 = digits
            .iter()
            .rev()
            .enumerate()
            .map(|(place, digit)| match (place % 2, digit * 2) {
                (0, _) => *digit,
                (_, twice) if twice > 9 => twice - 9,
                (_, twice) => twice,
            })
            .sum();
        (13..=19).contains(&digits.len()) && sum.is_multiple_of(10)
    })
}

/// A house number beside the name of a street.
fn has_street(text: &str) -> bool {
    const STREETS: [&str; 12] = [
        "street",
        "st.",
        "road",
        "rd.",
        "avenue",
        "ave.",
        "lane",
        "boulevard",
        "straße",
        "strasse",
        "allee",
        "platz",
    ];
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split([' ', '"', ',', '\n']).filter(|it| !it.is_empty()).collect();
    words.windows(3).any(|near| {
        let street = near.iter().any(|word| STREETS.iter().any(|street| word.ends_with(street)));
        let number =
            |word: &&str| word.len() <= 4 && word.starts_with(|c: char| c.is_ascii_digit());
        street && near.iter().any(number)
    })
}

#[test]
fn no_sample_shows_an_address_or_a_card_number() {
    for personal in [
        r#"{"a":"ada@example.org"}"#,
        "4111111111111111",
        r#"{"a":"4111 1111 1111 1111"}"#,
        r#"{"a":"5555-5555-5555-4444"}"#,
        r#"{"a":"221b Baker Street, London"}"#,
        r#"{"a":"Hauptstraße 7, 10115 Berlin"}"#,
    ] {
        assert!(looks_personal(personal), "{personal} is not recognised");
    }
    for (name, version, text) in samples() {
        assert!(!looks_personal(&text), "{name}.v{version} shows personal data");
    }
}

/// Fields that by their name say something about a person.
const TELLING: [&str; 14] = [
    "email",
    "e_mail",
    "mail",
    "phone",
    "telephone",
    "address",
    "street",
    "city",
    "birthday",
    "first_name",
    "last_name",
    "full_name",
    "iban",
    "card",
];

#[test]
fn whatever_is_called_like_personal_data_is_sealed() {
    let mut sealed = 0;
    for (name, version, text) in samples() {
        let mut event = Event::decode(&name, version, text.as_bytes()).unwrap();
        for (_, field) in event.personal_fields() {
            assert!(matches!(field, Personal::Sealed(_)), "{name}.v{version}");
            *field = Personal::Erased;
            sealed += 1;
        }
        // What is left without the personal fields has no such name with anything in it.
        let rest: Value = serde_json::from_slice(&event.encode().unwrap()).unwrap();
        let told = telling(&rest);
        assert!(told.is_empty(), "{name}.v{version} has {told:?} in the clear");
    }
    assert!(sealed >= 2, "{sealed} fields are sealed");
    assert_eq!(telling(&serde_json::json!({ "a": [{ "email": "x" }] })), ["email"]);
}

fn telling(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| {
                let own = TELLING.contains(&name.as_str()) && !value.is_null();
                own.then(|| name.clone()).into_iter().chain(telling(value))
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(telling).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}
