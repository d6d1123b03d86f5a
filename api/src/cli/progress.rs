//! Progress for people who watch: bars on standard error, and only on a terminal, so that scripts
//! and logs stay clean.

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::borrow::Cow;
use std::io::IsTerminal;

/// What a bar counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    /// Bytes of a file.
    Bytes,
    /// Things.
    Things,
}

/// A bar that is `length` long; without a length it only counts.
pub(crate) fn bar(
    quiet: bool,
    counts: Counts,
    what: impl Into<Cow<'static, str>>,
    length: Option<u64>,
) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = match (counts, length) {
        (Counts::Bytes, Some(_)) => "{msg:<24} {wide_bar} {bytes:>10} of {total_bytes}, {eta} left",
        (Counts::Bytes, None) => "{msg:<24} {spinner} {bytes:>10}, {bytes_per_sec}",
        (Counts::Things, Some(_)) => {
            "{msg:<24} {wide_bar} {human_pos:>9} of {human_len}, {eta} left"
        }
        (Counts::Things, None) => "{msg:<24} {spinner} {human_pos:>9}, {per_sec}",
    };
    // A template of ours that cannot be read costs the looks and nothing else.
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ");
    ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr())
        .with_style(style)
        .with_message(what)
}

/// A number as people read it: `19,366`.
pub(crate) fn grouped(number: u64) -> String {
    HumanCount(number).to_string()
}
