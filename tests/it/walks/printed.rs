//! What a document shows, compared with what a program printed.
//!
//! Only what no two runs have in common is not compared: ids, hashes, moments and how fast it went.
//! Every figure is.

/// Lines of which only the first word is the same in every run, and why.
const OF_THE_RUN: [(&str, &str); 2] = [
    ("speed", "it is measured"),
    ("batches", "how much is appended at once depends on who asks meanwhile"),
];

/// Where the two differ first. A document may show the beginning only, up to an empty line.
pub(crate) fn difference(shown: &str, printed: &str) -> Option<String> {
    let mut printed = printed.lines();
    for (number, line) in shown.lines().enumerate() {
        let (expected, found) = (comparable(line), printed.next().map(comparable));
        if found.as_ref() != Some(&expected) {
            let found = found.unwrap_or_else(|| "nothing".to_owned());
            return Some(format!("line {}: {expected:?} is shown, {found:?} printed", number + 1));
        }
    }
    let rest = printed.next().filter(|line| !line.is_empty())?;
    Some(format!("{rest:?} is printed after the last line that is shown"))
}

/// A line without what is of one run only.
fn comparable(line: &str) -> String {
    let first = line.split_whitespace().next().unwrap_or_default();
    if OF_THE_RUN.iter().any(|(name, _)| *name == first) {
        return first.to_owned();
    }
    let words = line.split(' ').map(|word| {
        let bare = bare(word);
        match kind(bare) {
            Some(kind) => word.replace(bare, kind),
            None => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

/// A word without what punctuates the sentence around it.
fn bare(word: &str) -> &str {
    word.trim_matches(|c| "(),;.".contains(c))
}

fn kind(word: &str) -> Option<&'static str> {
    match word {
        _ if is_id(word) => Some("<id>"),
        _ if is_hash(word) => Some("<hash>"),
        _ if is_moment(word) => Some("<moment>"),
        _ => None,
    }
}

/// `org_` and 26 letters and digits.
fn is_id(word: &str) -> bool {
    let is_coded = |rest: &str| rest.len() == 26 && rest.chars().all(char::is_alphanumeric);
    word.split_once('_').is_some_and(|(kind, rest)| kind.len() == 3 && is_coded(rest))
}

fn is_hash(word: &str) -> bool {
    word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit())
}

/// A month, a day or an instant: `2026-11`, `2026-11-20`, `2026-11-20T00:00:53.000343Z`.
fn is_moment(word: &str) -> bool {
    let form: String = word.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    form == "9999-99"
        || form == "9999-99-99"
        || (form.starts_with("9999-99-99T99:99:99") && form.ends_with('Z'))
}

/// Every hash in a text, in its order.
pub(crate) fn hashes(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().map(bare).filter(|word| is_hash(word))
}

#[test]
fn a_figure_that_differs_is_found_and_an_id_is_not_compared() {
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let shown = format!("head 12 of {a}\nspeed 5\ngrt_5ym2qmaxk6f8zar1etqfy5zjn8, 2026-11");
    let printed = format!("head 12 of {b}\nspeed 6\ngrt_01kdvdna00fw8b6p1r4rhvptry, 2027-01\n");
    assert_eq!(difference(&shown, &printed), None);
    assert_eq!(difference(&shown, &format!("{printed}\nmore")), None);
    assert_eq!(hashes(&shown).collect::<Vec<_>>(), [a]);
    for wrong in [
        printed.replace("12", "13"),
        printed.replace("grt_", "grt-"),
        printed.replace("speed", "pace"),
        printed.replace("2027-01", "soon"),
        format!("{printed}more"),
        "head 12".to_owned(),
    ] {
        assert!(difference(&shown, &wrong).is_some(), "{wrong}");
    }
}
