//! Rules for the members: which may depend on which, and why each crate is here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::tidy::files::root;
use crate::tidy::none;

/// The arrows of docs/ARCHITECTURE.md: each member, and the members it may know. What only tests
/// use is free, because nothing that is built for users follows from it.
const ARROWS: [(&str, &str); 11] = [
    ("domain", ""),
    ("event-log", ""),
    ("private-postgres", ""),
    ("test-postgres", "event-log private-postgres"),
    ("installation", "event-log private-postgres"),
    ("commands", "domain event-log"),
    ("projections", "domain event-log"),
    ("integrations", "domain event-log commands"),
    ("api", "domain event-log installation private-postgres commands projections integrations"),
    ("replay-tools", "domain event-log installation private-postgres projections"),
    (
        "tests",
        "domain event-log installation private-postgres test-postgres commands projections \
         integrations api replay-tools",
    ),
];

/// Section → names, as far as our own manifests use the format: `name = …`, `name.key = …`.
fn sections(manifest: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut sections: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut section = String::new();
    for line in manifest.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = name.trim_start_matches('[').to_owned();
        } else if let Some((key, _)) = line.split_once('=')
            && !key.trim().is_empty()
            && !line.starts_with([' ', '#', '"', '}', ']'])
        {
            let name = key.trim().split('.').next().unwrap_or(key).to_owned();
            sections.entry(section.clone()).or_default().insert(name);
        }
    }
    sections
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn members() -> Vec<String> {
    let manifest = read("Cargo.toml");
    let list = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next());
    let names = list.expect("a list of members").split(',');
    names.map(|name| name.trim().trim_matches('"').to_owned()).filter(|n| !n.is_empty()).collect()
}

#[test]
fn arrows_between_members_point_one_way() {
    let members = members();
    let mut complaints = Vec::new();
    for member in &members {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| name == member) else {
            complaints.push(format!("{member} has no row in ARROWS: which members may it know?"));
            continue;
        };
        let manifest = read(&format!("{member}/Cargo.toml"));
        complaints.extend(wrong_arrows(member, &manifest, allowed, &members));
    }
    none(&complaints);
}

fn wrong_arrows(member: &str, manifest: &str, allowed: &str, members: &[String]) -> Vec<String> {
    let sections = sections(manifest);
    let built =
        ["dependencies", "build-dependencies"].iter().filter_map(|name| sections.get(*name));
    built
        .flatten()
        .filter(|name| members.contains(name) && !allowed.split(' ').any(|known| known == *name))
        .map(|name| format!("{member} must not know {name} (docs/ARCHITECTURE.md)"))
        .collect()
}

#[test]
fn every_dependency_is_used_and_says_why_it_is_here() {
    let members = members();
    let root_manifest = sections(&read("Cargo.toml"));
    let named = root_manifest.get("workspace.dependencies").expect("the list of dependencies");
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for member in &members {
        let sections = sections(&read(&format!("{member}/Cargo.toml")));
        let is_in = |section: &str, name: &str| {
            sections.get(section).is_some_and(|names| names.contains(name))
        };
        for name in named.iter().filter(|name| !members.contains(name)) {
            let users = users.entry(name.clone()).or_default();
            if is_in("dependencies", name) || is_in("build-dependencies", name) {
                users.push(member.clone());
            } else if is_in("dev-dependencies", name) {
                users.push(format!("{member} (tests)"));
            }
        }
    }
    for list in users.values_mut() {
        list.sort();
    }
    none(&wrong_rows(&read("docs/dependencies.md"), &users));
}

fn wrong_rows(table: &str, users: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut complaints = Vec::new();
    let first_table = table.split("\n## ").next().unwrap_or(table);
    let mut rows: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for line in first_table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        rows.insert(cells[1].trim_matches('`').to_owned(), cells);
    }
    for (name, users) in users {
        let used_by = users.join(", ");
        if users.is_empty() {
            complaints.push(format!("{name} is named in Cargo.toml and used by no member"));
        }
        match rows.remove(name) {
            None => complaints.push(format!("{name} has no row in docs/dependencies.md")),
            Some(cells) if cells[2] != used_by => complaints.push(format!(
                "docs/dependencies.md: {name} is used by `{used_by}`, not by `{}`",
                cells[2]
            )),
            Some(cells) if cells[3].is_empty() => {
                complaints.push(format!("docs/dependencies.md does not say why {name} is here"));
            }
            Some(_) => {}
        }
    }
    let gone = rows.keys().map(|name| format!("docs/dependencies.md: {name} is here no more"));
    complaints.extend(gone);
    complaints
}

#[test]
fn members_take_dependencies_from_the_workspace_only() {
    let mut complaints = Vec::new();
    for member in members() {
        complaints.extend(own_versions(&member, &read(&format!("{member}/Cargo.toml"))));
    }
    none(&complaints);
}

fn own_versions(member: &str, manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut complaints = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.contains("dependencies")
            && line.contains('=')
            && !line.starts_with('#')
            && !line.replace(' ', "").contains("workspace=true")
        {
            complaints
                .push(format!("{member}/Cargo.toml: `{line}` belongs into the root manifest"));
        }
    }
    complaints
}

#[test]
fn every_one_of_these_rules_can_complain() {
    let members = ["domain".to_owned(), "api".to_owned()];
    let manifest = "[dependencies]\napi.workspace = true\n[dev-dependencies]\nx.workspace = true\n";
    assert_eq!(wrong_arrows("domain", manifest, "", &members).len(), 1);
    assert_eq!(wrong_arrows("tests", manifest, "domain api", &members).len(), 0);
    assert_eq!(own_versions("domain", "[dependencies]\nserde = \"1\"\n").len(), 1);

    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let users = BTreeMap::from([
        ("right".to_owned(), of(&["api"])),
        ("moved".to_owned(), of(&["api", "domain"])),
        ("missing".to_owned(), of(&["api"])),
        ("unused".to_owned(), of(&[])),
        ("silent".to_owned(), of(&["api"])),
    ]);
    let table = "| `right` | api | because | |\n\
                 | `moved` | api | because | |\n\
                 | `unused` |  | because | |\n\
                 | `silent` | api |  | |\n\
                 | `gone` | api | because | |\n";
    assert_eq!(wrong_rows(table, &users).len(), 5);
}
