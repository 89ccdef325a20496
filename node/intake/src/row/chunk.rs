//! Rows as they were handed in, some hundreds at a time: kept until each has its verdict, so that those not taken can be
//! given back as they came.

use super::{
    cells::judged_cells,
    context::RowContext,
    read::{JudgedRow, read_line},
};
use std::sync::Arc;

/// One row as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawRow<'r> {
    /// A line of NDJSON.
    Line(&'r [u8]),
    /// Cells of a table.
    Cells(&'r [String]),
}

/// What the columns of a table mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableColumns {
    /// Heads as they stand in the table.
    pub heads: Vec<String>,
    /// For each column the identifier of its field; none: it is not stored.
    pub fields: Vec<Option<Arc<str>>>,
    /// Columns that are stored, in the order of their fields, which is that of canonical JSON.
    pub order: Vec<usize>,
    /// Column in which a row of an answer's file says what it replies to.
    pub reply: Option<usize>,
}

impl TableColumns {
    /// The heads of a table, and the field that each means.
    pub fn new(heads: Vec<String>, fields: Vec<Option<Arc<str>>>) -> Self {
        let mut order: Vec<usize> = (0..fields.len()).filter(|i| fields[*i].is_some()).collect();
        order.sort_by(|a, b| fields[*a].cmp(&fields[*b]));
        let reply = heads.iter().position(|h| h.trim() == ADDED_HEADS[0]);
        Self { heads, fields, order, reply }
    }
}

/// Columns that the file of an answer adds. A corrected file has them still; they are not stored.
pub const ADDED_HEADS: [&str; 2] = ["错误代码", "错误说明"];

/// Some rows.
#[derive(Debug, Clone)]
pub enum RowChunk {
    /// Lines of NDJSON with their numbers.
    Lines(Vec<(u64, Vec<u8>)>),
    /// Rows of a table.
    Table(Arc<TableColumns>, Vec<tally_sheet::Row>),
}

impl RowChunk {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Lines(lines) => lines.len(),
            Self::Table(_, rows) => rows.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row at a place, as a chunk of its own; empty if there is none.
    #[must_use]
    pub fn one(&self, place: usize) -> Self {
        match self {
            Self::Lines(lines) => Self::Lines(lines.get(place).cloned().into_iter().collect()),
            Self::Table(columns, rows) => Self::Table(columns.clone(), rows.get(place).cloned().into_iter().collect()),
        }
    }

    /// Line of the row at a place.
    pub fn line(&self, place: usize) -> u64 {
        match self {
            Self::Lines(lines) => lines.get(place).map_or(0, |(n, _)| *n),
            Self::Table(_, rows) => rows.get(place).map_or(0, |r| r.line),
        }
    }

    /// The row at a place, as it came.
    pub fn raw(&self, place: usize) -> Option<RawRow<'_>> {
        match self {
            Self::Lines(lines) => lines.get(place).map(|(_, l)| RawRow::Line(l)),
            Self::Table(_, rows) => rows.get(place).map(|r| RawRow::Cells(&r.cells)),
        }
    }

    /// Reads and judges every row, in order.
    pub fn judged(&self, context: &RowContext<'_>) -> Vec<JudgedRow> {
        self.judged_within(context, usize::MAX)
    }

    /// Reads and judges rows in order until what is said of them takes so many bytes; one row at least. So whatever stands in
    /// them, what is held of it is bounded: by `bytes`, and by what is said of one row.
    pub fn judged_within(&self, context: &RowContext<'_>, bytes: usize) -> Vec<JudgedRow> {
        let (mut judged, mut said) = (Vec::new(), 0);
        let mut take = |row: JudgedRow| {
            said += row.said_bytes();
            judged.push(row);
            said < bytes
        };
        match self {
            Self::Lines(lines) => _ = lines.iter().all(|(n, line)| take(read_line(context, *n, line))),
            Self::Table(columns, rows) => _ = rows.iter().all(|r| take(judged_cells(context, columns, r))),
        }
        judged
    }

    /// Takes out the rows for which `goes` says so, asked in their order.
    #[must_use]
    pub fn take_out(&mut self, mut goes: impl FnMut() -> bool) -> Self {
        match self {
            Self::Lines(lines) => Self::Lines(lines.extract_if(.., |_| goes()).collect()),
            Self::Table(columns, rows) => Self::Table(columns.clone(), rows.extract_if(.., |_| goes()).collect()),
        }
    }

    /// Puts rows back that were taken out, each chunk's with the places where its rows stood.
    #[must_use]
    pub fn put_back(self, places: &[usize], others: Self, other_places: &[usize]) -> Self {
        match (self, others) {
            (Self::Lines(rows), Self::Lines(others)) => Self::Lines(in_place(rows, places, others, other_places)),
            (Self::Table(columns, rows), Self::Table(_, others)) => {
                Self::Table(columns, in_place(rows, places, others, other_places))
            }
            // What was taken out of a chunk is of its kind.
            (chunk, _) => chunk,
        }
    }

    /// These rows, and behind them those that came after.
    #[must_use]
    pub fn followed_by(mut self, others: Self) -> Self {
        match (&mut self, others) {
            (Self::Lines(lines), Self::Lines(others)) => lines.extend(others),
            (Self::Table(_, rows), Self::Table(_, others)) => rows.extend(others),
            // What was taken off a chunk is of its kind.
            _ => {}
        }
        self
    }

    /// Takes off the rows from a place on.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        match self {
            Self::Lines(lines) => Self::Lines(lines.split_off(at.min(lines.len()))),
            Self::Table(columns, rows) => Self::Table(columns.clone(), rows.split_off(at.min(rows.len()))),
        }
    }
}

fn in_place<R>(rows: Vec<R>, places: &[usize], others: Vec<R>, other_places: &[usize]) -> Vec<R> {
    let all = places.iter().zip(rows).chain(other_places.iter().zip(others));
    let mut all: Vec<(&usize, R)> = all.collect();
    all.sort_by_key(|(place, _)| **place);
    all.into_iter().map(|(_, row)| row).collect()
}
