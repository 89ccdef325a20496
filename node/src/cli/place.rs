//! Which node a command is for: `--config`, then `TALLY_CONFIG`, then the machine's own configuration, then its only instance.

use super::{Client, Config, Exit, Failure, bad_config};
use clap::Args;
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Where configurations of this machine lie: `tally.toml` of its node, or `NAME/tally.toml` of each of several.
const FOLDER: &str = "/etc/tally";
const FILE: &str = "tally.toml";
/// Names the configuration where the command line does not.
const VARIABLE: &str = "TALLY_CONFIG";

/// Which node.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The node's tally.toml; by default what TALLY_CONFIG names, then /etc/tally/tally.toml, then the only
    /// /etc/tally/*/tally.toml.
    #[arg(long, value_name = "FILE", default_value_os_t = by_default(), hide_default_value = true)]
    pub(super) config: PathBuf,
}

/// What is taken without `--config`; where nothing is to be found, the place where it is looked for.
fn by_default() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    let look = || find(env::var_os(VARIABLE), Path::new(FOLDER)).unwrap_or_else(|_| Path::new(FOLDER).join(FILE));
    FOUND.get_or_init(look).clone()
}

/// The configuration that is meant when none is named, or those among which none is the only one.
fn find(variable: Option<OsString>, folder: &Path) -> Result<PathBuf, Vec<PathBuf>> {
    if let Some(named) = variable.filter(|v| !v.is_empty()) {
        return Ok(named.into());
    }
    let own = folder.join(FILE);
    if own.exists() {
        return Ok(own);
    }
    let folders = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut instances: Vec<_> = folders.map(|f| f.path().join(FILE)).filter(|file| file.exists()).collect();
    instances.sort();
    match <[PathBuf; 1]>::try_from(instances) {
        Ok([only]) => Ok(only),
        Err(several) => Err(several),
    }
}

impl ConfigFile {
    /// Of this file.
    pub(super) fn at(config: PathBuf) -> Self {
        Self { config }
    }

    /// Of this file, or of the one that is meant where none is named.
    pub(super) fn or_found(config: Option<PathBuf>) -> Self {
        Self { config: config.unwrap_or_else(by_default) }
    }

    pub(super) fn load(&self) -> Result<Config, Failure> {
        self.is_there()?;
        Config::load(&self.config).map_err(bad_config)
    }

    /// Where nobody named a file and none was found, the reason is not that one file cannot be read.
    fn is_there(&self) -> Result<(), Failure> {
        if self.config != Path::new(FOLDER).join(FILE) || self.config.exists() {
            return Ok(());
        }
        let Err(several) = find(env::var_os(VARIABLE), Path::new(FOLDER)) else { return Ok(()) };
        let why = if several.is_empty() {
            format!("no configuration: name it with --config FILE or {VARIABLE}; {FOLDER}/{FILE} is not there")
        } else {
            let names: Vec<_> = several.iter().map(|f| f.display().to_string()).collect();
            format!(
                "several nodes are configured here: name one with --config FILE or {VARIABLE}: {}",
                names.join(", ")
            )
        };
        Err(Failure::new(Exit::Usage, why))
    }

    pub(super) fn client(&self) -> Result<Client, Failure> {
        let config = self.load()?;
        Ok(Client::new(config.admin(), config.node.division))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_goes_before_the_machines_own_and_that_before_the_only_instance() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let make = |name: &str| {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), "").unwrap();
        };
        assert_eq!(find(None, dir.path()), Err(vec![]));
        make("gulou/tally.toml");
        make("keys/node.key");
        assert_eq!(find(None, dir.path()), Ok(at("gulou/tally.toml")));
        make("taijiang/tally.toml");
        assert_eq!(find(None, dir.path()), Err(vec![at("gulou/tally.toml"), at("taijiang/tally.toml")]));
        make("tally.toml");
        assert_eq!(find(None, dir.path()), Ok(at("tally.toml")));
        assert_eq!(find(Some("".into()), dir.path()), Ok(at("tally.toml")));
        assert_eq!(find(Some("/x".into()), dir.path()), Ok("/x".into()));
        assert_eq!(find(None, Path::new("/no such folder")), Err(vec![]));
    }
}
