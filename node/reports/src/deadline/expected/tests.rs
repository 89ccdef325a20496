//! Lines of what is expected of units, by the registry, by routes and by zero reports.

use super::{
    super::{DeadlineQuestion, Month},
    *,
};
use tally_topology::{charter::Charter, sample::charter};

const A: &str = "113501020036012589";
const B: &str = "11350102003601260X";
const TAX: &str = "121000001000000000";

fn units() -> String {
    let unit = |code: &str, name: &str, categories: &str| {
        format!(
            "[[unit]]\ncode = \"{code}\"\nname = \"{name}\"\ndivision = \"350102\"\nkind = \"county_dept\"\n\
             categories = [{categories}]\n"
        )
    };
    [
        unit(A, "鼓楼区卫生健康局", "\"admin_license\", \"spot_check\", \"registration\", \"chattel_mortgage\""),
        unit(B, "鼓楼区城管局", "\"admin_penalty\""),
        unit(TAX, "鼓楼区税务局", ""),
        "[[route]]\nid = \"a\"\ncase = \"provincial\"\ncategory = \"registration\"\nby = \"11350000003590000X\"\n".to_owned(),
        "[[route]]\nid = \"b\"\ncase = \"central\"\nunit_word = \"税务局\"\nowner = \"省税务局办公室\"\ndue_on = \"2026-10-31\"\n"
            .to_owned(),
        "[[route]]\nid = \"c\"\ncase = \"central\"\nunit_word = \"海关\"\ncategory = \"other\"\nowner = \"口岸办\"\n".to_owned(),
    ]
    .concat()
}

struct World {
    charter: Charter,
    survey: DeadlineSurvey,
    question: DeadlineQuestion,
    today: Date,
}

impl World {
    fn new(month: &str, today: &str) -> Self {
        let question = DeadlineQuestion { month: Some(month.parse().unwrap()), ..DeadlineQuestion::default() };
        Self { charter: charter(&units()), survey: DeadlineSurvey::default(), question, today: today.parse().unwrap() }
    }

    fn declare(&mut self, index: u64, json: &str) {
        let place = (1, index, "350102/e1".parse().unwrap());
        self.survey.declared.take(self.question.month.unwrap(), place, json.as_bytes());
    }

    fn lines(&self, me: u32) -> Vec<ReportLine> {
        let month = self.question.month.unwrap_or(Month::of(self.today));
        let (charter, question) = (&self.charter, &self.question);
        let context = SurveyContext { charter, me: me.try_into().unwrap(), today: self.today, month, question };
        expected(&context, &self.survey)
    }

    fn kinds(&self, me: u32) -> Vec<(LineKind, String, String)> {
        let text = |t: Option<String>| t.unwrap_or_default();
        self.lines(me).into_iter().map(|l| (l.kind, text(l.unit), text(l.category))).collect()
    }
}

fn line(kind: LineKind, unit: &str, category: &str) -> (LineKind, String, String) {
    (kind, unit.to_owned(), category.to_owned())
}

fn zero(from: &str, until: &str) -> String {
    format!(
        r#"{{"category":"zero_report","period_from":"{from}","period_until":"{until}","producer_division":"350102","producer_uscc":"{A}","reported_category":"spot_check"}}"#
    )
}

#[test]
fn who_is_missing_and_who_is_not() {
    let mut w = World::new("2026-10", "2026-11-25");
    w.survey.present.insert((A.to_owned(), "admin_license".to_owned()));
    // chattel_mortgage: closed for new records by the shipped catalog, so nothing is missing (R-11).
    let expected = vec![
        line(LineKind::Missing, A, "spot_check"),
        line(LineKind::Covered, A, "registration"),
        line(LineKind::Missing, B, "admin_penalty"),
        line(LineKind::Liaison, TAX, ""),
        line(LineKind::Liaison, "", "other"),
    ];
    assert_eq!(w.kinds(350_000), expected);
    assert_eq!(w.kinds(350_102), expected, "the county sees the same of itself");
    assert_eq!(w.kinds(350_103), [line(LineKind::Liaison, "", "other")]);
    let lines = w.lines(350_000);
    assert_eq!(lines[1].provider.as_ref().unwrap().unit.as_deref(), Some("11350000003590000X"));
    let task = lines[3].liaison.as_ref().unwrap();
    assert_eq!((task.owner.as_deref(), task.due_on.as_deref()), (Some("省税务局办公室"), Some("2026-10-31")));
    assert!(task.state.is_none() && task.overdue, "no record of it, and its day has passed");
    assert_eq!(lines[4].unit_name.as_deref(), Some("*海关*"));
    w.question.categories = vec!["admin_penalty".to_owned()];
    assert_eq!(w.kinds(350_000)[0], line(LineKind::Missing, B, "admin_penalty"));
    w.question.month = Some("2026-12".parse().unwrap());
    assert!(!w.kinds(350_000).iter().any(|(k, ..)| *k == LineKind::Missing), "it has not begun");
}

#[test]
fn a_zero_report_must_cover_the_working_days() {
    let of_a = |w: &World| -> Vec<ReportLine> {
        w.lines(350_102).into_iter().filter(|l| l.category.as_deref() == Some("spot_check")).collect()
    };
    // 2026-10-01 to 10-07 and the last day, a Saturday, are off.
    let mut w = World::new("2026-10", "2026-11-25");
    w.declare(1, &zero("2026-10-08", "2026-10-30"));
    let lines = of_a(&w);
    assert_eq!((lines.len(), lines[0].kind, lines[0].zero_reports_held), (1, LineKind::ZeroReport, Some(1)));
    w.survey.present.insert((A.to_owned(), "spot_check".to_owned()));
    assert!(of_a(&w)[0].note.as_ref().unwrap().contains("records"), "both cannot be");

    let mut w = World::new("2026-10", "2026-11-25");
    w.declare(1, &zero("2026-10-09", "2026-10-30"));
    let lines = of_a(&w);
    assert_eq!(lines.iter().map(|l| l.kind).collect::<Vec<_>>(), [LineKind::Missing, LineKind::ZeroReport]);
    assert!(lines[0].note.as_ref().unwrap().contains("leave 1 working days"), "{:?}", lines[0].note);

    let mut w = World::new("2026-11", "2026-11-25");
    w.declare(1, &zero("2026-11-01", "2026-11-20"));
    assert_eq!(of_a(&w).len(), 1, "a month that runs can only be declared so far");
}

#[test]
fn the_newest_record_says_how_a_liaison_stands() {
    let task = |unit: &str, category: &str, state: &str| {
        format!(
            r#"{{"category":"liaison","due_on":"2026-12-31","owner":"张三","producer_division":"350102","producer_uscc":"{unit}","reported_category":"{category}","state":"{state}"}}"#
        )
    };
    let mut w = World::new("2026-10", "2026-11-25");
    w.declare(1, &task(TAX, "admin_penalty", "open"));
    w.declare(2, &task(TAX, "admin_penalty", "done"));
    w.declare(3, &task(B, "trademark", "open"));
    let liaison = |w: &World, unit: &str| {
        let all =
            w.lines(350_000).into_iter().filter(|l| l.kind == LineKind::Liaison && l.unit.as_deref() == Some(unit));
        all.map(|l| (l.category, l.liaison.unwrap())).collect::<Vec<_>>()
    };
    let of_tax = liaison(&w, TAX);
    assert_eq!((of_tax.len(), of_tax[0].1.state.as_deref(), of_tax[0].1.overdue), (1, Some("done"), false));
    assert_eq!(of_tax[0].1.owner.as_deref(), Some("张三"), "a record is newer than the rule");
    let kept = liaison(&w, B);
    assert_eq!((kept[0].0.as_deref(), kept[0].1.owner.as_deref()), (Some("trademark"), Some("张三")));
    w.declare(4, &task(TAX, "other", "open"));
    assert_eq!(liaison(&w, TAX)[0].1.state.as_deref(), Some("open"), "all of them have to be done");
}
