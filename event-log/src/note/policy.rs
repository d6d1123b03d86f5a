//! Policies: whose signatures somebody asks for before they take a checkpoint for true (C2SP
//! `tlog-policy`).
//!
//! ```text
//! log opscenter/log/01997f6e-…+0336b789+AQ…=
//! witness north example.org/north+1a2b3c4d+BA…=
//! witness south example.com/south+5e6f7a8b+BA…=
//! group both all north south
//! quorum both
//! ```
//!
//! Lines that are empty or begin with `#` mean nothing, and a web address behind a key is not
//! looked at. There is just one `quorum` line; `quorum none` asks for no witness. A name is defined
//! before it is used.

use super::{Algorithm, Cosignature, KeyName, Note, NoteError, VerifierKey};
use std::collections::BTreeMap;
use std::str::FromStr;

/// Which keys a log signs with, and which witnesses must have seen what it signed.
#[derive(Clone, Debug)]
pub struct Policy {
    logs: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    quorum: Option<String>,
    parts: BTreeMap<String, Part>,
}

/// What a name in a policy stands for.
#[derive(Clone, Debug)]
enum Part {
    Witness(KeyName),
    Group { needed: usize, members: Vec<String> },
}

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A line cannot be read.
    #[error("line {line} of the policy: {fault}")]
    Line {
        /// Which, counted from 1.
        line: usize,
        /// What is wrong with it.
        fault: String,
    },
    /// It names no key of a log.
    #[error("the policy names no log; add a line `log KEY` with what `opscenter log keys` prints")]
    NoLog,
    /// It does not say which witnesses are asked for.
    #[error("the policy has no quorum; add a line `quorum NAME`, or `quorum none`")]
    NoQuorum,
}

impl Policy {
    /// A policy that takes what these keys signed, and asks for no witness.
    #[must_use]
    pub fn of_logs(logs: Vec<VerifierKey>) -> Self {
        Self { logs, witnesses: Vec::new(), quorum: None, parts: BTreeMap::new() }
    }

    /// Which of the log's keys signed a note about this origin.
    ///
    /// # Errors
    /// As [`Note::verify`]; a key of another log counts for nothing.
    pub fn signers<'k>(
        &'k self,
        note: &Note,
        origin: &str,
    ) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let signed = note.verify(&self.logs)?;
        let signed: Vec<_> = signed.into_iter().filter(|key| speaks_for(key, origin)).collect();
        if signed.is_empty() { Err(NoteError::NotSigned) } else { Ok(signed) }
    }

    /// Which of the witnesses cosigned a note.
    #[must_use]
    pub fn cosignatures(&self, note: &Note) -> Vec<Cosignature> {
        note.cosignatures(&self.witnesses)
    }

    /// What is wrong, in words, where these cosignatures are not those that are asked for.
    #[must_use]
    pub fn unmet(&self, cosigned: &[Cosignature]) -> Option<String> {
        let quorum = self.quorum.as_ref().filter(|name| !self.holds(name, cosigned))?;
        Some(format!(
            "the checkpoint is not sealed: {} of the policy's witnesses signed it, and the quorum \
             {quorum} asks for others",
            cosigned.len()
        ))
    }

    fn holds(&self, name: &str, cosigned: &[Cosignature]) -> bool {
        match self.parts.get(name) {
            // A name is defined before it is used, so that this comes to an end.
            Some(Part::Group { needed, members }) => {
                members.iter().filter(|member| self.holds(member, cosigned)).count() >= *needed
            }
            Some(Part::Witness(key)) => cosigned.iter().any(|cosigned| cosigned.name == *key),
            None => false,
        }
    }

    fn line(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["log", key] | ["log", key, _] => self.log(key),
            ["witness", name, key] | ["witness", name, key, _] => self.witness(name, key),
            ["group", name, needed, members @ ..] => self.group(name, needed, members),
            ["quorum", _] if self.quorum.is_some() => Err("there is a quorum already".to_owned()),
            ["quorum", name] if *name == NONE || self.parts.contains_key(*name) => {
                self.quorum = Some((*name).to_owned());
                Ok(())
            }
            ["quorum", name] => Err(format!("{name:?} is defined nowhere above")),
            _ => Err("it is no line `log KEY`, `witness NAME KEY`, `group NAME N MEMBERS…` or \
                      `quorum NAME`"
                .to_owned()),
        }
    }

    fn log(&mut self, key: &str) -> Result<(), String> {
        let key: VerifierKey = key.parse().map_err(|error: NoteError| error.to_string())?;
        if key.algorithm() != Algorithm::Ed25519 {
            return Err("this key is one of a witness; a log signs with another kind".to_owned());
        }
        self.logs.push(key);
        Ok(())
    }

    fn witness(&mut self, name: &str, key: &str) -> Result<(), String> {
        let key: VerifierKey = key.parse().map_err(|error: NoteError| error.to_string())?;
        if key.algorithm() != Algorithm::CosignatureV1 {
            return Err("this key is no witness's; a witness's last part begins with BA".to_owned());
        }
        // One key under two names would count twice.
        if self.witnesses.iter().any(|known| known.public() == key.public()) {
            return Err("this key stands above already".to_owned());
        }
        self.define(name, Part::Witness(key.name().clone()))?;
        self.witnesses.push(key);
        Ok(())
    }

    fn group(&mut self, name: &str, needed: &str, members: &[&str]) -> Result<(), String> {
        let unknown = members.iter().find(|member| !self.parts.contains_key(**member));
        if let Some(unknown) = unknown {
            return Err(format!("{unknown:?} is defined nowhere above"));
        }
        let needed = match needed {
            "any" => 1,
            "all" => members.len(),
            number => {
                number.parse().map_err(|_| format!("{number:?} is not any, all or a number"))?
            }
        };
        if needed == 0 || needed > members.len() {
            return Err(format!("{needed} of {} members is no group", members.len()));
        }
        let members: Vec<String> = members.iter().map(|member| (*member).to_owned()).collect();
        let is_twice =
            |(at, member): (usize, &String)| members[..at].iter().any(|before| before == member);
        if members.iter().enumerate().any(is_twice) {
            return Err("a member stands in it twice".to_owned());
        }
        self.define(name, Part::Group { needed, members })
    }

    fn define(&mut self, name: &str, part: Part) -> Result<(), String> {
        if name == NONE || self.parts.contains_key(name) {
            return Err(format!("{name:?} means something else already"));
        }
        self.parts.insert(name.to_owned(), part);
        Ok(())
    }
}

/// What stands for no witness at all.
const NONE: &str = "none";

/// Whether a key is one of the log with this origin: its name is the origin, or what the origin
/// begins with before the epoch.
fn speaks_for(key: &VerifierKey, origin: &str) -> bool {
    let rest = origin.strip_prefix(key.name().as_str());
    rest.is_some_and(|rest| {
        let epoch = rest.strip_prefix("/epoch/").and_then(|epoch| epoch.parse::<u64>().ok());
        rest.is_empty() || epoch.is_some()
    })
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let mut policy = Self::of_logs(Vec::new());
        for (number, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            if words.is_empty() || line.starts_with('#') {
                continue;
            }
            policy.line(&words).map_err(|fault| PolicyError::Line { line: number + 1, fault })?;
        }
        if policy.logs.is_empty() {
            return Err(PolicyError::NoLog);
        }
        match policy.quorum.take() {
            None => return Err(PolicyError::NoQuorum),
            Some(name) => policy.quorum = (name != NONE).then_some(name),
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::{Policy, PolicyError};
    use crate::note::{Checkpoint, Cosigner, Note, NoteError, Signer};

    const ORIGIN: &str = "opscenter/log/1/epoch/2";

    fn signer(name: &str) -> Signer {
        Signer::new(name.parse().unwrap(), &[7; 32])
    }

    fn witness(number: u8) -> Cosigner {
        Cosigner::new(format!("witness.example/{number}").parse().unwrap(), &[number; 32])
    }

    fn text_of(quorum: &str) -> String {
        let mut text = format!("# ours\nlog {}\n\n", signer("opscenter/log/1").verifier());
        for number in 1..=3 {
            text += &format!("witness w{number} {} https://w\n", witness(number).verifier());
        }
        text + "group near any w1 w2\ngroup both 2 near w3\n" + quorum
    }

    fn note(by: &[u8]) -> Note {
        let checkpoint = Checkpoint::new(ORIGIN, 5, [1; 32], Vec::new()).unwrap();
        let text = checkpoint.to_string();
        let mut signatures = vec![signer("opscenter/log/1").sign(&text)];
        signatures.extend(by.iter().map(|number| witness(*number).cosign(&text, 1_700_000_000)));
        Note::new(&text, signatures).unwrap()
    }

    fn is_met(quorum: &str, by: &[u8]) -> bool {
        let policy: Policy = text_of(quorum).parse().unwrap();
        policy.unmet(&policy.cosignatures(&note(by))).is_none()
    }

    #[test]
    fn a_quorum_is_met_by_the_witnesses_that_it_asks_for_and_no_others() {
        assert!(is_met("quorum none\n", &[]));
        assert!(is_met("quorum w2\n", &[2]) && !is_met("quorum w2\n", &[1, 3]));
        assert!(is_met("quorum near\n", &[1]) && !is_met("quorum near\n", &[3]));
        assert!(is_met("quorum both\n", &[2, 3]) && is_met("quorum both\n", &[1, 2, 3]));
        assert!(!is_met("quorum both\n", &[1, 2]) && !is_met("quorum both\n", &[3]));
    }

    #[test]
    fn only_a_key_of_the_log_that_the_note_is_about_signs_for_it() {
        let policy: Policy = text_of("quorum none").parse().unwrap();
        assert_eq!(policy.signers(&note(&[]), ORIGIN).unwrap().len(), 1);
        let other = "opscenter/log/12/epoch/2";
        assert_eq!(policy.signers(&note(&[]), other), Err(NoteError::NotSigned));
    }

    #[test]
    fn what_is_no_policy_is_refused_by_its_line() {
        let line = |line: &str| text_of(&format!("{line}\nquorum none")).parse::<Policy>();
        for (text, says) in [
            ("log nonsense", "three parts"),
            ("group all2 4 w1 w2", "no group"),
            ("group w1 any w2", "already"),
            ("group none any w2", "already"),
            ("group g any w9", "defined nowhere"),
            ("group g 2 w1 w1", "twice"),
            ("group g 0 w1", "no group"),
            ("quorum w9", "defined nowhere"),
            ("wittness", "no line"),
        ] {
            let error = line(text).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("line 9"), "{error}");
        }
        let twice = format!("witness w4 {}", witness(1).verifier());
        assert!(line(&twice).unwrap_err().to_string().contains("above already"));
        assert!(matches!(line("quorum w1"), Err(PolicyError::Line { line: 10, .. })));
        assert_eq!(text_of("").parse::<Policy>().unwrap_err(), PolicyError::NoQuorum);
        assert_eq!("quorum none".parse::<Policy>().unwrap_err(), PolicyError::NoLog);
    }
}
