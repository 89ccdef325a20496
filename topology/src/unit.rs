//! The registry of units: who may produce and submit what, where.

use crate::catalog::Catalogs;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_protocol::ids::Division;

/// Most units of one charter.
pub const UNITS_MAX: usize = 20_000;

/// `[registry]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryDocument {
    /// Units that are not listed, or not for the row's division and category, may not deliver: their rows are rejected
    /// (V016). Otherwise they are asked about.
    #[serde(default)]
    pub closed: bool,
    /// Records enter at the node that the routes name and nowhere else. Otherwise a node above it takes them too where no
    /// route rule speaks, and asks about them (R-40 says "in principle"): the county then has no copy.
    #[serde(default)]
    pub strict_paths: bool,
}

/// `[[unit]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// Unified social credit code.
    pub code: String,
    /// Name.
    pub name: String,
    /// Where it is.
    pub division: Division,
    /// What kind it is.
    pub kind: UnitKind,
    /// Further divisions that it may submit for, with everything below them (cases C and D of the routes).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serves: Vec<Division>,
    /// Categories that it delivers; none named: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// The last day, inclusive, by the day on which a record was produced: later ones are not this unit's. A unit is ended
    /// and never deleted, so that what it delivered keeps its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Liaison officer and department in charge, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

impl Unit {
    /// Whether it has ended before `day`.
    pub fn ended(&self, day: Date) -> bool {
        self.until.as_deref().is_some_and(|until| until.parse().is_ok_and(|until: Date| until < day))
    }
}

/// Kinds of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitKind {
    /// 县（市、区）级部门
    CountyDept,
    /// 设区市级部门
    CityDept,
    /// 省级部门
    ProvincialDept,
    /// 中央驻闽机构
    CentralAgencyInFujian,
}

/// The units of a charter.
#[derive(Debug, Clone, Default)]
pub struct Units {
    /// Units that are not listed may not deliver.
    pub closed: bool,
    /// Records enter at the node that the routes name and nowhere else.
    pub strict_paths: bool,
    by_code: BTreeMap<String, Unit>,
}

impl Units {
    pub(crate) fn new(registry: &RegistryDocument, units: Vec<Unit>, catalogs: &Catalogs) -> Result<Self, String> {
        if units.len() > UNITS_MAX {
            return Err(format!("{} units; at most {UNITS_MAX} can be had", units.len()));
        }
        let mut by_code = BTreeMap::new();
        for unit in units {
            let code = unit.code.clone();
            if code.len() != 18 || !code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) {
                return Err(format!("unit {code:?}: a unified social credit code has 18 digits and capital letters"));
            }
            let known = |c: &&String| catalogs.versions().iter().all(|v| v.category(c).is_none());
            if let Some(unknown) = unit.categories.iter().find(known) {
                return Err(format!("unit {code}: {unknown:?} is not a category of the catalog"));
            }
            if let Some(until) = unit.until.as_deref().filter(|u| u.parse::<Date>().is_err()) {
                return Err(format!("unit {code}: until {until:?} is not a day such as 2026-01-31"));
            }
            if by_code.insert(code.clone(), unit).is_some() {
                return Err(format!("unit {code} stands there twice"));
            }
        }
        Ok(Self { closed: registry.closed, strict_paths: registry.strict_paths, by_code })
    }

    /// A unit by its code.
    pub fn get(&self, code: &str) -> Option<&Unit> {
        self.by_code.get(code)
    }

    /// All units by code.
    pub fn iter(&self) -> impl Iterator<Item = &Unit> {
        self.by_code.values()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.by_code.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_code.is_empty()
    }
}
