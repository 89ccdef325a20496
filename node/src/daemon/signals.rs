//! Signals: TERM and INT stop the node in order, HUP has it read its config again, USR1 has it say how it stands. Others that
//! would end a process without a word are told in the log, and change nothing.

use rustix::process::Signal as Number;
use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
};
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

/// Signals that end a process unless it says otherwise, and ask for nothing here. Not those that tell of a fault of the program
/// itself. A write beyond a limit of the system (XFSZ) fails then, which is told like every other error of the disk.
const IGNORED: [(&str, Number); 10] = [
    ("QUIT", Number::QUIT),
    ("USR2", Number::USR2),
    ("ALRM", Number::ALARM),
    ("VTALRM", Number::VTALARM),
    ("PROF", Number::PROF),
    ("XCPU", Number::XCPU),
    ("XFSZ", Number::XFSZ),
    ("IO", Number::IO),
    ("PWR", Number::POWER),
    ("STKFLT", Number::STKFLT),
];
/// The signals that have no meaning of their own, by number: as on Linux, where 32 and 33 are the C library's.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// Signals that are listened to.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    ignored: Vec<(String, Signal)>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn listen() -> io::Result<Self> {
        let named = IGNORED.into_iter().map(|(name, number)| (name.to_owned(), number.as_raw()));
        let others = named.chain(REAL_TIME.map(|number| (format!("RT {number}"), number)));
        let listened = others.map(|(name, number)| Ok((name, signal(SignalKind::from_raw(number))?)));
        Ok(Self {
            ignored: listened.collect::<io::Result<_>>()?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
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
                name = poll_fn(|cx| first(&mut self.ignored, cx)) => name,
            };
            tracing::warn!(event = "signal.ignored", name, "a signal that means nothing to this program");
        }
    }
}

/// The name of one that has come.
fn first(ignored: &mut [(String, Signal)], cx: &mut Context<'_>) -> Poll<String> {
    let came = ignored.iter_mut().find_map(|(name, signal)| signal.poll_recv(cx).is_ready().then(|| name.clone()));
    came.map_or(Poll::Pending, Poll::Ready)
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
