//! One thing at two moments: folded once, and seen before and after every event in between.

use super::fields::{Touched, compare};
use super::{Answer, Cause, Difference};
use crate::Failure;
use crate::thing::{Kind, Thing};
use event_log::{Position, Recorded};
use installation::Installation;
use serde_json::Value;

/// Finds the thing as it was called at the later moment and compares it.
pub(super) async fn compare_named(
    installation: &Installation,
    kind: Kind,
    id: Option<&str>,
    moments: (Position, Position),
) -> Result<Answer, Failure> {
    let thing = Thing::find(installation, kind, id, moments.1).await?;
    compare_thing(&thing, moments).await
}

async fn compare_thing(
    thing: &Thing<'_>,
    (from, to): (Position, Position),
) -> Result<Answer, Failure> {
    let (mut before, mut state) = (Value::Null, Value::Null);
    let (mut touched, mut events, mut first) = (Touched::default(), 0_u64, None);
    let mut seen = |recorded: &Recorded, shown: &dyn Fn() -> Value| {
        first.get_or_insert(recorded.position);
        let next = shown();
        if recorded.position <= from {
            before = next.clone();
        } else {
            events += 1;
            touched.by(&Cause::of(recorded), &compare(&state, &next));
        }
        state = next;
    };
    let folded = thing.fold(to, &mut seen).await?;
    let Some(folded) = folded else { return Err(thing.absent(to).await?) };
    let mut remarks = Vec::new();
    if let Some(begun) = first.filter(|first| *first > from) {
        remarks.push(format!("it begins at position {begun}: before that there was nothing"));
    }
    let mut differences = all(&before, &folded.shown);
    for difference in &mut differences {
        difference.cause = touched.last(&difference.path);
    }
    let of = thing.stream().to_string();
    Ok(Answer { of, from, to, events: Some(events), remarks, differences })
}

/// Of a thing that was not there every field is news, not the whole of it at once.
fn all(before: &Value, after: &Value) -> Vec<Difference> {
    let nothing = Value::Object(serde_json::Map::new());
    let or_nothing = |value: &Value| if value.is_null() { nothing.clone() } else { value.clone() };
    compare(&or_nothing(before), &or_nothing(after))
}
