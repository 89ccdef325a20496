//! What is said of a row once the batcher has its outcome.

use super::kept::Correction;
use crate::{HeldFinding, JudgedRow, RowFate};
use tally_protocol::finding::{Finding, Severity};
use tally_store::index::other_form;
use tally_topology::judge::shown;

/// That a row of an answer given before has been corrected, if this row did so.
pub(super) fn correction(row: &JudgedRow, fate: &RowFate) -> Option<Correction> {
    let (reply, id) = (row.reply.as_ref()?, row.id?);
    let by = match fate {
        RowFate::Accepted { .. } | RowFate::Staged => id,
        RowFate::Duplicate { held } => *held,
        // What is not in force corrects nothing.
        RowFate::Superseded { .. } | RowFate::Rejected => return None,
    };
    // The row replies with the business key of the record that was asked about, and that record is a duplicate of it: it
    // came back unchanged, so nothing was corrected.
    let key = row.key.as_ref().map_or("", |k| k.business_key.as_str());
    let unchanged = by != id && reply.is_of(key);
    let at = tally_clock::now_ms() / 1_000;
    (!unchanged).then(|| Correction { reply: reply.clone(), by, at })
}

/// What a finding by what is held says to people. Its severity is the catalog's. `hides`: no record is named.
///
/// The name of V010 is told to everybody: who is registered under a code is public by law, and is what a row is held against.
pub(super) fn finding_of(found: &HeldFinding, hides: bool) -> Finding {
    match found {
        HeldFinding::OtherName(name) => {
            let name = shown(name);
            Finding::reject(
                "V010",
                "subject_name",
                format!("the subject is registered as {name}: compare the name with the certificate"),
                format!("名称与登记信息不一致：登记名称为 {name}"),
            )
        }
        HeldFinding::NoSubject => Finding::reject(
            "V011",
            "subject_uscc",
            "no registration of this subject is held: compare its code with the certificate",
            "未找到对应主体（记名不成功）",
        ),
        HeldFinding::Conflict(_) => Finding::reject(
            "V013",
            "business_key",
            "another record with the same business key and other content is held: amend that one, or correct the number",
            "同一文号内容不一致：请变更原记录或更正文号",
        ),
        HeldFinding::OtherForm(held) => {
            let (en, zh) = other_form(Some(*held).filter(|_| !hides));
            Finding::reject("V028", "business_key", en, zh)
        }
        HeldFinding::NoOriginal => Finding::reject(
            "V014",
            "operation",
            "no original is held that this could amend or withdraw: hand in the original first",
            "变更/撤销无原记录：请先报送原记录",
        ),
    }
}

/// Of a duplicate that is not in force any more.
pub(super) fn superseded() -> Finding {
    Finding::reject(
        "V013",
        "business_key",
        "held already, but amended or withdrawn since, and that stays so: to bring it back into force, hand it in with operation amend, and in amends the id of the record that is in force (tally compare does so)",
        "该记录此前已报送，其后已变更或撤销，重复报送不恢复其效力：如需恢复，请以“变更”方式报送并在 amends 中填写现行记录的标识（tally compare 可自动完成）",
    )
    .with_severity(Severity::Note)
}
