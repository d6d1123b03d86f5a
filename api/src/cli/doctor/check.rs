//! What one check found, in words for people and as data for programs.

use serde::Serialize;
use serde_json::Value;
use std::error::Error;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Name {
    DataFolder,
    MasterKey,
    LogKeys,
    Postgresql,
    ContainerEngine,
    Gpus,
    Redis,
    Witnesses,
}

impl Name {
    /// As the table calls it.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::DataFolder => "data folder",
            Self::MasterKey => "master key",
            Self::LogKeys => "log keys",
            Self::Postgresql => "PostgreSQL",
            Self::ContainerEngine => "container engine",
            Self::Gpus => "GPUs",
            Self::Redis => "Redis",
            Self::Witnesses => "witnesses",
        }
    }
}

/// How it is with what was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It is there and can be used.
    Ok,
    /// It is not there, and that is no fault.
    Absent,
    /// It does not work, or something that is needed is not there.
    Problem,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: Name,
    pub(super) state: State,
    /// Whether the program cannot do, or was told not to do, without it.
    pub(super) needed: bool,
    /// In words.
    pub(super) found: String,
    /// What to do about it, in words.
    pub(super) to_do: Option<String>,
    /// The same as data; its members depend on the check. `None` where nothing was found.
    pub(super) details: Option<Value>,
    /// One line for each thing of several.
    #[serde(skip)]
    pub(super) lines: Vec<String>,
}

impl Check {
    fn new(name: Name, state: State, found: impl Into<String>) -> Self {
        let (found, lines) = (found.into(), Vec::new());
        Self { name, state, needed: false, found, to_do: None, details: None, lines }
    }

    pub(super) fn ok(name: Name, found: impl Into<String>, details: Value) -> Self {
        Self { details: Some(details), ..Self::new(name, State::Ok, found) }
    }

    /// Something was found, and it is not as it has to be.
    pub(super) fn wrong(name: Name, found: impl Into<String>, details: Value) -> Self {
        Self { details: Some(details), ..Self::new(name, State::Problem, found) }
    }

    pub(super) fn absent(name: Name, found: impl Into<String>) -> Self {
        Self::new(name, State::Absent, found)
    }

    /// What an error says, with the cause that lies deepest, because that one names the fault.
    pub(super) fn problem(name: Name, error: &dyn Error) -> Self {
        let text = error.to_string();
        let (found, to_do) = parts(&text);
        let mut found = found.to_owned();
        if let Some(cause) = deepest(error).map(ToString::to_string)
            && !found.contains(&cause)
        {
            found = format!("{found} ({cause})");
        }
        Self { to_do: to_do.map(str::to_owned), ..Self::new(name, State::Problem, found) }
    }

    pub(super) fn needed(self, needed: bool) -> Self {
        Self { needed, ..self }
    }

    pub(super) fn advise(self, advice: impl Into<String>) -> Self {
        Self { to_do: Some(advice.into()), ..self }
    }

    pub(super) fn lines(self, lines: Vec<String>) -> Self {
        Self { lines, ..self }
    }
}

fn deepest(error: &dyn Error) -> Option<&dyn Error> {
    let mut deepest = error.source()?;
    while let Some(inner) = deepest.source() {
        deepest = inner;
    }
    Some(deepest)
}

/// Messages say what is wrong and then, after a semicolon, what to do. A semicolon in parentheses
/// belongs to what is in them.
fn parts(text: &str) -> (&str, Option<&str>) {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ';' if depth == 0 => {
                return (&text[..at], Some(text[at + 1..].trim()));
            }
            _ => {}
        }
    }
    (text, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_apart_at_its_own_semicolon() {
        assert_eq!(parts("it is shut; open it"), ("it is shut", Some("open it")));
        let (found, to_do) = parts("none found (looked in: a; b); install one; or two");
        assert_eq!(found, "none found (looked in: a; b)");
        assert_eq!(to_do, Some("install one; or two"));
        assert_eq!(parts("no NVIDIA driver here"), ("no NVIDIA driver here", None));
    }

    #[test]
    fn a_problem_names_the_cause_that_lies_deepest() {
        let folder = "/here".into();
        let source = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let check =
            Check::problem(Name::DataFolder, &installation::Error::Folder { folder, source });
        assert_eq!(check.found, "the data folder /here cannot be made (permission denied)");
        assert!(check.to_do.is_some_and(|advice| advice.starts_with("check its path")));
        assert_eq!((check.state, check.details), (State::Problem, None));
    }
}
