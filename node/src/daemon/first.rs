//! Whether this is a node's first start. An empty data directory may as well be an emptied or unmounted one: a node that began
//! anew there would sign a second history. So a first start needs a word: a file among the keys, or `--new` by hand.
//!
//! It looks at files only; whether the gate opens is the core's to say.

use super::{RestartReason, StartError, StartOptions};
use crate::config::Config;
use anyhow::{Context as _, anyhow};
use std::{
    fs::{self, File},
    io,
    path::PathBuf,
};

/// The word, beside the node's key.
pub(super) fn word(config: &Config) -> PathBuf {
    config.key().with_file_name(tally_client::keyfile::FIRST_START)
}

/// Whether this start is the first one, by the operator's word. A restore may begin on an empty directory, and is none.
///
/// # Errors
/// [`StartError::Restart`] if the data directory is not there, and [`StartError::Config`] if it is there and empty, without
/// a word that it may be.
pub(super) fn is_first(config: &Config, options: StartOptions) -> Result<bool, StartError> {
    if has_journal(config)? {
        return Ok(false);
    }
    let word = word(config);
    if options.restoring {
        return Ok(false);
    }
    if options.new || word.try_exists().with_context(|| format!("{}", word.display()))? {
        return Ok(true);
    }
    let data = config.data();
    if !data.try_exists().with_context(|| format!("{}", data.display()))? {
        return Err(StartError::Restart(RestartReason::NoData));
    }
    let (data, word) = (data.display(), word.display());
    Err(StartError::Config(anyhow!(
        "node.data {data} holds no journal. If this node has run before, its disk is not mounted or was emptied: mount it, or get \
         the history back with `tally restore`. If it starts for the first time, say so with `tally run --new`, or make the file {word}"
    )))
}

/// Whether this node has written a journal: it is no new one then.
///
/// # Errors
/// [`StartError`] if that cannot be seen.
pub(crate) fn has_journal(config: &Config) -> Result<bool, StartError> {
    let dir = config.journal();
    let entries = match fs::read_dir(&dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries.with_context(|| format!("{}", dir.display()))?,
    };
    for entry in entries {
        let name = entry.with_context(|| format!("{}", dir.display()))?.file_name();
        if name.to_string_lossy().ends_with(".seg") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// There is a journal now: the word is used up.
pub(super) fn use_up(config: &Config) {
    let word = word(config);
    let gone = fs::remove_file(&word).and_then(|()| match word.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    });
    if let Err(e) = gone
        && e.kind() != io::ErrorKind::NotFound
    {
        let path = word.display();
        tracing::warn!(event = "first_start.left", %path, reason = %e, "this node has started; remove this file, or an emptied disk will be taken for a new one");
    }
}
