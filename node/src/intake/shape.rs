//! What a line must be to become a record: shape, sizes, and the right door. (What the catalog asks of each category
//! comes with the catalog.)

use serde::Serialize;
use tally_protocol::{
    canonical::{JsonError, Object, Value},
    ids::Division,
    limits::RECORD_BYTES_MAX,
    record::Record,
};
use tally_topology::charter::Charter;

/// How bad a finding is (`catalog.md` §14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// 退回: the row is not taken.
    Reject,
}

/// Why a line was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Line in the input, from 1.
    pub line: u64,
    /// Field, or empty when the whole line is meant.
    pub field: String,
    /// Stable code.
    pub code: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What is wrong and what to do.
    pub message: String,
    /// The same in Chinese.
    pub message_zh: String,
}

/// Which records enter here.
#[derive(Debug)]
pub struct Door<'a> {
    /// The charter in force.
    pub charter: &'a Charter,
    /// This node.
    pub me: Division,
    /// Category of lines that name none; others are then rejected.
    pub category: Option<&'a str>,
}

/// Fields that every record has, as text (catalog, envelope), with their names in Chinese and their longest length in
/// characters.
const REQUIRED: &[(&str, &str, usize)] = &[
    ("category", "信息类别", 64),
    ("catalog_version", "目录版本", 32),
    ("producer_name", "产生单位", 200),
    ("producer_uscc", "产生单位代码", 18),
    ("producer_division", "产生单位所在区划", 6),
    ("submitter_name", "提供单位", 200),
    ("submitter_uscc", "提供单位代码", 18),
    ("submitter_division", "提供单位所在区划", 6),
    ("produced_on", "信息产生日期", 10),
    ("operation", "操作标识", 8),
    ("business_key", "业务主键", 400),
    ("subject_type", "主体类型", 32),
    ("subject_name", "主体名称", 200),
];
const OPERATIONS: &[&str] = &["create", "amend", "withdraw"];
const SUBJECT_TYPES: &[&str] =
    &["enterprise", "individual_business", "farmers_cooperative", "other_org", "natural_person"];
const CATEGORIES: &[&str] = &[
    "registration",
    "chattel_mortgage",
    "equity_pledge",
    "ip_pledge",
    "trademark",
    "admin_license",
    "admin_penalty",
    "abnormal_operation",
    "serious_violation",
    "spot_check",
    "other",
    "punitive_measure_feedback",
];

/// As much of a value as is worth repeating.
fn shown(value: &str) -> String {
    value.chars().take(40).collect()
}

struct Wrong {
    field: &'static str,
    code: &'static str,
    message: String,
    message_zh: String,
}

fn wrong<T>(
    field: &'static str,
    code: &'static str,
    message: impl Into<String>,
    message_zh: impl Into<String>,
) -> Result<T, Wrong> {
    Err(Wrong { field, code, message: message.into(), message_zh: message_zh.into() })
}

/// Reads one line of NDJSON.
///
/// # Errors
/// The first [`Finding`]; the line is then not taken.
pub fn read_line<'l>(door: &Door<'l>, number: u64, line: &'l [u8]) -> Result<Record, Finding> {
    judge(door, line).map_err(|w| finding(number, w))
}

/// The record that a line is, whether or not it would be taken: the same bytes and id as at the door.
///
/// # Errors
/// [`Finding`] for a line that is no record's JSON, of another category, or too long.
pub fn identify<'l>(category: Option<&'l str>, number: u64, line: &'l [u8]) -> Result<Record, Finding> {
    let record = object(category, line).and_then(|o| Record::new(&o).or_else(|e| too_long(e.0)));
    record.map_err(|w| finding(number, w))
}

fn finding(line: u64, w: Wrong) -> Finding {
    let (field, severity) = (w.field.to_owned(), Severity::Reject);
    Finding { line, field, code: w.code, severity, message: w.message, message_zh: w.message_zh }
}

/// What stands on a line, with the category put in that the file is said to be of.
fn object<'l>(category: Option<&'l str>, line: &'l [u8]) -> Result<Object<'l>, Wrong> {
    if line.len() > 4 * RECORD_BYTES_MAX {
        return too_long(line.len());
    }
    let mut object = Object::parse(line).or_else(|e| not_json(&e))?;
    match (category, object.text("category")) {
        (Some(wanted), None) => object.set("category", Value::Text(wanted.into())),
        (Some(wanted), Some(found)) if wanted != found => {
            let found = shown(found);
            let message = format!("category {found:?} in a file of {wanted}");
            return wrong("category", "V003", message, format!("信息类别与文件不符：{found}"));
        }
        _ => {}
    }
    Ok(object)
}

fn judge<'l>(door: &Door<'l>, line: &'l [u8]) -> Result<Record, Wrong> {
    let object = object(door.category, line)?;
    if object.get("_tally").is_some() {
        return wrong(
            "_tally",
            "S009",
            "the field _tally is written by exports only",
            "_tally 字段只由导出产生，请删除",
        );
    }
    for (field, zh, longest) in REQUIRED {
        match object.get(field) {
            None => return wrong(field, "V001", format!("{field} is missing"), format!("必填项为空：{zh}")),
            Some(Value::Text(t)) if t.trim().is_empty() => {
                return wrong(field, "V001", format!("{field} is empty"), format!("必填项为空：{zh}"));
            }
            Some(Value::Text(t)) if t.chars().count() <= *longest => {}
            Some(Value::Text(_)) => {
                let message = format!("{field} is longer than {longest} characters");
                return wrong(field, "V002", message, format!("超长或类型不符：{zh}"));
            }
            Some(_) => return wrong(field, "V002", format!("{field} must be text"), format!("超长或类型不符：{zh}")),
        }
    }
    let code = |field| object.text(field).is_some_and(|t| !t.is_empty());
    if !code("subject_uscc") && !code("subject_reg_no") {
        let message = "subject_uscc or subject_reg_no is needed";
        return wrong("subject_uscc", "V001", message, "必填项为空：主体代码");
    }
    for (field, list) in [("category", CATEGORIES), ("operation", OPERATIONS), ("subject_type", SUBJECT_TYPES)] {
        let value = object.text(field).unwrap_or_default();
        if !list.contains(&value) {
            let message = format!("{field} {value:?} is not one of: {}", list.join(", "));
            return wrong(field, "V003", message, format!("代码不在代码表：{field}={value}"));
        }
    }
    let date = object.text("produced_on").unwrap_or_default();
    if !is_date(date) {
        let message = format!("produced_on {date:?} is not a date: YYYY-MM-DD is needed");
        return wrong("produced_on", "V004", message, format!("日期格式错误：{date}"));
    }
    for (name, value) in object.members() {
        clean(name, value)?;
    }
    right_door(door, &object)?;
    Record::new(&object).or_else(|e| too_long(e.0))
}

fn too_long<T>(bytes: usize) -> Result<T, Wrong> {
    let message = format!("the record has {bytes} bytes; at most {RECORD_BYTES_MAX} are taken");
    wrong("", "S003", message, format!("记录过长：{bytes} 字节，上限 {RECORD_BYTES_MAX} 字节"))
}

fn not_json<T>(e: &JsonError) -> Result<T, Wrong> {
    let (code, zh) = match e {
        JsonError::Syntax(_) => ("S001", "不是有效的 JSON"),
        JsonError::NotAnObject => ("S002", "每行应为一个 JSON 对象"),
        JsonError::Twice(_) => ("S004", "同一字段出现两次"),
        JsonError::Float(_) => ("S005", "不得使用浮点数，金额请写成文本"),
        JsonError::TooBig(_) => ("S006", "整数过大，请写成文本"),
        JsonError::TooDeep => ("S008", "嵌套层数过多"),
    };
    wrong("", code, e.to_string(), zh)
}

/// A date of the Gregorian calendar, as YYYY-MM-DD.
fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// No control characters but tab and newline, and no replacement characters: both come from broken conversions.
fn clean(name: &str, value: &Value<'_>) -> Result<(), Wrong> {
    match value {
        Value::Text(t) if t.chars().any(|c| c == '\u{fffd}' || (c.is_control() && c != '\n' && c != '\t')) => {
            let shown: String = name.chars().take(64).collect();
            let message = format!("{shown} holds unreadable characters: was the file converted from another encoding?");
            wrong("", "V021", message, format!("含非法字符/乱码：{shown}"))
        }
        Value::List(items) => items.iter().try_for_each(|i| clean(name, i)),
        Value::Object(o) => o.members().try_for_each(|(n, v)| clean(n, v)),
        _ => Ok(()),
    }
}

/// Both divisions are of this federation, and the record was produced or is submitted at or below this node. (Which of
/// the two decides, the routes of each category will say.)
fn right_door(door: &Door<'_>, object: &Object<'_>) -> Result<(), Wrong> {
    let entry = |field: &'static str| {
        let value = object.text(field).unwrap_or_default();
        let Ok(division) = value.parse::<Division>() else {
            let message = format!("{field} {value:?} is not a division code of six digits");
            return wrong(field, "V002", message, format!("行政区划代码无效：{value}"));
        };
        match door.charter.entry_node(division) {
            Some(node) => Ok(node),
            None => {
                let message = format!("{division} is not a division of this federation's charter");
                wrong(field, "V017", message, format!("归集路径不符：{division} 不在本体系内"))
            }
        }
    };
    let (producer, submitter) = (entry("producer_division")?, entry("submitter_division")?);
    if door.charter.is_within(producer, door.me) || door.charter.is_within(submitter, door.me) {
        return Ok(());
    }
    let name = door.charter.node(submitter).map_or("", |n| n.name.as_str());
    let message = format!("this record does not belong to {}: hand it in at {submitter} {name}", door.me);
    wrong("submitter_division", "V017", message, format!("归集路径不符：应报送至 {submitter} {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_protocol::{
        ids::{Federation, LogId},
        keys::NodeKeys,
    };

    fn charter() -> Charter {
        let f = Federation::try_from("t.example".to_owned()).unwrap();
        let node = |d: &str, level: &str, parent: &str| {
            let log: LogId = format!("{d}/e1").parse().unwrap();
            let k = NodeKeys::derive(&f, log, &[log.division.code() as u8; 32]);
            let (l, m, n) = (k.log.public(), k.mirror.public(), k.link.public());
            format!(
                "[[node]]\ndivision = \"{d}\"\nname = \"N{d}\"\nlevel = \"{level}\"\naddresses = [\"h:1\"]\n{parent}\n\
                 [[node.epoch]]\nepoch = 1\nlog = \"{l}\"\nmirror = \"{m}\"\nlink = \"{n}\"\n"
            )
        };
        let text = [
            "format = 1\nfederation = \"t.example\"\nversion = 1\n".to_owned(),
            node("350100", "prefecture", "covers = [\"350199\"]"),
            node("350102", "county", "parent = \"350100\""),
            node("350103", "county", "parent = \"350100\""),
        ];
        Charter::parse(&text.concat()).unwrap()
    }

    fn good() -> serde_json::Value {
        serde_json::json!({
            "category": "admin_license", "catalog_version": "2026.1", "producer_name": "福州市鼓楼区卫生健康局",
            "producer_uscc": "11350102003604066X", "producer_division": "350102", "submitter_name": "福州市鼓楼区卫生健康局",
            "submitter_uscc": "11350102003604066X", "submitter_division": "350102", "produced_on": "2026-10-09",
            "operation": "create", "business_key": "11350102003604066X|鼓卫许〔2026〕1号|91350102MA2TE5T1X0",
            "subject_type": "enterprise", "subject_name": "福州某某有限公司", "subject_uscc": "91350102MA2TE5T1X0"
        })
    }

    fn read(at: u32, json: &[u8]) -> Result<Record, Finding> {
        let charter = charter();
        read_line(&Door { charter: &charter, me: at.try_into().unwrap(), category: None }, 7, json)
    }

    #[test]
    fn a_good_line_is_taken_wherever_it_belongs() {
        let line = good().to_string();
        let at_county = read(350_102, line.as_bytes()).unwrap();
        assert_eq!(read(350_100, line.as_bytes()).unwrap().id(), at_county.id());
        assert_eq!(identify(None, 1, line.as_bytes()).unwrap().id(), at_county.id());
        let (mut bare, category) = (good(), "admin_license");
        bare.as_object_mut().unwrap().remove("category");
        assert_eq!(identify(Some(category), 1, bare.to_string().as_bytes()).unwrap().id(), at_county.id());
        assert_eq!(identify(Some("trademark"), 4, line.as_bytes()).unwrap_err().line, 4);
        let covered = line.replace("\"producer_division\":\"350102\"", "\"producer_division\":\"350199\"");
        assert!(read(350_100, covered.as_bytes()).is_ok());
    }

    #[test]
    fn faults_are_named_with_line_field_and_code() {
        let cases: Vec<(&str, serde_json::Value, &str)> = vec![
            ("producer_uscc", serde_json::Value::Null, "V002"),
            ("subject_name", "  ".into(), "V001"),
            ("subject_name", "名".repeat(201).into(), "V002"),
            ("category", "admin_licence".into(), "V003"),
            ("operation", "delete".into(), "V003"),
            ("subject_type", "company".into(), "V003"),
            ("produced_on", "2026-02-30".into(), "V004"),
            ("produced_on", "2026-2-3".into(), "V004"),
            ("producer_division", "35010".into(), "V002"),
            ("producer_division", "110101".into(), "V017"),
            ("submitter_division", "110101".into(), "V017"),
            ("remark", "a\u{fffd}b".into(), "V021"),
            ("remark", "a\u{0}b".into(), "V021"),
            ("_tally", 1.into(), "S009"),
            ("fine_wan", serde_json::json!(1.5), "S005"),
            ("remark", "x".repeat(RECORD_BYTES_MAX).into(), "S003"),
        ];
        for (field, value, code) in cases {
            let mut line = good();
            line[field] = value;
            let found = read(350_102, line.to_string().as_bytes()).unwrap_err();
            assert_eq!((found.line, found.code), (7, code), "{field}: {found:?}");
            assert!(!found.message.is_empty() && !found.message_zh.is_empty());
        }
        let mut line = good();
        line.as_object_mut().unwrap().remove("subject_uscc");
        assert_eq!(read(350_102, line.to_string().as_bytes()).unwrap_err().code, "V001");
        line["subject_reg_no"] = "350100100000017".into();
        assert!(read(350_102, line.to_string().as_bytes()).is_ok());
        for (line, code) in [("{", "S001"), ("[]", "S002"), ("{\"a\":1,\"a\":1}", "S004"), ("\u{feff}{}", "S001")] {
            assert_eq!(read(350_102, line.as_bytes()).unwrap_err().code, code, "{line}");
        }
        assert_eq!(read(350_102, &[b'x'; 300_000]).unwrap_err().code, "S003");
        let mut two_paths = good();
        two_paths["submitter_division"] = "350103".into();
        let [here, there] = [350_102, 350_103].map(|d| read(d, two_paths.to_string().as_bytes()).unwrap().id());
        assert_eq!(here, there, "produced in one county, submitted in another: one record at either door");
        let wrong_door = read(350_103, good().to_string().as_bytes()).unwrap_err();
        assert!(wrong_door.message.contains("hand it in at 350102 N350102"));
    }
}
