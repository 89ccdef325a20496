//! Where this node asks for its next epoch: the secret is made, the request signed and kept until it was answered.
//!
//! The secret lies among the keys before anybody hears of it, and the request in `data/epoch-request.json` before it goes out.
//! How it travels is the core's; whether it is given, a person's. The same question again, before there is an answer, gets the
//! same request: its digits may have been read over the telephone already.

use super::start::keys_for;
use crate::config::Config;
use anyhow::Context as _;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use tally_client::keyfile::{self, SecretKind};
use tally_console::{AskedEpoch, EpochAsk};
use tally_core::{Input, View};
use tally_driver::{Mail, Mailbox};
use tally_protocol::{
    ids::LogId,
    keys::NodeKeys,
    request::{EpochRequest, ProposedKeys},
};
use tokio::sync::{mpsc, watch};

/// Whether a request was answered is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// What the desk works with.
pub(super) struct Desk {
    pub(super) config: Config,
    pub(super) mailbox: Mailbox,
    pub(super) asks: mpsc::Receiver<EpochAsk>,
    pub(super) tell: watch::Sender<Option<AskedEpoch>>,
}

impl Desk {
    fn file(&self) -> PathBuf {
        self.config.data().join("epoch-request.json")
    }

    /// Serves until nobody can ask any more.
    pub(super) async fn serve(mut self) {
        let path = self.file();
        match blocking(move || load(&path)).await {
            // A charter has answered it, perhaps by this very start.
            Ok(Some(asked)) if self.current() != Some(asked.log) => self.forget().await,
            Ok(Some(asked)) => {
                if asked.rejected.is_none() {
                    let _ = self.mailbox.send(Mail::Core(Input::Request { note: asked.note.clone() })).await;
                }
                self.tell.send_replace(Some(asked));
            }
            Ok(None) => {}
            Err(why) => {
                tracing::warn!(event = "request.unreadable", reason = %format!("{why:#}"), "ask for the next epoch again");
            }
        }
        loop {
            tokio::select! {
                ask = self.asks.recv() => {
                    let Some(EpochAsk { reason, reply }) = ask else { return };
                    let _ = reply.send(self.ask(reason).await.map_err(|e| format!("{e:#}")));
                }
                () = tokio::time::sleep(LOOK) => self.look().await,
            }
        }
    }

    /// Forgets a request that a charter has answered; keeps that it was rejected.
    async fn look(&self) {
        let Some(asked) = self.tell.borrow().clone() else { return };
        if self.current() != Some(asked.log) {
            self.forget().await;
            return;
        }
        let (view, path) = (self.mailbox.view(), self.file());
        let rejected = view.requests().rejected.get(&view.me()).filter(|_| asked.rejected.is_none());
        if let Some(rejected) = rejected {
            let why = format!("{} rejects it: {}", rejected.by, rejected.reason);
            let asked = AskedEpoch { rejected: Some(why), ..asked };
            let kept = asked.clone();
            if blocking(move || save(&path, &kept)).await.is_ok() {
                self.tell.send_replace(Some(asked));
            }
        }
    }

    fn current(&self) -> Option<LogId> {
        let view = self.mailbox.view();
        view.charter().current_log(view.me())
    }

    async fn forget(&self) {
        let path = self.file();
        if blocking(move || Ok(fs::remove_file(path).or_else(not_there)?)).await.is_ok() {
            self.tell.send_replace(None);
        }
    }

    async fn ask(&self, reason: String) -> anyhow::Result<AskedEpoch> {
        let view = self.mailbox.view();
        let standing = self.tell.borrow().clone();
        if let Some(asked) = standing.filter(|a| a.rejected.is_none() && Some(a.log) == self.current()) {
            return Ok(asked);
        }
        let (config, path, seen) = (self.config.clone(), self.file(), view.clone());
        let asked = blocking(move || {
            let asked = make(&config, &seen, reason)?;
            save(&path, &asked).with_context(|| format!("{} cannot be written", path.display()))?;
            Ok(asked)
        });
        let asked = asked.await?;
        self.mailbox.send(Mail::Core(Input::Request { note: asked.note.clone() })).await?;
        let view = self.mailbox.settled().await?;
        let taken = view.requests().pending.get(&view.me()).is_some_and(|p| *p.note == *asked.note);
        anyhow::ensure!(taken, "the charter in force does not fit: is this node's key the one that it names?");
        tracing::warn!(event = "epoch.asked", log = %asked.log, code = %asked.code, "the next epoch is asked for");
        self.tell.send_replace(Some(asked.clone()));
        Ok(asked)
    }
}

/// Runs what waits for the disk on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("the node is stopping")?
}

fn not_there(e: io::Error) -> io::Result<()> {
    if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }
}

fn load(path: &Path) -> anyhow::Result<Option<AskedEpoch>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| format!("{}", path.display()))?)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn save(path: &Path, asked: &AskedEpoch) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new)?;
    io::Write::write_all(&mut file, &serde_json::to_vec_pretty(asked)?)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    sync_folder(path)
}

fn sync_folder(of: &Path) -> anyhow::Result<()> {
    let folder = of.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(fs::File::open(folder)?.sync_all()?)
}

/// Makes the next epoch's secret, if it is not there from an earlier question, and the request.
fn make(config: &Config, view: &View, reason: String) -> anyhow::Result<AskedEpoch> {
    let charter = view.charter();
    let me = view.me();
    let log = charter.current_log(me).context("this division is not a node of the charter in force")?;
    let now = keys_for(config, charter, log).map_err(|e| anyhow::anyhow!("{e}"))?;
    let now = now.with_context(|| format!("the secret of {log} is not among the keys: nobody else can ask for it"))?;
    let next = LogId::records(me, log.epoch.checked_add(1).context("no more epochs")?);
    let path = config.key().with_file_name(format!("epoch-{}.key", next.epoch));
    let secret = if path.exists() {
        keyfile::read_as(&path, SecretKind::Node)
    } else {
        keyfile::create(&path, SecretKind::Node)
    };
    let secret = secret.context("the next epoch's secret")?;
    sync_folder(&path)?;
    let keys = NodeKeys::derive(charter.federation(), next, &secret);
    let (size, root) = view.whole_head(log);
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|e| anyhow::anyhow!("the system gives no random bytes: {e}"))?;
    let time = tally_clock::now_ms() / 1_000;
    let federation = charter.federation().clone();
    let request = EpochRequest { federation, log, time, size, root, nonce, keys: ProposedKeys::of(&keys), reason };
    let note = request.sign(&now, &keys);
    let (code, since, reason) = (request.code(), tally_clock::time(time), request.reason);
    Ok(AskedEpoch { log, code, since, reason, note, rejected: None })
}
