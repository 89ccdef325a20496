//! What is found wrong with a record because of other versions of its business key (V012 to V014, V017), or of its number in
//! another form (V028), whatever came first: when a version comes, all of its key and of its number are judged once more.
//!
//! Nothing is decided here about what is in force: that is `effect`; here it is said to people.

use super::{
    Effect, Engine, EngineError, HeldKeyVersion, InForce, entry, filter::FORMS_MAX, findings, versions::KeyVersions,
};
use tally_protocol::{ids::LogId, record::RecordId};
use tally_topology::{
    catalog::Severity,
    content::{KeyForms, Operation, half_id},
    judge::Finding,
};

/// Versions of a key that are compared with each other; of more nobody would read what is wrong.
const COMPARED_MAX: usize = 64;
/// Digits of a record's id that are repeated: enough to find it by.
const SHOWN_ID: usize = 12;
/// Names of findings that are made here, where the code alone does not say so.
const NOT_ITS_RECORD: &str = "NOT_ITS_RECORD";

/// Whether a finding was made here.
fn is_of_key(f: &Finding) -> bool {
    ["V012", "V013", "V014", "V028"].contains(&f.code.as_str()) || f.name.as_deref() == Some(NOT_ITS_RECORD)
}

/// Judges all versions of a business key, of which a record has just come or is judged anew, and keeps what is found.
/// `found`: what was found about that one by itself. Where the number is held in other forms, those are judged too.
/// Of a key with very many versions only the one that came is judged, and none of the others is read: else each that comes would
/// take longer than the one before, for ever.
pub(super) fn keep(
    in_force: &InForce<'_>,
    forms: KeyForms,
    (id, log, index, found): (RecordId, LogId, u64, Vec<Finding>),
) -> Result<(), EngineError> {
    let engine = in_force.engine();
    if has_very_many(engine, &forms.key)? {
        let mut now = not_compared(in_force);
        now.extend(found);
        return store(engine, (log, index, id), &findings::kept(engine, log, index)?, &now);
    }
    let mut of_number = vec![in_force.versions(&forms.key)?];
    for key in other_forms(engine, forms)? {
        if has_very_many(engine, &key)? {
            continue;
        }
        let versions = in_force.versions(&key)?;
        // The key that is the form itself is perhaps not held.
        of_number.extend((!versions.is_empty()).then_some(versions));
    }
    keep_key(in_force, &of_number, 0, Some((log, index, found)))?;
    (1..of_number.len()).try_for_each(|which| keep_key(in_force, &of_number, which, None))
}

/// Whether a business key may have more versions than are told one by one that they are too many.
fn has_very_many(engine: &dyn Engine, key: &[u8; 16]) -> Result<bool, EngineError> {
    let most = COMPARED_MAX + 2;
    Ok(engine.scan(&entry::Lookup::Key(*key).prefix(), b"", most)?.len() >= most)
}

/// That the versions of a business key are too many.
fn not_compared(in_force: &InForce<'_>) -> Vec<Finding> {
    let mut said = Said { in_force, findings: Vec::new() };
    let en = format!("more than {COMPARED_MAX} versions of this business key are held: they are not compared");
    said.say("V013", None, Severity::Question, en, format!("同一文号版本超过 {COMPARED_MAX} 个，不再逐一比对"));
    said.findings
}

/// Business keys of other texts and of the same form, that are in the index.
fn other_forms(engine: &dyn Engine, forms: KeyForms) -> Result<Vec<[u8; 16]>, EngineError> {
    let held = engine.scan(&entry::form_prefix(&forms.common()), b"", FORMS_MAX)?;
    let mut keys: Vec<_> = held.iter().filter_map(|(key, _)| entry::read_form(key)).chain(forms.form).collect();
    keys.retain(|key| *key != forms.key);
    Ok(keys)
}

/// Judges the versions of one of the business keys of a number.
fn keep_key(
    in_force: &InForce<'_>,
    of_number: &[KeyVersions],
    which: usize,
    mut come: Option<(LogId, u64, Vec<Finding>)>,
) -> Result<(), EngineError> {
    let engine = in_force.engine();
    let Some(versions) = of_number.get(which) else { return Ok(()) };
    let others: Vec<&KeyVersions> = of_number.iter().enumerate().filter(|(i, _)| *i != which).map(|(_, v)| v).collect();
    for (at, v) in versions.iter().enumerate() {
        let this = come.as_ref().is_some_and(|(log, index, _)| (v.log, v.index) == (*log, *index));
        let before = findings::kept(engine, v.log, v.index)?;
        let mut now = of_key(in_force, versions, at);
        now.extend(of_form(in_force, v, &others));
        match come.take_if(|_| this) {
            Some((_, _, found)) => now.extend(found),
            None => now.extend(before.iter().filter(|f| !is_of_key(f)).cloned()),
        }
        store(engine, (v.log, v.index, v.version.id), &before, &now)?;
    }
    Ok(())
}

/// That a number is held in another form too (V028): said of the one that stands later, as long as both count. Each stays a
/// record of its own: nobody but the producer knows whether they are one document.
fn of_form(in_force: &InForce<'_>, v: &HeldKeyVersion, others: &[&KeyVersions]) -> Vec<Finding> {
    let mut said = Said { in_force, findings: Vec::new() };
    let newest = in_force.charter().catalogs().versions().last();
    let has_number = || newest.and_then(|c| c.category(&v.entry.dimensions.category)).is_some_and(|c| c.has_number);
    if others.is_empty() || !v.is_current() || !has_number() {
        return said.findings;
    }
    let before = |o: &&HeldKeyVersion| o.is_current() && (o.log, o.index) < (v.log, v.index);
    if let Some(other) = others.iter().flat_map(|versions| versions.iter()).find(before) {
        let (en, zh) = other_form(Some(other.version.id));
        said.say("V028", None, Severity::Question, en, zh);
    }
    said.findings
}

/// What is said of a record whose number is held in another form, in English and Chinese; `None`: which record it is may not be
/// told.
pub fn other_form(held: Option<RecordId>) -> (String, String) {
    let id = held.map(|id| id.to_string().chars().take(SHOWN_ID).collect::<String>());
    let (which, which_zh) = id.map(|id| (format!(": record {id}"), format!(" {id}"))).unwrap_or_default();
    let en = format!(
        "a record is held whose number differs from this one only in brackets, width, spaces or dashes{which}: if it is the same document, amend or withdraw one of the two"
    );
    let zh = format!(
        "疑似同一文号：已有记录{which_zh}，文号仅括号、全半角、空格或连接号不同，如为同一文书请变更或撤销其中一条"
    );
    (en, zh)
}

/// Keeps what is found about the record at a place, if it is news.
fn store(
    engine: &dyn Engine,
    (log, index, id): (LogId, u64, RecordId),
    before: &[Finding],
    now: &[Finding],
) -> Result<(), EngineError> {
    if before == now {
        return Ok(());
    }
    engine.write(vec![(entry::finding_key(log, index), findings::encode(id, now))])
}

fn of_key(in_force: &InForce<'_>, versions: &KeyVersions, at: usize) -> Vec<Finding> {
    let mut said = Said { in_force, findings: Vec::new() };
    let Some(v) = versions.get(at) else { return said.findings };
    if versions.len() > COMPARED_MAX {
        return not_compared(in_force);
    }
    let me = v.log.division;
    let of_others = || versions.iter().filter(|o| o.log.division != me);
    let own_before = || versions.iter().filter(|o| o.log.division == me && (o.log, o.index) < (v.log, v.index));
    let same =
        |o: &HeldKeyVersion| o.version.operation == v.version.operation && o.version.substance == v.version.substance;
    // Of one record in several logs, the one that counts is where it should be.
    let counts_here = v.effect == Effect::InForce || (v.effect == Effect::Replaced && v.standing_is_named());
    if let Some(other) = of_others().find(|o| same(o)).filter(|_| !counts_here) {
        let other = other.log.division;
        let en = format!("the same record entered at {other} too: one of the two paths is not the prescribed one");
        let zh = format!("重复归集：同一记录已由 {other} 报送，现又由 {me} 报送");
        said.say("V012", Some("DOUBLE_PATH"), Severity::Question, en, zh);
    }
    if v.effect == Effect::NotItsRecord {
        let en = format!("it amends or withdraws a record that {me} may not change: it changes nothing");
        let zh = format!("归集路径不符：{me} 无权变更或撤销该记录，本条不生效");
        said.say("V017", Some(NOT_ITS_RECORD), Severity::Reject, en, zh);
    }
    let has_original = own_before().any(|o| !o.effect.is_void())
        || v.entry.content.amends.is_some_and(|id| versions.iter().any(|o| half_id(o.version.id) == id));
    let other_content = |o: &HeldKeyVersion| o.version.substance != v.version.substance;
    match v.version.operation {
        Operation::Create => {
            let in_own = own_before().next_back().is_some_and(|o| o.version.operation != Operation::Withdraw)
                && own_before().all(other_content);
            let elsewhere = |o: &HeldKeyVersion| {
                o.is_current() && other_content(o) && (v.effect == Effect::Contested || o.log < v.log)
            };
            let beside = matches!(v.effect, Effect::Contested | Effect::InForce) && of_others().any(elsewhere);
            if in_own || beside {
                let en = "another record with the same business key and other content is held: amend that one, or correct the number";
                let zh = "同一文号内容不一致：请变更原记录或更正文号";
                said.say("V013", None, Severity::Question, en.into(), zh.into());
            }
        }
        Operation::Amend | Operation::Withdraw if v.effect == Effect::Contested => {
            let en = "another log's version of this business key counts, and this one does not name it in amends";
            let zh = "同一文号以其他台账的版本为准：如需变更，请在 amends 中填写现行记录的标识";
            said.say("V013", None, Severity::Question, en.into(), zh.into());
        }
        // It was let in without an original, which another node may hold.
        Operation::Amend | Operation::Withdraw if !has_original => {
            let en = "no original of this amendment or withdrawal is held in this log, nor named by it";
            said.say("V014", None, Severity::Question, en.into(), "变更/撤销无原记录".into());
        }
        Operation::Amend | Operation::Withdraw => {}
    }
    said.findings
}

struct Said<'s> {
    in_force: &'s InForce<'s>,
    findings: Vec<Finding>,
}

impl Said<'_> {
    fn say(&mut self, rule: &str, name: Option<&str>, most: Severity, en: String, zh: String) {
        let newest = self.in_force.charter().catalogs().versions().last();
        let severity = newest.and_then(|c| c.rule(rule)?.severity).map(|s| s.min(most));
        let Some(severity) = severity.filter(|s| *s > Severity::Note) else { return };
        let finding = Finding::of(severity, rule, "business_key", en, zh);
        self.findings.push(match name {
            Some(name) => finding.named(name),
            None => finding,
        });
    }
}
