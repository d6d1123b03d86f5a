//! One bundle as an archive: its bodies by position.
//!
//! Beside the bundle lies an index of where every 256th event stands. It can be made again from the
//! bundle at any time, and nothing rests on it: an event that is not found where it says, or is
//! another one, is not given out.
//!
//! ```text
//! index = "OPSINDX1" ‖ length of the bundle int8 ‖ (position int8 ‖ offset int8)*
//! ```

use crate::bundle::{EVENT_FRAME, FRAME_BYTES_MAX, MAGIC, archived_body};
use crate::evidence::Hash;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

const INDEX_MAGIC: &[u8; 8] = b"OPSINDX1";

/// Every so many events the index has an entry.
const BLOCK_EVENTS: u64 = 256;

const BUFFER_BYTES: usize = 1 << 17;

/// Payload and meta of an event with their salts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedBody {
    /// The payload.
    pub payload: Vec<u8>,
    /// Its salt.
    pub payload_salt: Vec<u8>,
    /// What is said about the event.
    pub meta: Vec<u8>,
    /// Its salt.
    pub meta_salt: Vec<u8>,
}

/// A bundle that bodies are read from.
#[derive(Debug)]
pub struct BodyFile {
    file: File,
    /// Positions of events, and where their frames begin; both rise.
    blocks: Vec<(i64, u64)>,
}

impl BodyFile {
    /// Opens a bundle, with its index, or without it where there is none that fits.
    ///
    /// # Errors
    /// When it cannot be read, or is no bundle.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let blocks = match fs::read(index_path(path)).ok().and_then(|it| blocks_of(&it, length)) {
            Some(blocks) => blocks,
            None => scan(&file)?,
        };
        Ok(Self { file, blocks })
    }

    /// Whether it has not been removed since it was opened.
    pub(super) fn is_there(&self) -> bool {
        self.file.metadata().is_ok_and(|about| about.nlink() > 0)
    }

    /// Opens a bundle by reading it through, and writes the index beside it.
    ///
    /// # Errors
    /// When it cannot be read or the index cannot be written.
    pub fn index(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let blocks = scan(&file)?;
        let mut bytes = INDEX_MAGIC.to_vec();
        bytes.extend_from_slice(&file.metadata()?.len().to_be_bytes());
        for (position, offset) in &blocks {
            bytes.extend_from_slice(&position.to_be_bytes());
            bytes.extend_from_slice(&offset.to_be_bytes());
        }
        let mut written = File::create(index_path(path))?;
        written.write_all(&bytes)?;
        written.sync_all()?;
        Ok(Self { file, blocks })
    }

    /// The bodies at these positions, which rise, of events with these hashes. What is not there,
    /// or is not what the hash covers, is left out.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn bodies(&self, wanted: &[(i64, Hash)]) -> io::Result<BTreeMap<i64, ArchivedBody>> {
        let mut found = BTreeMap::new();
        let mut reader: Option<Frames<BufReader<At<'_>>>> = None;
        for (position, hash) in wanted {
            let Some(begin) = self.block(*position) else { continue };
            // What stands in between is read over, unless the index knows a shorter way.
            let goes_on = reader
                .as_ref()
                .is_some_and(|frames| frames.offset >= begin && frames.last < *position);
            if !goes_on {
                let at = At { file: &self.file, offset: begin };
                let input = BufReader::with_capacity(BUFFER_BYTES, at);
                reader = Some(Frames { input, offset: begin, last: 0 });
            }
            let Some(frames) = &mut reader else { continue };
            if let Some(bytes) = frames.find(*position)?
                && let Some(body) = archived_body(&bytes, hash)
            {
                found.insert(*position, body);
            }
        }
        Ok(found)
    }

    fn block(&self, position: i64) -> Option<u64> {
        let behind = self.blocks.partition_point(|(first, _)| *first <= position);
        self.blocks.get(behind.checked_sub(1)?).map(|(_, offset)| *offset)
    }
}

/// Where the index of a bundle lies.
fn index_path(bundle: &Path) -> PathBuf {
    let mut name = bundle.as_os_str().to_owned();
    name.push(".index");
    PathBuf::from(name)
}

fn blocks_of(bytes: &[u8], length: u64) -> Option<Vec<(i64, u64)>> {
    let rest = bytes.strip_prefix(INDEX_MAGIC)?;
    let (stated, rest) = rest.split_first_chunk()?;
    let (pairs, rest) = rest.as_chunks::<16>();
    let fits = u64::from_be_bytes(*stated) == length && rest.is_empty();
    let read = |pair: &[u8; 16]| {
        let (position, offset) = pair.split_first_chunk::<8>()?;
        Some((i64::from_be_bytes(*position), u64::from_be_bytes(offset.try_into().ok()?)))
    };
    fits.then(|| pairs.iter().map(read).collect())?
}

/// Reads through a bundle, over everything but where events stand.
fn scan(file: &File) -> io::Result<Vec<(i64, u64)>> {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, At { file, offset: 0 });
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no bundle"));
    }
    let offset = u64::try_from(MAGIC.len()).unwrap_or_default();
    let mut frames = Frames { input, offset, last: 0 };
    let (mut blocks, mut events) = (Vec::new(), 0_u64);
    loop {
        let offset = frames.offset;
        let Some((position, length)) = frames.next()? else { return Ok(blocks) };
        if let Some(position) = position {
            if events.is_multiple_of(BLOCK_EVENTS) {
                blocks.push((position, offset));
            }
            events += 1;
        }
        frames.skip(length)?;
    }
}

/// Reads a file from a place on, without moving anybody else's.
#[derive(Debug)]
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += u64::try_from(read).unwrap_or_default();
        Ok(read)
    }
}

impl Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let offset = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.offset.checked_add_signed(by),
            SeekFrom::End(_) => None,
        };
        self.offset = offset.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.offset)
    }
}

/// The frames from a place on.
struct Frames<R> {
    input: R,
    /// Where the next one begins.
    offset: u64,
    /// The position of the last event that was met.
    last: i64,
}

/// The kind and the length, and of an event also the first bytes of its entry.
const HEAD_BYTES: usize = 5;
const PLACE_BYTES: usize = 16;

impl Frames<BufReader<At<'_>>> {
    /// The next frame: its event's position if it is one, and how long it is. What it holds is
    /// still to be read or skipped.
    fn next(&mut self) -> io::Result<Option<(Option<i64>, usize)>> {
        if self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut head = [0; HEAD_BYTES];
        self.input.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged"));
        }
        self.offset += u64::try_from(HEAD_BYTES + length).unwrap_or_default();
        if kind != EVENT_FRAME || length < PLACE_BYTES {
            return Ok(Some((None, length)));
        }
        // Peeked at, so that the frame is still whole for whoever wants it.
        let position = self.peek_position()?;
        self.last = position;
        Ok(Some((Some(position), length)))
    }

    fn peek_position(&mut self) -> io::Result<i64> {
        let mut place = [0; PLACE_BYTES];
        self.input.read_exact(&mut place)?;
        self.input.seek_relative(-i64::try_from(PLACE_BYTES).unwrap_or_default())?;
        let (_, position) = place.split_at(PLACE_BYTES / 2);
        Ok(i64::from_be_bytes(position.try_into().unwrap_or_default()))
    }

    fn skip(&mut self, length: usize) -> io::Result<()> {
        self.input.seek_relative(i64::try_from(length).unwrap_or_default())
    }

    /// The frame of the event at a position, if it comes before any later one.
    fn find(&mut self, wanted: i64) -> io::Result<Option<Vec<u8>>> {
        while let Some((position, length)) = self.next()? {
            match position {
                Some(position) if position == wanted => {
                    let mut bytes = vec![0; length];
                    self.input.read_exact(&mut bytes)?;
                    return Ok(Some(bytes));
                }
                Some(position) if position > wanted => {
                    self.skip(length)?;
                    return Ok(None);
                }
                Some(_) | None => self.skip(length)?,
            }
        }
        Ok(None)
    }
}
