//! A state that was written is read back as it was: a snapshot of it is the state itself.

#![cfg(test)]

use domain::events::OfAnotherKind;
use domain::{Aggregate, Event};
use std::fmt::Debug;
use std::path::PathBuf;

/// Every stored sample, in the order of the names.
fn samples() -> Vec<Event> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: &PathBuf| {
        let (name, version) =
            path.file_stem().unwrap().to_str().unwrap().rsplit_once(".v").unwrap();
        Event::decode(name, version.parse().unwrap(), &std::fs::read(path).unwrap()).unwrap()
    };
    paths.iter().map(read).collect()
}

/// Folds every three of the aggregate's samples in every order; true when states differed.
fn every_state_is_read_back<A>() -> bool
where
    A: Aggregate + PartialEq + Debug,
    A::Event: TryFrom<Event, Error = OfAnotherKind> + Clone,
{
    let own: Vec<A::Event> =
        samples().into_iter().filter_map(|event| event.try_into().ok()).collect();
    let mut moved = false;
    for first in &own {
        for second in &own {
            for third in &own {
                let state = A::default().evolve(first).evolve(second).evolve(third);
                let written = serde_json::to_vec(&state).unwrap();
                let read: A = serde_json::from_slice(&written).unwrap();
                assert_eq!(read, state, "{}", A::KIND);
                moved |= state != A::default();
            }
        }
    }
    moved
}

#[test]
fn a_state_of_any_kind_that_was_written_is_read_back_as_it_was() {
    use domain::{
        access, catalogue, commerce, credits, identity, installation, operations, tenancy,
    };
    for moved in [
        every_state_is_read_back::<access::role::Role>(),
        every_state_is_read_back::<catalogue::add_on::AddOn>(),
        every_state_is_read_back::<catalogue::credit_pack::CreditPack>(),
        every_state_is_read_back::<catalogue::meter::Meter>(),
        every_state_is_read_back::<catalogue::model::Model>(),
        every_state_is_read_back::<catalogue::rate_card::RateCard>(),
        every_state_is_read_back::<catalogue::tier::Tier>(),
        every_state_is_read_back::<commerce::purchase::Purchase>(),
        every_state_is_read_back::<credits::Account>(),
        every_state_is_read_back::<identity::api_key::ApiKey>(),
        every_state_is_read_back::<identity::user::User>(),
        every_state_is_read_back::<installation::Installation>(),
        every_state_is_read_back::<operations::service::Service>(),
        every_state_is_read_back::<tenancy::Organization>(),
    ] {
        assert!(moved, "the samples lead somewhere");
    }
}
