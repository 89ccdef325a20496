//! What holds of a configuration, setting by setting, with where each comes from.

use super::{Config, ConfigError, IntakeSection, ListenSection, LogFormat, LogSection, NodeSection, StorageSection};
use std::{fmt::Display, path::Path};
use tally_console::Token;
use tally_intake::folder::FolderSection;
use tally_reconcile::task::ScheduleSection;

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It stands in the file.
    File,
    /// An environment variable of this name says it.
    Variable(String),
    /// Nobody says it: the program's own.
    Program,
}

impl Origin {
    /// As in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Variable(_) => "environment",
            Self::Program => "default",
        }
    }
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Such as `storage.reserve_mib`.
    pub name: String,
    /// As it would stand in the file; `-` for what is not set. Secrets are not shown.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

impl Setting {
    /// The variable that says it, if one does.
    pub fn variable(&self) -> Option<&str> {
        match &self.origin {
            Origin::Variable(name) => Some(name),
            Origin::File | Origin::Program => None,
        }
    }
}

/// Names with values.
type Values = Vec<(String, String)>;

fn quoted(value: impl Display) -> String {
    serde_json::Value::from(value.to_string()).to_string()
}

fn or_none<T: Display>(value: Option<&T>) -> String {
    value.map_or_else(|| "-".to_owned(), quoted)
}

fn listed<T: Display>(values: &[T]) -> String {
    format!("[{}]", values.iter().map(quoted).collect::<Vec<_>>().join(", "))
}

impl Config {
    /// Every setting, also those that the file leaves out.
    ///
    /// # Errors
    /// Those of [`Config::load`].
    pub fn settings(path: &Path) -> Result<Vec<Setting>, ConfigError> {
        let config = Self::load(path)?;
        let table = std::fs::read_to_string(path).ok().and_then(|text| text.parse::<toml::Table>().ok());
        let in_file = |name: &str| {
            let mut parts = name.split(['.', '[']);
            let first = parts.next().and_then(|part| table.as_ref()?.get(part));
            first.is_some_and(|value| match (value, parts.next()) {
                (toml::Value::Table(section), Some(key)) => section.contains_key(key),
                (toml::Value::Array(entries), Some(number)) => {
                    let entry = number.trim_end_matches(']').parse().ok().and_then(|n: usize| entries.get(n));
                    entry.and_then(|e| e.as_table()).is_some_and(|t| parts.next().is_some_and(|k| t.contains_key(k)))
                }
                _ => true,
            })
        };
        let of_environment = |name: &str| {
            let variable = format!("TALLY__{}", name.to_uppercase().replace('.', "__"));
            std::env::vars().map(|(n, _)| n).find(|n| n.to_uppercase() == variable)
        };
        let one = |(name, value): (String, String)| {
            let origin = match of_environment(&name) {
                Some(variable) => Origin::Variable(variable),
                None if in_file(&name) => Origin::File,
                None => Origin::Program,
            };
            Setting { name, value, origin }
        };
        Ok(config.values().into_iter().map(one).collect())
    }

    /// Taken apart, so that nobody adds a setting that is not shown.
    fn values(&self) -> Values {
        let Self { node, listen, storage, schedule, intake, log, token, folders, folder: _, file: _ } = self;
        let NodeSection { division, data, key, charter, authority, offline, anchor } = node;
        let ListenSection { quic, admin, http } = listen;
        let StorageSection { reserve_mib, segment_kib, staged_mib } = storage;
        let ScheduleSection { verify_days, reconcile_minutes, repair, rate_mib } = schedule;
        let IntakeSection { registrations_complete } = intake;
        let LogSection { level, format } = log;
        let format = match format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        let scalars = [
            ("node.division", quoted(division)),
            ("node.data", quoted(data.display())),
            ("node.key", quoted(key.display())),
            ("node.charter", quoted(charter.display())),
            ("node.authority", quoted(authority)),
            ("node.offline", offline.to_string()),
            ("node.anchor", or_none(anchor.as_ref().map(|p| p.display()).as_ref())),
            ("listen.quic", quoted(quic)),
            ("listen.admin", quoted(admin.display())),
            ("listen.http", or_none(http.as_ref())),
            ("storage.reserve_mib", reserve_mib.to_string()),
            ("storage.segment_kib", segment_kib.to_string()),
            ("storage.staged_mib", staged_mib.to_string()),
            ("schedule.verify_days", verify_days.to_string()),
            ("schedule.reconcile_minutes", reconcile_minutes.to_string()),
            ("schedule.repair", repair.to_string()),
            ("schedule.rate_mib", rate_mib.to_string()),
            ("intake.registrations_complete", registrations_complete.to_string()),
            ("log.level", quoted(level)),
            ("log.format", quoted(format)),
        ];
        let mut all: Values = scalars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        token.iter().enumerate().for_each(|(n, t)| all.extend(of_token(n, t)));
        folders.iter().enumerate().for_each(|(n, f)| all.extend(of_folder(n, f)));
        all
    }
}

fn of_token(n: usize, token: &Token) -> Values {
    let Token { name, blake3, unit, divisions, categories, logs } = token;
    let values = [
        ("name", quoted(name)),
        ("blake3", format!("<set, {} characters>", blake3.len())),
        ("unit", or_none(unit.as_ref())),
        ("divisions", listed(divisions)),
        ("categories", listed(categories)),
        ("logs", logs.to_string()),
    ];
    values.into_iter().map(|(key, value)| (format!("token[{n}].{key}"), value)).collect()
}

fn of_folder(n: usize, folder: &FolderSection) -> Values {
    let FolderSection { path, category, unit, division, backfill, poll_ms, settle_ms } = folder;
    let values = [
        ("path", quoted(path.display())),
        ("category", or_none(category.as_ref())),
        ("unit", or_none(unit.as_ref())),
        ("division", or_none(division.as_ref())),
        ("backfill", backfill.to_string()),
        ("poll_ms", poll_ms.to_string()),
        ("settle_ms", settle_ms.to_string()),
    ];
    values.into_iter().map(|(key, value)| (format!("folder[{n}].{key}"), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_shown_with_its_origin_and_no_secret_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tally.toml");
        let key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        let hash = "a".repeat(64);
        let text = format!(
            "[node]\ndivision = \"350102\"\nauthority = \"{key}\"\n[listen]\nhttp = \"127.0.0.1:1\"\n\
             [[token]]\nname = \"市监局\"\nblake3 = \"{hash}\"\n[[folder]]\npath = \"in\"\npoll_ms = 7\n"
        );
        std::fs::write(&file, text).unwrap();
        let settings = Config::settings(&file).unwrap();
        let of = |name: &str| {
            let found = settings.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("{name}: {settings:?}"));
            (found.value.clone(), found.origin.clone())
        };
        assert_eq!(of("node.division"), ("\"350102\"".to_owned(), Origin::File));
        assert_eq!(of("node.data"), ("\"data\"".to_owned(), Origin::Program));
        assert_eq!(of("listen.http").1, Origin::File);
        assert_eq!(of("listen.quic").1, Origin::Program);
        assert_eq!(of("storage.reserve_mib"), ("256".to_owned(), Origin::Program));
        assert_eq!((of("folder[0].poll_ms").1, of("folder[0].settle_ms").1), (Origin::File, Origin::Program));
        assert!(settings.iter().all(|s| !s.value.contains(&hash)), "{settings:?}");
    }
}
