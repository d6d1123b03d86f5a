//! Rows of a file, one at a time: CSV or JSON Lines, of any size, in bounded memory.
//!
//! Only the cells that are mapped are kept. A row that cannot be read is an answer of its own and
//! the next one follows; what cannot be read on from is a [`FileFault`].

use crate::cli::json_members::Members;
use crate::cli::suggest::did_you_mean;
use clap::ValueEnum;
use csv::{ByteRecord, ReaderBuilder, Trim};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::Cell;
use std::io::{BufRead, BufReader, Read};
use std::rc::Rc;

/// The longest row: beyond it somebody forgot to close a quote, or it is no such file.
const ROW_BYTES_MAX: usize = 4 * 1024 * 1024;
const BUFFER: usize = 256 * 1024;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    Jsonl,
}

/// What keeps a file from being read (on).
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileFault {
    #[error("the file cannot be read")]
    Read(#[source] std::io::Error),
    #[error("the file is empty")]
    Empty,
    #[error("the file is UTF-16 text; save it as UTF-8")]
    Utf16,
    #[error(
        "the row that begins in line {line} is longer than {ROW_BYTES_MAX} bytes; is a quote not \
         closed?"
    )]
    RowTooLong { line: u64 },
    #[error("there is no column {wanted:?}{near}; the columns are {known}")]
    NoColumn { wanted: String, near: String, known: String },
    #[error("the column {0:?} is there twice; give the columns different names")]
    ColumnTwice(String),
}

/// What comes next in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A row; its cells are in place.
    Row { line: u64 },
    /// A row that cannot be read.
    Bad { line: u64, column: Option<String>, reason: String },
    /// Nothing.
    End,
}

/// The rows of one file.
pub(crate) struct Rows<R: Read> {
    reader: Reader<R>,
    columns: Vec<String>,
}

enum Reader<R: Read> {
    Csv {
        reader: csv::Reader<Bounded<R>>,
        record: ByteRecord,
        places: Vec<usize>,
        width: usize,
        row_bytes: Rc<Cell<usize>>,
    },
    JsonLines {
        reader: BufReader<R>,
        buffer: Vec<u8>,
        line: u64,
        known_columns: bool,
    },
}

impl<R: Read> Rows<R> {
    /// Begins to read; the columns have to be there.
    pub(crate) fn open(
        format: Format,
        delimiter: u8,
        columns: Vec<String>,
        source: R,
    ) -> Result<Self, FileFault> {
        let reader = match format {
            Format::Csv => open_csv(delimiter, &columns, source)?,
            Format::Jsonl => {
                let mut reader = BufReader::with_capacity(BUFFER, source);
                check_start(reader.fill_buf().map_err(FileFault::Read)?)?;
                let (buffer, line) = (Vec::new(), 0);
                Reader::JsonLines { reader, buffer, line, known_columns: false }
            }
        };
        Ok(Self { reader, columns })
    }

    /// Reads the next row into `cells`, one for each column that was asked for.
    pub(crate) fn next(&mut self, cells: &mut Vec<String>) -> Result<Next, FileFault> {
        cells.resize(self.columns.len(), String::new());
        match &mut self.reader {
            Reader::Csv { reader, record, places, width, row_bytes } => {
                row_bytes.set(0);
                let line = reader.position().line();
                let read = reader.read_byte_record(record).map_err(|error| of_csv(error, line))?;
                if !read {
                    return Ok(Next::End);
                }
                let line = record.position().map_or(line, csv::Position::line);
                if record.len() != *width {
                    let (has, needs) = (record.len(), *width);
                    let reason = format!("the row has {has} columns and the header has {needs}");
                    return Ok(Next::Bad { line, column: None, reason });
                }
                for ((cell, place), column) in cells.iter_mut().zip(places).zip(&self.columns) {
                    let bytes = record.get(*place).unwrap_or_default();
                    let Ok(text) = std::str::from_utf8(bytes) else {
                        let reason = "the text is not UTF-8".to_owned();
                        return Ok(Next::Bad { line, column: Some(column.clone()), reason });
                    };
                    text.clone_into(cell);
                }
                Ok(Next::Row { line })
            }
            Reader::JsonLines { reader, buffer, line, known_columns } => loop {
                if !read_line(reader, buffer, *line + 1)? {
                    return Ok(Next::End);
                }
                *line += 1;
                let text = if *line == 1 { without_mark(buffer) } else { buffer.as_slice() };
                if text.trim_ascii().is_empty() {
                    continue;
                }
                return fill(text, &self.columns, cells, *line, known_columns);
            },
        }
    }
}

fn open_csv<R: Read>(delimiter: u8, columns: &[String], source: R) -> Result<Reader<R>, FileFault> {
    let row_bytes = Rc::new(Cell::new(0));
    let bounded = Bounded { source, row_bytes: Rc::clone(&row_bytes), start: Vec::new() };
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .trim(Trim::All)
        .buffer_capacity(BUFFER)
        .from_reader(bounded);
    let header = reader.byte_headers().map_err(|error| of_csv(error, 1))?.clone();
    check_start(&reader.get_ref().start)?;
    let names: Vec<Cow<'_, str>> = header.iter().map(String::from_utf8_lossy).collect();
    let mut places = Vec::with_capacity(columns.len());
    for column in columns {
        let mut found = names.iter().enumerate().filter(|(_, name)| *name == column);
        let Some((place, _)) = found.next() else {
            let known: Vec<&str> = names.iter().map(|name| &**name).collect();
            return Err(no_column(column, &known));
        };
        if found.next().is_some() {
            return Err(FileFault::ColumnTwice(column.clone()));
        }
        places.push(place);
    }
    let width = header.len();
    Ok(Reader::Csv { reader, record: ByteRecord::new(), places, width, row_bytes })
}

fn no_column(wanted: &str, known: &[&str]) -> FileFault {
    let near = did_you_mean(wanted, known.iter().copied());
    let mut shown: Vec<String> = known.iter().take(50).map(|name| format!("{name:?}")).collect();
    if known.len() > shown.len() {
        shown.push(format!("and {} more", known.len() - shown.len()));
    }
    let mut known = shown.join(", ");
    if known.contains(';') || known.contains("\\t") {
        known.push_str(" (if that is several, name what separates them with --delimiter)");
    }
    FileFault::NoColumn { wanted: wanted.to_owned(), near, known }
}

fn check_start(start: &[u8]) -> Result<(), FileFault> {
    match start {
        [] => Err(FileFault::Empty),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err(FileFault::Utf16),
        _ => Ok(()),
    }
}

fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Ends a row that does not end, before it has filled the memory.
struct Bounded<R> {
    source: R,
    row_bytes: Rc<Cell<usize>>,
    start: Vec<u8>,
}

/// The row is too long.
#[derive(Debug, thiserror::Error)]
#[error("a row is too long")]
struct TooLong;

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.row_bytes.get() > ROW_BYTES_MAX {
            return Err(std::io::Error::other(TooLong));
        }
        let read = self.source.read(buffer)?;
        if self.start.is_empty() {
            self.start = buffer[..read.min(3)].to_vec();
        }
        self.row_bytes.set(self.row_bytes.get() + read);
        Ok(read)
    }
}

fn of_csv(error: csv::Error, line: u64) -> FileFault {
    let error = match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        // Rows may have any width and any bytes, so that reading is all that can fail.
        other => std::io::Error::other(csv_fault(&other)),
    };
    if error.get_ref().is_some_and(|inner| inner.is::<TooLong>()) {
        return FileFault::RowTooLong { line };
    }
    FileFault::Read(error)
}

fn csv_fault(kind: &csv::ErrorKind) -> String {
    format!("{kind:?}")
}

/// Reads a line without its end; `false` at the end of the file.
fn read_line<R: Read>(
    reader: &mut BufReader<R>,
    buffer: &mut Vec<u8>,
    line: u64,
) -> Result<bool, FileFault> {
    buffer.clear();
    let most = u64::try_from(ROW_BYTES_MAX).unwrap_or(u64::MAX);
    let read = reader.take(most).read_until(b'\n', buffer).map_err(FileFault::Read)?;
    if read == ROW_BYTES_MAX && !buffer.ends_with(b"\n") {
        return Err(FileFault::RowTooLong { line });
    }
    Ok(read > 0)
}

/// Takes the cells from one object.
fn fill(
    text: &[u8],
    columns: &[String],
    cells: &mut [String],
    line: u64,
    known_columns: &mut bool,
) -> Result<Next, FileFault> {
    let bad = |column: Option<&str>, reason: String| {
        Ok(Next::Bad { line, column: column.map(str::to_owned), reason })
    };
    let members = match std::str::from_utf8(text).map(serde_json::from_str::<Members<'_>>) {
        Ok(Ok(Members(members))) => members,
        Ok(Err(error)) => return bad(None, format!("the line is no JSON object: {error}")),
        Err(_) => return bad(None, "the line is not UTF-8".to_owned()),
    };
    for (cell, column) in cells.iter_mut().zip(columns) {
        let Some(raw) = member(&members, column) else {
            if !*known_columns {
                let known: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
                return Err(no_column(column, &known));
            }
            return bad(Some(column), "it is missing".to_owned());
        };
        cell.clear();
        let value = raw.get();
        if value.starts_with('"') {
            match serde_json::from_str::<Cow<'_, str>>(value) {
                Ok(text) => cell.push_str(&text),
                Err(error) => {
                    return bad(Some(column), format!("the text cannot be read: {error}"));
                }
            }
        } else if value != "null" {
            cell.push_str(value);
        }
    }
    *known_columns = true;
    Ok(Next::Row { line })
}

/// The member of a name, or of a path such as `usage.prompt_tokens`.
fn member<'a>(members: &[(String, &'a RawValue)], name: &str) -> Option<&'a RawValue> {
    if let Some((_, raw)) = members.iter().find(|(known, _)| known == name) {
        return Some(raw);
    }
    let (first, rest) = name.split_once('.')?;
    let (_, raw) = members.iter().find(|(known, _)| known == first)?;
    let Members(inner) = serde_json::from_str(raw.get()).ok()?;
    member(&inner, rest)
}

#[cfg(test)]
mod tests;
