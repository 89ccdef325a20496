//! Categories and divisions as people name them: by code, or by their Chinese name. A name that several have is none of them.

use crate::{
    catalog::Catalogs,
    charter::{Charter, Node},
    divisions,
};
use std::collections::{BTreeMap, BTreeSet};
use tally_protocol::ids::Division;

/// A name that does not say which is meant. `Display` is for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is called so.
    #[error("{name:?} is not in the catalog; there are: {known} / 目录中没有信息类别 {name:?}；现有：{known}")]
    NoCategory {
        /// What was written.
        name: String,
        /// What there is.
        known: String,
    },
    /// No division of the federation has this code or name.
    #[error("{name} is not of this federation / 区划 {name} 不在本体系内")]
    NoDivision {
        /// What was written.
        name: String,
    },
    /// Several are called so.
    #[error("{name} is the name of several: {several}; give the code / 有多个同名：{several}，请用代码")]
    Several {
        /// What was written.
        name: String,
        /// Their codes and names.
        several: String,
    },
}

/// Longest name that is repeated in an error, in characters.
const SHOWN: usize = 40;

fn shown(name: &str) -> String {
    name.chars().take(SHOWN).collect()
}

impl Catalogs {
    /// The category of this identifier or Chinese name, in any version of the catalog.
    ///
    /// # Errors
    /// [`NameError`]: none, or several.
    pub fn category_named(&self, name: &str) -> Result<String, NameError> {
        let all = || self.versions().iter().flat_map(|catalog| catalog.categories());
        if all().any(|c| &*c.id == name) {
            return Ok(name.to_owned());
        }
        let called: BTreeSet<&str> = all().filter(|c| &*c.zh == name).map(|c| &*c.id).collect();
        match called.len() {
            1 => Ok(called.into_iter().collect()),
            0 => {
                let known: BTreeMap<&str, &str> = all().map(|c| (&*c.id, &*c.zh)).collect();
                let known: Vec<_> = known.into_iter().map(|(id, zh)| format!("{id} {zh}")).collect();
                Err(NameError::NoCategory { name: shown(name), known: known.join(", ") })
            }
            _ => {
                let several = called.into_iter().collect::<Vec<_>>().join(", ");
                Err(NameError::Several { name: shown(name), several })
            }
        }
    }
}

impl Charter {
    /// The division of this code or name: one that has a node, or whose records enter at one. It may be said whole
    /// (福州市鼓楼区) where the name alone is that of several.
    ///
    /// # Errors
    /// [`NameError`]: none, or several.
    pub fn division_named(&self, name: &str) -> Result<Division, NameError> {
        if let Ok(division) = name.parse::<Division>() {
            let known = self.entry_node(division).is_some();
            return known.then_some(division).ok_or_else(|| NameError::NoDivision { name: shown(name) });
        }
        let own = |n: &Node| (n.division, n.name.clone());
        let covered = |n: &Node| n.covers.iter().map(|c| c.division).collect::<Vec<_>>();
        if name.is_empty() {
            return Err(NameError::NoDivision { name: String::new() });
        }
        let mut all: BTreeMap<Division, String> = self.nodes().map(own).collect();
        for division in self.nodes().flat_map(covered) {
            all.entry(division).or_insert_with(|| divisions::name(division).unwrap_or_default().to_owned());
        }
        let whole = |d: Division, own: &str| {
            let above = self.entry_node(d).filter(|n| *n != d).or_else(|| self.parent(d));
            above.and_then(|p| all.get(&p)).map_or_else(String::new, |p| format!("{p}{own}"))
        };
        let called = |(d, own): (&Division, &String)| *own == name || whole(*d, own) == name;
        let found: Vec<_> = all.iter().filter(|e| !e.1.is_empty() && called(*e)).map(|(d, own)| (*d, own)).collect();
        match found.as_slice() {
            [(division, _)] => Ok(*division),
            [] => Err(NameError::NoDivision { name: shown(name) }),
            several => {
                let said: Vec<_> =
                    several.iter().map(|(d, own)| format!("{d} {}{own}", above(self, *d, &all))).collect();
                Err(NameError::Several { name: shown(name), several: said.join(", ") })
            }
        }
    }
}

fn above(charter: &Charter, division: Division, all: &BTreeMap<Division, String>) -> String {
    charter.parent(division).and_then(|p| all.get(&p)).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_category_is_called_by_its_identifier_or_its_chinese_name() {
        let charter = sample::charter("");
        let named = |name: &str| charter.catalogs().category_named(name);
        assert_eq!(named("admin_license"), Ok("admin_license".to_owned()));
        assert_eq!(named("行政许可"), Ok("admin_license".to_owned()));
        let told = named("行政").unwrap_err().to_string();
        assert!(told.contains("admin_license 行政许可"), "{told}");
        assert!(named("").is_err());
    }

    #[test]
    fn a_division_is_called_by_its_code_or_its_name_and_one_of_several_by_neither() {
        let charter =
            sample::called(&[("350100", "福州市"), ("350102", "鼓楼区"), ("350103", "台江区"), ("350128", "台江区")]);
        let named = |name: &str| charter.division_named(name).map_err(|e| e.to_string());
        let code = |d: &str| Ok(d.parse::<Division>().unwrap());
        assert_eq!(
            (named("350102"), named("鼓楼区"), named("福州市鼓楼区")),
            (code("350102"), code("350102"), code("350102"))
        );
        let told = named("台江区").unwrap_err();
        assert!(told.contains("350103 福州市台江区") && told.contains("350128"), "{told}");
        assert_eq!(named("福州市台江区"), code("350103"));
        assert_eq!(named("350199"), code("350199"), "its records enter at the city");
        for nobody in ["110101", "东城区", "", "鼓楼"] {
            assert!(named(nobody).unwrap_err().contains("不在本体系内"), "{nobody}");
        }
    }
}
