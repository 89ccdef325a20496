//! What the columns of a table mean, and which of its rows are data: titles above the heads, heads, and notes of a
//! template are told apart and named, never passed over in silence.

use crate::{ADDED_HEADS, InputNote, TableColumns};
use std::sync::{Arc, OnceLock};
use tally_sheet::{Row, SheetError};
use tally_topology::{
    catalog::{Catalog, Category},
    judge::shown,
};

/// Rows within which the heads stand.
const HEADS_WITHIN: usize = 20;
/// Columns that must be known for a row to be that of the heads.
const KNOWN_MIN: usize = 2;

/// Name of the sheet, once it is known.
pub(crate) type Title = Arc<OnceLock<String>>;

/// A table whose heads are found, or not yet.
#[derive(Debug)]
pub(crate) struct Table {
    catalog: Arc<Catalog>,
    wanted: Option<String>,
    title: Title,
    waiting: Vec<Row>,
    head: Option<TableHead>,
}

#[derive(Debug)]
struct TableHead {
    category: Arc<Category>,
    columns: Arc<TableColumns>,
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
    pub(crate) fn new(catalog: Arc<Catalog>, wanted: Option<String>, title: Title) -> Self {
        Self { catalog, wanted, title, waiting: Vec::new(), head: None }
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
    pub(crate) fn take(&mut self, row: Row) -> Result<Taken, SheetError> {
        if self.head.is_none() {
            self.waiting.push(row);
            if self.waiting.len() < HEADS_WITHIN {
                return Ok(Taken::Waiting);
            }
            return self.open();
        }
        let mut notes = Vec::new();
        Ok(Taken::Rows(self.data(row, &mut notes).into_iter().collect(), notes))
    }

    /// There are no more rows.
    pub(crate) fn finish(&mut self) -> Result<Taken, SheetError> {
        if self.head.is_some() {
            return Ok(Taken::Rows(Vec::new(), Vec::new()));
        }
        if self.waiting.is_empty() {
            return Err(SheetError::new("empty", 0, "there is nothing in it", "文件为空"));
        }
        self.open()
    }

    /// Finds the heads among the first rows.
    fn open(&mut self) -> Result<Taken, SheetError> {
        let rows = std::mem::take(&mut self.waiting);
        let (at, category) = self.find_heads(&rows)?;
        let mut notes = Vec::new();
        let columns = meanings(&category, &rows[at], &mut notes);
        for row in &rows[..at] {
            let text = row.cells.iter().find(|c| !c.trim().is_empty()).map_or("", |c| c.trim());
            notes.push(skipped("title_row", row.line, text, "a row above the heads", "表头以上的行"));
        }
        self.head = Some(TableHead { category, columns: Arc::new(columns) });
        let rows: Vec<Row> = rows.into_iter().skip(at + 1).collect();
        let data = rows.into_iter().filter_map(|r| self.data(r, &mut notes)).collect();
        Ok(Taken::Rows(data, notes))
    }

    /// Which row is that of the heads, and of which category the table is: the one of which most heads are known.
    fn find_heads(&self, rows: &[Row]) -> Result<(usize, Arc<Category>), SheetError> {
        let categories: Vec<Arc<Category>> = match &self.wanted {
            Some(id) => {
                let found = self.catalog.category(id).cloned();
                vec![found.ok_or_else(|| no_category(id, &self.catalog))?]
            }
            None => self.catalog.categories().cloned().collect(),
        };
        let known = |category: &Category, row: &Row| row.cells.iter().filter(|c| category.column(c).is_some()).count();
        let mut best: Vec<(usize, usize, &Arc<Category>)> = Vec::new();
        for category in &categories {
            // The first of equals: a row of codes below the titles is a second head.
            let counts = rows.iter().enumerate().map(|(i, r)| (known(category, r), i));
            if let Some((count, i)) = counts.max_by_key(|(count, i)| (*count, std::cmp::Reverse(*i))) {
                best.push((count, i, category));
            }
        }
        // Where the heads fit several alike, the title of the sheet or of the table says which.
        let beyond = |at: usize| rows[..at].iter().chain(rows[at + 1..].iter().filter(|r| self.is_note(r)));
        let titled = |at: usize, c: &Category| {
            self.title.get().is_some_and(|t| t.contains(&c.zh))
                || beyond(at).flat_map(|r| &r.cells).any(|cell| cell.contains(&c.zh))
        };
        best.sort_by_key(|(count, at, c)| std::cmp::Reverse((*count, titled(*at, c))));
        let (count, at, category) = best.first().copied().ok_or_else(|| no_heads(&self.wanted, rows))?;
        if count < KNOWN_MIN {
            return Err(no_heads(&self.wanted, rows));
        }
        if let Some((second, below, other)) = best.get(1)
            && (*second, titled(*below, other)) == (count, titled(at, category))
        {
            let (a, b) = (&category.id, &other.id);
            return Err(SheetError::new(
                "which_category",
                0,
                format!("the heads fit {a} as well as {b}: say which with --category"),
                format!("表头同时符合 {} 和 {}，请指定信息类别", category.zh, other.zh),
            ));
        }
        Ok((at, category.clone()))
    }

    fn is_note(&self, row: &Row) -> bool {
        self.catalog.note_words.iter().any(|w| first(row).starts_with(w.as_str()))
    }

    /// The row, if it is one of data.
    fn data(&self, mut row: Row, notes: &mut Vec<InputNote>) -> Option<Row> {
        let head = self.head.as_ref()?;
        let first = first(&row);
        if self.is_note(&row) {
            notes.push(skipped("note_row", row.line, first, "a note of the template", "模板说明行"));
            return None;
        }
        let there = row.cells.iter().filter(|c| !c.trim().is_empty()).count();
        // Most rows do not begin with a head: the others need not be looked at.
        let begins = head.category.column(first).is_some();
        let as_heads = || row.cells.iter().filter(|c| head.category.column(c).is_some()).count();
        if begins && as_heads() >= KNOWN_MIN.max(there / 2 + 1) {
            notes.push(skipped("second_head", row.line, first, "a second row of heads", "第二行表头"));
            return None;
        }
        // What stands beyond the heads has no name.
        let beyond = row.cells.iter().skip(head.columns.heads.len()).any(|c| !c.trim().is_empty());
        if beyond {
            let (en, zh) = ("cells to the right of the last head are not stored", "表头以外的单元格未入库");
            notes.push(noted("", "beyond_heads", row.line, en.into(), zh.into()));
        }
        let least = head.columns.heads.len().saturating_sub(1).max(3);
        let swallows = |c: &String| c.contains('\n') && c.matches([',', '\t', ';', '|']).count() >= least;
        if row.cells.iter().any(swallows) {
            let en = "a cell holds lines that look like rows: is a quotation mark in it not closed?";
            let zh = "单元格内含多行疑似数据行，请检查是否缺少右引号";
            notes.push(noted("", "rows_in_cell", row.line, en.into(), zh.into()));
        }
        row.cells.resize(head.columns.heads.len().max(row.cells.len()), String::new());
        Some(row)
    }
}

/// What each column means; those that mean nothing, or what another one means, are named in a note.
fn meanings(category: &Category, row: &Row, notes: &mut Vec<InputNote>) -> TableColumns {
    let heads = row.cells.clone();
    let mut fields: Vec<Option<Arc<str>>> = Vec::with_capacity(heads.len());
    for head in &heads {
        let field = category.column(head).map(|f| f.id.clone());
        let twice = field.as_ref().is_some_and(|f| fields.contains(&Some(f.clone())));
        let added = ADDED_HEADS.contains(&head.trim());
        if (field.is_none() || twice) && !head.trim().is_empty() && !added {
            let (what, zh) = if twice {
                ("another column before it means the same field", "与前面的列含义相同")
            } else {
                ("the catalog has no such field", "不在目录中")
            };
            let (en, zh) = (format!("the column is not stored: {what}"), format!("该列未入库：{zh}"));
            notes.push(noted(head, "unknown_column", row.line, en, zh));
        }
        fields.push(field.filter(|_| !twice));
    }
    TableColumns::new(heads, fields)
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

fn no_category(id: &str, catalog: &Catalog) -> SheetError {
    let list: Vec<_> = catalog.categories().map(|c| &*c.id).collect();
    let en = format!("{id:?} is not a category of the catalog; there are: {}", list.join(", "));
    SheetError::new("no_category", 0, en, format!("目录中没有信息类别 {id}"))
}

fn no_heads(wanted: &Option<String>, rows: &[Row]) -> SheetError {
    let category = wanted.as_deref().unwrap_or("CATEGORY");
    let first: Vec<_> = rows.first().map(|r| r.cells.iter().take(5).map(|c| c.trim()).collect()).unwrap_or_default();
    SheetError::new(
        "no_heads",
        0,
        format!(
            "no row of heads was found in the first {} rows (they begin with: {}): the first row must name the columns. A template: tally catalog template {category}",
            rows.len(),
            shown(&first.join(" | "))
        ),
        format!("前 {} 行中未找到表头，请使用模板填报", rows.len()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_topology::catalog::Catalogs;

    fn table(wanted: Option<&str>, rows: &[&[&str]]) -> Result<(Table, Vec<u64>, Vec<String>), SheetError> {
        let catalogs = Catalogs::shipped().unwrap();
        let mut table = Table::new(catalogs.versions()[0].clone(), wanted.map(str::to_owned), Title::default());
        let (mut lines, mut codes) = (Vec::new(), Vec::new());
        let mut keep = |taken: Taken| {
            if let Taken::Rows(rows, notes) = taken {
                lines.extend(rows.iter().map(|r| r.line));
                codes.extend(notes.into_iter().map(|n| n.code));
            }
        };
        for (i, cells) in rows.iter().enumerate() {
            let cells = cells.iter().map(|c| (*c).to_owned()).collect();
            keep(table.take(Row { line: i as u64 + 1, cells, ..Row::default() })?);
        }
        keep(table.finish()?);
        Ok((table, lines, codes))
    }

    #[test]
    fn heads_are_found_below_titles_and_notes_are_no_data() {
        let rows: &[&[&str]] = &[
            &["福州市鼓楼区行政许可信息表"],
            &["填表单位：某局", "", "2026年11月"],
            &["*行政相对人名称", "统一社会信用代码", "行政许可决定文书号", "自编列"],
            &["XK_XDR_MC", "XK_XDR_SHXYM", "XK_WSH", ""],
            &["填表说明：请勿改动表头"],
            &["福州甲公司", "91350102MA2TE5T1X0", "1号", "x"],
            &["福州乙公司", "", "2号"],
        ];
        let (table, lines, codes) = table(None, rows).unwrap();
        assert_eq!(table.category(), Some("admin_license"));
        assert_eq!(lines, [6, 7]);
        assert_eq!(codes, ["unknown_column", "title_row", "title_row", "second_head", "note_row"]);
        let fields: Vec<_> = table.columns().unwrap().fields.iter().map(|f| f.as_deref()).collect();
        assert_eq!(fields, [Some("party_name"), Some("party_uscc"), Some("document_no"), None]);
    }

    #[test]
    fn systems_of_other_years_are_known_by_their_codes() {
        for (heads, category) in [
            (&["CF_WSH", "CF_CFMC", "CF_XDR_MC", "CF_JG", "CF_JDRQ"][..], "admin_penalty"),
            (&["XK_WSH", "XK_XMMC", "XK_XDR", "XK_JDRQ", "XK_XZJG"], "admin_license"),
            (&["PENDECNO", "ILLEGACTTYPE", "PENCONTENT", "JUDAUTH", "PENDECISSDATE"], "admin_penalty"),
            (&["LICNO", "LICNAME", "VALFROM", "VALTO", "LICANTH", "LICITEM"], "admin_license"),
            (&["UNISCID", "ENTNAME", "ESTDATE", "APPRDATE", "REGSTATE"], "registration"),
            (&["task_no", "check_type", "checked_on", "check_result"], "spot_check"),
        ] {
            let (table, _, _) = table(None, &[heads, &["x"; 5]]).unwrap();
            assert_eq!(table.category(), Some(category), "{heads:?}");
        }
    }

    #[test]
    fn a_table_that_cannot_be_one_is_named() {
        for (wanted, rows, code) in [
            (None, &[][..], "empty"),
            (None, &[&["a", "b"][..], &["1", "2"]], "no_heads"),
            (Some("weather"), &[&["a"][..]], "no_category"),
            (None, &[&["备注", "产生单位"][..]], "which_category"),
        ] {
            assert_eq!(table(wanted, rows).unwrap_err().code, code);
        }
    }
}
