//! The one way from a row to a record: read, brought into form, judged.
//!
//! The same row gives the same bytes and the same id, whoever asks: `tally receipt` finds a record by its row. Nothing here
//! knows what is held; that is judged by the batcher.

use super::{
    context::{Rights, RowContext},
    damage::Told,
    keys,
    prepare::{FieldChange, Prepared, composed, prepare},
    reply::Reply,
};
use std::collections::BTreeMap;
use tally_protocol::{
    canonical::{JsonError, Object, Value},
    finding::Finding,
    limits::RECORD_BYTES_MAX,
    record::{Record, RecordId},
};
use tally_topology::{
    catalog::{Catalog, Category, Severity},
    content::ContentId,
    judge::{JudgeContext, judge, shown},
};

/// Numbers with a point that are named of one row.
const FLOATS_MAX: usize = 6;

/// A row that was read and judged.
#[derive(Debug)]
pub struct JudgedRow {
    /// Its place in the input.
    pub line: u64,
    /// The record, if it may be taken; gone once it was handed on.
    pub record: Option<CheckedRecord>,
    /// Id of that record, which stays.
    pub id: Option<RecordId>,
    /// What is said about it, with rejects only if it is not taken.
    pub findings: Vec<Finding>,
    /// What was brought into form.
    pub changes: Vec<FieldChange>,
    /// By what it can be found again, if it got so far.
    pub key: Option<RowKey>,
    /// What it replies to.
    pub reply: Option<Reply>,
}

/// By what a row can be found again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowKey {
    /// Category.
    pub category: String,
    /// Code of the producing unit.
    pub unit: String,
    /// Business key.
    pub business_key: String,
}

/// A record that may be taken as far as itself and the charter say.
#[derive(Debug, Clone)]
pub struct CheckedRecord {
    /// The record.
    pub record: Record,
    /// What it is.
    pub content: ContentId,
    /// Subject's code and name, where the registration base may know better (V010, V011).
    pub subject: Option<(String, String)>,
    /// Its business key holds the number of a document, which may be held in another form (V028).
    pub numbered: bool,
    /// The row answers a question, so it became an amendment without saying so. If it says what is held already, nothing
    /// was amended: it is then taken for a duplicate.
    pub replies: bool,
}

impl CheckedRecord {
    /// Of the bytes of a record that was acknowledged before and is handed in once more; `None`: they are no record. It was
    /// judged when it first came, so nothing is asked about it now.
    pub fn acknowledged(bytes: &[u8]) -> Option<Self> {
        let object = Object::parse(bytes).ok()?;
        let record = Record::new(&object).ok()?;
        Some(Self {
            content: ContentId::of(record.id(), &object),
            record,
            subject: None,
            numbered: false,
            replies: false,
        })
    }
}

impl JudgedRow {
    pub(super) fn refused(line: u64, finding: Finding) -> Self {
        let (record, id, changes) = (None, None, Vec::new());
        Self { line, record, id, findings: vec![finding], changes, key: None, reply: None }
    }

    /// It is not taken, for this reason.
    pub(super) fn refuse(&mut self, finding: Finding) {
        self.findings.push(finding);
        (self.record, self.id) = (None, None);
    }

    /// Bytes that what is said of it takes, about: findings, and what was brought into form.
    pub(super) fn said_bytes(&self) -> usize {
        let findings: usize = self.findings.iter().map(Finding::bytes).sum();
        findings + self.changes.iter().map(FieldChange::bytes).sum::<usize>()
    }

    /// Whether the row is asked about.
    pub fn is_questioned(&self) -> bool {
        self.findings.iter().any(|f| f.severity == Severity::Question)
    }
}

/// Reads one line of NDJSON.
pub fn read_line<'l>(context: &RowContext<'l>, line: u64, json: &'l [u8]) -> JudgedRow {
    if json.len() > 4 * RECORD_BYTES_MAX {
        return JudgedRow::refused(line, too_long(json.len()));
    }
    match Object::parse_told(json) {
        Ok((object, in_form)) => {
            let came = Came { reply: None, spoiled: &[], in_parts: (!in_form).then_some(json) };
            read(context, line, object, came)
        }
        Err(e) => JudgedRow::refused(line, not_utf8(json).unwrap_or_else(|| not_json(&e, json))),
    }
}

/// The record that a line is, whether or not it would be taken: the same bytes and id as when it is handed in.
///
/// # Errors
/// [`Finding`] for a line that is no record's JSON, of another category, or too long.
pub fn identify<'l>(context: &RowContext<'l>, json: &'l [u8]) -> Result<RecordId, Box<Finding>> {
    if json.len() > 4 * RECORD_BYTES_MAX {
        return Err(Box::new(too_long(json.len())));
    }
    let mut object = Object::parse(json).map_err(|e| Box::new(not_json(&e, json)))?;
    complete(context, &mut object)?;
    Record::new(&object).map(|r| r.id()).map_err(|e| Box::new(too_long(e.0)))
}

/// The other records that a line may have become on another day or in another way: with each catalog that is in force, where
/// the line claims none, as a load of history, and as what it is a duplicate of. A row that creates is one of an amendment that
/// says the same; `replies`: so is a row that answers a question of a record, whatever it says itself. The newest first; without
/// the one that it is now.
pub fn identify_otherwise<'l>(context: &RowContext<'l>, json: &'l [u8], replies: bool) -> Vec<RecordId> {
    let (Ok(mut said), Ok(now)) = (Object::parse(json), identify(context, json)) else { return Vec::new() };
    let claims = said.text("catalog_version").is_some_and(|v| !v.trim().is_empty());
    let in_force = context.charter.catalogs().versions().iter().rev().filter(|v| v.in_force(context.today));
    let versions: Vec<Option<&str>> = if claims { vec![None] } else { in_force.map(|v| Some(&*v.version)).collect() };
    if complete(context, &mut said).is_err() {
        return Vec::new();
    }
    let operation = said.text("operation").unwrap_or_default().to_owned();
    let operations: &[&str] = match &*operation {
        "create" => &["create", "amend"],
        "amend" if replies => &["amend", "create"],
        only => &[only],
    };
    let mut others = Vec::new();
    let ways = versions.into_iter().flat_map(|v| [(v, false), (v, true)]);
    for (operation, (version, backfill)) in operations.iter().flat_map(|o| ways.clone().map(move |way| (o, way))) {
        let Ok(mut object) = Object::parse(json) else { return others };
        object.set("operation", Value::text((*operation).to_owned()));
        if let Some(version) = version {
            object.set("catalog_version", Value::text(version));
        }
        if complete(&RowContext { backfill, ..*context }, &mut object).is_ok()
            && let Ok(record) = Record::new(&object)
            && record.id() != now
            && !others.contains(&record.id())
        {
            others.push(record.id());
        }
    }
    others
}

/// Puts in the category that the input is of, and everything else that a row leaves unsaid.
fn complete<'l>(context: &RowContext<'l>, object: &mut Object<'l>) -> Result<Prepared<'l>, Box<Finding>> {
    if object.get("_tally").is_some() {
        let message = "the field _tally is written by exports only: leave it out";
        let zh = "_tally 字段只由导出产生，请删除";
        return Err(Box::new(Finding::reject("S009", "_tally", message, zh)));
    }
    let word = keys::category(context, object)?;
    match (context.category, object.text("category")) {
        (Some(wanted), None) if object.get("category").is_none_or(|v| *v == Value::Null) => {
            object.set("category", Value::Text(wanted.into()));
        }
        (Some(wanted), Some(found)) if wanted != found => {
            let message = format!("category {:?} in a file of {wanted}", shown(found));
            let zh = format!("信息类别与文件不符：{}", shown(found));
            return Err(Box::new(Finding::reject("V003", "category", message, zh)));
        }
        _ => {}
    }
    let by = category_of(context, object);
    if let Some((_, category)) = by {
        keys::fields(category, object);
    }
    // The version that it claims may have stood under another key.
    let by = category_of(context, object);
    let mut prepared = by.map(|by| prepare(context, by, object)).unwrap_or_default();
    prepared.changes.extend(word);
    Ok(prepared)
}

/// What is known of a row besides its members.
#[derive(Default)]
struct Came<'l> {
    /// What it replies to.
    reply: Option<Reply>,
    /// Fields whose cells could not be read.
    spoiled: &'l [&'l str],
    /// Its JSON, if signs in it were written in parts.
    in_parts: Option<&'l [u8]>,
}

/// Takes what stands in a row of a table, of which some fields could not be read: the caller says so, and nothing is said here
/// of them or of what is made of them.
pub(super) fn read_spoiled<'l>(
    context: &RowContext<'l>,
    line: u64,
    object: Object<'l>,
    reply: Option<Reply>,
    spoiled: &'l [&'l str],
) -> JudgedRow {
    read(context, line, object, Came { reply, spoiled, in_parts: None })
}

/// Takes what stands in a row, which may reply to an answer.
pub fn read_object<'l>(context: &RowContext<'l>, line: u64, object: Object<'l>, reply: Option<Reply>) -> JudgedRow {
    read(context, line, object, Came { reply, ..Came::default() })
}

fn read<'l>(context: &RowContext<'l>, line: u64, mut object: Object<'l>, came: Came<'l>) -> JudgedRow {
    let Came { reply, spoiled, in_parts } = came;
    let mut prepared = match complete(context, &mut object) {
        Ok(prepared) => prepared,
        Err(finding) => return JudgedRow { reply, ..JudgedRow::refused(line, *finding) },
    };
    // The row was taken and asked about, so its record is held: the corrected row amends that record. It still says
    // "create" because so it said when it first came. With another business key it is another record.
    let asked = reply.as_ref().filter(|r| r.held.is_some() && object.text("operation") == Some("create"));
    let replies = asked.zip(object.text("business_key")).is_some_and(|(r, key)| r.is_of(key));
    if replies {
        object.set("operation", Value::text("amend"));
    }
    let judging =
        JudgeContext { charter: context.charter, today: context.today, origin: context.me, least: Severity::Note };
    let by = category_of(context, &object);
    if let (Some(json), Some((_, category))) = (in_parts, by) {
        prepared.changes.extend(composed(category, json));
    }
    let mut findings: Vec<Finding> = judge(&judging, &object).findings;
    let is_told = |f: &Finding| f.severity > Severity::Note;
    if let Some((_, category)) = by
        && (!spoiled.is_empty() || !prepared.damaged.is_empty() || findings.iter().any(is_told))
    {
        findings = Told { category, object: &object, prepared: &prepared }.causes(findings, spoiled);
    }
    findings.extend(context.rights.and_then(|r| not_allowed(r, &object)));
    if asked.is_some() && !replies {
        findings.push(stays());
    }
    let text = |f: &str| object.text(f).unwrap_or_default().to_owned();
    let key = RowKey { category: text("category"), unit: text("producer_uscc"), business_key: text("business_key") };
    let changes = prepared.changes;
    let mut row = JudgedRow { line, record: None, id: None, findings, changes, key: Some(key), reply };
    if row.findings.iter().any(|f| f.severity == Severity::Reject) {
        return row;
    }
    match Record::new(&object) {
        Ok(record) => {
            let content = ContentId::of(record.id(), &object);
            // A registration is what others are held against; and seventeen zeros are nobody's code.
            let by = by.map(|(_, category)| category);
            let (base, numbered) = (by.is_some_and(|c| c.base), by.is_some_and(|c| c.has_number));
            let subject = object.text("subject_uscc").zip(object.text("subject_name"));
            let subject = subject.filter(|(code, _)| !base && !code.starts_with("00000000000000000"));
            let subject = subject.map(|(code, name)| (code.to_owned(), name.to_owned()));
            row.id = Some(record.id());
            row.record = Some(CheckedRecord { record, content, subject, numbered, replies });
        }
        Err(e) => row.findings.push(too_long(e.0)),
    }
    row
}

/// The category that the row is of, by the catalog's version that it claims.
fn category_of<'l>(context: &RowContext<'l>, object: &Object<'_>) -> Option<(&'l Catalog, &'l Category)> {
    let version = object.text("catalog_version").unwrap_or_default();
    let (catalog, _) = context.charter.catalogs().claimed(version, context.today);
    catalog.category(object.text("category")?).map(|c| (&**catalog, &**c))
}

/// What the token's limits say (V016).
fn not_allowed(rights: &Rights, object: &Object<'_>) -> Option<Finding> {
    let text = |f: &str| object.text(f).unwrap_or_default();
    let refuse = |field: &'static str, what: String, zh: String| Some(Finding::reject("V016", field, what, zh));
    if let Some(unit) = &rights.unit
        && text("submitter_uscc") != unit
    {
        let found = shown(text("submitter_uscc"));
        return refuse(
            "submitter_uscc",
            format!("this token is for the unit {unit}, the row is submitted by {found}"),
            format!("报送单位无权限：令牌属于 {unit}，该行报送单位为 {found}"),
        );
    }
    let division = text("producer_division").parse().ok();
    if !rights.divisions.is_empty() && !division.is_some_and(|d| rights.divisions.contains(&d)) {
        let found = shown(text("producer_division"));
        return refuse(
            "producer_division",
            format!("this token is not for the division {found}"),
            format!("报送单位无权限：令牌不含区划 {found}"),
        );
    }
    let category = text("category");
    if !rights.categories.is_empty() && !rights.categories.iter().any(|c| c == category) {
        let found = shown(category);
        return refuse(
            "category",
            format!("this token is not for the category {found}"),
            format!("报送单位无权限：令牌不含信息类别 {found}"),
        );
    }
    None
}

/// Of a correction that changes the business key of a record that is held.
fn stays() -> Finding {
    let message = "with another business key this is another record; the one that was asked about stays in force: withdraw it if it is wrong";
    let zh = "业务主键已变，按新记录入库；原记录仍然有效，如有误请另行撤销";
    Finding::of(Severity::Note, "other_record", "business_key", message, zh)
}

fn too_long(bytes: usize) -> Finding {
    let message = format!("the record has {bytes} bytes; at most {RECORD_BYTES_MAX} are taken");
    Finding::reject("S003", "", message, format!("记录过长：{bytes} 字节，上限 {RECORD_BYTES_MAX} 字节"))
}

/// Of a line in another encoding: of it a reader of JSON would say only where it stopped.
fn not_utf8(json: &[u8]) -> Option<Finding> {
    let at = std::str::from_utf8(json).err()?.valid_up_to();
    let message =
        format!("the line is not UTF-8, from byte {} on: save the file as UTF-8 (now it is perhaps GB18030)", at + 1);
    let zh = format!("该行自第 {} 字节起不是 UTF-8 编码（可能为 GB18030/GBK），请将文件另存为 UTF-8 后再报", at + 1);
    Some(Finding::reject("S001", "", message, zh))
}

/// What people and programs write in place of JSON, where a line begins and ends so.
fn habit(json: &[u8]) -> Option<(&'static str, &'static str)> {
    let line = std::str::from_utf8(json).ok()?.trim();
    let inner = line.strip_prefix('{').map(str::trim_start).unwrap_or_default();
    match () {
        () if inner.starts_with(['“', '”', '＂']) => {
            Some(("its quotation marks are Chinese: write \"", "引号为中文引号，请改为英文引号 \""))
        }
        () if inner.starts_with('\'') => {
            Some(("its quotation marks are single: write \"", "使用了单引号，请改为双引号 \""))
        }
        () if line.ends_with("},") => Some(("a comma stands behind it: leave it out", "行末多了逗号，请删除")),
        () if !line.ends_with('}') => Some((
            "it does not end with a bracket }: it was cut, or stands on several lines",
            "行末没有 }，内容不完整，或一条记录写成了多行",
        )),
        () => None,
    }
}

/// Names of the members that are numbers with a point or an exponent, with the numbers.
fn floats(json: &[u8]) -> Vec<(String, String)> {
    let members: BTreeMap<String, serde_json::Value> = serde_json::from_slice(json).unwrap_or_default();
    let float = |(name, value): (String, serde_json::Value)| value.is_f64().then(|| (name, value.to_string()));
    members.into_iter().filter_map(float).collect()
}

fn not_json(e: &JsonError, json: &[u8]) -> Finding {
    if matches!(e, JsonError::Float(_))
        && let floats = floats(json)
        && let Some((first, _)) = floats.first()
    {
        let all: Vec<_> =
            floats.iter().take(FLOATS_MAX).map(|(name, n)| format!("{}={}", shown(name), shown(n))).collect();
        let all = all.join(", ");
        let message =
            format!("a number with a point is not exact, so none is taken: write it as text (\"1.50\"): {all}");
        let zh = format!("不得使用浮点数（可能丢失精度），请加引号写成文本（如 \"1.50\"）：{all}");
        return Finding::reject("S005", &shown(first), message, zh);
    }
    if let (JsonError::Syntax(_), Some((en, zh))) = (e, habit(json)) {
        return Finding::reject("S001", "", format!("{e}: {en}"), format!("不是有效的 JSON：{zh}"));
    }
    let (code, zh) = match e {
        JsonError::Syntax(_) => ("S001", "不是有效的 JSON"),
        JsonError::NotAnObject => ("S002", "每行应为一个 JSON 对象"),
        JsonError::Twice(_) => ("S004", "同一字段出现两次"),
        JsonError::Float(_) => ("S005", "不得使用浮点数，金额请写成文本"),
        JsonError::TooBig(_) => ("S006", "整数过大，请写成文本"),
        JsonError::TooDeep => ("S008", "嵌套层数过多"),
    };
    // What stands in the row is repeated as every message does it.
    let message = match e {
        JsonError::Twice(name) => JsonError::Twice(shown(name)).to_string(),
        JsonError::Float(number) => JsonError::Float(shown(number)).to_string(),
        JsonError::TooBig(number) => JsonError::TooBig(shown(number)).to_string(),
        JsonError::Syntax(_) | JsonError::NotAnObject | JsonError::TooDeep => e.to_string(),
    };
    let zh = match e {
        JsonError::Twice(what) | JsonError::Float(what) | JsonError::TooBig(what) => format!("{zh}：{}", shown(what)),
        _ => zh.to_owned(),
    };
    Finding::reject(code, "", message, zh)
}

#[cfg(test)]
mod keys_tests;
#[cfg(test)]
mod tests;
