//! Signed notes, checkpoints and cosignatures: published examples, other people's implementations
//! as oracles, and no bit that could be flipped unseen.

use event_log::note::{
    Algorithm, Checkpoint, Cosignature, Cosigner, KeyName, Note, NoteError, Signature, Signer,
    VerifierKey, cosignatures_valid, merge_signatures,
};
use proptest::prelude::*;
use signed_note::Verifier as _;

/// The example of Go's `sumdb/note`, which `signed_note` has too.
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_SECRET: &str = "gQoUAtUUbI2E8kQzMPVAgOv5juF9nHT2JS/F1ccoMXM=";
const PETER_LINE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC\
                          2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const ENOCH_LINE: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ\
                          5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";
const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";

/// The example of the form `tlog-checkpoint`.
const SOFA: &str = "example.com/behind-the-sofa\n20852163\n\
                    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
/// What a stranger (Python, `hashlib` and `cryptography`) made of it with the secret 00 01 … 1f.
const WITNESS: &str =
    "witness.example.com/w1+a0059f11+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
const WITNESS_LINE: &str = "— witness.example.com/w1 oAWfEQAAAABkGFDLBuRDazBLVac2NE+Y+IjbjQOcXLfF9\
                            CSDZVUIoS83rE1nFZsVE8YiWV6Ngr7lV8H6bdoBQGP/l73euDMQ9k+bBQ==\n";
const WITNESS_TIME: u64 = 1_679_315_147;

fn key(text: &str) -> VerifierKey {
    text.parse().unwrap()
}

fn named(name: &str) -> KeyName {
    name.parse().unwrap()
}

fn note(text: &str) -> Note {
    text.parse().unwrap()
}

fn counting_seed() -> [u8; 32] {
    std::array::from_fn(|place| u8::try_from(place).unwrap())
}

#[test]
fn the_published_example_is_verified_and_made_again_byte_for_byte() {
    let (peter, enoch) = (key(PETER), key(ENOCH));
    assert_eq!((peter.to_string(), enoch.to_string()), (PETER.to_owned(), ENOCH.to_owned()));
    let both = note(&format!("{TEXT}\n{PETER_LINE}{ENOCH_LINE}"));
    assert_eq!(both.text(), TEXT);
    assert_eq!(both.verify(std::slice::from_ref(&peter)).unwrap(), [&peter]);
    assert_eq!(both.verify(&[enoch.clone(), peter.clone()]).unwrap(), [&enoch, &peter]);

    let secret = data_encoding::BASE64.decode(PETER_SECRET.as_bytes()).unwrap();
    let signers = [
        Signer::new(named("PeterNeumann"), secret.as_slice().try_into().unwrap()),
        Signer::new(named("EnochRoot"), &[0; 32]),
    ];
    assert_eq!([signers[0].verifier(), signers[1].verifier()], [&peter, &enoch]);
    let signatures = signers.iter().map(|signer| signer.sign(TEXT)).collect();
    assert_eq!(Note::new(TEXT, signatures).unwrap(), both);
    let shown = format!("{signers:?}");
    assert!(!shown.contains(&format!("{secret:?}")) && shown.contains(PETER), "{shown}");
}

#[test]
fn unknown_keys_are_ignored_and_one_wrong_signature_of_a_known_one_condemns_the_note() {
    let (peter, enoch) = (key(PETER), key(ENOCH));
    let bent = ENOCH_LINE.replace("5n2tiOHp", "5n2tiOHq");
    let with_bent = note(&format!("{TEXT}\n{PETER_LINE}{bent}"));
    assert_eq!(with_bent.verify(std::slice::from_ref(&peter)).unwrap(), [&peter]);
    let error = with_bent.verify(&[peter.clone(), enoch.clone()]).unwrap_err();
    assert!(
        matches!(&error, NoteError::WrongSignature { name, .. } if name.as_str() == "EnochRoot")
    );
    // Also when the same key has a right one beside it.
    let twice = note(&format!("{TEXT}\n{ENOCH_LINE}{bent}"));
    assert!(twice.verify(std::slice::from_ref(&enoch)).is_err());
    // The same signature again counts once.
    let repeated = note(&format!("{TEXT}\n{}", PETER_LINE.repeat(3)));
    assert_eq!(repeated.verify(std::slice::from_ref(&peter)).unwrap(), [&peter]);
    // A known name with an unknown id, and the other way round, are unknown.
    for other in [PETER_LINE.replace("x08g", "xxxx"), PETER_LINE.replace("Peter", "Paul")] {
        let unsigned = note(&format!("{TEXT}\n{other}")).verify(std::slice::from_ref(&peter));
        assert_eq!(unsigned.unwrap_err(), NoteError::NotSigned);
    }
    assert_eq!(repeated.verify(&[]).unwrap_err(), NoteError::NotSigned);
}

#[test]
fn what_is_not_of_the_form_is_no_note_and_what_is_at_its_edges_is_one() {
    let good = format!("{TEXT}\n{PETER_LINE}");
    for bad in [
        String::new(),
        TEXT.to_owned(),
        format!("{TEXT}\n"),
        format!("\n{TEXT}"),
        format!("{TEXT}\n{}", PETER_LINE.trim_end()),
        format!("{good}\n"),
        format!("{TEXT}{PETER_LINE}"),
        format!("\u{1}{good}"),
        good.replace("\n", "\r\n"),
        good.replace(" is ", "\tis\t"),
        good.replace("AM=", "AN="),
        good.replace("AM=", "AM"),
        good.replace("— Pe", "- Pe"),
        good.replace("PeterNeumann ", "Peter Neumann "),
        good.replace("PeterNeumann ", "Peter\u{a0}Neumann "),
        good.replace("PeterNeumann ", "Peter+Neumann "),
        good.replace("PeterNeumann ", ""),
        format!("{TEXT}\n— PeterNeumann x08gow==\n"),
        // Two encoded pieces in a row.
        format!("{TEXT}\n— PeterNeumann x08gow==x08gow==\n"),
        format!("{TEXT}\n{}", PETER_LINE.repeat(101)),
        format!("{}\n{PETER_LINE}", "long\n".repeat(1024 * 1024 / 5)),
    ] {
        assert!(bad.parse::<Note>().is_err(), "{bad:.200}");
    }
    for fine in [
        good,
        format!("\n\n{PETER_LINE}"),
        format!("{TEXT}\n{TEXT}\n{PETER_LINE}"),
        format!("{TEXT}\n{}", PETER_LINE.repeat(100)),
        "ed è subito sera.\n\n— quasimodo.example/salvatore NnugSzTjtVAewIS+\n".to_owned(),
        format!("{SOFA}\n— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQw\n"),
    ] {
        assert_eq!(note(&fine).to_string(), fine);
    }
    let signature = note(&format!("{TEXT}\n{PETER_LINE}")).signatures()[0].clone();
    assert!(Note::new("no end", vec![signature.clone()]).is_err());
    assert!(Note::new(TEXT, vec![]).is_err());
    assert!(Note::new(&"x\n".repeat(1024 * 1024), vec![signature]).is_err());
}

#[test]
fn a_verifier_key_that_contradicts_itself_or_verifies_anything_is_refused() {
    let bytes = |algorithm: u8, public: [u8; 32]| {
        data_encoding::BASE64.encode(&[&[algorithm], public.as_slice()].concat())
    };
    for bad in [
        String::new(),
        "PeterNeumann+c74f20a3".to_owned(),
        PETER.replace("c74f20a3", "c74f20a4"),
        PETER.replace("c74f20a3", "C74F20A3"),
        PETER.replace("c74f20a3", "0c74f20a3"),
        PETER.replace("PeterNeumann", "Peter Neumann"),
        PETER.replace("PeterNeumann", ""),
        PETER.replace("ARpc", "AhPc"),
        PETER.replace("10TW", "10TX"),
        PETER.replace("10TW", ""),
        format!("{PETER} "),
    ] {
        assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
    }
    // The neutral element verifies a signature of nobody over every text.
    let mut weak = [0; 32];
    weak[0] = 1;
    let refused = VerifierKey::new(named("weak"), Algorithm::Ed25519, &weak).unwrap_err();
    assert!(refused.to_string().contains("weak"), "{refused}");
    assert!(format!("weak+00000000+{}", bytes(1, weak)).parse::<VerifierKey>().is_err());
    // As data it is its text.
    let data = serde_json::to_string(&key(PETER)).unwrap();
    assert_eq!(data, format!("\"{PETER}\""));
    assert_eq!(serde_json::from_str::<VerifierKey>(&data).unwrap(), key(PETER));
}

#[test]
fn a_cosignature_is_what_a_stranger_makes_it_and_counts_for_its_witness_once() {
    let witness = Cosigner::new(named("witness.example.com/w1"), &counting_seed());
    assert_eq!(witness.verifier().to_string(), WITNESS);
    assert_eq!(witness.cosign(SOFA, WITNESS_TIME).to_string(), WITNESS_LINE);

    // Another implementation of Ed25519 agrees about what is signed.
    let public = witness.verifier().public();
    let plain = VerifierKey::new(named("plain"), Algorithm::Ed25519, public).unwrap();
    let oracle = signed_note::StandardVerifier::new(&plain.to_string()).unwrap();
    let line = WITNESS_LINE.trim_end().rsplit(' ').next().unwrap();
    let bytes = data_encoding::BASE64.decode(line.as_bytes()).unwrap();
    let signed = format!("cosignature/v1\ntime {WITNESS_TIME}\n{SOFA}");
    assert!(oracle.verify(signed.as_bytes(), &bytes[12..]));
    assert!(!oracle.verify(SOFA.as_bytes(), &bytes[12..]));

    let keys = [key(WITNESS), key(PETER), plain];
    let seen = |timestamp| Cosignature { name: named("witness.example.com/w1"), timestamp };
    let later = witness.cosign(SOFA, WITNESS_TIME + 9).to_string();
    let bent = WITNESS_LINE.replace("bdoBQ", "bdoBR");
    let note = format!("{SOFA}\n{bent}{WITNESS_LINE}{later}{PETER_LINE}");
    assert_eq!(cosignatures_valid(&note, &keys).unwrap(), [seen(WITNESS_TIME + 9)]);
    assert_eq!(cosignatures_valid(&format!("{SOFA}\n{bent}"), &keys).unwrap(), []);
    assert!(cosignatures_valid(SOFA, &keys).is_err());
    // A time that does not fit is none, however well it is signed.
    let timeless = witness.cosign(SOFA, u64::MAX);
    let cosigned = Note::new(SOFA, vec![timeless]).unwrap().cosignatures(&keys);
    assert_eq!(cosigned, [seen(event_log::note::TIMESTAMP_MAX)]);
}

#[test]
fn only_right_signatures_of_known_keys_are_taken_into_a_note_and_newer_ones_replace_older() {
    let log = Signer::new(named("log"), &[7; 32]);
    let witness = Cosigner::new(named("w"), &[8; 32]);
    let keys = [witness.verifier().clone()];
    let plain = Note::new(SOFA, vec![log.sign(SOFA)]).unwrap().to_string();
    let [first, second] = [10, 20].map(|time| witness.cosign(SOFA, time).to_string());
    let stranger = Cosigner::new(named("s"), &[9; 32]).cosign(SOFA, 10).to_string();

    let merged = merge_signatures(&plain, &format!("{stranger}{first}"), &keys).unwrap();
    assert_eq!(merged, format!("{plain}{first}"));
    assert_eq!(merge_signatures(&merged, &first, &keys).unwrap(), merged);
    let newer = merge_signatures(&merged, &second, &keys).unwrap();
    assert_eq!(newer, format!("{plain}{second}"));
    assert_eq!(merge_signatures(&newer, &first, &keys).unwrap(), newer);
    assert_eq!(note(&newer).verify(&[log.verifier().clone()]).unwrap().len(), 1);

    // Of another text; and no line at all.
    let other = witness.cosign("other\n1\n", 30).to_string();
    let error = merge_signatures(&newer, &other, &keys).unwrap_err();
    assert!(matches!(error, NoteError::WrongSignature { .. }), "{error}");
    assert!(merge_signatures(&newer, "hello\n", &keys).is_err());
    assert!(merge_signatures(&newer, second.trim_end(), &keys).is_err());
    assert!(Signature::parse_lines(&format!("{second}\r\n")).is_err());
    assert!(Signature::parse_lines(&second.replace('\n', "\r\n")).is_err());
}

#[test]
fn a_checkpoint_is_read_strictly_and_has_its_extension_lines_in_their_places() {
    let root = *SOFA.parse::<Checkpoint>().unwrap().root();
    let ours = Checkpoint::of_log("opscenter/log/x/epoch/1", 5, root, &[1; 32], &[2; 32]).unwrap();
    let text = ours.to_string();
    let expected = "opscenter/log/x/epoch/1\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
                    tenants AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\
                    chain AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n";
    assert_eq!(text, expected);
    let read: Checkpoint = text.parse().unwrap();
    assert_eq!((&read, read.size(), read.root()), (&ours, 5, &root));
    assert_eq!((read.tenants(), read.chain()), (Some([1; 32]), Some([2; 32])));
    assert_eq!(read.origin(), "opscenter/log/x/epoch/1");

    let moved = Checkpoint::new("x", 5, root, read.extensions().iter().rev().cloned().collect());
    let moved = moved.unwrap();
    assert_eq!((moved.tenants(), moved.chain()), (None, None));
    for (from, to) in [
        ("\n5\n", "\n05\n"),
        ("\n5\n", "\n+5\n"),
        ("\n5\n", "\n 5\n"),
        ("\n5\n", "\n\n"),
        ("\n5\n", "\n18446744073709551616\n"),
        ("q2I=", "q2J="),
        ("q2I=", "q2I"),
        ("\nCsUY", "\nAAAACsUY"),
        ("opscenter/log/x/epoch/1\n", "\n"),
        ("tenants", "\ntenants"),
        ("tenants", "\ttenants"),
        ("AgI=\n", "AgI="),
        ("AgI=\n", "AgI=\n\n"),
    ] {
        let bad = text.replacen(from, to, 1);
        assert!(bad != text && bad.parse::<Checkpoint>().is_err(), "{bad}");
    }
    assert!(Checkpoint::new("", 0, root, vec![]).is_err());
    assert!(Checkpoint::new("a\nb", 0, root, vec![]).is_err());
    assert!(Checkpoint::new("a", 0, root, vec![String::new()]).is_err());
    assert_eq!(
        Checkpoint::new("a", u64::MAX, root, vec![]).unwrap().to_string().lines().count(),
        3
    );
}

/// A name as keys may have it.
fn any_name() -> impl Strategy<Value = String> {
    "[a-zA-Zé0-9./_-]{1,20}"
}

/// A note by our own signers, and the keys of all of them.
fn any_note() -> impl Strategy<Value = (String, Vec<VerifierKey>)> {
    let keys = prop::collection::vec((any_name(), any::<[u8; 32]>(), 0..3_u64), 1..4);
    ("[ -~é—\n]{0,60}\n", keys).prop_map(|(text, keys)| {
        let (mut signatures, mut verifiers) = (Vec::new(), Vec::new());
        for (name, seed, timestamp) in keys {
            if timestamp == 0 {
                let signer = Signer::new(named(&name), &seed);
                signatures.push(signer.sign(&text));
                verifiers.push(signer.verifier().clone());
            } else {
                let witness = Cosigner::new(named(&name), &seed);
                signatures.push(witness.cosign(&text, timestamp));
                verifiers.push(witness.verifier().clone());
            }
        }
        (Note::new(&text, signatures).unwrap().to_string(), verifiers)
    })
}

/// The bytes with one bit turned over.
fn flipped(text: &str, bit: usize) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// Whether these bytes are a note that every one of the keys has signed. (A bit of a name or of an
/// id makes one signer unknown; the others may still be right.)
fn all_verify(bytes: &[u8], keys: &[VerifierKey]) -> bool {
    let note = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<Note>().ok());
    note.is_some_and(|note| note.verify(keys).is_ok_and(|all| all.len() == keys.len()))
}

#[test]
fn of_the_bits_of_a_cosigned_checkpoint_none_can_be_flipped_unseen() {
    let log = Signer::new(named("log"), &[7; 32]);
    let witness = Cosigner::new(named("w"), &[8; 32]);
    let keys = [log.verifier().clone(), witness.verifier().clone()];
    let note = Note::new("l\n1\n", vec![log.sign("l\n1\n"), witness.cosign("l\n1\n", 5)]);
    let note = note.unwrap().to_string();
    assert!(all_verify(note.as_bytes(), &keys));
    for bit in 0..note.len() * 8 {
        let bytes = flipped(&note, bit);
        assert!(!all_verify(&bytes, &keys), "bit {bit}: {}", String::from_utf8_lossy(&bytes));
    }
}

proptest! {
    #[test]
    fn no_bit_of_a_note_can_be_flipped_unseen(
        (text, keys) in any_note(), place: prop::sample::Index,
    ) {
        prop_assert_eq!(note(&text).verify(&keys).unwrap().len(), keys.len());
        prop_assert!(!all_verify(&flipped(&text, place.index(text.len() * 8)), &keys));
    }

    #[test]
    fn another_implementation_reads_what_we_write_and_we_read_what_it_writes(
        name in any_name(), seed: [u8; 32], text in "[ -~é—\n]{0,60}\n",
    ) {
        let ours = Signer::new(named(&name), &seed);
        let written = Note::new(&text, vec![ours.sign(&text)]).unwrap().to_string();
        let vkey = ours.verifier().to_string();
        let verifier = signed_note::StandardVerifier::new(&vkey).unwrap();
        let read = signed_note::Note::from_bytes(written.as_bytes()).unwrap();
        let verifiers = signed_note::VerifierList::new(vec![Box::new(verifier)]);
        prop_assert_eq!(read.verify(&verifiers).unwrap().0.len(), 1);
        prop_assert_eq!(read.text(), text.as_bytes());

        let secret = [&[1], seed.as_slice()].concat();
        let secret = data_encoding::BASE64.encode(&secret);
        let skey = format!("PRIVATE+KEY+{name}+{}+{secret}", ours.verifier().key_id());
        let theirs = signed_note::StandardSigner::new(&skey).unwrap();
        let mut made = signed_note::Note::new(text.as_bytes(), &[]).unwrap();
        made.add_sigs(&[&theirs]).unwrap();
        prop_assert_eq!(String::from_utf8(made.to_bytes()).unwrap(), written);
    }

    #[test]
    fn another_implementation_takes_and_refuses_the_same_notes(
        (text, _) in any_note(), place: prop::sample::Index,
        change in "(|\n|\n\n|—| |\\+|=|A|é|\u{1}|\u{a0}|\r)", cut in 0..3_usize,
    ) {
        let mut letters: Vec<char> = text.chars().collect();
        let place = place.index(letters.len());
        let end = letters.len().min(place + cut);
        letters.splice(place..end, change.chars());
        let changed: String = letters.into_iter().collect();
        let theirs = signed_note::Note::from_bytes(changed.as_bytes());
        let ours = changed.parse::<Note>();
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}", changed);
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            prop_assert_eq!(ours.text().as_bytes(), theirs.text());
            prop_assert_eq!(ours.to_string(), changed.as_str());
            prop_assert_eq!(theirs.to_bytes(), changed.as_bytes());
        }
    }

    #[test]
    fn another_implementation_takes_and_refuses_the_same_checkpoints(
        origin in "[ -~é]{1,20}", size: u64, root: [u8; 32],
        lines in prop::collection::vec("[ -~é]{1,20}", 0..3),
        place: prop::sample::Index, change in "(|\n|0|\\+|=|A|é| )", cut in 0..3_usize,
    ) {
        let ours = Checkpoint::new(&origin, size, root, lines.clone()).unwrap().to_string();
        let more: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let root = tlog_tiles::Hash(root);
        let theirs = tlog_tiles::Checkpoint::new(&origin, size, root, &more).unwrap();
        prop_assert_eq!(ours.as_bytes(), theirs.to_bytes());

        let mut letters: Vec<char> = ours.chars().collect();
        let place = place.index(letters.len());
        let end = letters.len().min(place + cut);
        letters.splice(place..end, change.chars());
        let changed: String = letters.into_iter().collect();
        let theirs = tlog_tiles::Checkpoint::from_bytes(changed.as_bytes());
        let ours = changed.parse::<Checkpoint>();
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}", changed);
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            prop_assert_eq!((ours.origin(), ours.size()), (theirs.origin(), theirs.size()));
            prop_assert_eq!(ours.to_string().into_bytes(), theirs.to_bytes());
        }
    }
}
