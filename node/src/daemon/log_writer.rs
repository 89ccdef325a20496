//! Lines of the log go to stderr on a thread of their own: whoever reads them may hang, and no part of the node waits for it.
//!
//! What does not fit is left out, and how much that was stands in the log once it moves again. What the lines say is not known
//! here.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};
use tracing_subscriber::fmt::MakeWriter;

/// Events that may wait for a reader of the log; a long one has a few kilobytes.
const WAITING_MAX: usize = 4_096;
/// A process that ends waits so long for what is still to be written.
const END_WITHIN: Duration = Duration::from_secs(1);

/// What goes to the thread.
enum Line {
    Text(Vec<u8>),
    /// Everything before it is written.
    Ended(SyncSender<()>),
}

/// Where the log's lines are handed over. Cheap to clone.
#[derive(Clone)]
pub(super) struct LogWriter {
    lines: SyncSender<Line>,
    left_out: Arc<AtomicU64>,
}

impl LogWriter {
    /// Lines go to `out`, by a thread that ends with the last clone of this; `missing` words how many were left out.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(out: impl Write + Send + 'static, missing: fn(u64) -> String) -> io::Result<Self> {
        Self::with_room(out, missing, WAITING_MAX)
    }

    fn with_room(mut out: impl Write + Send + 'static, missing: fn(u64) -> String, room: usize) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(room);
        let left_out = Arc::new(AtomicU64::new(0));
        let missed = left_out.clone();
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&waiting, (&missed, missing), &mut out))?;
        Ok(Self { lines, left_out })
    }

    /// Waits until what was handed over before is written, or for [`END_WITHIN`] if nobody reads it.
    pub(super) fn end(&self) {
        let (written, wait) = sync_channel(1);
        if self.lines.try_send(Line::Ended(written)).is_ok() {
            match wait.recv_timeout(END_WITHIN) {
                Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }
}

/// A log that cannot be written stops nothing and is told of nowhere.
fn write_lines(waiting: &Receiver<Line>, (left_out, missing): (&AtomicU64, fn(u64) -> String), out: &mut impl Write) {
    while let Ok(line) = waiting.recv() {
        match line {
            Line::Text(text) => {
                let _ = out.write_all(&text);
            }
            Line::Ended(written) => {
                let _ = out.flush();
                let _ = written.try_send(());
            }
        }
        let missed = left_out.swap(0, Ordering::Relaxed);
        if missed > 0 {
            let _ = writeln!(out, "{}", missing(missed));
        }
    }
}

/// One event: handed over as a whole when it ends.
pub(super) struct LogLine {
    to: LogWriter,
    text: Vec<u8>,
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.text);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.to.lines.try_send(Line::Text(text)) {
            self.to.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl MakeWriter<'_> for LogWriter {
    type Writer = LogLine;

    fn make_writer(&self) -> LogLine {
        LogLine { to: self.clone(), text: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn say(log: &LogWriter, text: &str) {
        log.make_writer().write_all(text.as_bytes()).unwrap();
    }

    /// A pipe that nobody reads: whoever logs goes on, and what was left out is counted once somebody reads again.
    #[test]
    fn a_reader_that_hangs_holds_nobody_up_and_what_was_left_out_is_counted() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let log = LogWriter::with_room(pipe, |n| format!("{n} left out"), 8).unwrap();
        let long = format!("{}\n", "x".repeat(8 << 10));
        // More than the pipe and the room hold together: this ends only if nothing waits.
        for _ in 0..100 {
            say(&log, &long);
        }
        let read = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        while log.left_out.load(Ordering::Relaxed) > 0 {
            say(&log, "");
            std::thread::yield_now();
        }
        say(&log, "the last\n");
        log.end();
        drop(log);
        let text = read.join().unwrap();
        let whole = text.lines().filter(|l| *l == long.trim_end()).count();
        assert!((8..100).contains(&whole), "{whole}");
        assert!(text.contains(" left out\n") && text.ends_with("the last\n"));
    }

    #[test]
    fn what_was_said_before_the_end_is_written() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let log = LogWriter::start(pipe, |n| n.to_string()).unwrap();
        (0..100).for_each(|n| say(&log, &format!("{n}\n")));
        log.end();
        let mut text = [0; 290];
        reader.read_exact(&mut text).unwrap();
        assert!(text.ends_with(b"98\n99\n"));
    }
}
