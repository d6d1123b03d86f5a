//! The keys that a log signs with: made once, rotated with an overlap, and never shown.

use event_log::note::{Checkpoint, Note, NoteError, VerifierKey};
use event_log::secret_file::SecretFileError;
use event_log::{KeyState, SigningKeyError, SigningKeys};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A folder of one's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("event-log-signing-{}", Uuid::now_v7()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("log-keys.json")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn checkpoint(keys: &SigningKeys, size: u64) -> Checkpoint {
    Checkpoint::of_log(&keys.origin(1), size, [1; 32], &[2; 32], &[3; 32]).unwrap()
}

/// Which of the keys have signed what is signed now.
fn signed_by(keys: &SigningKeys, verifiers: &[VerifierKey]) -> Vec<VerifierKey> {
    let note: Note = keys.sign(&checkpoint(keys, 7)).unwrap().parse().unwrap();
    let found = note.verify(verifiers).unwrap().into_iter().cloned().collect();
    assert_eq!(note.text().parse::<Checkpoint>().unwrap(), checkpoint(keys, 7));
    found
}

fn secrets(path: &Path) -> Vec<String> {
    let file: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let keys = file["keys"].as_array().unwrap();
    keys.iter().filter_map(|key| key["secret"].as_str().map(str::to_owned)).collect()
}

#[test]
fn the_keys_are_made_once_for_their_owner_only_and_are_never_shown() {
    let folder = Folder::new();
    let made = SigningKeys::load_or_create(&folder.file()).unwrap();
    let again = SigningKeys::load_or_create(&folder.file()).unwrap();
    assert_eq!((made.log_id(), made.keys()), (again.log_id(), again.keys()));
    assert_eq!(fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "no draft is left behind");
    assert_eq!(made.origin(3), format!("opscenter/log/{}/epoch/3", made.log_id()));
    let keys = made.verifier_keys();
    assert_eq!(signed_by(&again, &keys), keys);

    let secret = secrets(&folder.file()).remove(0);
    let bytes = data_encoding::BASE64.decode(secret.as_bytes()).unwrap();
    let shown =
        format!("{made:?}{:?}{}", made.keys(), serde_json::to_string(&made.keys()).unwrap());
    assert!(!shown.contains(&secret) && !shown.contains(&format!("{bytes:?}")), "{shown}");
    assert!(shown.contains(&keys[0].to_string()), "{shown}");

    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o640)).unwrap();
    let exposed = SigningKeys::load_or_create(&folder.file()).unwrap_err();
    assert!(matches!(exposed, SigningKeyError::File(SecretFileError::Exposed { .. })), "{exposed}");
    assert!(SigningKeys::load(&folder.0.join("none.json")).unwrap().is_none());
    let nowhere = SigningKeys::load_or_create(&folder.0.join("no/where.json")).unwrap_err();
    assert!(nowhere.to_string().contains("no/where.json"), "{nowhere}");
}

#[test]
fn of_many_that_start_at_once_all_have_the_same_keys() {
    let folder = Folder::new();
    let ids: Vec<Uuid> = std::thread::scope(|scope| {
        let starts = [(); 8].map(|()| {
            scope.spawn(|| SigningKeys::load_or_create(&folder.file()).unwrap().log_id())
        });
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn a_new_key_signs_beside_the_old_one_until_that_is_retired_and_both_verify_for_ever() {
    let folder = Folder::new();
    let keys = SigningKeys::load_or_create(&folder.file()).unwrap();
    let other_process = SigningKeys::load(&folder.file()).unwrap().unwrap();
    let first = keys.verifier_keys().remove(0);
    let before = keys.sign(&checkpoint(&keys, 5)).unwrap();
    let first_secret = secrets(&folder.file()).remove(0);
    assert!(matches!(keys.retire().unwrap_err(), SigningKeyError::NothingToRetire));

    let second = keys.rotate().unwrap();
    assert_ne!(first, second);
    let both = [first.clone(), second.clone()];
    for keys in [&keys, &other_process] {
        assert_eq!(signed_by(keys, &both), both, "whoever knows either can verify");
        let note: Note = keys.sign(&checkpoint(keys, 7)).unwrap().parse().unwrap();
        assert_eq!(note.signatures()[0].key_id(), second.key_id(), "the active one first");
        assert_eq!(keys.verifier_keys(), both);
    }
    assert!(matches!(keys.rotate().unwrap_err(), SigningKeyError::Overlapping));

    assert_eq!(other_process.retire().unwrap(), std::slice::from_ref(&first));
    for keys in [&keys, &other_process] {
        assert_eq!(signed_by(keys, &both), std::slice::from_ref(&second));
        let states: Vec<_> = keys.keys().iter().map(|key| key.state).collect();
        assert_eq!(states, [KeyState::Retired, KeyState::Active]);
        assert!(keys.keys()[0].retired_at.is_some_and(|end| end >= keys.keys()[0].created_at));
    }
    assert!(!fs::read_to_string(folder.file()).unwrap().contains(&first_secret));
    assert_eq!(secrets(&folder.file()).len(), 1);
    assert!(matches!(keys.retire().unwrap_err(), SigningKeyError::NothingToRetire));
    let before: Note = before.parse().unwrap();
    assert_eq!(before.verify(&keys.verifier_keys()).unwrap(), [&first]);
    assert_eq!(before.verify(&[second]).unwrap_err(), NoteError::NotSigned);
}

#[test]
fn of_many_that_rotate_at_once_one_does() {
    let folder = Folder::new();
    let keys = SigningKeys::load_or_create(&folder.file()).unwrap();
    let done: usize = std::thread::scope(|scope| {
        let turns = [(); 8].map(|()| {
            scope.spawn(|| {
                // As another process would.
                let keys = SigningKeys::load(&folder.file()).unwrap().unwrap();
                usize::from(keys.rotate().is_ok())
            })
        });
        turns.into_iter().map(|turn| turn.join().unwrap()).sum()
    });
    assert_eq!(done, 1);
    keys.sign(&checkpoint(&keys, 1)).unwrap();
    assert_eq!(keys.keys().len(), 2);
}

#[test]
fn keys_sign_for_their_own_log_only_and_not_once_their_file_is_gone() {
    let folder = Folder::new();
    let keys = SigningKeys::load_or_create(&folder.file()).unwrap();
    let other = Uuid::now_v7();
    for origin in [
        format!("opscenter/log/{other}/epoch/1"),
        format!("opscenter/log/{}/epoch/", keys.log_id()),
        format!("opscenter/log/{}/epoch/01", keys.log_id()),
        format!("opscenter/log/{}/epoch/+1", keys.log_id()),
        format!("opscenter/log/{}", keys.log_id()),
        "example.com/log".to_owned(),
    ] {
        let checkpoint = Checkpoint::new(&origin, 1, [0; 32], vec![]).unwrap();
        let error = keys.sign(&checkpoint).unwrap_err();
        assert!(matches!(error, SigningKeyError::OtherLog { .. }), "{origin}: {error}");
    }
    fs::remove_file(folder.file()).unwrap();
    let gone = keys.sign(&checkpoint(&keys, 1)).unwrap_err();
    assert!(matches!(gone, SigningKeyError::Gone { .. }), "{gone}");
    assert!(matches!(keys.rotate().unwrap_err(), SigningKeyError::Gone { .. }));
}

#[test]
fn keys_from_a_text_sign_the_same_and_are_changed_elsewhere() {
    let folder = Folder::new();
    let file = SigningKeys::load_or_create(&folder.file()).unwrap();
    let text = fs::read_to_string(folder.file()).unwrap();
    let given = SigningKeys::from_text(&text).unwrap();
    let checkpoint = checkpoint(&file, 9);
    assert_eq!(given.sign(&checkpoint).unwrap(), file.sign(&checkpoint).unwrap());
    for refused in [given.rotate().err(), given.retire().err()] {
        assert!(matches!(refused, Some(SigningKeyError::Given)), "{refused:?}");
    }
    file.rotate().unwrap();
    assert_eq!(given.keys().len(), 1, "the text is what it was");
}

#[test]
fn a_damaged_file_is_refused_and_what_is_in_it_is_not_repeated() {
    let folder = Folder::new();
    SigningKeys::load_or_create(&folder.file()).unwrap().rotate().unwrap();
    let text = fs::read_to_string(folder.file()).unwrap();
    let [old, new] = <[String; 2]>::try_from(secrets(&folder.file())).unwrap();
    for (from, to) in [
        ("\"active\"", "\"overlapping\""),
        ("\"overlapping\"", "\"active\""),
        ("\"overlapping\"", "\"retired\""),
        ("\"secret\"", "\"sekret\""),
        (old.as_str(), new.as_str()),
        (old.as_str(), &old[4..]),
        ("}\n", "\n"),
        ("\"log_id\"", "\"other\": 1, \"log_id\""),
    ] {
        let damaged = text.replacen(from, to, 1);
        assert_ne!(damaged, text, "{from}");
        let error = SigningKeys::from_text(&damaged).unwrap_err();
        assert!(matches!(error, SigningKeyError::Damaged(_)), "{from}: {error}");
        let told = format!("{error} {error:?}");
        assert!(told.contains("backup") || told.contains("Damaged"), "{told}");
        assert!(!told.contains(&old[..8]) && !told.contains(&new[..8]), "{told}");
    }
}
