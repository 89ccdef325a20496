//! What the shipped catalog says (`deploy/charter/catalog.toml`): its compiled form, and records that exist, held against it.

use super::*;
use tally_protocol::canonical::Object;

const SAMPLE: &str = include_str!("../../../deploy/samples/gulou.ndjson");

fn catalog() -> Arc<Catalog> {
    Catalogs::shipped().unwrap().versions()[0].clone()
}

fn category(id: &str) -> Arc<Category> {
    catalog().category(id).unwrap_or_else(|| panic!("no category {id}")).clone()
}

#[test]
fn it_fits_into_a_charter() {
    assert!(SHIPPED.len() < 60 * 1024, "{} bytes", SHIPPED.len());
    let control = SHIPPED.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "a signed note forbids control characters");
}

#[test]
fn fields_of_each_category() {
    let counted: Vec<_> = catalog().categories().map(|c| (c.id.to_string(), c.form().count())).collect();
    let expected = [
        ("abnormal_operation", 8),
        ("admin_license", 44),
        ("admin_penalty", 43),
        ("chattel_mortgage", 22),
        ("equity_pledge", 15),
        ("ip_pledge", 11),
        ("liaison", 5),
        ("other", 5),
        ("punitive_measure_feedback", 13),
        ("registration", 42),
        ("serious_violation", 9),
        ("spot_check", 9),
        ("trademark", 9),
        ("zero_report", 4),
    ];
    assert_eq!(counted, expected.map(|(id, n)| (id.to_owned(), n)));
    for c in catalog().categories() {
        let administrative = matches!(&*c.id, "zero_report" | "liaison");
        assert_eq!((c.subject, c.counts), (!administrative, !administrative), "{}", c.id);
        assert_eq!(c.base, &*c.id == "registration", "{}", c.id);
        assert_eq!((c.collect_days, c.publish_days), (7, 20), "R-30, R-31: {}", c.id);
        assert!(administrative || (!c.source.is_empty() && !c.basis.is_empty()), "R-81: {}", c.id);
        assert_eq!(c.produced_on.is_empty(), &*c.id == "liaison", "{}", c.id);
        assert!(c.fields().iter().all(|f| !f.en.is_empty()), "{}", c.id);
    }
    assert_eq!(category("chattel_mortgage").closed_from, Some(Date::constant(2021, 1, 1)), "国发〔2020〕18号");
}

#[test]
fn severities_are_those_of_the_plan() {
    let of = |id: &str| match catalog().rule(id).and_then(|r| r.severity) {
        Some(Severity::Reject) => 'E',
        Some(Severity::Question) => 'Q',
        Some(Severity::Note) => 'W',
        None => '-',
    };
    let all: String = (1..=25).map(|n| of(&format!("V{n:03}"))).collect();
    assert_eq!(all, "EEEEEEQEQQQEQEQEEEQWEWEQE");
}

/// A title or code of other systems, and the field that it means.
#[test]
fn columns_of_the_tables_that_exist() {
    for (id, heads) in [
        ("admin_license", "XK_XDR_MC=party_name XK_XDR=party_name XK_XDR_SHXYM=party_uscc XK_XDR_GSDJ=party_reg_no"),
        ("admin_license", "XK_XDR_ZDM=party_org_code XK_FR=legal_rep XK_XMMC=document_name XK_WSH=document_no"),
        ("admin_license", "XK_JZQ=valid_until XK_XZJG=authority_name XK_LYDW=source_unit UNISCID=subject_uscc"),
        (
            "admin_license",
            "LICNO=document_no VALFROM=valid_from LICANTH=authority_name BZ=remark 公示截止期=publicize_until",
        ),
        ("admin_license", "行政相对人代码_1（统一社会信用代码）=party_uscc 行政相对人代码_1=party_uscc"),
        ("admin_penalty", "CF_CFMC=case_name CF_JG=penalty_content CF_XZJG=authority_name CF_SY=violation_fact"),
        ("admin_penalty", "CF_NR_FK=fine_wan PENAM=fine_wan 罚款金额=fine_wan ＊罚款金额（万元）（必填）=fine_wan"),
        (
            "admin_penalty",
            "PENDECNO=document_no FORFAM=confiscation_wan JUDAUTH=authority_name CF_GSJZQ=publicize_until",
        ),
        (
            "registration",
            "ENTNAME=entity_name TRANAME=entity_name UNISCID=uscc DOM=address APPRDATE=approved_on NAME=legal_rep",
        ),
        (
            "equity_pledge",
            "EQUITYNO=registration_no EQUPLEDATE=registered_on 企业名称=subject_name 注册号=subject_reg_no",
        ),
        ("chattel_mortgage", "MORREGCNO=registration_no PRICLASECAM=claim_amount_wan"),
        ("trademark", "regNum=reg_no intCls=int_class 注册号=reg_no"),
        ("abnormal_operation", "SPECAUSE=listing_cause REMDATE=removed_on 统一社会信用代码=subject_uscc"),
        ("serious_violation", "SERILLREA=listing_cause ABNTIME=listed_on"),
        ("spot_check", "INSAUTH=authority_name INSRES=check_result INSDATE=checked_on 数据来源单位=submitter_name"),
    ] {
        let category = category(id);
        for pair in heads.split(' ') {
            let (head, field) = pair.rsplit_once('=').unwrap();
            assert_eq!(category.column(head).map(|f| &*f.id), Some(field), "{id}: {head}");
        }
        assert_eq!(category.column("没有这一列"), None);
    }
}

/// Names of the sample records and of those that `demo` draws.
#[test]
fn records_that_exist_have_fields_and_the_same_keys() {
    for line in SAMPLE.lines() {
        let record = Object::parse(line.as_bytes()).unwrap();
        let category = category(record.text("category").unwrap());
        for (name, _) in record.members() {
            assert!(category.field(name).is_some(), "{}: {name}", category.id);
        }
        let part = |fields: &KeyPart| fields.iter().find_map(|f| record.text(f)).map(str::to_owned);
        let key: Option<Vec<String>> = category.key.iter().map(part).collect();
        assert_eq!(key.unwrap().join("|"), record.text("business_key").unwrap());
        for produced in category.produced_on.iter().take(1).filter_map(|f| record.text(f)) {
            let wrong_on_purpose = record.text("produced_on") == Some("2026-02-30");
            assert!(wrong_on_purpose || record.text("produced_on") == Some(produced), "{line}");
        }
        for field in category.fields().iter().filter(|f| f.required && f.same_as.is_none()) {
            let missing_on_purpose = &*field.id == "subject_name";
            assert!(missing_on_purpose || record.text(&field.id).is_some(), "{}: {}", category.id, field.id);
        }
    }
    for (id, drawn) in [
        (
            "admin_license",
            "document_no license_content license_kind document_name valid_from valid_until status legal_rep",
        ),
        (
            "admin_penalty",
            "violation_fact legal_basis penalty_kinds fine_wan confiscation_wan violation_type effective_until",
        ),
        (
            "registration",
            "business_scope reg_capital_wan registration_status entity_type registration_authority approved_on",
        ),
        ("spot_check", "task_no check_type checked_on check_result authority_name authority_uscc"),
        ("abnormal_operation", "listing_cause listed_on listing_document_no removal_cause removed_on"),
        ("equity_pledge", "registration_no pledgor_name pledgee_name pledged_amount registered_on status"),
        ("serious_violation", "listing_cause listed_on listing_document_no"),
    ] {
        let category = category(id);
        let lacking = drawn.split(' ').chain(["source_row_id", "remark"]).find(|f| category.field(f).is_none());
        assert_eq!(lacking, None, "{id}");
    }
}

#[test]
fn personal_data_and_doubtful_amounts() {
    let catalog = catalog();
    let personal: Vec<String> = catalog
        .categories()
        .flat_map(|c| c.fields().iter().filter(|f| f.personal).map(move |f| format!("{}.{}", c.id, f.id)))
        .collect();
    assert_eq!(
        personal,
        [
            "admin_license.legal_rep_id_no",
            "admin_license.person_id_no",
            "admin_penalty.legal_rep_id_no",
            "admin_penalty.person_id_no",
            "chattel_mortgage.mortgagee_id_no",
            "equity_pledge.pledgee_id_no",
            "equity_pledge.pledgor_id_no",
            "registration.telephone",
        ]
    );
    // Numbers of identity documents are nowhere public: what is named so is personal.
    for c in catalog.categories() {
        for f in c.fields().iter().filter(|f| f.kind == FieldType::IdNo || f.id.ends_with("_id_no")) {
            assert!(f.personal, "{}.{}", c.id, f.id);
        }
    }
    let penalty = category("admin_penalty");
    let fine = penalty.field("fine_wan").unwrap();
    assert_eq!((&*fine.missing, fine.doubtful_above.as_deref(), fine.scale), ("V015", Some("10000"), 6));
    assert_eq!(fine.required_if, [Condition::Holds("penalty_kinds".into(), "罚款".into())]);
    for c in ["admin_license", "admin_penalty"].map(category) {
        let paired = |id: &str| c.field(id).and_then(|f| f.paired_with.clone());
        assert_eq!(paired("legal_rep_id_type").as_deref(), Some("legal_rep_id_no"));
        assert_eq!(paired("legal_rep_id_no").as_deref(), Some("legal_rep_id_type"));
        assert_eq!(c.field("party_uscc").unwrap().instead, ["00000000000000000X"]);
        assert_eq!(c.field("decision_date").unwrap().not_after, Some(Bound::Today));
        assert_eq!(c.field("publicize_until").unwrap().not_before, Some(Bound::Field("decision_date".into())));
    }
}

#[test]
fn words_of_old_systems_become_codes() {
    for (id, field, word, code) in [
        ("registration", "registration_status", "K", "1"),
        ("registration", "registration_status", "DA", "2"),
        ("registration", "registration_status", "注销", "4"),
        ("admin_penalty", "operation", "新增", "create"),
        ("admin_penalty", "operation", "U", "amend"),
        ("admin_penalty", "party_kind", "企业", "法人及非法人组织"),
        ("admin_license", "license_kind", "普通许可", "普通"),
        ("equity_pledge", "amount_unit", "万股", "2"),
        ("liaison", "state", "已完成", "done"),
    ] {
        let list = category(id);
        let list = list.field(field).and_then(|f| f.list.clone()).unwrap();
        assert_eq!(list.find(word), Matched::Word(code), "{field}: {word}");
    }
    // A number says nothing of the operation: systems count differently.
    let other = category("other");
    let list = other.field("operation").and_then(|f| f.list.clone()).unwrap();
    assert_eq!(list.find("1"), Matched::None);
    // Each part of a kind of penalty that holds a separator is a value too, as it is judged by parts.
    let penalty = category("admin_penalty");
    let kinds = penalty.field("penalty_kinds").and_then(|f| f.list.clone()).unwrap();
    for (value, _) in kinds.values() {
        for part in value.split(crate::judge::SEPARATORS) {
            assert_eq!(kinds.find(part), Matched::Value, "{part} of {value}");
        }
    }
}
