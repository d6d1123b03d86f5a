//! What an attacker can do to a bundle, with an end that fits the bytes or without.

use super::{Signed, bundle_of, frames};
use event_log::bundle::{Class, Kind, Manifest};
use event_log::tree::hash::leaf_hash;
use std::fs;

type Frames = Vec<(Kind, Vec<u8>)>;

/// The frame of some kind, counted from the first.
fn at(frames: &Frames, kind: Kind, number: usize) -> usize {
    let mut found = frames.iter().enumerate().filter(|(_, frame)| frame.0 == kind);
    found.nth(number).unwrap_or_else(|| panic!("no {kind:?} {number}")).0
}

fn manifest(frames: &Frames) -> Manifest {
    serde_json::from_slice(&frames[0].1).unwrap()
}

fn with_manifest(frames: &Frames, change: impl FnOnce(&mut Manifest)) -> Frames {
    let (mut frames, mut manifest) = (frames.clone(), manifest(frames));
    change(&mut manifest);
    frames[0].1 = serde_json::to_vec(&manifest).unwrap();
    frames
}

/// The position that an event says it has.
fn position(frame: &(Kind, Vec<u8>)) -> i64 {
    i64::from_be_bytes(frame.1[8..16].try_into().unwrap())
}

/// A change, the kind of fault it is, and the position that is named first.
struct Change {
    what: &'static str,
    frames: Frames,
    class: Class,
    position: Option<i64>,
}

fn change(what: &'static str, frames: Frames, class: Class, position: Option<i64>) -> Change {
    Change { what, frames, class, position }
}

#[track_caller]
fn each_is_found(signed: &Signed, changes: Vec<Change>) {
    for Change { what, frames, class, position } in changes {
        let fault = signed.found(&bundle_of(&frames)).fault;
        let fault = fault.unwrap_or_else(|| panic!("not found: {what}"));
        assert_eq!(fault.class, class, "{what}: {fault}");
        if let Some(position) = position {
            assert_eq!(fault.position, position, "{what}: {fault}");
        }
    }
}

fn without(frames: &Frames, at: usize) -> Frames {
    let mut frames = frames.clone();
    frames.remove(at);
    frames
}

fn edited(frames: &Frames, at: usize, edit: impl FnOnce(&mut Vec<u8>)) -> Frames {
    let mut frames = frames.clone();
    edit(&mut frames[at].1);
    frames
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_of_a_bundle_counts() {
    let signed = Signed::start().await;
    let bundle = fs::read(signed.export("late", &["--organization", "late"])).unwrap();
    assert!(signed.found(&bundle).fault.is_none());
    for place in 0..bundle.len() {
        let mut changed = bundle.clone();
        changed[place] ^= 1 << (place % 8);
        assert!(signed.found(&changed).fault.is_some(), "byte {place} may be changed");
    }
    let longer = [&bundle[..], &[0]].concat();
    assert!(signed.found(&longer).fault.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_fits_hides_no_change_of_an_organizations_bundle() {
    let signed = Signed::start().await;
    let acme = frames(&fs::read(signed.export("acme", &["--organization", "acme"])).unwrap());
    let late = frames(&fs::read(signed.export("late", &["--organization", "late"])).unwrap());
    assert!(signed.found(&bundle_of(&late)).fault.is_none());
    let event = at(&late, Kind::Event, 2);
    let (third, last) = (position(&late[event]), late.len() - 1);
    let end = late[event].1.len() - 1;
    let content = |what, frames, position| change(what, frames, Class::Content, Some(position));
    let missing = |what, frames| change(what, frames, Class::Incomplete, None);
    let mut swapped = late.clone();
    swapped.swap(event, at(&late, Kind::Event, 3));
    let mut foreign = late.clone();
    foreign[event].1 = acme[at(&acme, Kind::Event, 0)].1.clone();
    let mut headless = late.clone();
    headless[event].0 = Kind::Neighbour;
    let other_tree = at(&late, Kind::Gap, 0);
    // The last: those before it only tell between which two something was changed.
    let checkpoint = late.iter().rposition(|(kind, _)| *kind == Kind::Checkpoint).unwrap();
    let size = manifest(&late).size;
    each_is_found(
        &signed,
        vec![
            content("a body", edited(&late, event, |frame| frame[end] ^= 1), third),
            content("the entry's hash", edited(&late, event, |frame| frame[60] ^= 1), third),
            content("the header", edited(&late, event, |frame| frame[100] ^= 1), third),
            content("the time", edited(&late, event, |frame| frame[43] ^= 1), third),
            missing("its number", edited(&late, event, |frame| frame[23] ^= 1)),
            missing("its position", edited(&late, event, |frame| frame[15] ^= 1)),
            missing("an event removed", without(&late, event)),
            missing("two events swapped", swapped),
            missing("another's event", foreign),
            missing("an event as a neighbour", headless),
            missing("hashes removed", without(&late, other_tree)),
            change(
                "hashes changed",
                edited(&late, other_tree, |gap| gap[9] ^= 1),
                Class::Content,
                None,
            ),
            missing("no checkpoint", without(&late, checkpoint)),
            change(
                "the checkpoint's text",
                edited(&late, checkpoint, |note| note[3] ^= 1),
                Class::Signature,
                None,
            ),
            missing("no count", without(&late, last)),
            missing("another count", edited(&late, last, |count| count[7] ^= 1)),
            content(
                "another's events",
                with_manifest(&late, |found| found.scope = manifest(&acme).scope),
                position(&late[at(&late, Kind::Event, 0)]),
            ),
            missing(
                "more than there is",
                with_manifest(&late, |manifest| manifest.size = size + 1),
            ),
            missing("less than there is", with_manifest(&late, |manifest| manifest.to = third)),
            missing("a later beginning", with_manifest(&late, |manifest| manifest.from = third)),
            missing("no figures", with_manifest(&late, |manifest| manifest.replay = false)),
            missing("a form of later", with_manifest(&late, |manifest| manifest.form = 2)),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_events_of_an_organization_cannot_be_left_out() {
    let signed = Signed::start().await;
    let acme = frames(&fs::read(signed.export("acme", &["--organization", "acme"])).unwrap());
    let gaps = acme.iter().filter(|(kind, _)| *kind == Kind::Gap).count();
    assert!(gaps > 2, "there is nothing between its events");
    // An honest bundle up to before the last event, whose neighbour is taken away: the hashes of
    // what follows prove the tree, and only the count tells.
    let last = position(&acme[at(&acme, Kind::Event, events(&acme) - 1)]);
    let to = (last - 1).to_string();
    let short = signed.export("short", &["--organization", "acme", "--to", &to]);
    let short = fs::read(short).unwrap();
    assert!(signed.found(&short).fault.is_none());
    let mut short = frames(&short);
    let neighbour = at(&short, Kind::Neighbour, 0);
    let mut gap = last.to_be_bytes().to_vec();
    gap.extend(leaf_hash(&short[neighbour].1[..84]));
    short[neighbour] = (Kind::Gap, gap);
    let fault = signed.found(&bundle_of(&short)).fault.expect("the last event is not missed");
    assert_eq!(fault.class, Class::Incomplete, "{fault}");
    assert!(fault.problem.contains("are missing"), "{fault}");
}

fn events(frames: &Frames) -> usize {
    frames.iter().filter(|(kind, _)| *kind == Kind::Event).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_fits_hides_no_change_of_a_bundle_of_everything() {
    let signed = Signed::start().await;
    let all = frames(&fs::read(signed.export("all", &["--all"])).unwrap());
    let batch = at(&all, Kind::Batch, 3);
    let event = batch + 1;
    let (first, before) = (position(&all[event]), at(&all, Kind::Batch, 2));
    let batch_of_many = all
        .iter()
        .position(|(kind, body)| *kind == Kind::Batch && body[8..12] > [0, 0, 0, 5][..])
        .unwrap();
    let inside = batch_of_many + 3;
    let content = |what, frames, position| change(what, frames, Class::Content, Some(position));
    let missing = |what, frames, position| change(what, frames, Class::Incomplete, Some(position));
    let mut swapped = all.clone();
    swapped.swap(inside, inside + 1);
    let mut headless = all.clone();
    headless.drain(before..batch);
    let mut gap = position(&all[inside]).to_be_bytes().to_vec();
    gap.extend(leaf_hash(&all[inside].1[..84]));
    let mut hidden = all.clone();
    hidden[inside] = (Kind::Gap, gap);
    each_is_found(
        &signed,
        vec![
            content("a batch's time", edited(&all, batch, |batch| batch[19] ^= 1), first),
            content("a batch's chain", edited(&all, batch, |batch| batch[60] ^= 1), first),
            content("the chain before", edited(&all, batch, |batch| batch[30] ^= 1), first),
            missing("a batch removed", without(&all, batch), first),
            missing("a whole batch removed", headless, position(&all[before + 1])),
            missing("an event removed", without(&all, inside), position(&all[inside])),
            missing("two events swapped", swapped, position(&all[inside])),
            missing("an event as a hash", hidden, position(&all[inside])),
            content("a version", edited(&all, event, |event| event[51] ^= 1), first),
        ],
    );
}
