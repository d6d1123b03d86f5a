//! What was signed of the log, compared with the tree that its events give: kept checkpoints and
//! cosignatures, what the guard remembers, and checkpoints from elsewhere.
//!
//! A root that is another one tells no position. Where history was written anew is known to lie
//! behind the last checkpoint that fits, and that is where it is reported.

use super::grown::Growing;
use super::known::{Known, Remembered, epoch};
use super::{Finding, Kind, Looked};
use crate::Failure;
use data_encoding::BASE64;
use event_log::note::{Checkpoint, Note, NoteError, Signature};
use event_log::verify::RawBatch;
use sqlx::postgres::PgConnection;
use std::collections::VecDeque;
use uuid::Uuid;

/// Something signed, at the size it is about.
struct Signed {
    size: i64,
    whose: Whose,
    /// Of a row: what it says beside the note.
    root: Option<Vec<u8>>,
    note: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Whose {
    Kept,
    Guard,
    Elsewhere(String),
}

/// Size, witness, lines, and when in seconds, as text.
type Cosigned = (i64, String, String, String);

/// Walks along with the tree and judges what was signed at each size.
pub(super) struct Judge<'k> {
    known: &'k Known,
    head: i64,
    /// Which log the database says it is.
    identities: Vec<Uuid>,
    due: VecDeque<Signed>,
    cosigned: VecDeque<Cosigned>,
    /// Up to where history is the one that was signed.
    fitting: i64,
    epoch: u64,
    /// The kept checkpoint that came last.
    last: Option<(i64, Option<Note>)>,
    /// The cosignature that came last.
    cosigner: Option<(i64, String)>,
    looked: Looked,
}

impl<'k> Judge<'k> {
    pub(super) async fn new(
        connection: &mut PgConnection,
        known: &'k Known,
        head: i64,
    ) -> Result<Self, Failure> {
        let identities = sqlx::query_scalar("select id from event_log.log_identity")
            .fetch_all(connection)
            .await?;
        let guarded = match &known.guard {
            Remembered::Signed(guarded) => Some(guarded.position.0),
            Remembered::Nothing | Remembered::Damaged(_) => None,
        };
        Ok(Self {
            known,
            head,
            identities,
            due: VecDeque::new(),
            cosigned: VecDeque::new(),
            fitting: 0,
            epoch: 0,
            last: None,
            cosigner: None,
            looked: Looked { guarded, ..Looked::default() },
        })
    }

    pub(super) fn looked(self) -> Looked {
        self.looked
    }

    /// What is wrong before any event is looked at: what is about no part of the log.
    pub(super) async fn beyond(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Vec<Finding>, Failure> {
        let mut findings = Vec::new();
        let end = self.head + 1;
        if self.identities.len() > 1 {
            findings.push(Finding::changed(1, "log_identity names more than one log"));
        }
        let outside: Vec<(i64, String)> = sqlx::query_as(
            "select size, note from event_log.checkpoint where size < 1 or size > $1
              order by size desc",
        )
        .bind(self.head)
        .fetch_all(&mut *connection)
        .await?;
        findings.extend(outside.iter().map(|(size, note)| {
            self.too_far(*size, note, &format!("a checkpoint of {size} events is kept"))
        }));
        let orphans: Vec<(i64, String)> = sqlx::query_as(
            "select size, witness from event_log.cosignature s
              where not exists (select from event_log.checkpoint c where c.size = s.size)",
        )
        .fetch_all(connection)
        .await?;
        findings.extend(orphans.iter().map(|(size, witness)| {
            let what = format!(
                "cosignature has a line of {witness} for a checkpoint of {size} events, which is \
                 not there"
            );
            Finding::changed((*size).clamp(1, end), what)
        }));
        match &self.known.guard {
            Remembered::Nothing => {}
            Remembered::Damaged(what) => findings.push(Finding::changed(end, what)),
            Remembered::Signed(guarded) if guarded.position.0 > self.head => {
                let signed = guarded.position;
                findings.push(Finding::missing(
                    end,
                    format!(
                        "the log ends before it, and was signed up to {signed}, as the guard \
                         remembers: its tail was dropped, or this is an older copy"
                    ),
                ));
            }
            Remembered::Signed(_) => {}
        }
        for (file, note, checkpoint) in &self.known.elsewhere {
            let size = i64::try_from(checkpoint.size()).unwrap_or(i64::MAX);
            if size > self.head {
                let what = format!("{file} is a checkpoint of {size} events");
                findings.push(self.too_far(size, &note.to_string(), &what));
            }
        }
        Ok(findings)
    }

    /// A checkpoint that is larger than the log, or of no log.
    fn too_far(&self, size: i64, note: &str, what: &str) -> Finding {
        let end = self.head + 1;
        if size < 1 {
            return Finding::changed(1, format!("{what}, and there is no such log"));
        }
        let wrong = match read(note) {
            Ok((note, checkpoint)) => self.known.verify(&note, &checkpoint, false).err(),
            Err(error) => Some(error.to_string()),
        };
        match wrong {
            Some(wrong) => {
                let problem = format!("{what}, where the log has ended: {wrong}");
                Finding { kind: Kind::Unsigned, position: end, problem }
            }
            None => Finding::missing(
                end,
                format!(
                    "the log ends before it, and {what}: its tail was dropped, or this is an \
                 older copy"
                ),
            ),
        }
    }

    /// Reads what was signed of a stretch of positions.
    pub(super) async fn read_on(
        &mut self,
        connection: &mut PgConnection,
        after: i64,
        to: i64,
    ) -> Result<(), Failure> {
        let kept: Vec<(i64, Vec<u8>, String)> = sqlx::query_as(
            "select size, root, note from event_log.checkpoint where size > $1 and size <= $2",
        )
        .bind(after)
        .bind(to)
        .fetch_all(&mut *connection)
        .await?;
        let mut due: Vec<Signed> = kept
            .into_iter()
            .map(|(size, root, note)| Signed { size, whose: Whose::Kept, root: Some(root), note })
            .collect();
        if let Remembered::Signed(guarded) = &self.known.guard
            && let (Some(note), Some(checkpoint)) = (&guarded.note, guarded.checkpoint())
        {
            let size = i64::try_from(checkpoint.size()).unwrap_or(i64::MAX);
            due.push(Signed { size, whose: Whose::Guard, root: None, note: note.clone() });
        }
        for (file, note, checkpoint) in &self.known.elsewhere {
            let size = i64::try_from(checkpoint.size()).unwrap_or(i64::MAX);
            let (whose, note) = (Whose::Elsewhere(file.clone()), note.to_string());
            due.push(Signed { size, whose, root: None, note });
        }
        due.retain(|signed| signed.size > after && signed.size <= to);
        due.sort_by_key(|signed| signed.size);
        self.due = due.into();
        let cosigned: Vec<Cosigned> = sqlx::query_as(
            "select size, witness, line, extract(epoch from signed_at)::text
               from event_log.cosignature where size > $1 and size <= $2 order by size, witness",
        )
        .bind(after)
        .bind(to)
        .fetch_all(connection)
        .await?;
        self.cosigned = cosigned.into();
        Ok(())
    }

    /// Judges what was signed of the tree as it is now.
    pub(super) fn at(&mut self, growing: &mut Growing, batch: &RawBatch) -> Vec<Finding> {
        let mut findings = Vec::new();
        let size = growing.size();
        while let Some(signed) = self.due.pop_front_if(|signed| signed.size == size) {
            match self.judge(&signed, growing, batch) {
                Ok(()) => self.fitting = size,
                Err(finding) => findings.push(finding),
            }
        }
        if let Remembered::Signed(guarded) = &self.known.guard
            && guarded.position.0 == size
        {
            let is_same = guarded.chain().is_some_and(|chain| chain[..] == batch.chain[..]);
            if batch.last != size || !is_same {
                findings.push(self.anew(size, "the guard remembers"));
            }
        }
        while let Some(cosigned) = self.cosigned.pop_front_if(|cosigned| cosigned.0 == size) {
            findings.extend(self.cosigned(cosigned).err());
        }
        findings
    }

    /// That history is another one than was signed.
    fn anew(&self, size: i64, what: &str) -> Finding {
        Finding::changed(
            self.fitting + 1,
            format!(
                "the log up to {size} is not the one that {what}: from here on, or from later on, \
             history was written anew"
            ),
        )
    }

    fn judge(
        &mut self,
        signed: &Signed,
        growing: &mut Growing,
        batch: &RawBatch,
    ) -> Result<(), Finding> {
        let Signed { size, whose, root, note } = signed;
        let is_kept = *whose == Whose::Kept;
        let who = match whose {
            Whose::Kept => format!("the checkpoint of {size} events"),
            Whose::Guard => "the guard remembers".to_owned(),
            Whose::Elsewhere(file) => format!("{file} is signed of"),
        };
        let changed = |what: &str| Finding::changed(*size, format!("{who}: {what}"));
        let read = read(note);
        let is_second = is_kept && self.last.as_ref().is_some_and(|(last, _)| last == size);
        if is_kept {
            let note = read.as_ref().ok().map(|(note, _)| note.clone());
            self.last = Some((*size, note));
            self.looked.checkpoints += 1;
        }
        if is_second {
            return Err(changed("it is there twice"));
        }
        let (note, checkpoint) = read.map_err(|error| changed(&error.to_string()))?;
        let is_ours = !matches!(whose, Whose::Elsewhere(_));
        if i64::try_from(checkpoint.size()).ok() != Some(*size) {
            return Err(changed("the note is about another size than its row"));
        }
        if root.as_ref().is_some_and(|root| root[..] != checkpoint.root()[..]) {
            return Err(changed("the note has another root than its row"));
        }
        let verified = self.known.verify(&note, &checkpoint, is_ours).map_err(|error| Finding {
            kind: Kind::Unsigned,
            position: *size,
            problem: format!("{who}: {error}"),
        })?;
        if is_kept {
            self.looked.verified += u64::from(verified);
            self.identify(&checkpoint).map_err(changed)?;
        }
        let is_same = *checkpoint.root() == growing.edge.root()
            && checkpoint.tenants() == Some(growing.organizations())
            && checkpoint.chain().is_some_and(|chain| chain[..] == batch.chain[..])
            && batch.last == *size;
        if is_same { Ok(()) } else { Err(self.anew(*size, &says(whose))) }
    }

    /// Whether a kept checkpoint is about this log, in no earlier epoch than the one before.
    fn identify(&mut self, checkpoint: &Checkpoint) -> Result<(), &'static str> {
        let names = self.identities.iter().map(|id| format!("opscenter/log/{id}"));
        let epoch = names.filter_map(|name| epoch(checkpoint, &name)).next();
        let epoch = epoch.ok_or("it is about another log than log_identity names")?;
        if epoch < self.epoch {
            return Err("it is of an earlier epoch than the one before it");
        }
        self.epoch = epoch;
        Ok(())
    }

    fn cosigned(&mut self, (size, witness, lines, at): Cosigned) -> Result<(), Finding> {
        let who = format!("the cosignature of {witness} under the checkpoint of {size} events");
        let changed = |what: &str| Finding::changed(size, format!("{who}: {what}"));
        let this = (size, witness);
        let is_second = self.cosigner.as_ref() == Some(&this);
        let witness = &self.cosigner.insert(this).1;
        self.looked.cosignatures += 1;
        if is_second {
            return Err(changed("it is there twice"));
        }
        let signatures = Signature::parse_lines(&format!("{lines}\n"));
        let signatures = signatures.map_err(|error| changed(&error.to_string()))?;
        if signatures.iter().any(|signature| signature.name().as_str() != witness) {
            return Err(changed("its line is one of another witness"));
        }
        let latest = signatures.iter().filter_map(timestamp).max();
        if latest.is_none_or(|latest| format!("{latest}.000000") != at) {
            return Err(changed("its line names another time than its row"));
        }
        let keys = &self.known.witness_keys;
        let is_known = keys.iter().any(|key| key.name().as_str() == witness);
        if let (true, Some((last, Some(note)))) = (is_known, &self.last)
            && *last == size
        {
            let note = Note::new(note.text(), signatures).map_err(|e| changed(&e.to_string()))?;
            if note.cosignatures(keys).is_empty() {
                let problem = format!("{who} is wrong; it was changed, or is over another text");
                return Err(Finding { kind: Kind::Unsigned, position: size, problem });
            }
            self.looked.cosignatures_verified += 1;
        }
        Ok(())
    }
}

fn says(whose: &Whose) -> String {
    match whose {
        Whose::Kept => "was signed in the checkpoint of that size".to_owned(),
        Whose::Guard => "was signed last, as the guard remembers".to_owned(),
        Whose::Elsewhere(file) => format!("was signed in {file}"),
    }
}

fn read(note: &str) -> Result<(Note, Checkpoint), NoteError> {
    let note: Note = note.parse()?;
    let checkpoint = note.text().parse()?;
    Ok((note, checkpoint))
}

/// The time in a cosignature, in seconds since 1970: after the id of the key.
fn timestamp(signature: &Signature) -> Option<u64> {
    let line = signature.to_string();
    let bytes = BASE64.decode(line.trim_end().rsplit(' ').next()?.as_bytes()).ok()?;
    let time = bytes.get(4..12)?.try_into().ok()?;
    Some(u64::from_be_bytes(time))
}
