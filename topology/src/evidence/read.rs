//! Cutting an evidence file into its parts. Nothing is verified here.

use super::{EVIDENCE_BYTES_MAX, EvidenceStep, Failed, HOLDERS_MAX, Parts, fail};
use tally_protocol::{
    ids::{Federation, LogId},
    tlog_proof::{TlogProof, parse_hash_lines},
};

/// The parts as they stand in the file.
pub(super) struct Found<'a> {
    pub(super) text: &'a str,
    pub(super) parts: Parts,
    /// The record's id as named above the parts.
    pub(super) id: &'a str,
    /// The charter's signed note.
    pub(super) charter: &'a str,
    /// Everything but the last line.
    pub(super) before_digest: &'a str,
    pub(super) digest: &'a str,
}

const RECORD: &str = "\n-----BEGIN RECORD-----\n";
const CHARTER: &str = "-----BEGIN CHARTER-----\n";
const CHARTER_END: &str = "-----END CHARTER-----\n";

/// The rest of a file, taken from its front.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip(&mut self, expected: &str) -> bool {
        let after = self.0.strip_prefix(expected);
        self.0 = after.unwrap_or(self.0);
        after.is_some()
    }

    /// Everything before `end`, which is skipped too.
    fn until(&mut self, end: &str) -> Result<&'a str, Failed> {
        match self.0.split_once(end) {
            Some((found, after)) => {
                self.0 = after;
                Ok(found)
            }
            None => fail(EvidenceStep::Form, format!("there is no {:?}", end.trim())),
        }
    }

    fn must(&mut self, expected: &str) -> Result<(), Failed> {
        if self.skip(expected) {
            Ok(())
        } else {
            fail(EvidenceStep::Form, format!("{:?} is expected", expected.trim()))
        }
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Found<'_>, Failed> {
    if bytes.len() > EVIDENCE_BYTES_MAX {
        return fail(EvidenceStep::Form, format!("longer than {EVIDENCE_BYTES_MAX} bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| Failed::at(EvidenceStep::Form)(&e))?;
    if !text.starts_with("TALLY EVIDENCE 1\n") {
        return fail(EvidenceStep::Form, "the first line is not TALLY EVIDENCE 1");
    }
    let mut rest = Rest(text);
    let above = rest.until(RECORD)?;
    let named = |name: &str| above.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
    let id = named("record   ");
    let Ok((_, log)) = Federation::of_origin(named("log      ")) else {
        return fail(EvidenceStep::Form, "the line of the log names none");
    };
    let record = rest.until("\n")?.to_owned();
    rest.must("-----END RECORD-----\n\n")?;
    let mut proofs = Vec::new();
    while rest.skip("-----BEGIN TLOG PROOF ") {
        if proofs.len() == HOLDERS_MAX {
            return fail(EvidenceStep::Form, format!("more than {HOLDERS_MAX} proofs"));
        }
        let name = rest.until("-----\n")?;
        let holder = name.strip_suffix("/mirror").and_then(|n| n.parse::<LogId>().ok());
        let Some(holder) = holder else {
            return fail(EvidenceStep::Form, format!("{name:?} is not the name of a holder"));
        };
        let proof = TlogProof::parse(rest.until("-----END TLOG PROOF-----\n\n")?);
        proofs.push((
            holder,
            proof.map_err(|e| Failed::at(EvidenceStep::Form)(&format_args!("proof of {holder}: {e}")))?,
        ));
    }
    let closing = if rest.skip("-----BEGIN CLOSING PROOF-----\n") {
        let lines = rest.until("-----END CLOSING PROOF-----\n\n")?;
        Some(parse_hash_lines(lines).map_err(|e| Failed::at(EvidenceStep::Form)(&e))?)
    } else {
        None
    };
    rest.must(CHARTER)?;
    // A charter's text may hold any line, also this one.
    let Some((charter, last)) = rest.0.rsplit_once(CHARTER_END) else {
        return fail(EvidenceStep::Form, "the charter does not end");
    };
    let Some(digest) = last.strip_prefix("sha256 ").and_then(|l| l.strip_suffix('\n')) else {
        return fail(EvidenceStep::Form, "the last line is not sha256 and a hash");
    };
    let before_digest = text.strip_suffix(last).unwrap_or(text);
    Ok(Found { text, parts: Parts { record, log, proofs, closing }, id, charter, before_digest, digest })
}
