//! A simulation of leader, projectors and waiters against a model of the database.
//!
//! The database shows what is committed before it is on disk, and a crash takes back what was not.
//! Wake-ups get lost, replies arrive in any order, an owner may sleep on its page for as long as it
//! likes. Every run follows from its seed, which a failure prints; `SIMULATION_SEEDS` asks for
//! more. That the checks find something is itself checked: each rule of the protocol, left out,
//! fails.

use std::collections::BTreeMap;

/// The rules that make it right; the test leaves them out one by one.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// A checkpoint moves only from where its owner saw it.
    compare_and_set: bool,
    /// A command is acknowledged after what it wrote is on disk.
    flush_first: bool,
    /// A waiter believes the database, not what an owner remembers.
    look_at_table: bool,
    /// Owners look also without having been woken.
    poll_floor: bool,
}

const RIGHT: Rules =
    Rules { compare_and_set: true, flush_first: true, look_at_table: true, poll_floor: true };

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        // Splitmix: every seed gives another, well mixed sequence.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// What a commit leaves in the write-ahead log.
#[derive(Clone, Debug)]
enum Record {
    Appended(u32),
    Projected { to: usize, applied: Vec<u32> },
}

/// What every session sees, and what of it is on disk.
#[derive(Debug, Default)]
struct Database {
    records: Vec<Record>,
    durable: usize,
    /// Raised by a crash: no connection survives it.
    epoch: u32,
    log: Vec<u32>,
    checkpoint: usize,
    rows: Vec<u32>,
}

impl Database {
    fn commit(&mut self, record: Record) {
        self.see(&record);
        self.records.push(record);
    }

    fn see(&mut self, record: &Record) {
        match record {
            Record::Appended(command) => self.log.push(*command),
            Record::Projected { to, applied } => {
                self.rows.extend(applied);
                self.checkpoint = *to;
            }
        }
    }

    /// Loses what was not on disk, or some of it: what is left is a prefix.
    fn crash(&mut self, dice: &mut Dice) {
        let lost = self.records.len() - self.durable;
        self.records.truncate(self.durable + dice.below(lost + 1));
        self.durable = self.records.len();
        self.epoch += 1;
        (self.log, self.rows, self.checkpoint) = (Vec::new(), Vec::new(), 0);
        for record in self.records.clone() {
            self.see(&record);
        }
    }

    fn position(&self, command: u32) -> Option<usize> {
        self.log.iter().position(|it| *it == command).map(|index| index + 1)
    }
}

#[derive(Clone, Debug, Default)]
struct Owner {
    remembers: usize,
    is_woken: bool,
    page: Option<(usize, Vec<u32>, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Waiter {
    Idle,
    Sent { epoch: u32 },
    Acknowledged { position: usize },
    Looked { position: usize, epoch: u32 },
    Shown,
}

struct World {
    rules: Rules,
    dice: Dice,
    database: Database,
    queue: Vec<u32>,
    /// Appended, not yet flushed: the commands, how long the records were, and when.
    flushing: Option<(Vec<u32>, usize, u32)>,
    /// Acknowledgements on their way.
    replies: Vec<(u32, usize)>,
    acknowledged: BTreeMap<u32, usize>,
    owners: Vec<Owner>,
    waiters: Vec<Waiter>,
    is_calm: bool,
}

impl World {
    fn new(seed: u64, rules: Rules) -> Self {
        Self {
            rules,
            dice: Dice(seed),
            database: Database::default(),
            queue: Vec::new(),
            flushing: None,
            replies: Vec::new(),
            acknowledged: BTreeMap::new(),
            owners: vec![Owner::default(); 2],
            waiters: vec![Waiter::Idle; 6],
            is_calm: false,
        }
    }

    fn step(&mut self) -> Result<(), String> {
        match self.dice.below(if self.is_calm { 20 } else { 22 }) {
            0..=2 => self.lead(),
            3..=4 => self.flush(),
            5..=6 => self.deliver(),
            7..=13 => self.project(),
            14..=19 => self.wait()?,
            20 => self.database.durable = self.database.records.len(),
            _ => {
                let is_rare = self.dice.below(4) == 0;
                if is_rare {
                    self.database.crash(&mut self.dice);
                }
            }
        }
        self.check()
    }

    /// The leader appends what waits in its queue; a command that is there keeps its place.
    fn lead(&mut self) {
        if self.flushing.is_some() || self.queue.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.queue);
        for command in &batch {
            if self.database.position(*command).is_none() {
                self.database.commit(Record::Appended(*command));
            }
        }
        for owner in &mut self.owners {
            // A notification may get lost.
            owner.is_woken |= self.dice.below(2) == 0;
        }
        let (length, epoch) = (self.database.records.len(), self.database.epoch);
        if !self.rules.flush_first {
            self.acknowledge(&batch);
        }
        self.flushing = Some((batch, length, epoch));
    }

    fn flush(&mut self) {
        let Some((batch, length, epoch)) = self.flushing.take() else { return };
        if epoch == self.database.epoch {
            self.database.durable = self.database.durable.max(length);
            self.acknowledge(&batch);
        }
    }

    fn acknowledge(&mut self, batch: &[u32]) {
        for command in batch {
            if let Some(position) = self.database.position(*command) {
                self.replies.push((*command, position));
            }
        }
    }

    /// One reply arrives, whichever.
    fn deliver(&mut self) {
        if self.replies.is_empty() {
            return;
        }
        let (command, position) = self.replies.swap_remove(self.dice.below(self.replies.len()));
        self.acknowledged.insert(command, position);
        let waiter = &mut self.waiters[usize::try_from(command).unwrap()];
        if matches!(waiter, Waiter::Sent { .. }) {
            *waiter = Waiter::Acknowledged { position };
        }
    }

    /// An owner reads a page, or writes the one it has.
    fn project(&mut self) {
        let (number, database) = (self.dice.below(self.owners.len()), &mut self.database);
        let owner = &mut self.owners[number];
        if let Some((from, events, epoch)) = owner.page.take() {
            let is_connected = epoch == database.epoch;
            let is_owner = !self.rules.compare_and_set || database.checkpoint == from;
            if is_connected && is_owner {
                let to = from + events.len();
                database.commit(Record::Projected { to, applied: events });
            }
            // Done or lost: this is where the read model is now.
            owner.remembers = database.checkpoint;
            return;
        }
        if !std::mem::take(&mut owner.is_woken) && !self.rules.poll_floor {
            return;
        }
        let waiting = database.log.get(owner.remembers..).unwrap_or_default();
        if waiting.is_empty() {
            // A crash may have taken back what it did, or the log itself: it looks where it is.
            owner.remembers = database.checkpoint;
            return;
        }
        let count = 1 + self.dice.below(waiting.len());
        owner.page = Some((owner.remembers, waiting[..count].to_vec(), database.epoch));
    }

    /// A waiter sends, sends again, looks, or reads what it was promised.
    fn wait(&mut self) -> Result<(), String> {
        let number = self.dice.below(self.waiters.len());
        let (command, epoch) = (u32::try_from(number).unwrap(), self.database.epoch);
        let believed = if self.rules.look_at_table {
            self.database.checkpoint
        } else {
            self.owners.iter().map(|owner| owner.remembers).max().unwrap_or_default()
        };
        let next = match self.waiters[number] {
            Waiter::Idle => {
                self.queue.push(command);
                Waiter::Sent { epoch }
            }
            // The outcome is unknown: the same command again, which is always safe.
            Waiter::Sent { epoch: sent } if sent != epoch => {
                self.queue.push(command);
                Waiter::Sent { epoch }
            }
            Waiter::Acknowledged { position } if believed >= position => {
                Waiter::Looked { position, epoch }
            }
            // It reads on the connection that it looked on; that one broke off.
            Waiter::Looked { position, epoch: looked } if looked != epoch => {
                Waiter::Acknowledged { position }
            }
            Waiter::Looked { .. } if !self.database.rows.contains(&command) => {
                return Err(format!("waiter {number} was shown less than it wrote"));
            }
            Waiter::Looked { .. } => Waiter::Shown,
            same @ (Waiter::Sent { .. } | Waiter::Acknowledged { .. } | Waiter::Shown) => same,
        };
        self.waiters[number] = next;
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let Database { log, rows, checkpoint, .. } = &self.database;
        if log.get(..*checkpoint) != Some(rows.as_slice()) {
            return Err(format!("rows {rows:?} at {checkpoint} of log {log:?}"));
        }
        for (command, position) in &self.acknowledged {
            if log.get(position - 1) != Some(command) {
                return Err(format!("command {command} was acknowledged at {position}: {log:?}"));
            }
        }
        Ok(())
    }
}

fn run(seed: u64, rules: Rules) -> Result<(), String> {
    let mut world = World::new(seed, rules);
    for _ in 0..400 {
        world.step()?;
    }
    // No more crashes: whatever was asked for comes about.
    world.is_calm = true;
    for _ in 0..2_000 {
        world.step()?;
    }
    let is_shown = |waiter: &Waiter| *waiter == Waiter::Shown;
    if world.waiters.iter().all(is_shown) && world.database.checkpoint == world.database.log.len() {
        Ok(())
    } else {
        Err(format!("stuck: {:?} at {}", world.waiters, world.database.checkpoint))
    }
}

fn seeds() -> u64 {
    std::env::var("SIMULATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000)
}

#[test]
fn no_seed_shows_a_waiter_less_than_it_wrote_or_loses_or_doubles_anything() {
    for seed in 0..seeds() {
        if let Err(error) = run(seed, RIGHT) {
            panic!("seed {seed}: {error}");
        }
    }
}

#[test]
fn every_rule_of_the_protocol_is_needed() {
    let broken = [
        Rules { compare_and_set: false, ..RIGHT },
        Rules { flush_first: false, ..RIGHT },
        Rules { look_at_table: false, ..RIGHT },
        Rules { poll_floor: false, ..RIGHT },
    ];
    for rules in broken {
        let is_found = (0..1_000).any(|seed| run(seed, rules).is_err());
        assert!(is_found, "{rules:?} went unnoticed");
    }
}
