//! Writing a bundle, frame by frame.

use super::content::{Batch, Manifest, count, end, gap};
use super::record::{self, Bodies};
use super::{FRAME_BYTES_MAX, Kind, MAGIC};
use crate::evidence::{Hash, micros};
use crate::tree::entry::Entry;
use crate::tree::organizations::CountProof;
use crate::verify::{RawBatch, RawRow};
use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// Writes the frames of a bundle. It writes what it is told, in that order;
/// [`verify`](super::verify) says whether that is a bundle.
pub struct Writer<W> {
    out: W,
    hash: Sha256,
    frames: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a bundle.
    ///
    /// # Errors
    /// When it cannot be written, as for every frame.
    pub fn begin(out: W, manifest: &Manifest) -> io::Result<Self> {
        let mut writer = Self { out, hash: Sha256::new(), frames: 0 };
        writer.put(MAGIC)?;
        writer.frame(Kind::Manifest, &serde_json::to_vec(manifest)?)?;
        Ok(writer)
    }

    /// Writes a frame of any kind.
    ///
    /// # Errors
    /// When it cannot be written, or is longer than a frame may be.
    pub fn frame(&mut self, kind: Kind, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= FRAME_BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("a frame is too long for a bundle"))?;
        self.frames += 1;
        self.put(&[kind.byte()])?;
        self.put(&length.to_be_bytes())?;
        self.put(bytes)
    }

    /// Writes a batch, before its events.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn batch(&mut self, batch: &RawBatch, previous: Hash) -> io::Result<()> {
        let odd = || io::Error::other("a batch of the log is damaged; verify the log");
        let count = batch.last.checked_sub(batch.first).and_then(|span| span.checked_add(1));
        let batch = Batch {
            first: batch.first,
            count: count.and_then(|count| count.try_into().ok()).ok_or_else(odd)?,
            recorded_at_micros: micros(batch.recorded_at),
            previous,
            chain: batch.chain.as_slice().try_into().map_err(|_| odd())?,
        };
        self.frame(Kind::Batch, &batch.to_bytes())
    }

    /// Writes an event, with its bodies where they are wanted.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn event(&mut self, entry: Entry, row: &RawRow, with_bodies: bool) -> io::Result<()> {
        self.frame(Kind::Event, &event_bytes(entry, row, with_bodies))
    }

    /// Writes the event just before or behind the bundle's, without bodies.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn neighbour(&mut self, entry: Entry, row: &RawRow) -> io::Result<()> {
        self.frame(Kind::Neighbour, &event_bytes(entry, row, false))
    }

    /// Writes a recorded purge behind the bundle's events.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn purge(&mut self, entry: Entry, row: &RawRow) -> io::Result<()> {
        self.frame(Kind::Purge, &event_bytes(entry, row, true))
    }

    /// Writes the hashes of the leaves up to `end`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn gap(&mut self, end: u64, hashes: &[Hash]) -> io::Result<()> {
        self.frame(Kind::Gap, &gap(end, hashes))
    }

    /// Writes a signed checkpoint of the leaves so far.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn checkpoint(&mut self, note: &str) -> io::Result<()> {
        self.frame(Kind::Checkpoint, note.as_bytes())
    }

    /// Writes how many events the organization has.
    ///
    /// # Errors
    /// When it cannot be written, or proves that it has none, which would name another.
    pub fn count(&mut self, proof: &CountProof) -> io::Result<()> {
        if proof.count < 1 {
            return Err(io::Error::other("an organization without events has no bundle"));
        }
        self.frame(Kind::Count, &count(proof))
    }

    /// Writes the end; the rest is up to whoever gave the output.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        let digest: Hash = self.hash.clone().finalize().into();
        let frames = self.frames + 1;
        self.frame(Kind::End, &end(frames, &digest))?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }
}

fn event_bytes(entry: Entry, row: &RawRow, with_bodies: bool) -> Vec<u8> {
    let bodies = with_bodies.then_some(Bodies {
        payload: (&row.payload_salt, &row.payload),
        meta: (&row.meta_salt, &row.meta),
    });
    // Bodies that were destroyed left no salt behind.
    let bodies = bodies.filter(|bodies| !bodies.payload.0.is_empty());
    record::write(entry, &row.header_bytes(), bodies)
}
