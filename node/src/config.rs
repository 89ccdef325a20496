//! `tally.toml`: what one node is told. Paths in it are relative to the file's folder.

mod settings;

use serde::Deserialize;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tally_console::Token;
use tally_intake::folder::FolderSection;
use tally_journal::SEGMENT_BYTES;
use tally_protocol::{ids::Division, keys::VerifierKey};
use tally_reconcile::task::ScheduleSection;
use tally_topology::toml_fault::TomlFault;
use tracing_subscriber::EnvFilter;

pub use settings::{Origin, Setting};

/// The whole file. Unknown names are refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this node is.
    pub node: NodeSection,
    /// Where it listens.
    pub listen: ListenSection,
    /// Limits of the disk.
    #[serde(default)]
    pub storage: StorageSection,
    /// What the node does by itself.
    #[serde(default)]
    pub schedule: ScheduleSection,
    /// How rows are judged here.
    #[serde(default)]
    pub intake: IntakeSection,
    /// The log file.
    #[serde(default)]
    pub log: LogSection,
    /// Who may hand in records over TCP.
    #[serde(default)]
    pub token: Vec<Token>,
    /// Folders that files are dropped into.
    #[serde(default, rename = "folder")]
    pub folders: Vec<FolderSection>,
    /// Folder of the file.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The file.
    #[serde(skip)]
    pub file: PathBuf,
}

/// `[node]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSection {
    /// Division code.
    pub division: Division,
    /// Folder of journal and index.
    #[serde(default = "default_data")]
    pub data: PathBuf,
    /// The node's secret, made by `tally keygen`.
    #[serde(default = "default_key")]
    pub key: PathBuf,
    /// The signed charter to start from; newer ones come from the parent.
    #[serde(default = "default_charter")]
    pub charter: PathBuf,
    /// Public key of the authority that signs charters.
    pub authority: String,
    /// No link to the parent: `tally bundle` files are carried instead. Then only `anchor` tells at a start whether this
    /// disk is an old copy.
    #[serde(default)]
    pub offline: bool,
    /// Where a node that is `offline` keeps how far its log has got; best on another file system than `data`. Without it:
    /// `anchor` beside the data directory.
    pub anchor: Option<PathBuf>,
}

/// `[listen]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenSection {
    /// UDP address for children (QUIC). Without children: any free port.
    #[serde(default = "default_quic")]
    pub quic: SocketAddr,
    /// Unix socket for `tally` commands on this machine.
    #[serde(default = "default_admin")]
    pub admin: PathBuf,
    /// TCP address of the HTTP API; records need a token there.
    pub http: Option<SocketAddr>,
}

/// `[storage]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSection {
    /// Nothing is taken any more when less than this is free, in MiB.
    pub reserve_mib: u64,
    /// A segment of the journal is sealed at this size, in KiB: 64 KiB to 1 GiB. Smaller ones make more files.
    pub segment_kib: u64,
    /// So much may be staged while nothing can be signed, in MiB: 1 MiB to 64 GiB. Beyond it rows are refused.
    pub staged_mib: u64,
}

impl Default for StorageSection {
    fn default() -> Self {
        Self { reserve_mib: 256, segment_kib: SEGMENT_BYTES >> 10, staged_mib: 1_024 }
    }
}

/// `[intake]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntakeSection {
    /// The registrations that this node holds are all there are: a subject that is not among them is asked about (V011).
    pub registrations_complete: bool,
}

/// Levels of the log file.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`; or a filter of tracing: several with commas, some of them for a part
    /// of the program, as in `info,tally_link=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

/// Form of the log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogSection {
    /// A word that is no level would be taken for the name of a part of the program, and the log switched off but for that.
    fn check(&self) -> Result<(), String> {
        let wrong = |word: &str| format!("log.level: {word:?} is no level: one of {}", LEVELS.join(", "));
        for directive in self.level.split(',') {
            let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level).trim();
            if !LEVELS.contains(&&*level.to_ascii_lowercase()) {
                return Err(wrong(level));
            }
        }
        EnvFilter::try_new(&self.level)
            .map(drop)
            .map_err(|e| format!("log.level: {:?} cannot be read: {e}", self.level))
    }
}

impl Default for LogSection {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

fn default_data() -> PathBuf {
    "data".into()
}
fn default_key() -> PathBuf {
    "keys/node.key".into()
}
fn default_charter() -> PathBuf {
    "charter.note".into()
}
fn default_admin() -> PathBuf {
    "admin.sock".into()
}
fn default_quic() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

/// A config that cannot be used: the file, and what is wrong in it.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {what}")]
pub struct ConfigError {
    file: String,
    what: String,
}

impl Config {
    /// Reads the file; variables such as `TALLY__LOG__LEVEL=debug` win over it.
    ///
    /// # Errors
    /// [`ConfigError`]: syntax with its line, unknown or missing names, values that cannot be.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let wrong = |what: String| ConfigError { file: path.display().to_string(), what };
        let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::InvalidData => wrong(
                "not UTF-8: an editor has saved it in another encoding, save it as UTF-8 / 请另存为 UTF-8 编码".into(),
            ),
            _ => wrong(e.to_string()),
        })?;
        // Parsed by itself first: only of the file's own text line and column can be told.
        let fault = |e: &toml::de::Error| wrong(TomlFault::new(&text, e).to_string());
        text.parse::<toml::Table>().map_err(|e| fault(&e))?;
        let built = config::Config::builder()
            .add_source(config::File::from_str(&text, config::FileFormat::Toml))
            .add_source(config::Environment::with_prefix("TALLY").prefix_separator("__").separator("__"))
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        let mut config: Self = built.try_deserialize().map_err(|e| match toml::from_str::<Self>(&text) {
            // The file alone is in order.
            Ok(_) => wrong(format!("with the environment's variables TALLY__...: {e}")),
            Err(of_file) => fault(&of_file),
        })?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        (config.folder, config.file) = (folder.to_owned(), path.to_owned());
        config.authority().map_err(wrong)?;
        config.log.check().map_err(wrong)?;
        if !(64..=1 << 20).contains(&config.storage.segment_kib) {
            return Err(wrong("storage.segment_kib must be between 64 (64 KiB) and 1048576 (1 GiB)".into()));
        }
        if !(1..=64 << 10).contains(&config.storage.staged_mib) {
            return Err(wrong("storage.staged_mib must be between 1 and 65536 (64 GiB)".into()));
        }
        let mut names = std::collections::BTreeSet::new();
        if let Some(twice) = config.token.iter().find(|t| !names.insert(&t.name)) {
            return Err(wrong(format!("token {:?} stands there twice: answers are kept by its name", twice.name)));
        }
        let mut folders = std::collections::BTreeSet::new();
        for (n, section) in config.folders.iter().enumerate() {
            let place = config.drop_folder(section);
            let place = place.canonicalize().or_else(|_| std::path::absolute(&place)).unwrap_or(place);
            if !folders.insert(place) {
                let (n, path) = (n + 1, section.path.display());
                return Err(wrong(format!(
                    "folder {n} ({path}) is another one's path too: two would take each other's files"
                )));
            }
        }
        for token in &config.token {
            if token.blake3.parse::<tally_protocol::hash::Hash>().is_err() {
                let name = &token.name;
                return Err(wrong(format!(
                    "token {name:?}: blake3 must be 64 hexadecimal digits (tally keygen --token)"
                )));
            }
        }
        Ok(config)
    }

    fn place(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// The key that signs charters.
    ///
    /// # Errors
    /// When the text is not a verifier key.
    pub fn authority(&self) -> Result<VerifierKey, String> {
        self.node.authority.parse().map_err(|e| format!("node.authority: {e}"))
    }

    /// Folder of journal and index.
    pub fn data(&self) -> PathBuf {
        self.place(&self.node.data)
    }
    /// The journal's folder.
    pub fn journal(&self) -> PathBuf {
        self.data().join("journal")
    }
    /// The folder of rows that are not signed yet.
    pub fn staged(&self) -> PathBuf {
        self.data().join("staged")
    }
    /// The index's folder.
    pub fn index_dir(&self) -> PathBuf {
        self.data().join("index")
    }
    /// The folder of operational state.
    pub fn state(&self) -> PathBuf {
        self.data().join("state")
    }
    /// The node's secret.
    pub fn key(&self) -> PathBuf {
        self.place(&self.node.key)
    }
    /// See [`NodeSection::anchor`].
    pub fn anchor(&self) -> PathBuf {
        self.node.anchor.as_ref().map_or_else(|| self.data().with_file_name("anchor"), |path| self.place(path))
    }
    /// The charter to start from.
    pub fn charter(&self) -> PathBuf {
        self.place(&self.node.charter)
    }
    /// A drop folder.
    pub fn drop_folder(&self, section: &FolderSection) -> PathBuf {
        self.place(&section.path)
    }
    /// Kept answers.
    pub fn answers(&self) -> PathBuf {
        self.data().join("answers")
    }
    /// Files that are gone after a request.
    pub fn spool(&self) -> PathBuf {
        self.data().join("spool")
    }
    /// The admin socket.
    pub fn admin(&self) -> PathBuf {
        self.place(&self.listen.admin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    fn load(more: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tally.toml");
        let text = format!("[node]\ndivision = \"350102\"\nauthority = \"{KEY}\"\n{more}\n");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn few_lines_are_enough_and_the_rest_has_defaults() {
        let c = load("[listen]").unwrap();
        assert!(c.journal().ends_with("data/journal"));
        assert_eq!((c.storage.reserve_mib, c.storage.staged_mib), (256, 1_024));
        assert_eq!((c.schedule.verify_days, c.schedule.reconcile_minutes), (30, 60));
        assert!(load("[listen]\n[log]\nlevel = \"warn,tally_link=debug\"").is_ok());
        let c = load("[listen]\nhttp = \"127.0.0.1:8443\"").unwrap();
        assert_eq!(c.listen.http.unwrap().port(), 8443);
    }

    #[test]
    fn the_example_configs_are_read() {
        for name in ["county", "city", "province"] {
            let path = format!("{}/../deploy/config/{name}.toml", env!("CARGO_MANIFEST_DIR"));
            Config::load(Path::new(&path)).unwrap();
            // What stands there as a comment is an example too.
            let text = std::fs::read_to_string(&path).unwrap();
            let uncommented: String = text
                .lines()
                .map(|l| {
                    l.strip_prefix("# ").filter(|l| l.starts_with('[') || l.split(' ').nth(1) == Some("=")).unwrap_or(l)
                })
                .map(|l| format!("{l}\n"))
                .collect();
            let table: toml::Table = uncommented.parse().unwrap_or_else(|e| panic!("{name}: {e}: {uncommented}"));
            let c: Config = table.try_into().unwrap();
            assert_eq!((c.token.len(), c.folders.len()), (1, 1), "{name}");
            assert!(c.intake.registrations_complete, "{name}");
        }
    }

    #[test]
    fn a_token_reads_logs_only_where_it_says_so() {
        let token = |more: &str| {
            let blake3 = "0".repeat(64);
            let c = load(&format!("[listen]\n[[token]]\nname = \"a\"\nblake3 = \"{blake3}\"\n{more}"))?;
            Ok::<_, String>(c.token[0].logs)
        };
        assert_eq!((token(""), token("logs = true"), token("logs = false")), (Ok(false), Ok(true), Ok(false)));
        assert!(token("logs = \"some\"").is_err() && token("log = true").is_err());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (more, expected) in [
            ("[listen]\nhttps = \"1\"", "https"),
            ("[listen", "line 4"),
            ("[listen]\nquic = \"nowhere\"", "quic"),
            ("[listen]\n[index]\nengine = \"fjall\"", "unknown field `index`"),
            ("[listen]\n[log]\nformat = \"xml\"", "expected `text` or `json`"),
            ("[listen]\n[log]\nlevel = \"inof\"", "\"inof\" is no level"),
            ("[listen]\n[log]\nlevel = \"info,tally_link=debgu\"", "\"debgu\" is no level"),
            ("[listen]\n[log]\nlevel = \"\"", "is no level"),
            ("[listen]\n[[token]]\nname = \"a\"\nblake3 = \"x\"", "64 hexadecimal"),
            ("[listen]\n[storage]\nsegment_kib = 1", "64 KiB"),
            ("[listen]\n[storage]\nstaged_mib = 0", "64 GiB"),
            ("[listen]\n[schedule]\nverify_weeks = 1", "verify_weeks"),
            (
                "[listen]\n[[folder]]\npath = \"in\"\n[[folder]]\npath = \"out\"\n[[folder]]\npath = \"./in/\"",
                "folder 3",
            ),
            ("", "listen"),
        ] {
            let why = load(more).unwrap_err();
            assert!(why.contains(expected), "{expected:?} in {why:?}");
        }
    }
}
