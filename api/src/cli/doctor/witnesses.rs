//! The witnesses that were named: whether each would cosign what this machine signed last.
//!
//! Each is asked for the checkpoint that the guard remembers, as if it had cosigned that one
//! already. If it has, it signs the same again; if not, it says at which size it is. What it keeps
//! stays the same.

use super::check::{Check, Name};
use crate::cli::witnesses::Witnesses;
use event_log::note::KeyName;
use event_log::tree::guard::Guarded;
use event_log::witness::{Witness as _, WitnessAddress, WitnessError, WitnessPolicy};
use futures_util::future::join_all;
use installation::{Place, log_guard};
use integrations::WitnessClient;
use serde_json::{Value, json};
use std::time::Duration;

const NAME: Name = Name::Witnesses;

/// What one witness said.
struct Heard {
    is_fine: bool,
    text: String,
    /// The size it is at, where it said so.
    size: Option<u64>,
}

/// Those that were named can be asked, and enough of them answer rightly.
pub(super) async fn witnesses(named: &Witnesses, place: &Place, limit: Duration) -> Check {
    let policy = match named.policy() {
        Ok(Some(policy)) => policy,
        Ok(None) => return Check::absent(NAME, "OPS_WITNESSES is not set; nothing needs them"),
        Err(error) => return Check::problem(NAME, &error).needed(true),
    };
    let guard = log_guard(place);
    let Some(signed) = guard.read().ok().flatten().filter(|guarded| guarded.note.is_some()) else {
        let text = format!("{}, not asked: nothing is signed here yet", described(&policy));
        return Check::ok(NAME, text, details(&policy, &Value::Null)).needed(true);
    };
    let now = || guard.read().ok().flatten().map_or(0, |guarded| size_of(&guarded));
    let asked = policy.witnesses().iter().map(|address| hear(address, &signed, &now, limit));
    let heard = join_all(asked).await;
    let fine = heard.iter().filter(|heard| heard.is_fine).count();
    let both: Vec<(&KeyName, Heard)> = policy.names().zip(heard).collect();
    let lines = both.iter().map(|(name, heard)| format!("{name}: {}", heard.text)).collect();
    let list: Vec<Value> = both
        .iter()
        .map(|(name, heard)| {
            let Heard { is_fine, size, text } = heard;
            json!({ "name": name.as_str(), "fine": is_fine, "size": size, "found": text })
        })
        .collect();
    let details = details(&policy, &Value::Array(list));
    let text = format!("{}, {fine} in order", described(&policy));
    if fine >= policy.quorum() {
        return Check::ok(NAME, text, details).needed(true).lines(lines);
    }
    let advice = "nothing is sealed until enough of them cosign; see to those below";
    Check::wrong(NAME, text, details).needed(true).advise(advice).lines(lines)
}

fn described(policy: &WitnessPolicy) -> String {
    format!("{} of {} have to cosign", policy.quorum(), policy.witnesses().len())
}

fn details(policy: &WitnessPolicy, witnesses: &Value) -> Value {
    json!({ "quorum": policy.quorum(), "witnesses": witnesses })
}

fn size_of(guarded: &Guarded) -> u64 {
    guarded.checkpoint().map_or(0, |checkpoint| checkpoint.size())
}

/// Asks one; `now` is how much is signed here by the time it has answered.
async fn hear(
    address: &WitnessAddress,
    signed: &Guarded,
    now: impl Fn() -> u64,
    limit: Duration,
) -> Heard {
    let bad = |text: String| Heard { is_fine: false, text, size: None };
    let witness = match WitnessClient::new(address.clone()) {
        Ok(witness) => witness,
        Err(error) => return bad(error.to_string()),
    };
    let size = size_of(signed);
    let note = signed.note.as_deref().unwrap_or_default();
    let Ok(answer) = tokio::time::timeout(limit, witness.add_checkpoint(size, &[], note)).await
    else {
        return bad(format!("the witness at {} does not answer in time", address.url));
    };
    match answer {
        Ok(_) => Heard { is_fine: true, text: format!("has cosigned {size}"), size: Some(size) },
        // A server that runs may have gone on meanwhile.
        Err(WitnessError::Conflict { size: at, .. }) if at <= size.max(now()) => {
            let text = format!("is at {at}, and {size} are signed here");
            Heard { is_fine: true, text, size: Some(at) }
        }
        Err(WitnessError::Conflict { size: at, .. }) => Heard {
            is_fine: false,
            text: format!("has cosigned {at}, and only {size} are signed here: it was set back"),
            size: Some(at),
        },
        Err(WitnessError::Refused { status: 404, .. }) => bad(
            "does not know this log; give its operator the first line of the checkpoint, and the \
             keys that `opscenter log keys` prints"
                .to_owned(),
        ),
        Err(WitnessError::Refused { status: 403, .. }) => {
            bad("knows none of this log's keys; give its operator what `opscenter log keys` prints"
                .to_owned())
        }
        Err(error) => bad(error.to_string()),
    }
}
