//! Rules for what is written: links lead somewhere, nothing tells of the machine it was written
//! on, nothing is left to be done later, and history is only added to.

use std::collections::BTreeSet;
use std::path::Path;

use crate::tidy::files::{File, all, root};
use crate::tidy::none;

/// Puts a word together so that this file does not contain it.
fn word(parts: &[&str]) -> String {
    parts.concat()
}

/// What only makes sense on the machine where it was written.
fn machine_words() -> Vec<String> {
    vec![
        word(&["/wo", "rk/"]),
        word(&["/ro", "ot/"]),
        word(&["crates", ".io"]),
        word(&["pypi", ".org"]),
        word(&["python", "hosted"]),
        word(&["npmjs", ".org"]),
        word(&["deb.deb", "ian.org"]),
    ]
}

#[test]
fn nothing_tells_of_the_machine_it_was_written_on() {
    // The lock file names the registry of every crate, as it must.
    let written = all().into_iter().filter(|file| !file.path.ends_with("Cargo.lock"));
    none(&written.flat_map(|file| found(&file, &machine_words())).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_to_be_done_later() {
    let later = [word(&["TO", "DO"]), word(&["FIX", "ME"]), word(&["XX", "X"])];
    none(&all().iter().flat_map(|file| found(file, &later)).collect::<Vec<_>>());
}

fn found(file: &File, words: &[String]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for word in words.iter().filter(|word| line.contains(word.as_str())) {
            complaints.push(format!("{}:{}: mentions {word}", file.path, number + 1));
        }
    }
    complaints
}

#[test]
fn links_in_documents_lead_somewhere() {
    let files = all();
    let documents = files.iter().filter(|file| file.is("md"));
    none(&documents.flat_map(|file| broken_links(file, &root())).collect::<Vec<_>>());
}

fn broken_links(file: &File, root: &Path) -> Vec<String> {
    let here = root.join(&file.path);
    let folder = here.parent().unwrap_or(root);
    let mut complaints = Vec::new();
    for target in links(&file.text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((target.as_str(), ""));
        let document = if path.is_empty() { here.clone() } else { folder.join(path) };
        if !document.exists() && document != here {
            complaints.push(format!("{}: {target} does not exist", file.path));
        } else if !anchor.is_empty() && document.extension().is_some_and(|found| found == "md") {
            let text = match document == here {
                true => file.text.clone(),
                false => std::fs::read_to_string(&document).unwrap_or_default(),
            };
            if !anchors(&text).contains(anchor) {
                complaints.push(format!("{}: {target} has no such heading", file.path));
            }
        }
    }
    complaints
}

/// The targets of `[text](target)`, outside of code.
fn links(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // Every second part of a line split at backticks is code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        for rest in prose.split("](").skip(1) {
            targets.extend(rest.split(')').next().map(str::to_owned));
        }
    }
    targets
}

/// How headings are addressed: small letters, spaces as hyphens, punctuation left out.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn migrations_are_numbered_without_a_gap_and_only_add() {
    let files = all();
    let migrations: Vec<&File> =
        files.iter().filter(|file| file.is("sql") && file.is_below(&["migrations/"])).collect();
    none(&wrong_migrations(&migrations));
}

fn wrong_migrations(migrations: &[&File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, file) in migrations.iter().enumerate() {
        let expected = format!("{:04}_", index + 1);
        let name = file.path.rsplit('/').next().unwrap_or(&file.path);
        if !name.starts_with(&expected) {
            complaints.push(format!("{}: its number should be {expected}", file.path));
        }
        for (number, line) in file.text.lines().enumerate() {
            let (sql, comment) = line.split_once("--").unwrap_or((line, ""));
            let sql = sql.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
            // How a column is stored is nothing that a program sees; what is unused says so.
            if sql.contains("set storage") || comment.trim_start().starts_with("unused: ") {
                continue;
            }
            if let Some(taken) = TAKES_AWAY.iter().find(|taken| sql.contains(**taken)) {
                let (path, line) = (&file.path, number + 1);
                complaints
                    .push(format!("{path}:{line}: `{taken}` takes away; expand, never contract"));
            }
        }
    }
    complaints
}

/// What an older program beside the new one would miss.
const TAKES_AWAY: [&str; 9] = [
    "drop table",
    "drop column",
    "drop schema",
    "drop type",
    "drop view",
    "rename to",
    "rename column",
    "alter column",
    "truncate table",
];

#[test]
fn every_one_of_these_rules_can_complain() {
    let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
    let path = word(&["see /wo", "rk/main"]);
    assert_eq!(found(&file("a.md", &path), &machine_words()).len(), 1);

    let text = "# One thing\n[here](#one-thing) [there](#two) [gone](gone.md) `[code](x.md)`\n\
                ```\n[code](y.md)\n```\n[far](https://example.org/z.md)\n";
    let complaints = broken_links(&file("none.md", text), &root());
    assert_eq!(complaints.len(), 2, "{complaints:?}");

    let add = file("migrations/0001_a.sql", "create table a ();\n-- drop table b\n");
    assert_eq!(wrong_migrations(&[&add]).len(), 0);
    let take = file("migrations/0003_b.sql", "alter table a\n  DROP  COLUMN b;\n");
    assert_eq!(wrong_migrations(&[&add, &take]).len(), 2);
}
