//! `archive list`: every partition, and where its bodies are.

use super::{Partition, partitions, strays};
use crate::output::{Out, thousands};
use crate::{Failure, session};
use clap::Args;
use installation::Place;
use serde_json::json;

/// How the list is answered.
#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Answer as one JSON object
    #[arg(long)]
    json: bool,
}

impl Partition {
    const fn state(&self) -> &'static str {
        match (self.is_archived, self.file.is_some(), self.sealed, self.is_full) {
            (true, ..) => "archived",
            (false, true, ..) => "written",
            (false, false, true, _) => "sealed",
            (false, false, false, true) => "full",
            (false, false, false, false) => "filling",
        }
    }
}

pub(super) async fn run(options: &Options, place: &Place, out: Out<'_>) -> Result<(), Failure> {
    let installation = session::open(place).await?;
    let folder = installation.archive();
    let found = partitions(&installation).await;
    let unused = strays::bundles(&installation, &folder).await;
    installation.close().await;
    let (found, unused) = (found?, unused?);
    if options.json {
        let partition = |it: &Partition| {
            json!({
                "number": it.number, "first": it.first, "last": it.last, "state": it.state(),
                "file": it.file, "bytes": it.bytes, "stale": it.is_stale,
                "present": it.file.as_ref().map(|file| folder.join(file).exists()),
            })
        };
        let list: Vec<_> = found.iter().map(partition).collect();
        let unused: Vec<_> = unused.iter().map(|(path, _)| path).collect();
        let answer = json!({ "folder": folder, "partitions": list, "unused": unused });
        writeln!(out, "{answer}")?;
        return Ok(out.flush()?);
    }
    writeln!(out, "{:>9}  {:>14}  {:>14}  {:<9}  bundle", "partition", "first", "last", "state")?;
    for it in &found {
        let [first, last] = [it.first, it.last].map(|at| thousands(at.unsigned_abs()));
        let bundle = it.file.as_ref().map_or_else(String::new, |file| {
            let bytes = thousands(it.bytes.unwrap_or_default().unsigned_abs());
            let missing = if folder.join(file).exists() { "" } else { ", MISSING" };
            let stale =
                if it.is_stale { ", holds bodies purged since: write it again" } else { "" };
            format!("  {file}, {bytes} bytes{missing}{stale}")
        });
        let state = it.state();
        writeln!(out, "{:>9}  {first:>14}  {last:>14}  {state:<9}{bundle}", it.number)?;
    }
    writeln!(out, "Bundles lie in {}", folder.display())?;
    for (path, bytes) in unused {
        let bytes = thousands(bytes);
        writeln!(
            out,
            "{}, {bytes} bytes, is of no partition any more; `archive prune` removes it",
            path.display()
        )?;
    }
    Ok(out.flush()?)
}
