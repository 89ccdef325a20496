//! What the service manager is told: that the start takes long, and that the driver still gets on (sd_notify).

use std::{
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    time::Duration,
};
use tally_driver::Mailbox;

/// Told this often that the start goes on; each time twice as long is asked for.
const START_EVERY: Duration = Duration::from_secs(15);
/// Without a watchdog that asks, nothing is told.
const NEVER: Duration = Duration::from_secs(3_600);

/// A start under way: its end is told by dropping this.
pub(super) struct Starting {
    _ends: SyncSender<()>,
}

impl Starting {
    /// Tells the service manager from time to time that a journal is being read, however long that takes.
    pub(super) fn begin() -> Self {
        let (ends, ended) = sync_channel::<()>(1);
        let tell = move || {
            while ended.recv_timeout(START_EVERY) == Err(RecvTimeoutError::Timeout) {
                let more = (2 * START_EVERY).as_micros().try_into().unwrap_or(u32::MAX);
                let _ = sd_notify::notify(&[sd_notify::NotifyState::ExtendTimeoutUsec(more)]);
            }
        };
        std::thread::spawn(tell);
        Self { _ends: ends }
    }
}

/// Tells the watchdog that the driver still gets on: it ends rounds, or waits for room on the disk and knows it. If it does
/// neither, nothing is told, and the service manager ends the node.
pub(super) async fn watch(mailbox: Mailbox) {
    let every = sd_notify::watchdog_enabled().map_or(NEVER, |within| within / 3);
    let mut before = mailbox.beats();
    loop {
        tokio::time::sleep(every).await;
        let beats = mailbox.beats();
        if std::mem::replace(&mut before, beats) != beats {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
    }
}
