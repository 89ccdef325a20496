//! What the reader of cells does not tell of a sheet: merged ranges, hidden rows and columns, and formulas of which the
//! file has no result. Read beside it, and only for sheets that have any of this (see `XmlBounds::is_special`).

use crate::{
    CELLS_MAX, SheetError,
    row::{MergedRange, column_name},
};
use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};
use std::{
    collections::{BTreeSet, HashSet},
    fs::File,
    io::BufReader,
    path::Path,
};
use zip::ZipArchive;

/// Most merged ranges of a sheet.
const MERGES_MAX: usize = 200_000;
/// Most formulas without a result that are told one by one.
const NO_RESULT_MAX: usize = 1 << 20;
/// Most rows of a sheet.
const ROWS_MAX: u32 = 1 << 20;
/// Most bytes of texts that are struck out in part and of which it is told.
const STRUCK_BYTES_MAX: usize = 4 << 20;
/// Most array formulas whose cells lie in one row.
const ARRAYS_MAX: usize = 256;

/// What is to be known of a sheet.
#[derive(Debug, Default)]
pub(super) struct SheetFacts {
    pub(super) merges: Vec<MergedRange>,
    /// Rows as a spreadsheet counts.
    pub(super) hidden_rows: BTreeSet<u64>,
    /// From 0; first and last.
    pub(super) hidden_columns: Vec<(usize, usize)>,
    /// A filter hides rows.
    pub(super) filtered: bool,
    /// Row and column, from 0.
    pub(super) no_result: BTreeSet<(u32, u32)>,
    /// Shared texts through a part of which a line goes.
    pub(super) struck: HashSet<String>,
}

fn broken(e: impl std::fmt::Display) -> SheetError {
    super::broken(0, e)
}

fn too_many(en: &str, zh: &str) -> SheetError {
    SheetError::new("too_special", 0, en, zh)
}

/// Looks at the sheet of this name, if one of the special members is its part.
///
/// # Errors
/// [`SheetError`]: its part is not found, is damaged, or has more of something than is looked at.
pub(super) fn look(path: &Path, sheet: &str, special: &HashSet<String>) -> Result<SheetFacts, SheetError> {
    if special.is_empty() {
        return Ok(SheetFacts::default());
    }
    let file = File::open(path).map_err(|e| SheetError::io(&e))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    let (target, recalculates) = member_of(&mut archive, sheet)?;
    let index = member(&archive, &target).ok_or_else(|| broken("a sheet's part is not there"))?;
    let mut facts = SheetFacts::default();
    if let Some(texts) = special.iter().find(|name| name.contains("sharedstrings")).and_then(|n| member(&archive, n)) {
        facts.struck = struck_texts(&mut archive, texts)?;
    }
    if !special.contains(&target) {
        return Ok(facts);
    }
    let mut scan = Scan { recalculates, ..Scan::default() };
    events(&mut archive, index, &mut |event, text| scan.take(event, text, &mut facts))?;
    facts.merges.sort_by_key(|m| m.first_row);
    Ok(facts)
}

/// Name of a member as names are compared.
fn plain(name: &str) -> String {
    name.trim_start_matches('/').replace('\\', "/").to_lowercase()
}

fn member(archive: &ZipArchive<BufReader<File>>, name: &str) -> Option<usize> {
    archive.file_names().position(|n| n.is_ok_and(|n| plain(&n) == name))
}

/// The member that a sheet is, and whether the book's formulas are to be worked out when it is opened.
fn member_of(archive: &mut ZipArchive<BufReader<File>>, sheet: &str) -> Result<(String, bool), SheetError> {
    let (mut id, mut recalculates) = (None, false);
    let book = member(archive, "xl/workbook.xml").ok_or_else(|| broken("no workbook"))?;
    events(archive, book, &mut |event, _| {
        match event {
            Tag::Start(e, "sheet") if attribute(e, "name")?.as_deref() == Some(sheet) => id = attribute(e, "id")?,
            Tag::Start(e, "calcPr") => recalculates = is_set(attribute(e, "fullCalcOnLoad")?),
            _ => {}
        }
        Ok(())
    })?;
    let mut target = None;
    let relations = member(archive, "xl/_rels/workbook.xml.rels").ok_or_else(|| broken("no relations"))?;
    events(archive, relations, &mut |event, _| {
        if let Tag::Start(e, "Relationship") = event
            && attribute(e, "Id")? == id
        {
            target = attribute(e, "Target")?;
        }
        Ok(())
    })?;
    let target = target.ok_or_else(|| broken("a sheet's part is not named"))?;
    let whole = if target.starts_with('/') { target } else { format!("xl/{target}") };
    Ok((plain(&whole), recalculates))
}

/// The shared texts through a part of which a line goes: style and format of a cell do not tell it.
fn struck_texts(archive: &mut ZipArchive<BufReader<File>>, index: usize) -> Result<HashSet<String>, SheetError> {
    let (mut struck, mut text, mut bytes) = (HashSet::new(), String::new(), 0);
    let (mut is_struck, mut in_text, mut spoken) = (false, false, false);
    events(archive, index, &mut |tag, piece| {
        match tag {
            Tag::Start(_, "si") => (text, is_struck) = (String::new(), false),
            Tag::Start(e, "strike") => is_struck |= attribute(e, "val")?.is_none_or(|v| !matches!(&*v, "0" | "false")),
            // How a text is spoken is shown above it.
            Tag::Start(_, "rPh") => spoken = true,
            Tag::End("rPh") => spoken = false,
            Tag::Start(_, "t") => in_text = !spoken,
            Tag::End("t") => in_text = false,
            Tag::Text if in_text => text += piece,
            Tag::End("si") if is_struck && bytes + text.len() <= STRUCK_BYTES_MAX => {
                bytes += text.len();
                struck.insert(std::mem::take(&mut text));
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(struck)
}

/// A tag with its local name.
enum Tag<'e, 'n> {
    /// Also of an empty element, whose end follows.
    Start(&'e BytesStart<'e>, &'n str),
    End(&'n str),
    Text,
}

type OnTag<'t> = &'t mut dyn FnMut(Tag<'_, '_>, &str) -> Result<(), SheetError>;

/// Goes through the tags of a member. Each was measured before.
fn events(archive: &mut ZipArchive<BufReader<File>>, index: usize, on: OnTag<'_>) -> Result<(), SheetError> {
    let member = archive.by_index(index).map_err(broken)?;
    let mut reader = Reader::from_reader(BufReader::with_capacity(64 << 10, member));
    reader.config_mut().expand_empty_elements = true;
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(broken)? {
            Event::Start(e) => on(Tag::Start(&e, e.local_name().as_ref()), "")?,
            Event::End(e) => on(Tag::End(e.local_name().as_ref()), "")?,
            Event::Text(text) => on(Tag::Text, text.as_ref())?,
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// An attribute by its local name.
fn attribute(e: &BytesStart<'_>, name: &str) -> Result<Option<String>, SheetError> {
    for a in e.attributes().with_checks(false) {
        let a = a.map_err(broken)?;
        if a.key.local_name().as_ref() == name {
            return Ok(Some(a.normalized_value(XmlVersion::default()).map_err(broken)?.into_owned()));
        }
    }
    Ok(None)
}

fn is_set(value: Option<String>) -> bool {
    value.is_some_and(|v| matches!(v.as_str(), "1" | "true" | "on"))
}

fn is_zero(value: Option<String>) -> bool {
    value.is_some_and(|v| v.parse() == Ok(0.0_f64))
}

/// Where in a sheet the tags are.
#[derive(Debug, Default)]
struct Scan {
    recalculates: bool,
    /// From 0.
    row: u32,
    column: u32,
    in_filter: bool,
    cell: Option<Cell>,
    /// Cells of one formula each that reach the present row or one below it.
    arrays: Vec<MergedRange>,
}

#[derive(Debug, Default)]
struct Cell {
    kind: String,
    formula: bool,
    /// The cells that its formula is that of, if it is one of several.
    array: Option<MergedRange>,
    in_value: bool,
    has_value: bool,
    value: String,
}

impl Cell {
    /// Whether a person would see a result that the file does not have.
    fn lacks_result(&self, recalculates: bool) -> bool {
        // The result of a formula may be no text.
        let empty = !self.has_value || (self.value.is_empty() && self.kind != "str");
        // Programs that do not work formulas out write 0, and have the spreadsheet do it on opening. In Java they write 0.0,
        // as no spreadsheet does, and leave it to the spreadsheet to find out.
        let zero = (recalculates && self.value == "0") || self.value == "0.0";
        self.formula && (empty || (zero && matches!(self.kind.as_str(), "" | "n")))
    }
}

impl Scan {
    fn take(&mut self, tag: Tag<'_, '_>, text: &str, facts: &mut SheetFacts) -> Result<(), SheetError> {
        match tag {
            Tag::Start(e, "row") => {
                if let Some(row) = attribute(e, "r")?.and_then(|r| r.parse().ok()) {
                    self.row = u32::saturating_sub(row, 1).min(ROWS_MAX);
                }
                self.column = 0;
                let line = u64::from(self.row) + 1;
                self.arrays.retain(|a| a.last_row >= line);
                if is_set(attribute(e, "hidden")?) || is_zero(attribute(e, "ht")?) {
                    facts.hidden_rows.insert(u64::from(self.row) + 1);
                }
            }
            Tag::End("row") => self.row = (self.row + 1).min(ROWS_MAX),
            Tag::Start(e, "c") => {
                if let Some((row, column)) = attribute(e, "r")?.and_then(|r| place(&r)) {
                    (self.row, self.column) = (row, column);
                }
                self.cell = Some(Cell { kind: attribute(e, "t")?.unwrap_or_default(), ..Cell::default() });
            }
            Tag::End("c") => {
                self.cell_ends(facts)?;
                self.column += 1;
            }
            Tag::Start(e, "f") => self.formula(e)?,
            Tag::Start(_, "v") => self.cell.iter_mut().for_each(|c| (c.in_value, c.has_value) = (true, true)),
            Tag::End("v") => self.cell.iter_mut().for_each(|c| c.in_value = false),
            Tag::Text => {
                if let Some(cell) = self.cell.as_mut().filter(|c| c.in_value && c.value.len() < 8) {
                    cell.value.extend(text.trim().chars().take(8));
                }
            }
            Tag::Start(e, name) => self.around(e, name, facts)?,
            Tag::End("autoFilter") => self.in_filter = false,
            Tag::End(_) => {}
        }
        Ok(())
    }

    /// A formula begins, which may be that of other cells too.
    fn formula(&mut self, e: &BytesStart<'_>) -> Result<(), SheetError> {
        let Some(cell) = &mut self.cell else { return Ok(()) };
        cell.formula = true;
        if attribute(e, "t")?.is_some_and(|t| matches!(t.as_str(), "array" | "dataTable")) {
            cell.array = attribute(e, "ref")?.and_then(|r| range(&r));
        }
        Ok(())
    }

    /// Notes whether the cell lacks its result. Cells of one array have their formula in the first of them; a program that
    /// does not work it out leaves the others out, or writes 0 into them.
    fn cell_ends(&mut self, facts: &mut SheetFacts) -> Result<(), SheetError> {
        let Some(mut cell) = self.cell.take() else { return Ok(()) };
        let (line, column) = (u64::from(self.row) + 1, self.column as usize);
        let is_here = |a: &MergedRange| {
            (a.first_row..=a.last_row).contains(&line) && (a.first_column..=a.last_column).contains(&column)
        };
        cell.formula |= self.arrays.iter().any(is_here);
        let lacks = cell.lacks_result(self.recalculates);
        match lacks {
            true => facts.no_result.insert((self.row, self.column)),
            false => facts.no_result.remove(&(self.row, self.column)),
        };
        if let Some(array) = cell.array {
            if lacks {
                let rows = array.first_row as u32 - 1..array.last_row as u32;
                let columns = array.first_column as u32..=array.last_column as u32;
                let cells = rows.flat_map(|row| columns.clone().map(move |column| (row, column)));
                facts.no_result.extend(cells.take(NO_RESULT_MAX + 1));
            }
            self.arrays.push(array);
        }
        if facts.no_result.len() > NO_RESULT_MAX || self.arrays.len() > ARRAYS_MAX {
            let en = "too many formulas have no result in the file: open it in a spreadsheet and save it";
            return Err(too_many(en, "大量公式没有保存计算结果，请用 Excel/WPS 打开并重新保存后再报"));
        }
        Ok(())
    }

    /// Before and behind the cells.
    fn around(&mut self, e: &BytesStart<'_>, name: &str, facts: &mut SheetFacts) -> Result<(), SheetError> {
        match name {
            "col" if is_set(attribute(e, "hidden")?) || is_zero(attribute(e, "width")?) => {
                let number = |name| Ok::<_, SheetError>(attribute(e, name)?.and_then(|v| v.parse::<usize>().ok()));
                if let (Some(from), Some(to)) = (number("min")?, number("max")?)
                    && facts.hidden_columns.len() < CELLS_MAX
                {
                    facts.hidden_columns.push((from.saturating_sub(1), to.saturating_sub(1)));
                }
            }
            "mergeCell" => {
                facts.merges.extend(attribute(e, "ref")?.and_then(|r| range(&r)));
                if facts.merges.len() > MERGES_MAX {
                    let en = "too many cells of the sheet are merged: unmerge them";
                    return Err(too_many(en, "合并单元格过多，请取消合并后再报"));
                }
            }
            "autoFilter" => self.in_filter = true,
            "filterColumn" => facts.filtered |= self.in_filter,
            _ => {}
        }
        Ok(())
    }
}

/// Row and column of a place such as `J3`, from 0.
fn place(text: &str) -> Option<(u32, u32)> {
    let text = text.trim_start_matches('$');
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (column, row) = text.split_at_checked(letters)?;
    let column = column
        .bytes()
        .try_fold(0_u32, |n, b| n.checked_mul(26)?.checked_add(u32::from(b.to_ascii_uppercase() - b'A') + 1))?;
    let row: u32 = row.trim_start_matches('$').parse().ok()?;
    let fits = (1..=ROWS_MAX).contains(&row) && (1..=CELLS_MAX as u32).contains(&column);
    fits.then(|| (row - 1, column - 1))
}

/// A range of more than one cell.
fn range(text: &str) -> Option<MergedRange> {
    let (from, to) = text.split_once(':')?;
    let ((r1, c1), (r2, c2)) = (place(from)?, place(to)?);
    let (first_row, last_row) = (u64::from(r1.min(r2)) + 1, u64::from(r1.max(r2)) + 1);
    let (first_column, last_column) = (c1.min(c2) as usize, c1.max(c2) as usize);
    let name = format!("{}{first_row}:{}{last_row}", column_name(first_column), column_name(last_column));
    Some(MergedRange { name, first_row, last_row, first_column, last_column })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A07: programs that do not work formulas out write a number in place of the result.
    #[test]
    fn a_number_that_stands_in_for_a_result_is_none() {
        let lacks = |kind: &str, value: &str, recalculates| {
            let (kind, value) = (kind.to_owned(), value.to_owned());
            let has_value = true;
            Cell { kind, formula: true, has_value, value, ..Cell::default() }.lacks_result(recalculates)
        };
        assert!(lacks("", "0", true) && lacks("n", "0.0", true) && lacks("n", "0.0", false) && lacks("", "", false));
        assert!(
            !lacks("", "0", false) && !lacks("", "1.0", true) && !lacks("str", "0", true) && !lacks("b", "0", true)
        );
    }

    #[test]
    fn places_and_ranges_are_read_as_a_spreadsheet_writes_them() {
        assert_eq!((place("A1"), place("$XFD$1048576")), (Some((0, 0)), Some((1_048_575, 16_383))));
        for bad in ["", "A", "1", "A0", "XFE1", "A1048577", "ZZZZZZZZZZ1", "A1x", "一1"] {
            assert_eq!(place(bad), None, "{bad}");
        }
        let merged = range("Q4:J2").unwrap();
        assert_eq!((merged.name.as_str(), merged.first_row, merged.last_column), ("J2:Q4", 2, 16));
        assert_eq!(range("A1"), None);
    }
}
