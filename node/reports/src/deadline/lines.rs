//! Lines of the report.

use super::counters::DeadlineCounts;
use serde::{Deserialize, Serialize};
use tally_protocol::ids::Division;
use tally_topology::{
    catalog::Catalogs,
    charter::Charter,
    divisions,
    route::{Case, Route},
};
use utoipa::ToSchema;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// 报送: records of a unit.
    Records,
    /// 零报告: the unit declared that nothing was produced.
    ZeroReport,
    /// 对接任务: the data lie with the central authority; nothing is expected here.
    Liaison,
    /// 统一归集: another unit delivers for this one, which is credited.
    Covered,
    /// 漏报: the registry says that the unit delivers this, and there is nothing.
    Missing,
    /// 合计: the sum of several lines.
    Total,
}

impl LineKind {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::ZeroReport => "zero_report",
            Self::Liaison => "liaison",
            Self::Covered => "covered",
            Self::Missing => "missing",
            Self::Total => "total",
        }
    }

    /// In Chinese.
    pub fn name_zh(self) -> &'static str {
        match self {
            Self::Records => "报送",
            Self::ZeroReport => "零报告",
            Self::Liaison => "对接任务",
            Self::Covered => "统一归集",
            Self::Missing => "漏报",
            Self::Total => "合计",
        }
    }
}

/// What a division's total takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineScope {
    /// 本级: the division alone.
    Own,
    /// 含下级: with those below it.
    WithBelow,
}

/// Who delivers for a unit whose data lie in a higher system, and so answers for their time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Provider {
    /// The node at which the records enter.
    #[schema(value_type = String)]
    pub division: Division,
    /// The unit that delivers; null: the route does not say.
    pub unit: Option<String>,
    /// Its name, if the registry has it.
    pub unit_name: Option<String>,
}

/// A liaison task: what the route says, and the newest record of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiaisonTask {
    /// Who sees to it.
    pub owner: Option<String>,
    /// By when, a day.
    pub due_on: Option<String>,
    /// `open`, `done`; null: no record of it is held.
    pub state: Option<String>,
    /// It is past its day and not done.
    pub overdue: bool,
}

/// How many lines of each kind a total takes in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LineCounts {
    /// 漏报
    pub missing: u64,
    /// 零报告
    pub zero_reports: u64,
    /// 对接任务
    pub liaisons: u64,
    /// Of these, those that are not done.
    pub liaisons_open: u64,
    /// 统一归集
    pub covered: u64,
}

impl LineCounts {
    /// Counts a line.
    pub(super) fn add(&mut self, line: &ReportLine) {
        match line.kind {
            LineKind::Missing => self.missing += 1,
            LineKind::ZeroReport => self.zero_reports += 1,
            LineKind::Covered => self.covered += 1,
            LineKind::Liaison => {
                self.liaisons += 1;
                let done = line.liaison.as_ref().is_some_and(|l| l.state.as_deref() == Some("done"));
                self.liaisons_open += u64::from(!done);
            }
            LineKind::Records | LineKind::Total => {}
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.missing += other.missing;
        self.zero_reports += other.zero_reports;
        self.liaisons += other.liaisons;
        self.liaisons_open += other.liaisons_open;
        self.covered += other.covered;
    }
}

/// A line of the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportLine {
    /// What it is about.
    pub kind: LineKind,
    /// Division; null in totals over all, and where records name none of this federation.
    pub division: Option<Division>,
    /// Its name.
    pub division_name: Option<String>,
    /// Of a division's total.
    pub scope: Option<LineScope>,
    /// Code of the producing unit; empty: several that are in no registry, put together.
    pub unit: Option<String>,
    /// Its name by the registry.
    pub unit_name: Option<String>,
    /// Category; null: all that the route fits.
    pub category: Option<String>,
    /// Its name.
    pub category_name: Option<String>,
    /// Collection path, of single lines.
    pub route: Option<Case>,
    /// Who delivers and answers for the time, if not the unit.
    pub provider: Option<Provider>,
    /// Of lines about records, and of totals.
    #[serde(flatten)]
    pub counts: Option<DeadlineCounts>,
    /// Of totals.
    #[serde(flatten)]
    pub lines: Option<LineCounts>,
    /// Of liaison tasks.
    pub liaison: Option<LiaisonTask>,
    /// Zero reports that the line is about.
    pub zero_reports_held: Option<u64>,
    /// What is to be said of it, for people.
    pub note: Option<String>,
}

impl ReportLine {
    pub(super) fn new(kind: LineKind) -> Self {
        Self {
            kind,
            division: None,
            division_name: None,
            scope: None,
            unit: None,
            unit_name: None,
            category: None,
            category_name: None,
            route: None,
            provider: None,
            counts: None,
            lines: None,
            liaison: None,
            zero_reports_held: None,
            note: None,
        }
    }

    pub(super) fn of_division(mut self, charter: &Charter, division: Option<Division>) -> Self {
        self.division = division;
        self.division_name = division.and_then(|d| division_name(charter, d));
        self
    }

    pub(super) fn of_unit(mut self, charter: &Charter, unit: &str) -> Self {
        self.unit_name = charter.units().get(unit).map(|u| u.name.clone());
        self.unit = Some(unit.to_owned());
        self
    }

    pub(super) fn of_category(mut self, charter: &Charter, category: &str) -> Self {
        self.category_name = category_name(charter.catalogs(), category);
        self.category = Some(category.to_owned());
        self
    }

    /// Takes over what the route says of who delivers.
    pub(super) fn by_route(mut self, charter: &Charter, route: &Route<'_>) -> Self {
        self.route = Some(route.case);
        if matches!(route.case, Case::Provincial | Case::Prefecture) {
            let by = route.rule.and_then(|(_, r)| r.by.clone()).filter(|by| self.unit.as_ref() != Some(by));
            let unit_name = by.as_ref().and_then(|b| charter.units().get(b)).map(|u| u.name.clone());
            self.provider = Some(Provider { division: route.entry, unit: by, unit_name });
        }
        self
    }
}

/// Name of a division: that of its node, else the national table's.
pub(super) fn division_name(charter: &Charter, division: Division) -> Option<String> {
    let node = charter.node(division).map(|n| n.name.clone());
    node.or_else(|| divisions::name(division).map(str::to_owned))
}

/// Name of a category by the newest version of the catalog that has it.
pub(super) fn category_name(catalogs: &Catalogs, id: &str) -> Option<String> {
    catalogs.versions().iter().rev().find_map(|v| v.category(id)).map(|c| c.zh.clone())
}
