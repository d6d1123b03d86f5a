//! The log as a file that `events --raw` wrote, handed over in groups of a batch and its rows.

use super::{Finding, Group, Page};
use crate::Failure;
use crate::history::PAGE_BYTES;
use crate::raw::Line;
use event_log::verify::{RawBatch, RawRow};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use tokio::sync::mpsc;

/// A line is one event: longer than any body in base64.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Reads on a thread of its own until the end, or until nobody listens.
pub(super) fn read(path: &Path, pages: &mpsc::Sender<Page>) -> Result<(), Failure> {
    let failed = |source| Failure::File { path: path.display().to_string(), source };
    let input: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?))
    };
    let mut groups = Groups { input, number: 0, open: None, position: 0, read: 0 };
    let mut page = Vec::new();
    loop {
        let (end, finding) = match groups.next().map_err(failed)? {
            Ok(Some(group)) => {
                page.push(group);
                (false, None)
            }
            Ok(None) => (true, None),
            Err(finding) => (true, Some(finding)),
        };
        let full = groups.read >= PAGE_BYTES;
        if (end || full) && pages.blocking_send(Page::Groups(std::mem::take(&mut page))).is_err() {
            return Ok(());
        }
        if full {
            groups.read = 0;
        }
        if let Some(finding) = finding {
            // Nobody listens any more when something was found before.
            let _gone = pages.blocking_send(Page::Finding(finding));
        }
        if end {
            return Ok(());
        }
    }
}

struct Groups {
    input: Box<dyn BufRead>,
    number: u64,
    open: Option<Group>,
    position: i64,
    /// Bytes since the last page.
    read: usize,
}

impl Groups {
    /// The next batch with its rows; a line that is none is a finding.
    fn next(&mut self) -> std::io::Result<Result<Option<Group>, Finding>> {
        let mut text = Vec::new();
        loop {
            text.clear();
            let mut limited = std::io::Read::take(&mut self.input, LINE_BYTES_MAX);
            if limited.read_until(b'\n', &mut text)? == 0 {
                return Ok(Ok(self.open.take()));
            }
            self.number += 1;
            self.read += text.len();
            let line = match Line::read(&text) {
                Ok(line) => line,
                Err(error) => {
                    let what = format!("is neither a batch nor an event ({error})");
                    return Ok(Err(self.finding(&what)));
                }
            };
            match (line, &mut self.open) {
                (Line::Batch(batch), open) => {
                    let batch = RawBatch::from(batch);
                    if let Some(group) = open.replace((batch, Vec::new())) {
                        return Ok(Ok(Some(group)));
                    }
                }
                (Line::Event(event), Some((batch, rows))) => {
                    let row = RawRow::from(event);
                    self.position = row.position;
                    let claimed = batch.last.saturating_sub(batch.first);
                    rows.push(row);
                    // More than claimed is wrong already; what follows need not be held.
                    if i64::try_from(rows.len()).is_ok_and(|count| count > claimed + 1) {
                        return Ok(Ok(self.open.take()));
                    }
                }
                (Line::Event(_), None) => {
                    return Ok(Err(self.finding("is an event that belongs to no batch")));
                }
            }
        }
    }

    fn finding(&self, what: &str) -> Finding {
        let problem = format!("line {} of the file {what}", self.number);
        Finding::changed(self.position + 1, problem)
    }
}
