//! What the columns of a table mean, and which of its rows are data: titles above the heads, heads, and notes of a
//! template are told apart and named, never passed over in silence.

mod again;
mod cells;
mod foreign;
mod heads;
mod join;
mod words;

use crate::{InputNote, TableColumns};
use again::{Again, Order};
use heads::TableHead;
use join::HeadNames;
use std::sync::{Arc, OnceLock};
use tally_sheet::{Row, SheetError};
use tally_topology::{catalog::Category, judge::shown};
pub(crate) use words::HeadWords;

/// Rows within which the heads stand.
const HEADS_WITHIN: usize = 20;
/// Columns that must be known for a row to be that of the heads.
const KNOWN_MIN: usize = 2;

/// Name of the sheet, once it is known.
pub(crate) type Title = Arc<OnceLock<String>>;

/// A table whose heads are found, or not yet.
#[derive(Debug)]
pub(crate) struct Table {
    words: HeadWords,
    title: Title,
    waiting: Vec<Row>,
    head: Option<TableHead>,
    names: Option<HeadNames>,
    /// The columns stand in another order since heads that came within the table.
    order: Option<Order>,
    /// No row below the heads has come yet.
    untouched: bool,
    /// Cells of a row, see [`usual_width`].
    width: usize,
    /// Why the next row cannot be read.
    fault: Option<SheetError>,
}

/// What becomes of a row.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Rows of data, and what is to be known.
    Rows(Vec<Row>, Vec<InputNote>),
    /// More rows are needed first.
    Waiting,
}

impl Table {
    pub(crate) fn new(words: HeadWords, title: Title) -> Self {
        Self {
            words,
            title,
            waiting: Vec::new(),
            head: None,
            names: None,
            order: None,
            untouched: true,
            width: 0,
            fault: None,
        }
    }

    /// What the columns mean; known once the first rows were given.
    pub(crate) fn columns(&self) -> Option<&Arc<TableColumns>> {
        self.head.as_ref().map(|h| &h.columns)
    }

    /// Of which category its rows are.
    pub(crate) fn category(&self) -> Option<&str> {
        self.head.as_ref().map(|h| &*h.category.id)
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// [`SheetError`]: no heads are found, or none that this row can be read by.
    pub(crate) fn take(&mut self, row: Row) -> Result<Taken, SheetError> {
        if self.head.is_none() {
            self.waiting.push(row);
            if self.waiting.len() < HEADS_WITHIN {
                return Ok(Taken::Waiting);
            }
            return self.open();
        }
        let mut notes = Vec::new();
        Ok(Taken::Rows(self.data(row, &mut notes)?.into_iter().collect(), notes))
    }

    /// There are no more rows. What [`Self::fault`] then says comes behind those that are handed over.
    ///
    /// # Errors
    /// As of [`Self::take`].
    pub(crate) fn finish(&mut self) -> Result<Taken, SheetError> {
        if self.head.is_some() {
            return Ok(Taken::Rows(Vec::new(), Vec::new()));
        }
        if self.waiting.is_empty() {
            return Err(SheetError::new("empty", 0, "there is nothing in it", "文件为空"));
        }
        self.open()
    }

    /// Why rows behind those that were handed over cannot be read.
    pub(crate) fn fault(&mut self) -> Option<SheetError> {
        self.fault.take()
    }

    /// Finds the heads among the first rows. What these hold is handed over with the next row, if a later one of them
    /// cannot be read.
    fn open(&mut self) -> Result<Taken, SheetError> {
        let rows = std::mem::take(&mut self.waiting);
        let (found, category, names) = self.find_heads(&rows)?;
        let mut notes = Vec::new();
        let (at, next) = (found.at, found.at + found.height);
        let head = heads::read(&category, found, &rows, rows.get(next..).unwrap_or_default(), &mut notes);
        for row in &rows[..at] {
            let text = row.cells.iter().find(|c| !c.trim().is_empty()).map_or("", |c| c.trim());
            notes.push(skipped("title_row", row.line, text, "a row above the heads", "表头以上的行"));
        }
        if let Some(why) = foreign::sign_in_each_cell(&head, rows.get(next..).unwrap_or_default()) {
            return Err(why);
        }
        let units = rows.get(next).filter(|row| foreign::is_unit_row(row));
        if let Some(why) = foreign::other_unit(&head, &rows[..at], units) {
            return Err(why);
        }
        self.words.add(&head.rows);
        self.width = usual_width(&head, rows.get(next..).unwrap_or_default());
        (self.head, self.names) = (Some(head), Some(names));
        let mut data = Vec::new();
        for row in rows.into_iter().skip(next) {
            match self.data(row, &mut notes) {
                Ok(row) => data.extend(row),
                Err(why) if data.is_empty() => return Err(why),
                Err(why) => {
                    self.fault = Some(why);
                    break;
                }
            }
        }
        Ok(Taken::Rows(data, notes))
    }
    /// Which rows are those of the heads, and of which category the table is: the one of which most heads are known.
    fn find_heads(&self, rows: &[Row]) -> Result<(heads::Found, Arc<Category>, HeadNames), SheetError> {
        let wanted = self.words.wanted();
        let categories = self.words.categories()?;
        let mut best: Vec<(heads::Found, &Arc<Category>, HeadNames)> = Vec::new();
        for category in &categories {
            let names = HeadNames::of(category);
            best.extend(heads::find(category, &names, rows).map(|found| (found, category, names)));
        }
        // Where the heads fit several alike, the title of the sheet or of the table says which.
        let beyond = |f: &heads::Found| {
            rows[..f.at].iter().chain(rows[f.at + f.height..].iter().filter(|r| self.words.is_note(r)))
        };
        let titled = |f: &heads::Found, c: &Category| {
            self.title.get().is_some_and(|t| t.contains(&c.zh))
                || beyond(f).flat_map(|r| &r.cells).any(|cell| cell.contains(&c.zh))
        };
        // Of heads in different rows the upper ones are the table's: below them another table was joined, and what stands
        // between is no title of it.
        let most = best.iter().map(|(found, ..)| found.known).max().unwrap_or(0);
        let is_head = |f: &heads::Found| f.known >= KNOWN_MIN && 2 * f.known >= most;
        let first = best.iter().filter(|(found, ..)| is_head(found)).map(|(found, ..)| found.at).min();
        best.retain(|(found, ..)| first.is_none_or(|first| found.at == first));
        let weight = |f: &heads::Found, c: &Category| (f.known, titled(f, c));
        best.sort_by_key(|(found, c, _)| std::cmp::Reverse(weight(found, c)));
        if let [(first, a, _), (second, b, _), ..] = best.as_slice()
            && first.known >= KNOWN_MIN
            && weight(second, b) == weight(first, a)
        {
            let (en, zh) = (
                format!("the heads fit {} as well as {}: say which with --category", a.id, b.id),
                format!("表头同时符合 {} 和 {}，请指定信息类别", a.zh, b.zh),
            );
            return Err(SheetError::new("which_category", 0, en, zh));
        }
        match best.into_iter().next() {
            Some((found, category, names)) if found.known >= KNOWN_MIN => Ok((found, category.clone(), names)),
            // Where heads cannot be cut into cells they are not found.
            _ => Err(rows
                .iter()
                .find_map(|r| r.fault.as_deref().cloned())
                .or_else(|| foreign::strange_delimiter(&self.words, rows))
                .unwrap_or_else(|| no_heads(wanted, rows))),
        }
    }

    /// The row, if it is one of data.
    fn data(&mut self, row: Row, notes: &mut Vec<InputNote>) -> Result<Option<Row>, SheetError> {
        if let Some(why) = self.fault.take() {
            return Err(why);
        }
        let (Some(head), Some(names)) = (&self.head, &self.names) else { return Ok(None) };
        let first = first(&row);
        if row.fault.is_none() && self.words.is_note(&row) {
            notes.push(skipped("note_row", row.line, first, "a note of the template", "模板说明行"));
            return Ok(None);
        }
        let units = ("form_row", "the units of the columns", "计量单位");
        let is_units = self.untouched && foreign::is_unit_row(&row);
        if let Some((code, en, zh)) = again::form_row(&row, self.untouched).or(is_units.then_some(units)) {
            notes.push(skipped(code, row.line, first, en, zh));
            return Ok(None);
        }
        if let Some(why) = again::other_delimiter(&self.words, &row).filter(|_| row.fault.is_none()) {
            return Err(why);
        }
        // Most rows do not begin with a head: the others need not be looked at.
        if row.fault.is_none() && self.words.begins(&row) {
            match again::look(&self.words, head, names, &row)? {
                Again::No => {}
                Again::Heads(order) => {
                    if order == self.order {
                        notes.push(skipped("second_head", row.line, first, "a second row of heads", "第二行表头"));
                    } else {
                        let (en, zh) = (
                            format!(
                                "from row {} on the columns stand as its heads say, no longer as the first ones",
                                row.line
                            ),
                            format!("自第 {} 行起按该行表头的列顺序读取", row.line),
                        );
                        notes.push(noted("", "heads_change", row.line, en, zh));
                        self.order = order;
                    }
                    return Ok(None);
                }
            }
        }
        self.untouched = false;
        let width = if self.title.get().is_some() { usize::MAX } else { self.width };
        let row = match &self.order {
            Some(order) => order.of_first(row, notes),
            None => row,
        };
        Ok(Some(cells::read(head, row, width, notes)))
    }
}

/// How many cells a row of a text has; none for a workbook, whose cells cannot be moved by a sign between them. Columns behind
/// the last head that most of the first rows fill belong to the table.
fn usual_width(head: &TableHead, data: &[Row]) -> usize {
    let least = head.columns.heads.len();
    let wider = data.iter().filter(|row| cells::filled_to(row) > least).count();
    let widest = data.iter().map(cells::filled_to).max().unwrap_or(0);
    if 2 * wider > data.len() { least.max(widest) } else { least }
}

/// What stands in it first.
fn first(row: &Row) -> &str {
    row.cells.iter().map(|c| c.trim()).find(|c| !c.is_empty()).unwrap_or_default()
}

fn noted(field: &str, code: &str, line: u64, message: String, message_zh: String) -> InputNote {
    let field = shown(field.trim());
    InputNote { field, code: code.to_owned(), count: 1, line, message, message_zh }
}

fn skipped(code: &str, line: u64, text: &str, en: &str, zh: &str) -> InputNote {
    let text = shown(text);
    noted("", code, line, format!("not taken as data: {en}: {text}"), format!("未作为数据：{zh}：{text}"))
}

fn no_heads(wanted: Option<&str>, rows: &[Row]) -> SheetError {
    let category = wanted.unwrap_or("CATEGORY");
    let first: Vec<_> = rows.first().map(|r| r.cells.iter().take(5).map(|c| c.trim()).collect()).unwrap_or_default();
    SheetError::new(
        "no_heads",
        0,
        format!(
            "no row of heads was found in the first {} rows (they begin with: {}): the first row must name the columns. A template: tally catalog template {category}",
            rows.len(),
            shown(&first.join(" | "))
        ),
        format!(
            "前 {} 行中未找到表头（开头为：{}）：第一行应为各列名称；请使用模板填报",
            rows.len(),
            shown(&first.join(" | "))
        ),
    )
}

#[cfg(test)]
mod tests;
