//! What a comparison found; its JSON is the contract of `tally compare --json`.

use super::{
    CompareError, Comparison, DryRun, FieldDifference, LISTED_MAX, RecordReader,
    fields::{differences, is_personal},
    source::RowClass,
    table::{HeldVersion, RowState},
};
use serde::Serialize;
use std::ops::ControlFlow;
use tally_intake::{InputNote, SubmissionAnswer};
use tally_protocol::{
    canonical::Object,
    finding::AtLine,
    record::{Record, RecordId},
};

/// Bytes of values that an answer shows at most, about.
const SHOWN_BYTES_MAX: usize = 16 << 20;

/// The answer: `read` = `same` + `missing_here` + `different` + `repeated` + `rejected`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CompareReport {
    /// Code of the producing unit.
    pub unit: String,
    /// Category.
    pub category: String,
    /// Division, if only a part was compared.
    pub division: Option<String>,
    /// Rows of the file that were not blank and no heads or notes.
    pub read: u64,
    /// Rows that say what is held.
    pub same: u64,
    /// Rows of which no current version is held.
    pub missing_here: MissingRows,
    /// Current versions that are not in the file.
    pub unknown_there: UnknownRecords,
    /// Business keys whose content differs.
    pub different: DifferentRecords,
    /// Rows that a later one of the same business key replaces.
    pub repeated: u64,
    /// Rows that are not in order, or not of what is compared; `errors` tells why.
    pub rejected: u64,
    /// What is wrong with rows of the file, and what could not be applied.
    pub errors: Vec<AtLine>,
    /// What `errors` does not list.
    pub errors_omitted: u64,
    /// What is to be known about the file without a row being wrong.
    pub notes: Vec<InputNote>,
    /// What the file was taken for.
    pub format: Option<String>,
    /// Records that would be withdrawn: none as long as a row of the file might be any record.
    pub withdraw: u64,
    /// Differences that no record was made of although it was asked for.
    pub not_applied: u64,
    /// The answer to what was handed in; null: nothing was.
    pub applied: Option<SubmissionAnswer>,
}

/// See [`CompareReport::missing_here`].
#[derive(Debug, Clone, Default, Serialize)]
pub struct MissingRows {
    /// All of them.
    pub count: u64,
    /// The first [`LISTED_MAX`].
    pub rows: Vec<MissingRow>,
    /// How many are not listed.
    pub omitted: u64,
}

/// A row of the file.
#[derive(Debug, Clone, Serialize)]
pub struct MissingRow {
    /// Its line.
    pub line: u64,
    /// Its business key.
    pub business_key: String,
}

/// See [`CompareReport::unknown_there`].
#[derive(Debug, Clone, Default, Serialize)]
pub struct UnknownRecords {
    /// All of them.
    pub count: u64,
    /// The first [`LISTED_MAX`], by log and index.
    pub records: Vec<UnknownRecord>,
    /// How many are not listed.
    pub omitted: u64,
}

/// A record that is held.
#[derive(Debug, Clone, Serialize)]
pub struct UnknownRecord {
    /// Its id; null: it cannot be read from this disk.
    pub id: Option<String>,
    /// Its business key.
    pub business_key: Option<String>,
    /// Origin of the log that had it first.
    pub log: String,
    /// Its index there.
    pub index: u64,
}

/// See [`CompareReport::different`].
#[derive(Debug, Clone, Default, Serialize)]
pub struct DifferentRecords {
    /// All of them.
    pub count: u64,
    /// The first [`LISTED_MAX`], by line, or fewer if their values are long.
    pub records: Vec<DifferentRecord>,
    /// How many are not listed.
    pub omitted: u64,
}

/// A business key with two contents.
#[derive(Debug, Clone, Serialize)]
pub struct DifferentRecord {
    /// Line of the file's row.
    pub line: u64,
    /// Id of the record that is held; null: it cannot be read from this disk.
    pub id: Option<String>,
    /// The business key.
    pub business_key: String,
    /// What differs.
    pub fields: Vec<FieldDifference>,
}

fn key_of(object: &Object<'_>) -> String {
    object.text("business_key").unwrap_or_default().to_owned()
}

fn id_of(object: &Object<'_>) -> Option<RecordId> {
    Record::new(object).ok().map(|r| r.id())
}

impl Comparison {
    /// What was found. Blocking.
    ///
    /// # Errors
    /// [`CompareError::Spool`].
    pub fn report(&self, reader: &RecordReader) -> Result<CompareReport, CompareError> {
        let mut report = CompareReport {
            unit: self.terms.unit.clone(),
            category: self.terms.category.clone(),
            division: self.terms.division.map(|d| d.to_string()),
            read: self.counts.read,
            same: self.same(),
            repeated: self.counts.repeated,
            rejected: self.counts.rejected,
            errors: self.errors.listed.list().to_vec(),
            errors_omitted: self.errors.listed.omitted(),
            notes: self.notes.clone(),
            format: self.format.clone(),
            ..CompareReport::default()
        };
        let differing = self.rows(&mut report.missing_here)?;
        report.different = self.different(reader, differing)?;
        report.unknown_there = self.unknown(reader);
        report.withdraw = if self.may_withdraw() { report.unknown_there.count } else { 0 };
        Ok(report)
    }

    /// Nothing is withdrawn while a row of the file might be any record: what seems to be gone there may be that one.
    pub(super) fn may_withdraw(&self) -> bool {
        self.counts.unplaced == 0
    }

    /// Lists the rows that are not held; answers where in the table those stand that differ, as many as are listed.
    fn rows(&self, missing: &mut MissingRows) -> Result<Vec<u32>, CompareError> {
        missing.count = self.missing();
        let mut differing = Vec::new();
        let listed = missing.count.min(LISTED_MAX as u64);
        let wanted = (self.table.iter().filter(|h| h.is_different()).count()).min(LISTED_MAX);
        for row in self.spool.rows() {
            if missing.rows.len() as u64 >= listed && differing.len() >= wanted {
                break;
            }
            let (place, row) = row?;
            match self.class(&row.key, place) {
                RowClass::Missing if (missing.rows.len() as u64) < listed => {
                    let business_key = Object::parse(&row.record).map(|o| key_of(&o)).unwrap_or_default();
                    missing.rows.push(MissingRow { line: row.line, business_key });
                }
                RowClass::Different(at) if differing.len() < wanted => differing.push(at),
                _ => {}
            }
        }
        missing.omitted = missing.count - missing.rows.len() as u64;
        Ok(differing)
    }

    fn different(&self, reader: &RecordReader, mut places: Vec<u32>) -> Result<DifferentRecords, CompareError> {
        let count = self.table.iter().filter(|h| h.is_different()).count() as u64;
        let (mut records, mut shown, mut failed) = (Vec::new(), 0, None);
        self.table.sort(&mut places);
        reader.read(&self.table, &places, |_, h, here| {
            match self.difference(h, here) {
                Ok(difference) => {
                    let value = |v: &serde_json::Value| v.as_str().map_or(16, str::len);
                    shown += difference
                        .fields
                        .iter()
                        .map(|f| f.field.len() + value(&f.here) + value(&f.there))
                        .sum::<usize>();
                    records.push(difference);
                }
                Err(e) => failed = Some(e),
            }
            if failed.is_some() || shown > SHOWN_BYTES_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if let Some(e) = failed {
            return Err(e.into());
        }
        records.sort_by_key(|r| r.line);
        let omitted = count - records.len() as u64;
        Ok(DifferentRecords { count, records, omitted })
    }

    fn difference(&self, h: &HeldVersion, here: Option<&Object<'_>>) -> std::io::Result<DifferentRecord> {
        let row = self.spool.read(h.place)?;
        let there = Object::parse(&row.record).map_err(std::io::Error::other)?;
        let personal = |field: &str| is_personal(self.charter.charter(), &self.terms.category, field);
        Ok(DifferentRecord {
            line: row.line,
            id: here.and_then(id_of).map(|id| id.to_string()),
            business_key: key_of(&there),
            fields: here.map(|here| differences(here, &there, personal)).unwrap_or_default(),
        })
    }

    fn unknown(&self, reader: &RecordReader) -> UnknownRecords {
        let places = self.table.unknown();
        let federation = self.charter.charter().federation();
        let mut records = Vec::new();
        reader.read(&self.table, &places[..places.len().min(LISTED_MAX)], |_, h, object| {
            records.push(UnknownRecord {
                id: object.and_then(id_of).map(|id| id.to_string()),
                business_key: object.map(key_of),
                log: self.table.log(h).map(|l| federation.origin(l)).unwrap_or_default(),
                index: h.index,
            });
            ControlFlow::Continue(())
        });
        let count = places.len() as u64;
        UnknownRecords { count, omitted: count - records.len() as u64, records }
    }

    /// What is remembered of this comparison, so that only the difference that was shown can be applied.
    pub fn dry_run(&self, now_ms: u64) -> DryRun {
        let mut digest = blake3::Hasher::new();
        let (mut different, mut unknown) = (0, 0);
        for h in self.table.iter().filter(|h| h.state == RowState::Other || h.is_unknown()) {
            different += u64::from(h.is_different());
            unknown += u64::from(h.is_unknown());
            digest.update(&h.key).update(&h.content).update(&[u8::from(h.is_unknown()), u8::from(h.withdrawn)]);
        }
        let mut fresh: Vec<&[u8; 16]> = self.missing_keys().collect();
        fresh.sort_unstable();
        fresh.into_iter().for_each(|key| {
            digest.update(key);
        });
        digest.update(&[u8::from(self.may_withdraw())]);
        DryRun {
            at_ms: now_ms,
            difference: *digest.finalize().as_bytes(),
            missing_here: self.missing(),
            different,
            withdraw: if self.may_withdraw() { unknown } else { 0 },
        }
    }
}
