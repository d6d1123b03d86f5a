//! What somebody may have meant: the nearest of the names that there are.

/// The most names that are suggested.
const SUGGESTED_MAX: usize = 3;
/// The most names that are compared letter by letter.
const COMPARED_MAX: usize = 20_000;

/// A clause such as `; did you mean "gpt-4o"?`, or nothing when no name is near.
pub(crate) fn did_you_mean<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = nearest(wanted, known);
    if near.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = near.iter().map(|name| format!("{name:?}")).collect();
    format!("; did you mean {}?", quoted.join(" or "))
}

/// The nearest names, nearest first.
fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted_lower = wanted.to_lowercase();
    let most = (wanted.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .take(COMPARED_MAX)
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let contains = wanted.len() > 2 && lower.contains(&wanted_lower);
            let distance = distance(&wanted_lower, &lower);
            // A part of a longer name is near, but not as near as a slip of a finger.
            (distance <= most || contains).then_some((distance, name))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(SUGGESTED_MAX).map(|(_, name)| name).collect()
}

/// How many letters have to be added, taken away or changed.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, letter) in left.chars().enumerate() {
        let mut diagonal = above;
        let mut before = above + 1;
        for (at, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            before = changed.min(diagonal + 1).min(before + 1);
            row[at + 1] = before;
        }
        row[0] = above + 1;
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_a_finger_is_found() {
        let known = ["gpt-4o", "gpt-4o-mini", "claude-3-opus"];
        assert_eq!(did_you_mean("gpt4o", known), "; did you mean \"gpt-4o\"?");
        assert_eq!(nearest("GPT-4o", known), ["gpt-4o", "gpt-4o-mini"]);
    }

    #[test]
    fn what_is_far_from_everything_suggests_nothing() {
        assert_eq!(did_you_mean("zebra", ["gpt-4o", "claude-3-opus"]), "");
        assert_eq!(did_you_mean("x", []), "");
    }

    #[test]
    fn distance_counts_single_letters() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("acme", "acme"), 0);
    }
}
