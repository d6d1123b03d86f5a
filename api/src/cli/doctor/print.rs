//! The report as a table: name, state, what was found, and below it what to do.

use super::Report;
use super::check::{Check, State};

const MEBIBYTE: u64 = 1024 * 1024;
const GIBIBYTE: u64 = 1024 * MEBIBYTE;

/// A line for each check; what belongs to it stands indented below.
pub(super) fn table(report: &Report) -> String {
    let width =
        report.checks.iter().map(|check| check.name.title().len()).max().unwrap_or_default();
    let mut text = String::new();
    for check in &report.checks {
        let (title, state) = (check.name.title(), word(check.state));
        text.push_str(&format!("{title:width$}  {state:7}  {}\n", check.found));
        for line in &check.lines {
            text.push_str(&format!("{:width$}  {:7}  {line}\n", "", ""));
        }
        if let Some(advice) = &check.to_do {
            text.push_str(&format!("{:width$}  {:7}  to do: {advice}\n", "", ""));
        }
    }
    text + &summary(report)
}

const fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Absent => "absent",
        State::Problem => "problem",
    }
}

fn summary(report: &Report) -> String {
    let is_missing = |check: &&Check| check.needed && check.state == State::Problem;
    let missing = report.checks.iter().filter(is_missing);
    let names: Vec<&str> = missing.map(|check| check.name.title()).collect();
    match names.is_empty() {
        true => "Everything that is needed is in order.\n".to_owned(),
        false => format!("Needed and not in order: {}.\n", names.join(", ")),
    }
}

/// An amount of storage in the unit that suits it, rounded down.
pub(super) fn size(bytes: u64) -> String {
    match bytes >= 10 * GIBIBYTE {
        true => format!("{} GiB", bytes / GIBIBYTE),
        false => format!("{} MiB", mebibytes(bytes)),
    }
}

/// Rounded down.
pub(super) const fn mebibytes(bytes: u64) -> u64 {
    bytes / MEBIBYTE
}

#[cfg(test)]
mod tests {
    use super::super::check::Name;
    use super::*;
    use serde_json::Value;

    #[test]
    fn columns_are_aligned_and_advice_stands_below() {
        let ok = Check::ok(Name::Redis, "fine", Value::Null).lines(vec!["0: first".to_owned()]);
        let absent = Check::absent(Name::MasterKey, "none").advise("nothing");
        let report = Report { version: "1", fine: true, checks: vec![ok, absent] };
        let expected = "\
Redis       ok       fine
                     0: first
master key  absent   none
                     to do: nothing
Everything that is needed is in order.
";
        assert_eq!(table(&report), expected);
    }

    #[test]
    fn only_what_is_needed_and_out_of_order_is_named_at_the_end() {
        let problem = |name| Check::problem(name, &std::fmt::Error);
        let checks = vec![problem(Name::Gpus), problem(Name::DataFolder).needed(true)];
        let report = Report { version: "1", fine: false, checks };
        assert!(table(&report).ends_with("Needed and not in order: data folder.\n"));
    }

    #[test]
    fn sizes_are_rounded_down() {
        assert_eq!(size(10 * GIBIBYTE - 1), "10239 MiB");
        assert_eq!(size(11 * GIBIBYTE - 1), "10 GiB");
    }
}
