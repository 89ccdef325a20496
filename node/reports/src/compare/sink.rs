//! The department's file as a sink of rows: each is judged as when it is handed in, several chunks at the same time.

use super::{Comparison, ROWS_MAX};
use std::sync::{Arc, atomic::Ordering};
use tally_intake::{CheckedRecord, InputError, InputNote, JudgedRow, RowChunk, RowSink, TableColumns};
use tally_protocol::finding::{AtLine, Finding};
use tally_topology::{
    catalog::{Catalog, Category, Severity},
    content::business_key_hash,
};

/// Chunks of rows being judged at the same time.
const JUDGING: usize = 3;
/// Notes that are kept.
const NOTES_MAX: usize = 500;

/// A row that was judged.
#[derive(Debug)]
pub(super) enum JudgedFileRow {
    /// In order: its line and record.
    Checked(u64, Box<CheckedRecord>),
    /// Not in order: by which business key it would be found, whether that is to be relied on, and why.
    Bad { line: u64, key: Option<[u8; 16]>, known: bool, findings: Vec<Finding> },
}

impl RowSink for Comparison {
    async fn rows(&mut self, rows: RowChunk) -> Result<(), InputError> {
        self.counts.read += rows.len() as u64;
        if self.counts.read > ROWS_MAX as u64 {
            let message = format!(
                "the file has more than {ROWS_MAX} rows, at most so many are compared: compare by --division / 文件超过 {ROWS_MAX} 行，请按行政区划分别比对"
            );
            return Err(InputError::SinkEnded { code: "too_many_rows", message });
        }
        if self.full.load(Ordering::Relaxed) {
            let message = "the node's disk is nearly full; its operator has been told".to_owned();
            return Err(InputError::SinkEnded { code: "storage_full", message });
        }
        let (charter, me, terms) = (self.charter.clone(), self.me, self.row_terms.clone());
        self.judging.push_back(tokio::task::spawn_blocking(move || {
            let charter = charter.charter();
            let context = terms.row_context(charter, me);
            let category = context.category.and_then(|c| charter.catalogs().current(context.today).category(c));
            rows.judged(&context).into_iter().map(|row| judged(row, category.map(|c| &**c))).collect()
        }));
        while self.judging.len() >= JUDGING {
            self.settle().await?;
        }
        Ok(())
    }

    async fn broken_row(&mut self, at: AtLine) -> Result<(), InputError> {
        self.finish().await?;
        self.counts.read += 1;
        self.unclear(at.line, None, false, vec![at.finding]);
        Ok(())
    }

    fn note(&mut self, note: InputNote) {
        let same = |n: &&mut InputNote| n.field == note.field && n.code == note.code;
        if let Some(known) = self.notes.iter_mut().find(same) {
            known.count += note.count;
        } else if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.charter.charter().catalogs().current(tally_clock::judging_day()).clone()
    }

    fn category(&self) -> Option<&str> {
        Some(&self.terms.category)
    }

    fn table_found(&mut self, _: &TableColumns, _: &str) {}

    fn format_found(&mut self, format: String) {
        self.format = Some(format);
    }
}

fn judged(row: JudgedRow, category: Option<&Category>) -> JudgedFileRow {
    if let Some(checked) = row.record {
        return JudgedFileRow::Checked(row.line, Box::new(checked));
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
    JudgedFileRow::Bad { line: row.line, key, known, findings }
}
