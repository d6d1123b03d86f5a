//! One stored sample for every event name and version, read for as long as the project lives.

#![cfg(test)]

use domain::Event;
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

/// What would be somebody's e-mail address, or a card number.
fn looks_personal(text: &str) -> bool {
    let words = text.split(|c: char| !(c.is_alphanumeric() || "@._+-".contains(c)));
    let address = words.clone().any(|word| {
        word.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
    });
    let card = words.into_iter().any(|word| {
        word.len() >= 13 && word.len() <= 19 && word.bytes().all(|b| b.is_ascii_digit())
    });
    address || card
}

#[test]
fn no_sample_shows_an_address_or_a_card_number() {
    assert!(looks_personal(r#"{"a":"ada@example.org"}"#) && looks_personal("4111111111111111"));
    for (name, version, text) in samples() {
        assert!(!looks_personal(&text), "{name}.v{version} shows personal data");
    }
}
