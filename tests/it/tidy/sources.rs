//! Rules for programs: how long, how they begin, what they are called, what they never do.

use crate::tidy::files::{File, all};
use crate::tidy::none;
use crate::tidy::scan::{code_only, functions, matches};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 600;
const FILE_LINES_AIM: usize = 400;
const COLUMNS_MAX: usize = 100;

/// Files beyond the aim, each with the reason why it is one file. An entry that is no longer
/// needed must go.
const LONG_FILES: [(&str, &str); 7] = [
    ("domain/src/catalogue/standard.rs", "one table of what is sold at first, and its tests"),
    ("domain/src/commerce/purchase.rs", ONE_AGGREGATE),
    ("domain/src/credits/account.rs", ONE_AGGREGATE),
    ("domain/src/operations/service.rs", ONE_AGGREGATE),
    ("domain/src/tenancy/organization.rs", ONE_AGGREGATE),
    ("projections/tests/it/town.rs", "one history that touches every event, told in order"),
    ("replay-tools/tests/it/tampering.rs", "one table of what is changed in every column, and why"),
];
const ONE_AGGREGATE: &str = "what may be asked of one aggregate is read on one page";

/// Names that say nothing: whatever is in there has a better one.
const EMPTY_NAMES: [&str; 8] =
    ["common", "helper", "helpers", "misc", "types", "util", "utils", "stuff"];

/// Members in which every amount is exact.
const EXACT: [&str; 5] =
    ["domain/src", "event-log/src", "commands/src", "projections/src", "replay-tools/src"];

/// Members in which a new event, command or refusal must break the build.
const TOTAL: [&str; 4] = ["domain/src", "commands/src", "projections/src", "api/src"];

#[test]
fn functions_fit_on_a_screen() {
    let rust = all().into_iter().filter(|file| file.is("rs"));
    none(&rust.flat_map(|file| long_functions(&file)).collect::<Vec<_>>());
}

fn long_functions(file: &File) -> Vec<String> {
    functions(&code_only(&file.text))
        .into_iter()
        .filter(|function| function.lines > FUNCTION_LINES_MAX)
        .map(|function| {
            let (path, line) = (&file.path, function.line);
            format!("{path}:{line}: `{}` has {} lines", function.name, function.lines)
        })
        .collect()
}

#[test]
fn files_are_short_and_the_exceptions_are_listed() {
    let programs = all().into_iter().filter(|file| file.is("rs") || file.is("sql"));
    none(&wrong_lengths(&programs.collect::<Vec<_>>(), &LONG_FILES));
}

fn wrong_lengths(files: &[File], exceptions: &[(&str, &str)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        let (path, lines) = (file.path.as_str(), file.text.lines().count());
        let is_listed = exceptions.iter().any(|(listed, _)| *listed == path);
        if lines > FILE_LINES_MAX {
            complaints.push(format!("{path} has {lines} lines; {FILE_LINES_MAX} is the limit"));
        } else if lines > FILE_LINES_AIM && !is_listed {
            complaints
                .push(format!("{path} has {lines} lines: split it, or list it with a reason"));
        } else if lines <= FILE_LINES_AIM && is_listed {
            complaints.push(format!("{path} has {lines} lines and needs no exception any more"));
        }
    }
    for (listed, _) in exceptions {
        if !files.iter().any(|file| file.path == *listed) {
            complaints.push(format!("{listed} is listed as long and does not exist"));
        }
    }
    complaints
}

#[test]
fn lines_fit_beside_a_second_window() {
    let programs = all().into_iter().filter(is_program);
    none(&programs.flat_map(|file| long_lines(&file)).collect::<Vec<_>>());
}

fn is_program(file: &File) -> bool {
    ["rs", "sql", "py", "mjs", "js"].iter().any(|extension| file.is(extension)) || file.is_script()
}

fn long_lines(file: &File) -> Vec<String> {
    let lines = file.text.lines().enumerate();
    lines
        .filter(|(_, line)| line.chars().count() > COLUMNS_MAX)
        .map(|(number, _)| format!("{}:{}: more than {COLUMNS_MAX} columns", file.path, number + 1))
        .collect()
}

#[test]
fn every_file_says_first_what_it_is() {
    let programs = all().into_iter().filter(is_program);
    none(&programs.filter_map(|file| unopened(&file)).collect::<Vec<_>>());
}

/// Manifests of members are forms that everybody knows; every other file begins with a sentence.
fn unopened(file: &File) -> Option<String> {
    let marks: &[&str] = match file.is("rs") {
        true => &["//!"],
        false => &["#", "--", "//", "/*", "\"\"\""],
    };
    let mut lines = file.text.lines().filter(|line| !line.starts_with("#!/"));
    let first = lines.next().unwrap_or_default();
    let sentence = marks.iter().find_map(|mark| first.strip_prefix(mark)).unwrap_or_default();
    let is_opened = sentence.split_whitespace().count() >= 2 || file.path.ends_with("/Cargo.toml");
    (!is_opened).then(|| format!("{} opens without saying what it is", file.path))
}

#[test]
fn names_say_what_is_inside() {
    none(&all().iter().filter_map(empty_name).collect::<Vec<_>>());
}

fn empty_name(file: &File) -> Option<String> {
    let parts = file.path.split('/').map(|part| part.split('.').next().unwrap_or(part));
    let empty = parts.into_iter().find(|part| EMPTY_NAMES.contains(part))?;
    Some(format!("{}: `{empty}` says nothing of what is inside", file.path))
}

#[test]
fn money_quantities_and_rates_are_never_floating_point() {
    let exact = all().into_iter().filter(|file| file.is("rs") && file.is_below(&EXACT));
    let mut complaints: Vec<String> = exact.flat_map(|file| floats(&file)).collect();
    let sql = all().into_iter().filter(|file| file.is("sql"));
    complaints.extend(sql.flat_map(|file| sql_floats(&file)));
    none(&complaints);
}

fn floats(file: &File) -> Vec<String> {
    found_words(file, &code_only(&file.text), &["f32", "f64"])
}

fn sql_floats(file: &File) -> Vec<String> {
    let uncommented: Vec<&str> =
        file.text.lines().map(|line| line.split("--").next().unwrap_or("")).collect();
    let sql = uncommented.join("\n").to_lowercase();
    found_words(file, &sql, &["real", "float", "float4", "float8", "double"])
}

fn found_words(file: &File, text: &str, forbidden: &[&str]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words.find(|word| forbidden.contains(word)) {
            complaints.push(format!("{}:{}: {word} is not exact", file.path, number + 1));
        }
    }
    complaints
}

#[test]
fn no_match_over_events_commands_or_refusals_has_an_arm_for_the_rest() {
    let total = all().into_iter().filter(|file| file.is("rs") && file.is_below(&TOTAL));
    none(&total.flat_map(|file| catch_alls(&file)).collect::<Vec<_>>());
}

fn catch_alls(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    for arms in matches(&code_only(&file.text)) {
        if !arms.iter().any(|arm| names_what_must_be_total(&arm.pattern)) {
            continue;
        }
        for arm in arms.iter().filter(|arm| takes_all(&arm.pattern)) {
            let (path, line, pattern) = (&file.path, arm.line, &arm.pattern);
            complaints.push(format!(
                "{path}:{line}: `{pattern} =>` would take in a new event, command or refusal unseen"
            ));
        }
    }
    complaints
}

/// `Event::Granted`, `credits::Command::Spend(…)`, `UserEvent::Renamed`.
fn names_what_must_be_total(pattern: &str) -> bool {
    ["Event::", "Command::", "Refusal::"].iter().any(|path| {
        pattern
            .match_indices(path)
            .any(|(at, _)| pattern[at + path.len()..].starts_with(|c: char| c.is_ascii_uppercase()))
    })
}

/// `_`, `_ if …`, `_other`: a value that nobody looks at any more. A plain name is another thing:
/// it hands the rest on to somebody, or the compiler complains that it is unused.
fn takes_all(pattern: &str) -> bool {
    let pattern = pattern.split(" if ").next().unwrap_or(pattern).trim();
    let is_name = pattern.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    pattern.starts_with('_') && is_name
}

#[test]
fn every_one_of_these_rules_can_complain() {
    let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
    let long = format!("fn long() {{\n{}}}\n", "    f();\n".repeat(69));
    assert_eq!(long_functions(&file("a.rs", &long)).len(), 1);
    let (short, middling, large) = ("//! a\n", "//! a\n".repeat(401), "//! a\n".repeat(601));
    let lengths = [file("s.rs", short), file("m.rs", &middling), file("l.rs", &large)];
    assert_eq!(wrong_lengths(&lengths, &[("s.rs", ""), ("gone.rs", "")]).len(), 4);
    assert_eq!(wrong_lengths(&lengths[1..2], &[("m.rs", "")]).len(), 0);
    assert_eq!(long_lines(&file("a.rs", &"é".repeat(101))).len(), 1);
    assert_eq!(long_lines(&file("a.rs", &"é".repeat(100))).len(), 0);
    assert!(unopened(&file("a.sh", "#!/bin/sh\nset -e\n")).is_some());
    assert!(unopened(&file("a.sh", "#!/bin/sh\n# What it does.\n")).is_none());
    assert!(unopened(&file("a.sql", "create table a ();\n")).is_some());
    assert!(unopened(&file("a.rs", "//! it\n")).is_some(), "one word is no sentence");
    assert!(unopened(&file("a.rs", "mod a;\n")).is_some());
    assert!(empty_name(&file("domain/src/utils.rs", "")).is_some());
    assert!(empty_name(&file("domain/src/helpers/money.rs", "")).is_some());
    assert_eq!(floats(&file("a.rs", "let a: f64 = 0.0; // f32\n")).len(), 1);
    assert_eq!(sql_floats(&file("a.sql", "a double precision, -- real\n")).len(), 1);
    let caught = "match e { Event::A => 1, _ => 2 } match e { Event::A => 1, Event::B => 2 }";
    assert_eq!(catch_alls(&file("a.rs", caught)).len(), 1);
    let named = "match e { (Event::A, s) => 1, _other if s => 2, rest => f(rest) }";
    assert_eq!(catch_alls(&file("a.rs", named)).len(), 1);
    assert_eq!(catch_alls(&file("a.rs", "match n { 1 => 1, _ => 2 }")).len(), 0);
}
