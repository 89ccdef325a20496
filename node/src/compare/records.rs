//! The difference as records: new ones, amendments with the file's content, withdrawals of what is gone there.

use super::{
    CompareError, Comparison, Shelf,
    source::{Class, Errors},
    spool::Kept,
};
use crate::{
    clock,
    index::{Engine, Operation, query::attested},
    intake::Finding,
};
use std::ops::ControlFlow;
use tally_protocol::{
    canonical::{Object, Value},
    record::Record,
};

/// Line of a withdrawal: no row of the file says it.
const NO_LINE: u64 = 0;

/// Makes the records one after the other, the file's rows first; `hand` answers whether to go on. What no record can be
/// made of is told in `left`. Blocking.
///
/// # Errors
/// [`CompareError`].
pub(super) fn make(
    comparison: &Comparison,
    shelf: &Shelf,
    engine: &dyn Engine,
    left: &mut Errors,
    mut hand: impl FnMut(u64, Vec<u8>) -> bool,
) -> Result<(), CompareError> {
    let mut maker = Maker { engine, left };
    for row in comparison.spool.rows() {
        let (place, row) = row?;
        let made = match comparison.class(&row.key, place) {
            Class::Superseded => continue,
            Class::Missing { withdrawn: false } => maker.of_row(&row, &["create"], false)?,
            // What was withdrawn once and comes back with the very same bytes is held already: as a change it is not.
            Class::Missing { withdrawn: true } => maker.of_row(&row, &["create", "amend"], true)?,
            Class::Different(_) if row.operation == Operation::Withdraw => maker.of_row(&row, &["withdraw"], true)?,
            Class::Different(_) => maker.of_row(&row, &["amend"], true)?,
        };
        if let Some(record) = made
            && !hand(row.line, record)
        {
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
    let (today, mut failed) = (clock::today(), None);
    let version = comparison.charter.charter().catalogs().current(today).version.to_string();
    let day = today.to_string();
    shelf.read(&comparison.table, &places, |_, h, object| {
        let Some(object) = object else {
            let log = comparison.table.log(h).map(|l| l.to_string()).unwrap_or_default();
            maker.left.say(unreadable(&log, h.index));
            return ControlFlow::Continue(());
        };
        let mut gone = object.clone();
        gone.set("catalog_version", Value::text(version.as_str()));
        gone.set("produced_on", Value::text(day.as_str()));
        match maker.fresh(NO_LINE, &mut gone, &["withdraw"], true) {
            Ok(made) => match made.is_none_or(|record| hand(NO_LINE, record)) {
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
    engine: &'m dyn Engine,
    left: &'m mut Errors,
}

impl Maker<'_> {
    fn of_row(&mut self, row: &Kept, operations: &[&'static str], seen: bool) -> Result<Option<Vec<u8>>, CompareError> {
        match Object::parse(&row.record) {
            Ok(mut object) => self.fresh(row.line, &mut object, operations, seen),
            Err(e) => Err(CompareError::Spool(std::io::Error::other(e))),
        }
    }

    /// The record with the first of the operations with which it is not held already: one that is would be a duplicate,
    /// and would change nothing. `seen`: something of its business key is held.
    fn fresh(
        &mut self,
        line: u64,
        object: &mut Object<'_>,
        operations: &[&'static str],
        seen: bool,
    ) -> Result<Option<Vec<u8>>, CompareError> {
        for operation in operations {
            object.set("operation", Value::text(*operation));
            // One that is too long now is told at the door.
            let mut bytes = Vec::with_capacity(1_024);
            object.write(&mut bytes);
            let id = Record::new(object).map(|r| r.id()).ok().filter(|_| seen);
            if id.map(|id| attested(self.engine, id)).transpose()?.is_none_or(|logs| logs.is_empty()) {
                return Ok(Some(bytes));
            }
        }
        self.left.say(held_before(line, object.text("business_key").unwrap_or_default()));
        Ok(None)
    }
}

fn held_before(line: u64, key: &str) -> Finding {
    let en = format!(
        "{key}: the very same record is held as an earlier version, so it cannot become the current one again: change something in it, such as source_row_id or remark"
    );
    let zh = format!("{key}：相同记录已作为历史版本存在，无法再次生效，请修改源记录编号或备注后重新报送");
    Finding::reject(line, "C004", "business_key", en, zh)
}

fn not_withdrawn(records: usize, rows: u64) -> Finding {
    let en = format!(
        "{records} records are not in the file, and none was withdrawn: of {rows} rows that are not in order nobody knows which records they are. Correct those rows first"
    );
    let zh = format!("{records} 条记录不在文件中，均未撤销：有 {rows} 行退回数据无法确定对应哪条记录，请先更正");
    Finding::reject(NO_LINE, "C005", "", en, zh)
}

fn unreadable(log: &str, index: u64) -> Finding {
    let en =
        format!("record {index} of {log} cannot be read from this disk, so it was not withdrawn: see tally verify");
    Finding::reject(NO_LINE, "C006", "", en, format!("{log} 第 {index} 条记录无法读取，未撤销，请运行 tally verify"))
}
