//! Signals: TERM and INT stop the node in order, HUP has it read its config again, USR1 has it say how it stands. Others that
//! would end a process without a word are told in the log, and change nothing.

use std::io;
use tally_core::View;
use tally_store::index::IndexProgress;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The node is to stop.
    Stop,
    /// The config is to be read again.
    Reload,
    /// How it stands.
    State,
}

/// Signals that are listened to.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
    alarm: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            alarm: signal(SignalKind::alarm())?,
        })
    }

    /// The next signal that asks for something.
    ///
    /// Cancel-safe: a signal that is not taken is there at the next call.
    pub(super) async fn next(&mut self) -> Asked {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => return Asked::Stop,
                _ = self.interrupt.recv() => return Asked::Stop,
                _ = self.hangup.recv() => return Asked::Reload,
                _ = self.user1.recv() => return Asked::State,
                _ = self.user2.recv() => "USR2",
                _ = self.alarm.recv() => "ALRM",
            };
            tracing::warn!(event = "signal.ignored", name, "a signal that means nothing to this program");
        }
    }
}

/// One line that says how the node stands, for whoever has nothing but the log.
pub(super) fn tell_state(view: &View, index: &IndexProgress) {
    let (own, parent) = (view.own(), view.parent());
    let records: u64 = view.logs().values().map(|log| log.size()).sum();
    let gate = view.closed().map_or("open", |why| why.code());
    let index_trouble = index.trouble.as_deref().unwrap_or("none");
    tracing::info!(
        event = "node.state",
        node = %own,
        charter = view.charter().version(),
        logs = view.logs().len(),
        records,
        own_records = view.log(own).map_or(0, |log| log.size()),
        gate,
        parent_live = parent.link.is_some(),
        indexed = index.distinct,
        index_trouble,
        "how this node stands; tally status says more"
    );
}
