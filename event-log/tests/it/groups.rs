//! Groups (I6): what is recorded together gives what its commands give one by one, compared with a
//! model that carries them out in memory.

use crate::world::*;
use event_log::{AppendError, EventLog, Position, Receipt};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::HashMap;
use test_postgres::Server;

/// What a random command asks for.
#[derive(Clone, Debug)]
struct Asked {
    streams: Vec<u8>,
    expects: Option<(u8, i64)>,
    tag: Option<u8>,
    absent: Option<u8>,
    claim: Option<(bool, u8, u8)>,
}

fn asked() -> impl Strategy<Value = Asked> {
    (
        prop::collection::vec(0..3_u8, 0..4),
        prop::option::of((0..3_u8, 0..4_i64)),
        prop::option::of(0..2_u8),
        prop::option::weighted(0.2, 0..2_u8),
        prop::option::weighted(0.3, (any::<bool>(), 0..2_u8, 0..2_u8)),
    )
        .prop_map(|(streams, expects, tag, absent, claim)| Asked {
            streams,
            expects,
            tag,
            absent,
            claim,
        })
}

/// The log as it should be: a few maps and a counter.
#[derive(Default)]
struct Oracle {
    head: i64,
    versions: HashMap<u8, i64>,
    tags: HashMap<u8, i64>,
    claims: HashMap<u8, u8>,
}

impl Oracle {
    /// What the log should answer: positions, or a word for the refusal.
    fn answer(&mut self, asked: &Asked) -> Result<(i64, i64), String> {
        if let Some((stream, version)) = asked.expects {
            let actual = self.versions.get(&stream).copied().unwrap_or_default();
            if actual != version {
                return Err(format!("conflict {stream} {version} {actual}"));
            }
        }
        if let Some(position) = asked.absent.and_then(|tag| self.tags.get(&tag)) {
            return Err(format!("condition {position}"));
        }
        if let Some((_, value, holder)) = asked.claim {
            let held = self.claims.get(&value).copied().unwrap_or(holder);
            if held != holder {
                return Err(format!("claim {held}"));
            }
        }
        match asked.claim {
            Some((true, value, holder)) => drop(self.claims.insert(value, holder)),
            Some((false, value, _)) => drop(self.claims.remove(&value)),
            None => {}
        }
        let first = if asked.streams.is_empty() { self.head } else { self.head + 1 };
        for stream in &asked.streams {
            self.head += 1;
            *self.versions.entry(*stream).or_default() += 1;
            if let Some(tag) = asked.tag {
                self.tags.entry(tag).or_insert(self.head);
            }
        }
        Ok((first, self.head))
    }
}

fn as_append(run: usize, asked: &Asked) -> event_log::Append {
    let name = |stream: u8| format!("{run}-{stream}");
    let tag_name = |tag: u8| format!("{run}-{tag}");
    let event = |stream: &u8| {
        let event = on(&name(*stream), "x");
        asked.tag.map_or(event.clone(), |tag| tagged(event, &[&tag_name(tag)]))
    };
    let mut append = command(asked.streams.iter().map(event).collect());
    if let Some((stream, version)) = asked.expects {
        append = expecting(&name(stream), version, append);
    }
    if let Some(tag) = asked.absent {
        append = unless(&["happened"], &[&tag_name(tag)], Position::START, append);
    }
    let value = |value: u8| value + u8::try_from(run * 2).unwrap();
    match asked.claim {
        Some((true, v, holder)) => taking(value(v), &holder.to_string(), append),
        Some((false, v, holder)) => releasing(value(v), &holder.to_string(), append),
        None => append,
    }
}

/// The answer of the log in the words of the oracle.
fn in_words(outcome: &Result<Receipt, AppendError>) -> Result<(i64, i64), String> {
    match outcome {
        Ok(receipt) => Ok((receipt.first_position.0, receipt.last_position.0)),
        Err(AppendError::Conflict { stream, expected, actual }) => {
            let number = stream.id().split_once('-').unwrap().1;
            Err(format!("conflict {number} {expected} {actual}"))
        }
        Err(AppendError::ConditionFailed { position }) => Err(format!("condition {position}")),
        Err(AppendError::ClaimTaken { holder, .. }) => Err(format!("claim {holder}")),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn i6_a_group_gives_what_its_commands_give_one_by_one() {
    let server = Server::start().await;
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::from_seed(RngAlgorithm::ChaCha, &[6; 32]),
    );
    for run in 0..40 {
        // One writer answers in the order in which it was decided.
        let mut settings = server.settings(MODES[run % 2]);
        settings.append_connections = 1;
        let log = EventLog::connect(settings).await.unwrap();
        let asked = prop::collection::vec(asked(), 1..25).new_tree(&mut runner).unwrap().current();
        let mut oracle = Oracle { head: log.head().await.unwrap().0, ..Oracle::default() };
        // Sent at once from one place: they queue up, and what is taken together is a group. The
        // order the log gave them is the order the oracle carries them out in.
        let outcomes = all_at_once(&log, asked.iter().map(|asked| as_append(run, asked))).await;
        let mut order: Vec<usize> = (0..asked.len()).collect();
        order.sort_by_key(|index| outcomes[*index].1);
        for index in order {
            let told = in_words(&outcomes[index].0);
            let expected = oracle.answer(&asked[index]);
            assert_eq!(told, expected, "run {run}, command {index} of {asked:#?}");
        }
        verified(&log).await;
        log.close().await;
    }
}

/// Sends commands without waiting in between; answers each outcome with its place in the order in
/// which the log decided them.
async fn all_at_once(
    log: &EventLog,
    appends: impl Iterator<Item = event_log::Append>,
) -> Vec<(Result<Receipt, AppendError>, usize)> {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let mut count = 0;
    for (index, append) in appends.enumerate() {
        let (log, sender) = (log.clone(), sender.clone());
        count += 1;
        tokio::spawn(async move {
            let outcome = log.append(append).await;
            sender.send((index, outcome)).unwrap();
        });
    }
    let mut outcomes = Vec::new();
    for place in 0..count {
        let (index, outcome) = receiver.recv().await.unwrap();
        outcomes.push((index, outcome, place));
    }
    outcomes.sort_by_key(|(index, _, _)| *index);
    outcomes.into_iter().map(|(_, outcome, place)| (outcome, place)).collect()
}
