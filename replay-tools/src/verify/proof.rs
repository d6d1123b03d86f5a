//! The proof of one event, as `eventProof` of the API gives it (C2SP `tlog-proof`).

use super::evidence::{Input, Verdict, print_signed, recorded_at, signed_json};
use crate::output::Out;
use crate::{Failure, export};
use data_encoding::HEXLOWER;
use event_log::bundle::{Class, Fault};
use event_log::note::Policy;
use event_log::tlog_proof::{Proved, TLOG_PROOF_BYTES_MAX, TlogProof, TlogProofError};
use serde_json::{Value, json};
use std::io::Read;

/// Verifies a proof and says what it is worth.
///
/// # Errors
/// [`Failure::Verdict`] where it proves nothing, [`Failure::File`] where it cannot be read.
pub(super) fn run(
    mut input: Input,
    policy: &Policy,
    as_json: bool,
    out: Out<'_>,
) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(TLOG_PROOF_BYTES_MAX).unwrap_or(u64::MAX);
    let read = (&mut input.reader).take(limit).read_to_end(&mut bytes);
    read.map_err(|source| input.failed(source))?;
    let proof = parse(&bytes);
    let outcome = proof.and_then(|proof| proof.verify(policy).map(|proved| (proof, proved)));
    if as_json {
        writeln!(out, "{}", in_json(&outcome))?;
    } else if let Ok((proof, proved)) = &outcome {
        print(proof, proved, out)?;
    }
    out.flush()?;
    outcome.map(|_| ()).map_err(|fault| {
        let what = match fault.position {
            0 => fault.problem,
            _ => fault.to_string(),
        };
        Failure::Verdict { code: Verdict::from(fault.class).code(), what }
    })
}

/// A proof that cannot be read is about no position.
fn parse(bytes: &[u8]) -> Result<TlogProof, Fault> {
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|_| TlogProofError::Form("the proof is no text"));
    text.and_then(str::parse).map_err(|error| {
        let class = match error {
            TlogProofError::CutOff(_) => Class::Incomplete,
            TlogProofError::Form(_) => Class::Content,
            TlogProofError::Note(_) => Class::Signature,
        };
        Fault { class, position: 0, problem: error.to_string() }
    })
}

fn in_json(outcome: &Result<(TlogProof, Proved), Fault>) -> Value {
    match outcome {
        Ok((proof, Proved { checkpoint, signers, cosignatures })) => json!({
            "verdict": Verdict::Whole.name(),
            "exit_code": Verdict::Whole.code(),
            "ok": true,
            "position": proof.entry.position,
            "organization_sequence": proof.entry.tenant_sequence,
            "recorded_at": recorded_at(&proof.entry),
            "event_hash": HEXLOWER.encode(&proof.entry.event_hash),
            "checkpoint": signed_json(checkpoint, signers, cosignatures),
        }),
        Err(fault) => {
            let verdict = Verdict::from(fault.class);
            json!({
                "verdict": verdict.name(),
                "exit_code": verdict.code(),
                "ok": false,
                "first_bad_position": fault.position,
                "problem": fault.problem,
            })
        }
    }
}

fn print(proof: &TlogProof, proved: &Proved, out: Out<'_>) -> Result<(), Failure> {
    let (entry, checkpoint) = (&proof.entry, &proved.checkpoint);
    if let Ok(log) = export::log_of(checkpoint.origin()) {
        writeln!(out, "log          {log}")?;
    }
    writeln!(out, "event        at position {}", entry.position)?;
    writeln!(out, "of theirs    number {} of its organization's", entry.tenant_sequence)?;
    writeln!(out, "recorded     {}", recorded_at(entry).unwrap_or_default())?;
    writeln!(out, "hash         {}", HEXLOWER.encode(&entry.event_hash))?;
    print_signed(checkpoint, &proved.signers, &proved.cosignatures, out)?;
    writeln!(out, "An event with this hash is at this place in the log that was signed.")?;
    Ok(())
}
