//! What is found wrong with a record because of other versions of its business key (V012 to V014, V017), whatever came first:
//! when a version comes, all of its key are judged once more.
//!
//! Nothing is decided here about what is in force: that is `effect`; here it is said to people.

use super::{Effect, Engine, EngineError, HeldKeyVersion, InForce, entry, findings, versions::KeyVersions};
use tally_topology::{
    catalog::Severity,
    content::{Operation, half_id},
    judge::Finding,
};

/// Versions of a key that are compared with each other; of more nobody would read what is wrong.
const COMPARED_MAX: usize = 64;
/// Names of findings that are made here, where the code alone does not say so.
const NOT_ITS_RECORD: &str = "NOT_ITS_RECORD";

/// Whether a finding was made here.
fn is_of_key(f: &Finding) -> bool {
    ["V012", "V013", "V014"].contains(&f.code.as_str()) || f.name.as_deref() == Some(NOT_ITS_RECORD)
}

/// Judges all versions of a business key, of which a record has just come or is judged anew, and keeps what is found.
/// `found`: what was found about that one by itself.
pub(super) fn keep(
    in_force: &InForce<'_>,
    key: &[u8; 16],
    (log, index, found): (tally_protocol::ids::LogId, u64, Vec<Finding>),
) -> Result<(), EngineError> {
    let versions = in_force.versions(key)?;
    let engine = in_force.engine();
    let mut found = Some(found);
    for (at, v) in versions.iter().enumerate() {
        let this = (v.log, v.index) == (log, index);
        // Of very many versions each bears the same finding, so that only the first time all are told.
        if !this && versions.len() > COMPARED_MAX + 1 {
            continue;
        }
        let before = findings::kept(engine, v.log, v.index)?;
        let mut now = of_key(in_force, &versions, at);
        match found.take_if(|_| this) {
            Some(found) => now.extend(found),
            None => now.extend(before.iter().filter(|f| !is_of_key(f)).cloned()),
        }
        store(engine, v, &before, &now)?;
    }
    Ok(())
}

/// Keeps what is found about a version, if it is news.
fn store(engine: &dyn Engine, v: &HeldKeyVersion, before: &[Finding], now: &[Finding]) -> Result<(), EngineError> {
    if before == now {
        return Ok(());
    }
    engine.write(vec![(entry::finding_key(v.log, v.index), findings::encode(v.version.id, now))])
}

fn of_key(in_force: &InForce<'_>, versions: &KeyVersions, at: usize) -> Vec<Finding> {
    let mut said = Said { in_force, findings: Vec::new() };
    let Some(v) = versions.get(at) else { return said.findings };
    if versions.len() > COMPARED_MAX {
        let en = format!("more than {COMPARED_MAX} versions of this business key are held: they are not compared");
        said.say("V013", None, Severity::Question, en, format!("同一文号版本超过 {COMPARED_MAX} 个，不再逐一比对"));
        return said.findings;
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
            let zh = "同一文号以其他日志的版本为准：如需变更，请在 amends 中填写现行记录的标识";
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
