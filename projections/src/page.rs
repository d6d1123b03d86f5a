//! A page of the log, decoded once for all read models that want something of it.

use crate::occurrence::Occurrence;
use crate::projection::{ApplyError, Definition, Takes};
use domain::Event;
use event_log::{Position, Recorded, StreamId, Stretch};
use std::collections::HashMap;

/// An event of a page.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Which event.
    pub(crate) position: Position,
    /// Which read models take it, a bit for each.
    takers: u32,
    content: Result<Occurrence, Unreadable>,
}

/// An event that this program cannot read.
#[derive(Debug)]
struct Unreadable {
    stream: Option<StreamId>,
    error: String,
}

/// Events that follow each other in the log. Of those that nobody takes only the place is left.
#[derive(Debug)]
pub(crate) struct Page {
    /// The page begins after this position.
    pub(crate) after: Position,
    /// And ends with this one.
    pub(crate) last: Position,
    entries: Vec<Entry>,
}

impl Page {
    /// The events that a read model takes, after a position and up to another.
    pub(crate) fn of(
        &self,
        reader: usize,
        after: Position,
        to: Position,
    ) -> impl Iterator<Item = &Entry> + Clone {
        let bit = 1_u32 << reader;
        self.entries
            .iter()
            .filter(move |entry| entry.takers & bit != 0)
            .filter(move |entry| entry.position > after && entry.position <= to)
    }
}

impl Entry {
    /// What happened.
    pub(crate) fn occurrence(&self) -> Result<&Occurrence, ApplyError> {
        let unreadable = |it: &Unreadable| ApplyError::Unreadable(it.error.clone());
        self.content.as_ref().map_err(unreadable)
    }

    /// The thing it belongs to: its stream, or itself when it has none.
    pub(crate) fn thing(&self) -> String {
        let stream = match &self.content {
            Ok(occurrence) => &occurrence.stream,
            Err(unreadable) => &unreadable.stream,
        };
        stream.as_ref().map_or_else(|| self.position.to_string(), ToString::to_string)
    }
}

/// Knows who takes what.
#[derive(Debug)]
pub(crate) struct Decoder {
    takers: HashMap<&'static str, u32>,
    /// Who takes also what this program does not know.
    everything: u32,
}

impl Decoder {
    /// For these read models, which are known by their place in the list from now on.
    pub(crate) fn new(definitions: &[Definition]) -> Self {
        let mask = |takes: &dyn Fn(Takes) -> bool| {
            let bits = definitions.iter().enumerate().filter(|(_, it)| takes(it.takes));
            bits.fold(0, |mask, (reader, _)| mask | 1_u32 << reader)
        };
        let names = Event::names().into_iter();
        let takers = names.map(|(name, _)| (name, mask(&|takes| takes.includes(name)))).collect();
        let everything = mask(&|takes| matches!(takes, Takes::Everything));
        Self { takers, everything }
    }

    /// Decodes what is wanted of a page; `None` for an empty one.
    pub(crate) fn page(&self, recorded: Vec<Recorded>) -> Option<Page> {
        let (first, last) = (recorded.first()?.position, recorded.last()?.position);
        let after = Position(first.0 - 1);
        Some(self.stretch(Stretch { after, last, events: recorded }))
    }

    /// Decodes what is wanted of a stretch.
    pub(crate) fn stretch(&self, stretch: Stretch) -> Page {
        let Stretch { after, last, events } = stretch;
        let entries = events.into_iter().filter_map(|event| self.entry(event)).collect();
        Page { after, last, entries }
    }

    fn entry(&self, recorded: Recorded) -> Option<Entry> {
        let known = self.takers.get(recorded.type_name.as_str());
        let takers = known.copied().unwrap_or(self.everything);
        if takers == 0 {
            return None;
        }
        let position = recorded.position;
        let content = Occurrence::decode(recorded).map_err(|(recorded, error)| Unreadable {
            stream: recorded.stream,
            error: chain(&error),
        });
        Some(Entry { position, takers, content })
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
