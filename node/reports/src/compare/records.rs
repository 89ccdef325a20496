//! The difference as records: new ones, amendments with the file's content, withdrawals of what is gone there.
use super::{
    CompareError, Comparison, RecordReader,
    source::{RowClass, RowErrors},
    spool::SpooledRow,
};
use std::ops::ControlFlow;
use tally_protocol::{
    canonical::{Object, Value},
    finding::{AtLine, Finding},
};
use tally_store::index::{Engine, InForce};
use tally_topology::content::Operation;

/// Line of a withdrawal: no row of the file says it.
const NO_LINE: u64 = 0;

/// Makes the records one after the other, the file's rows first; `hand` answers whether to go on. What no record can be
/// made of is told in `left`. Blocking.
///
/// # Errors
/// [`CompareError`].
pub(super) fn make(
    comparison: &Comparison,
    reader: &RecordReader,
    engine: &dyn Engine,
    left: &mut RowErrors,
    mut hand: impl FnMut(u64, Vec<u8>) -> bool,
) -> Result<(), CompareError> {
    let maker = Maker { in_force: InForce::new(engine, comparison.charter.charter()), left };
    for row in comparison.spool.rows() {
        let (place, row) = row?;
        let operation = match comparison.class(&row.key, place) {
            RowClass::Superseded => continue,
            RowClass::Missing => "create",
            RowClass::Different(_) if row.operation == Operation::Withdraw => "withdraw",
            RowClass::Different(_) => "amend",
        };
        if !hand(row.line, maker.of_row(&row, operation)?) {
            return Ok(());
        }
    }
    let places = comparison.table.unknown();
    if !comparison.may_withdraw() {
        if !places.is_empty() {
            maker.left.say_of(places.len() as u64, not_withdrawn(places.len(), comparison.counts.unplaced));
        }
        return Ok(());
    }
    let (today, mut failed) = (tally_clock::today(), None);
    let version = comparison.charter.charter().catalogs().current(today).version.to_string();
    let day = today.to_string();
    reader.read(&comparison.table, &places, |_, h, object| {
        let Some(object) = object else {
            let log = comparison.table.log(h).map(|l| l.to_string()).unwrap_or_default();
            maker.left.say(unreadable(&log, h.index));
            return ControlFlow::Continue(());
        };
        let mut gone = object.clone();
        gone.set("catalog_version", Value::text(version.as_str()));
        gone.set("produced_on", Value::text(day.as_str()));
        match maker.made(&h.key, &mut gone, "withdraw") {
            Ok(record) => match hand(NO_LINE, record) {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            },
            Err(e) => {
                failed = Some(e);
                ControlFlow::Break(())
            }
        }
    });
    failed.map_or(Ok(()), Err)
}

struct Maker<'m> {
    in_force: InForce<'m>,
    left: &'m mut RowErrors,
}

impl Maker<'_> {
    fn of_row(&self, row: &SpooledRow, operation: &'static str) -> Result<Vec<u8>, CompareError> {
        let mut object = Object::parse(&row.record).map_err(|e| CompareError::Spool(std::io::Error::other(e)))?;
        self.made(&row.key, &mut object, operation)
    }

    /// The record takes the place of the one that is in force now, and says so. That also makes it another record
    /// than an earlier version that said the same.
    fn made(&self, key: &[u8; 16], object: &mut Object<'_>, operation: &'static str) -> Result<Vec<u8>, CompareError> {
        object.set("operation", Value::text(operation));
        if let Some(before) = self.in_force.standing(key)?.first() {
            object.set("amends", Value::text(before.version.id.to_string()));
        }
        // A record that is too long now is refused when it is handed in.
        let mut bytes = Vec::with_capacity(1_024);
        object.write(&mut bytes);
        Ok(bytes)
    }
}

fn not_withdrawn(records: usize, rows: u64) -> AtLine {
    let en = format!(
        "{records} records are not in the file, and none was withdrawn: of {rows} rows that are not in order nobody knows which records they are. Correct those rows first"
    );
    let zh = format!("{records} 条记录不在文件中，均未撤销：有 {rows} 行退回数据无法确定对应哪条记录，请先更正");
    Finding::reject("C005", "", en, zh).at_line(NO_LINE)
}

fn unreadable(log: &str, index: u64) -> AtLine {
    let en =
        format!("record {index} of {log} cannot be read from this disk, so it was not withdrawn: see tally verify");
    Finding::reject("C006", "", en, format!("{log} 第 {index} 条记录无法读取，未撤销，请运行 tally verify"))
        .at_line(NO_LINE)
}
