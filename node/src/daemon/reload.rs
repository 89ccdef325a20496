//! What changes in a running node when its config is read again (SIGHUP): tokens, drop folders, the level of the log. A config
//! that cannot be used changes nothing, and whatever else changed in it counts from the next start on: both are said in the log.

use super::{FOLDER, logging::LevelSwitch, supervisor::Supervisor};
use crate::config::Config;
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};
use tally_console::TokenBook;
use tally_intake::{
    folder::{self, Folder, FolderSection, FolderTroubles},
    submission::Submissions,
};
use tokio::{runtime::Handle, sync::watch};

/// The parts that follow the config.
pub(super) struct Reload {
    /// As it was read last.
    config: Config,
    tokens: TokenBook,
    level: LevelSwitch,
    submissions: Submissions,
    troubles: FolderTroubles,
    runtime: Handle,
    folders: Vec<RunningFolder>,
}

/// A drop folder that is watched.
struct RunningFolder {
    section: FolderSection,
    stop: watch::Sender<bool>,
    /// Held by the thread that touches the folder: one that follows it waits.
    turn: Arc<Mutex<()>>,
}

impl Reload {
    /// Of a node with this config; no folder is watched yet.
    pub(super) fn new(
        config: &Config,
        tokens: TokenBook,
        level: LevelSwitch,
        (submissions, troubles): (Submissions, FolderTroubles),
        runtime: Handle,
    ) -> Self {
        Self { config: config.clone(), tokens, level, submissions, troubles, runtime, folders: Vec::new() }
    }

    /// Watches the folders of the config, and those only.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn folders(&mut self, parts: &mut Supervisor) -> io::Result<()> {
        let wanted = self.config.folders.clone();
        let (kept, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.folders).into_iter().partition(|f| wanted.contains(&f.section));
        self.folders = kept;
        for folder in &gone {
            folder.stop.send_replace(true);
        }
        for section in wanted {
            if self.folders.iter().any(|f| f.section == section) {
                continue;
            }
            let turn = gone.iter().find(|f| f.section.path == section.path).map(|f| f.turn.clone()).unwrap_or_default();
            let (stop, stopping) = watch::channel(false);
            let path = self.config.drop_folder(&section);
            let (submissions, troubles) = (self.submissions.clone(), self.troubles.clone());
            let watched = Folder { section: section.clone(), path, submissions, troubles };
            let (runtime, mine) = (self.runtime.clone(), turn.clone());
            parts.thread_until_told(FOLDER, move || {
                let _mine = mine.lock().unwrap_or_else(PoisonError::into_inner);
                folder::watch(watched, stopping, runtime);
                Ok(())
            })?;
            self.folders.push(RunningFolder { section, stop, turn });
        }
        Ok(())
    }

    /// The node stops: no folder is watched any more.
    pub(super) fn stop_folders(&self) {
        for folder in &self.folders {
            folder.stop.send_replace(true);
        }
    }

    /// Reads the config again.
    pub(super) fn reload(&mut self, parts: &mut Supervisor) {
        let new = match Config::load(&self.config.file) {
            Ok(new) => new,
            Err(e) => {
                tracing::error!(event = "config.refused", reason = %e, "the config cannot be used: all stays as it was");
                return;
            }
        };
        let later = for_the_next_start(&self.config, &new);
        if !later.is_empty() {
            tracing::warn!(event = "config.later", sections = %later.join(", "), "these have changed and count from the next start on");
        }
        // What counts from the next start on is compared with what counts now at each reading.
        (self.config.token, self.config.folders, self.config.log.level) = (new.token, new.folders, new.log.level);
        self.tokens.replace(self.config.token.clone());
        self.level.set(&self.config.log);
        if let Err(e) = self.folders(parts) {
            tracing::error!(event = "folder.failed", reason = %e, "no thread for a drop folder: it is not watched");
        }
        let (tokens, folders) = (self.config.token.len(), self.folders.len());
        tracing::info!(event = "config.reloaded", tokens, folders, level = %self.config.log.level, "the config was read again");
    }
}

/// Sections that differ and are looked at only when a node starts.
fn for_the_next_start(now: &Config, new: &Config) -> Vec<&'static str> {
    let says = |section: &dyn std::fmt::Debug| format!("{section:?}");
    let mut later = Vec::new();
    for (name, now, new) in [
        ("node", says(&now.node), says(&new.node)),
        ("listen", says(&now.listen), says(&new.listen)),
        ("storage", says(&now.storage), says(&new.storage)),
        ("schedule", says(&now.schedule), says(&new.schedule)),
        ("intake", says(&now.intake), says(&new.intake)),
        ("log.format", says(&now.log.format), says(&new.log.format)),
    ] {
        if now != new {
            later.push(name);
        }
    }
    later
}
