//! The department's file as a sink of rows: each is judged as at the door, several chunks at the same time.
use super::{Comparison, ROWS_MAX};
use std::sync::{Arc, atomic::Ordering};
use tally_intake::{Good, Noted, PourError, Row, Rows, Sink};
use tally_protocol::finding::{AtLine, Finding};
use tally_topology::content::business_key_hash;
use tally_topology::{
    catalog::{Category, Severity},
    signed::SignedCharter,
};

/// Chunks of rows being judged at the same time.
const JUDGING: usize = 3;
/// Notes that are kept.
const NOTES_MAX: usize = 500;

/// A row after the door.
#[derive(Debug)]
pub(super) enum Judged {
    /// In order: its line and record.
    Good(u64, Box<Good>),
    /// Not in order: by which business key it would be found, whether that is to be relied on, and why.
    Bad { line: u64, key: Option<[u8; 16]>, known: bool, findings: Vec<Finding> },
}

impl Sink for Comparison {
    async fn rows(&mut self, rows: Rows) -> Result<(), PourError> {
        self.counts.read += rows.len() as u64;
        if self.counts.read > ROWS_MAX as u64 {
            let message = format!(
                "the file has more than {ROWS_MAX} rows, at most so many are compared: compare by --division / 文件超过 {ROWS_MAX} 行，请按行政区划分别比对"
            );
            return Err(PourError::Ended { code: "too_many_rows", message });
        }
        if self.full.load(Ordering::Relaxed) {
            let message = "the node's disk is nearly full; its operator has been told".to_owned();
            return Err(PourError::Ended { code: "storage_full", message });
        }
        let (charter, me, submission) = (self.charter.clone(), self.me, self.submission.clone());
        self.judging.push_back(tokio::task::spawn_blocking(move || {
            let charter = charter.charter();
            let door = submission.door(charter, me);
            let category = door.category.and_then(|c| charter.catalogs().current(door.today).category(c));
            rows.judged(&door).into_iter().map(|row| judged(row, category.map(|c| &**c))).collect()
        }));
        while self.judging.len() >= JUDGING {
            self.settle().await?;
        }
        Ok(())
    }

    async fn broken_row(&mut self, at: AtLine) -> Result<(), PourError> {
        self.finish().await?;
        self.counts.read += 1;
        self.unclear(at.line, None, false, vec![at.finding]);
        Ok(())
    }

    fn note(&mut self, noted: Noted) {
        let same = |n: &&mut Noted| n.field == noted.field && n.code == noted.code;
        if let Some(known) = self.notes.iter_mut().find(same) {
            known.count += noted.count;
        } else if self.notes.len() < NOTES_MAX {
            self.notes.push(noted);
        }
    }

    fn charter(&self) -> Arc<SignedCharter> {
        self.charter.clone()
    }

    fn category(&self) -> Option<&str> {
        Some(&self.terms.category)
    }

    fn of_category(&mut self, _: &str) {}

    fn of_format(&mut self, format: String) {
        self.format = Some(format);
    }
}

fn judged(row: Row, category: Option<&Category>) -> Judged {
    if let Some(good) = row.good {
        return Judged::Good(row.line, Box::new(good));
    }
    let key = row.key.filter(|k| ![&k.category, &k.unit, &k.business_key].iter().any(|part| part.is_empty()));
    let mut findings = row.findings;
    findings.retain(|f| f.severity == Severity::Reject);
    // A wrong part of the key may make it that of another record, or of none.
    let in_key = |f: &Finding| {
        let is = |name: &str, c: &Category| c.key.iter().flatten().any(|k| **k == *name);
        let same_as = |c: &Category| c.field(&f.field)?.same_as.clone();
        let part = |c: &Category| is(&f.field, c) || same_as(c).is_some_and(|name| is(&name, c));
        ["", "category", "producer_uscc", "business_key"].contains(&f.field.as_str()) || category.is_none_or(part)
    };
    let known = key.is_some() && !findings.iter().any(in_key);
    let key = key.map(|k| business_key_hash(&k.category, &k.unit, &k.business_key));
    Judged::Bad { line: row.line, key, known, findings }
}
