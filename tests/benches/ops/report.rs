//! What is printed: the machine, then one line for each benchmark with its target.

use crate::cluster::Cluster;
use std::fmt::Write as _;
use std::io::{Seek, SeekFrom, Write as _};
use std::time::{Duration, Instant};

/// The table that is printed at the end, and as it goes.
pub(crate) struct Report {
    lines: Vec<String>,
}

/// Whether more is better.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// The ratio should be at least this.
    AtLeast(f64),
    /// The ratio should be at most this.
    AtMost(f64),
    /// Stated without a target.
    None,
}

impl Report {
    pub(crate) async fn begin(cluster: &Cluster) -> Self {
        let mut report = Self { lines: Vec::new() };
        report.say(&format!(
            "cores: {}",
            std::thread::available_parallelism().map_or(0, usize::from)
        ));
        report.say(&format!("fdatasync of 4 KiB: median {} µs", fdatasync().as_micros()));
        for setting in
            ["server_version", "fsync", "shared_buffers", "max_wal_size", "wal_compression"]
        {
            report.say(&format!("{setting}: {}", cluster.setting(setting).await));
        }
        report.say("client and server share the cores; rounds alternate baseline and candidate");
        report.say("| benchmark | baseline | candidate | ratio, median (best) | target | met |");
        report.say("|---|---|---|---|---|---|");
        report
    }

    fn say(&mut self, line: &str) {
        println!("{line}");
        self.lines.push(line.to_owned());
    }

    /// One benchmark: baseline and candidate of each round in the same unit, and its name. The
    /// ratio is candidate to baseline.
    pub(crate) fn ratio(&mut self, name: &str, unit: &str, rounds: &[(f64, f64)], target: Target) {
        let ratios: Vec<f64> = rounds.iter().map(|(base, own)| own / base).collect();
        let middle = median(&ratios);
        let best = match target {
            Target::AtMost(_) => ratios.iter().copied().fold(f64::INFINITY, f64::min),
            Target::AtLeast(_) | Target::None => ratios.iter().copied().fold(0.0, f64::max),
        };
        let (wanted, met) = match target {
            Target::AtLeast(least) => {
                (format!("≥ {least}"), if middle >= least { "yes" } else { "no" })
            }
            Target::AtMost(most) => {
                (format!("≤ {most}"), if middle <= most { "yes" } else { "no" })
            }
            Target::None => ("–".to_owned(), "–"),
        };
        let base = median(&rounds.iter().map(|round| round.0).collect::<Vec<_>>());
        let own = median(&rounds.iter().map(|round| round.1).collect::<Vec<_>>());
        let ratio = format!("{middle:.2} ({best:.2})");
        self.say(&format!(
            "| {name} | {base:.0} {unit} | {own:.0} {unit} | {ratio} | {wanted} | {met} |"
        ));
    }

    /// A figure that has no baseline, such as a latency.
    pub(crate) fn figure(&mut self, name: &str, value: &str) {
        self.say(&format!("| {name} | – | {value} | – | – | – |"));
    }

    pub(crate) fn end(&self) {
        let mut text = String::new();
        for line in &self.lines {
            let _ = writeln!(text, "{line}");
        }
        let path = std::env::temp_dir().join("opscenter-benchmarks.md");
        if std::fs::write(&path, text).is_ok() {
            println!("\nwritten to {}", path.display());
        }
    }
}

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The value that a share of all is not above.
pub(crate) fn percentile(sorted: &[Duration], share: usize) -> Duration {
    let index = (sorted.len() * share / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

fn fdatasync() -> Duration {
    let path = crate::cluster::folder().join("fdatasync");
    let mut file = std::fs::File::create(&path).expect("a file on the disk that is measured");
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            file.seek(SeekFrom::Start(0)).expect("to seek");
            file.write_all(&[7; 4096]).expect("to write");
            let begun = Instant::now();
            file.sync_data().expect("to sync");
            begun.elapsed()
        })
        .collect();
    times.sort();
    let _ = std::fs::remove_file(path);
    percentile(&times, 50)
}
