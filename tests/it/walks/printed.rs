//! What a document shows, compared with what a program printed.
//!
//! Only what no two runs have in common is not compared: ids, hashes, keys, moments and how fast it
//! went. Every figure is. What is shown of a run stands for what was printed in its place.

use std::ops::RangeInclusive;

/// Lines of which only the first word is the same in every run, and why.
const OF_THE_RUN: [(&str, &str); 4] = [
    ("speed", "it is measured"),
    ("batches", "how much is appended at once depends on who asks meanwhile"),
    ("bundle", "its length depends on how much was appended and signed at once"),
    ("\"public_part\":", "it is drawn by lot for each key"),
];
/// Where the demonstration's charges stand, counted from 1 or from 0. Organizations are charged
/// side by side, so which of them comes first is of the run.
const CHARGES: RangeInclusive<u32> = 4126..=4142;
/// As a line, or at the end of one: the rest is printed and not shown.
const AND_SO_ON: char = '…';
/// The letters that a word of base64 has at least. A hash has 43 and a sign at the end.
const BASE64_MIN: usize = 44;

/// What stands in place of a day.
const DAY: &str = "<day>";

/// Where the two differ first. A document may show the beginning only, up to an empty line or to
/// a line with nothing but `…`; a line that ends with `…` is shown up to there.
pub(crate) fn difference(shown: &str, printed: &str) -> Option<String> {
    let mut printed = printed.lines();
    for (number, line) in shown.lines().enumerate() {
        let found = printed.next().map(|line| comparable(line).text);
        let begin = line.strip_suffix(AND_SO_ON);
        let expected = comparable(begin.unwrap_or(line)).text;
        let fits = found.as_ref().is_some_and(|found| match begin {
            Some(_) => found.starts_with(&expected),
            None => *found == expected,
        });
        if !fits {
            let found = found.unwrap_or_else(|| "nothing".to_owned());
            return Some(format!("line {}: {expected:?} is shown, {found:?} printed", number + 1));
        }
        if begin == Some("") {
            return None;
        }
    }
    let rest = printed.next().filter(|line| !line.is_empty())?;
    Some(format!("{rest:?} is printed after the last line that is shown"))
}

/// What is of one run only: as it is shown, and what was printed in its place. The two texts do
/// not differ otherwise.
pub(crate) fn stand_ins(shown: &str, printed: &str) -> Vec<(String, String)> {
    let lines = shown.lines().zip(printed.lines());
    let pairs = lines.flat_map(|(shown, printed)| {
        comparable(shown).of_the_run.into_iter().zip(comparable(printed).of_the_run)
    });
    pairs.collect()
}

/// A line, taken apart.
#[derive(Default)]
struct Comparable {
    /// Without what is of one run only.
    text: String,
    /// Just that, in its order. Months and days are left out, which are parts of other words.
    of_the_run: Vec<String>,
}

impl Comparable {
    /// Takes a word if what is within its punctuation is of the run.
    fn take(&mut self, word: &str, bare: &str) -> bool {
        let (Some(kind), Some((before, after))) = (kind(bare), word.split_once(bare)) else {
            return false;
        };
        self.text.extend([before, kind, after]);
        if kind != DAY {
            self.of_the_run.push(bare.to_owned());
        }
        true
    }
}

fn comparable(line: &str) -> Comparable {
    let mut taken = Comparable::default();
    let first = line.split_whitespace().next().unwrap_or_default();
    if OF_THE_RUN.iter().any(|(name, _)| *name == first) {
        first.clone_into(&mut taken.text);
        return taken;
    }
    // Quotation marks and slashes stand around values of JSON and names of actors; a key and
    // base64 have slashes of their own.
    for word in line.trim_end().split_inclusive(' ') {
        if !taken.take(word, bare(word)) {
            for piece in word.split_inclusive(['"', '/']) {
                if !taken.take(piece, bare(piece.trim_end_matches('/'))) {
                    taken.text.push_str(piece);
                }
            }
        }
    }
    taken
}

/// A word without what punctuates the sentence or the value around it.
fn bare(word: &str) -> &str {
    word.trim_matches(|c| "(),;.\" ".contains(c))
}

fn kind(word: &str) -> Option<&'static str> {
    match word {
        _ if is_id(word) => Some("<id>"),
        _ if is_hash(word) => Some("<hash>"),
        _ if is_key(word) => Some("<key>"),
        _ if is_base64(word) => Some("<base64>"),
        _ if is_instant(word) => Some("<instant>"),
        _ if is_day(word) => Some(DAY),
        _ if word.parse().is_ok_and(|position| CHARGES.contains(&position)) => Some("<charge>"),
        _ => None,
    }
}

/// `org_` and 26 letters and digits, or a UUID.
fn is_id(word: &str) -> bool {
    let is_coded = |rest: &str| rest.len() == 26 && rest.chars().all(char::is_alphanumeric);
    let has_kind =
        word.split_once('_').is_some_and(|(kind, rest)| kind.len() == 3 && is_coded(rest));
    let lengths: Vec<usize> = word.split('-').map(str::len).collect();
    let is_hexadecimal = word.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    has_kind || (is_hexadecimal && lengths == [8, 4, 4, 4, 12])
}

fn is_hash(word: &str) -> bool {
    word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit())
}

/// A verifier key of a log, or the beginning of one up to its id.
fn is_key(word: &str) -> bool {
    let rest = word.strip_prefix("opscenter/log/");
    rest.and_then(|rest| rest.split_once('+')).is_some_and(|(log, _)| is_id(log))
}

fn is_base64(word: &str) -> bool {
    let has_form = word.len() >= BASE64_MIN && word.len().is_multiple_of(4);
    has_form && word.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c))
}

/// `2026-11-20T00:00:53.000343Z`.
fn is_instant(word: &str) -> bool {
    form(word).starts_with("9999-99-99T99:99:99") && word.ends_with('Z')
}

/// A day or a month.
fn is_day(word: &str) -> bool {
    matches!(form(word).as_str(), "9999-99" | "9999-99-99")
}

fn form(word: &str) -> String {
    word.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect()
}

#[test]
fn a_figure_that_differs_is_found_and_an_id_is_not_compared() {
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let shown = format!("head 12 of {a}\nspeed 5\ngrt_5ym2qmaxk6f8zar1etqfy5zjn8, 2026-11");
    let printed = format!("head 12 of {b}\nspeed 6\ngrt_01kdvdna00fw8b6p1r4rhvptry, 2027-01\n");
    assert_eq!(difference(&shown, &printed), None);
    assert_eq!(difference(&shown, &format!("{printed}\nmore")), None);
    for wrong in [
        printed.replace("12", "13"),
        printed.replace("grt_", "grt-"),
        printed.replace("12", "4127"),
        printed.replace("speed", "pace"),
        printed.replace("2027-01", "soon"),
        format!("{printed}more"),
        "head 12".to_owned(),
    ] {
        assert!(difference(&shown, &wrong).is_some(), "{wrong}");
    }
}

#[test]
fn what_is_left_out_is_said_and_the_rest_is_compared() {
    let printed = "{\"a\":1,\"b\":2}\nsecond\nthird\n";
    let right = ["{\"a\":1,…\nsecond\nthird", "{\"a\":1,\"b\":2}\n…", "{\"a\":1…\nsecond\n…"];
    let wrong = ["{\"a\":2,…\nsecond\nthird", "{\"a\":1,…\nthird\n…", "{\"a\":1,\"b\":2}…", "a\n…"];
    for shown in right {
        assert_eq!(difference(shown, printed), None, "{shown}");
    }
    for shown in wrong {
        assert!(difference(shown, printed).is_some(), "{shown}");
    }
}

#[test]
fn what_is_of_the_run_stands_for_what_was_printed() {
    let log = |id: &str| format!("opscenter/log/01a1ff1b-a812-7633-b0cf-315a1548ee{id}");
    let text = |id: &str, of_the_run: &str, letter: &str| {
        format!(
            "\"actor\": \"api_key/key_01kdvdna00eqhrebpzvvz4tg{id}/me\", {log}+c8e33075+AaE/W=\n\
             in {log}, 2026-11 at {of_the_run}; {base64}\n",
            log = log(id),
            base64 = letter.repeat(44),
        )
    };
    let charges = stand_ins("chg at 4127, of 4143", "chg at 4130, of 4143");
    assert_eq!(charges, [("4127".to_owned(), "4130".to_owned())]);
    let (first, then) = ("2026-11-21T17:16:09Z", "2027-01-01T00:00:00.5Z");
    let (shown, printed) = (text("2d", first, "/"), text("3e", then, "A"));
    assert_eq!(difference(&shown, &printed), None);
    let pairs = stand_ins(&shown, &printed);
    let shown: Vec<&str> = pairs.iter().map(|(shown, _)| shown.as_str()).collect();
    let key = format!("{}+c8e33075+AaE/W=", log("2d"));
    let (base64, id) = ("/".repeat(44), "01a1ff1b-a812-7633-b0cf-315a1548ee2d");
    assert_eq!(shown, ["key_01kdvdna00eqhrebpzvvz4tg2d", key.as_str(), id, first, base64.as_str()]);
    assert!(pairs.contains(&(first.to_owned(), then.to_owned())));
}
