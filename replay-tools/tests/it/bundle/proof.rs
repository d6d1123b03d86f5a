//! The proof of one event, as the API gives it: who has the key of the log checks it alone.

use super::{Signed, verdict, verify_with};
use event_log::note::{Cosigner, Note, Policy};
use event_log::tlog_proof::TlogProof;
use event_log::{Position, SigningKeys};
use std::fs;

impl Signed {
    /// The proof of an event in the newest checkpoint.
    async fn proof(&self, position: i64) -> TlogProof {
        let installation = self.server.open().await;
        let log = installation.log();
        let newest = log.newest_checkpoint().await.unwrap().unwrap();
        let inclusion = log.inclusion(Position(position), newest.size).await.unwrap();
        installation.close().await;
        TlogProof {
            entry: inclusion.entry,
            path: inclusion.path,
            note: newest.note.parse().unwrap(),
        }
    }

    fn policy_itself(&self) -> Policy {
        fs::read_to_string(self.policy()).unwrap().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_of_an_event_is_checked_without_database_and_network() {
    let signed = Signed::start().await;
    let proof = signed.proof(3).await;
    let path = signed.folder.join("proof.txt");
    fs::write(&path, proof.to_string()).unwrap();
    let answer = verdict(&signed.verify(&path), 0, "whole");
    assert_eq!(answer["position"], 3);
    let sql = "select encode(event_hash, 'hex') from event_log.log where position = 3";
    assert_eq!(answer["event_hash"], signed.server.ask::<String>(sql).await);

    // Of another event's place, of another event, without its end, and with another key.
    let mut moved = proof.clone();
    moved.entry.position = Position(4);
    let mut other = proof.clone();
    other.entry.event_hash[0] ^= 1;
    let text = proof.to_string();
    let cut = text.split_once("\n\n").unwrap().0;
    for (changed, code, name) in [
        (moved.to_string(), 20, "content"),
        (other.to_string(), 20, "content"),
        (cut.to_owned(), 22, "incomplete"),
        (cut[..cut.len() - 9].to_owned(), 22, "incomplete"),
    ] {
        fs::write(&path, changed).unwrap();
        verdict(&signed.verify(&path), code, name);
    }
    fs::write(&path, text).unwrap();
    let stranger = SigningKeys::load_or_create(&signed.folder.join("other.json")).unwrap();
    let policy = signed.folder.join("other.txt");
    fs::write(&policy, format!("log {}\nquorum none\n", stranger.verifier_keys()[0])).unwrap();
    verdict(&verify_with(&path, &policy), 21, "signature");

    // A policy that asks for a witness takes the proof once that one has signed.
    let witness = Cosigner::new("north.example/w".parse().unwrap(), &[7; 32]);
    let asked = format!("witness north {}\nquorum north\n", witness.verifier());
    let ours = fs::read_to_string(signed.policy()).unwrap();
    fs::write(&policy, ours.replace("quorum none\n", &asked)).unwrap();
    let answer = verdict(&verify_with(&path, &policy), 21, "signature");
    assert!(answer["problem"].as_str().unwrap().contains("not sealed"), "{answer}");
    let mut signatures = proof.note.signatures().to_vec();
    signatures.push(witness.cosign(proof.note.text(), 1_790_000_000));
    let sealed = TlogProof { note: Note::new(proof.note.text(), signatures).unwrap(), ..proof };
    fs::write(&path, sealed.to_string()).unwrap();
    let answer = verdict(&verify_with(&path, &policy), 0, "whole");
    assert_eq!(answer["checkpoint"]["witnessed_by"][0]["name"], "north.example/w");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_of_a_proof_counts() {
    let signed = Signed::start().await;
    let mut proof = signed.proof(2).await;
    // What witnesses signed may be left out where nobody asks for it.
    let ours = proof.note.signatures()[..1].to_vec();
    proof.note = Note::new(proof.note.text(), ours).unwrap();
    let policy = signed.policy_itself();
    let proves = |bytes: &[u8]| {
        let read = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
        read.is_some_and(|proof: TlogProof| proof.verify(&policy).is_ok())
    };
    let bytes = proof.to_string().into_bytes();
    assert!(proves(&bytes));
    for at in 0..bytes.len() {
        for flipped in [1, 0x20] {
            let mut changed = bytes.clone();
            changed[at] ^= flipped;
            assert!(!proves(&changed), "byte {at}");
        }
        assert!(!proves(&bytes[..at]), "up to {at}");
    }
    assert!(!proves(&[&bytes[..], b"\n"].concat()));
}
