//! Two states compared field by field.
//!
//! Fields of objects are known by their names. Entries of a list are known by their id where every
//! entry has one of its own; lists of plain values are compared as sets, since what is added and
//! what is gone is the news; other lists entry by entry.

use super::{Cause, Difference};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What an entry of a list may be known by, the first that all entries have.
const IDS: [&str; 6] = ["grant_id", "action_id", "user_id", "api_key_id", "version", "above"];

/// Where two values differ, in the order of the paths.
pub(super) fn compare(old: &Value, new: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    values(String::new(), Some(old), Some(new), &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// The same of two objects that need not both be there: then each of its fields is news.
pub(super) fn compare_objects(
    path: &str,
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
) -> Vec<Difference> {
    let (mut found, none) = (Vec::new(), Map::new());
    objects(path, old.unwrap_or(&none), new.unwrap_or(&none), &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// What is not there and what is null say the same: that there is nothing.
fn something(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

fn values(path: String, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
    match (something(old), something(new)) {
        (old, new) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => objects(&path, old, new, found),
        (Some(Value::Array(old)), Some(Value::Array(new))) => lists(&path, old, new, found),
        (old, new) => {
            found.push(Difference { path, old: old.cloned(), new: new.cloned(), cause: None });
        }
    }
}

fn objects(
    path: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    found: &mut Vec<Difference>,
) {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        values(inner, old.get(name), new.get(name), found);
    }
}

fn lists(path: &str, old: &[Value], new: &[Value], found: &mut Vec<Difference>) {
    let all = || old.iter().chain(new);
    if let Some(id) = IDS.into_iter().find(|id| tells_apart(id, old) && tells_apart(id, new)) {
        let (old, new) = (by_id(id, old), by_id(id, new));
        let ids: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for id in ids {
            let (old, new) = (old.get(id).copied(), new.get(id).copied());
            values(format!("{path}[{id}]"), old, new, found);
        }
    } else if all().all(|value| !value.is_object() && !value.is_array()) {
        let gone = old.iter().filter(|value| !new.contains(value));
        let come = new.iter().filter(|value| !old.contains(value));
        let path = || format!("{path}[]");
        found.extend(gone.map(|value| Difference {
            path: path(),
            old: Some(value.clone()),
            new: None,
            cause: None,
        }));
        found.extend(come.map(|value| Difference {
            path: path(),
            old: None,
            new: Some(value.clone()),
            cause: None,
        }));
    } else {
        for index in 0..old.len().max(new.len()) {
            values(format!("{path}[{index}]"), old.get(index), new.get(index), found);
        }
    }
}

fn tells_apart(id: &str, entries: &[Value]) -> bool {
    let ids: BTreeSet<String> =
        entries.iter().filter_map(|entry| something(entry.get(id))).map(text).collect();
    ids.len() == entries.len()
}

fn by_id<'a>(id: &str, entries: &'a [Value]) -> BTreeMap<String, &'a Value> {
    entries.iter().filter_map(|entry| Some((text(entry.get(id)?), entry))).collect()
}

/// A value as part of a path.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Which event touched which field last.
#[derive(Default)]
pub(super) struct Touched(BTreeMap<String, Cause>);

impl Touched {
    /// An event led from one state to the next.
    pub(super) fn by(&mut self, cause: &Cause, differences: &[Difference]) {
        for difference in differences {
            self.0.insert(difference.path.clone(), cause.clone());
        }
    }

    /// The event that a difference over all events comes from: the last that touched the field, the
    /// whole it belongs to, or a part of it.
    pub(super) fn last(&self, path: &str) -> Option<Cause> {
        let is_part = |whole: &str, part: &str| {
            part.strip_prefix(whole).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with(['.', '[']) || whole.is_empty()
            })
        };
        let exact = self.0.get(path);
        let near = self.0.iter().filter(|(other, _)| is_part(other, path) || is_part(path, other));
        let latest = near.map(|(_, cause)| cause).max_by_key(|cause| cause.position);
        exact.or(latest).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(old: &Value, new: &Value) -> Vec<(String, Value, Value)> {
        let found = compare(old, new).into_iter();
        found.map(|it| (it.path, it.old.into(), it.new.into())).collect()
    }

    #[test]
    fn fields_entries_and_members_of_sets_are_told_apart() {
        let old = json!({
            "status": "active", "tier": null, "same": [1, { "x": [] }],
            "grants": [{ "grant_id": "a", "left": "1" }, { "grant_id": "b", "left": "2" }],
            "roles": ["admin", "viewer"], "bounds": [[1, 2], [3]],
        });
        let new = json!({
            "status": "closed", "tier": "free", "same": [1, { "x": [] }],
            "grants": [{ "grant_id": "b", "left": "0" }, { "grant_id": "c", "left": "9" }],
            "roles": ["viewer", "billing"], "bounds": [[1, 2]],
        });
        let null = Value::Null;
        assert_eq!(
            told(&old, &new),
            [
                ("bounds[1]".into(), json!([3]), null.clone()),
                ("grants[a]".into(), json!({ "grant_id": "a", "left": "1" }), null.clone()),
                ("grants[b].left".into(), json!("2"), json!("0")),
                ("grants[c]".into(), null.clone(), json!({ "grant_id": "c", "left": "9" })),
                ("roles[]".into(), json!("admin"), null.clone()),
                ("roles[]".into(), null.clone(), json!("billing")),
                ("status".into(), json!("active"), json!("closed")),
                ("tier".into(), null, json!("free")),
            ]
        );
        assert_eq!(told(&old, &old), []);
    }

    #[test]
    fn a_difference_comes_from_the_last_event_that_touched_it() {
        let cause = |position| Cause {
            position: event_log::Position(position),
            recorded_at: String::new(),
            type_name: String::new(),
            actor: String::new(),
        };
        let at = |path: &str| Difference { path: path.into(), old: None, new: None, cause: None };
        let mut touched = Touched::default();
        touched.by(&cause(1), &[at("grants[a]"), at("status")]);
        touched.by(&cause(2), &[at("grants[a].left")]);
        touched.by(&cause(3), &[at("statusline"), at("tier.code")]);
        let last = |path| touched.last(path).map(|cause| cause.position.0);
        assert_eq!(last("grants[a].left"), Some(2));
        assert_eq!(last("grants[a]"), Some(1), "what was added was added once");
        assert_eq!(last("grants[a].left.x"), Some(2));
        assert_eq!(last("status"), Some(1));
        assert_eq!(last("tier"), Some(3));
        assert_eq!(last("members"), None);
    }
}
