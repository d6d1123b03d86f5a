//! House rules that a machine can check, over every file of the project.
//!
//! Plain reading of files: nothing is compiled or run, so that a rule can be understood from its
//! function. Each rule is a function from text to complaints and is tried on a bad example too,
//! because a rule that cannot complain is none. What lints already say is not said again here.

mod files;
mod manifests;
mod scan;
mod sources;
mod texts;

/// Fails with every complaint at once.
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}
