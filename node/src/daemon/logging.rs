//! The log file: events with stable names on stderr, as text or JSON.
//!
//! Each event is one line, whatever its fields hold: names of files, values and words of peers cannot begin a line of their
//! own, nor tell a terminal what to do. A log that cannot be written stops nothing and is told of nowhere.

use super::log_writer::LogWriter;
use crate::config::{LogFormat, LogSection};
use std::fmt;
use tally_protocol::tame::tame;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Writer},
    },
    layer::SubscriberExt as _,
    registry::{LookupSpan, Registry},
    reload,
    util::SubscriberInitExt as _,
};

/// Changes the level while the node runs.
#[derive(Debug, Clone)]
pub(super) struct LevelSwitch(reload::Handle<EnvFilter, Registry>);

impl LevelSwitch {
    /// From now on at this level.
    pub(super) fn set(&self, section: &LogSection) {
        // It fails where somebody else has begun to log: then the level is theirs.
        let _ = self.0.reload(filter(section));
    }
}

/// The level, which [`LogSection`] has checked.
fn filter(section: &LogSection) -> EnvFilter {
    EnvFilter::try_new(&section.level).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Starts logging at the level that the configuration names; answers where the lines go, and what changes the level.
///
/// # Errors
/// When the system gives no thread for it.
pub(super) fn start(section: &LogSection) -> std::io::Result<(LogWriter, LevelSwitch)> {
    let (filter, switch) = reload::Layer::new(filter(section));
    let missing: fn(u64) -> String = match section.format {
        LogFormat::Json => |n| left_out(n, true),
        LogFormat::Text => |n| left_out(n, false),
    };
    let writer = LogWriter::start(std::io::stderr(), missing)?;
    let layer =
        tracing_subscriber::fmt::layer().with_writer(writer.clone()).with_ansi(false).log_internal_errors(false);
    let format = Format::default().with_target(false).with_ansi(false);
    let all = tracing_subscriber::registry().with(filter);
    // Where somebody else has begun to log, as in tests, that stays.
    let _ = match section.format {
        LogFormat::Json => all.with(layer.json().event_format(OneLine(format.json()))).try_init(),
        LogFormat::Text => all.with(layer.event_format(OneLine(format))).try_init(),
    };
    Ok((writer, LevelSwitch(switch)))
}

/// Says in the form of the log that events were left out, because nobody read it in time.
fn left_out(events: u64, json: bool) -> String {
    let (time, said) = (tally_clock::time(tally_clock::wall_ms() / 1_000), "nobody read the log in time");
    if json {
        let fields = serde_json::json!({ "event": "log.left_out", "events": events, "message": said });
        serde_json::json!({ "timestamp": time, "level": "WARN", "fields": fields }).to_string()
    } else {
        format!("{time}  WARN {said} event=\"log.left_out\" events={events}")
    }
}

/// A form of events in which each is one line that a terminal only shows.
struct OneLine<F>(F);

impl<S, N, F> FormatEvent<S, N> for OneLine<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writeln!(out, "{}", tame(line.strip_suffix('\n').unwrap_or(&line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Kept {
        type Writer = Self;
        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    fn logged(json: bool, log: impl Fn()) -> String {
        let kept = Kept::default();
        let layer = tracing_subscriber::fmt::layer().with_writer(kept.clone()).with_ansi(false);
        let format = Format::default().with_target(false).with_ansi(false);
        let registry = tracing_subscriber::registry();
        if json {
            let layer = layer.json().event_format(OneLine(format.json()));
            tracing::subscriber::with_default(registry.with(layer), log);
        } else {
            tracing::subscriber::with_default(registry.with(layer.event_format(OneLine(format))), log);
        }
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    /// S12: however a field is written, it forges no line.
    #[test]
    fn an_event_is_one_line_whatever_its_fields_hold() {
        let wild = "a\n2026-11-29T00:00:00Z ERROR the disk failed\u{1b}[2J\u{9b}1m\u{202e}\r\u{2028}b";
        let log = || {
            let path = std::path::Path::new(wild);
            let span = tracing::info_span!("span", name = wild);
            let _inside = span.enter();
            tracing::warn!(event = "a.b", path = %path.display(), ?path, text = wild, reason = %wild, "said: {wild}");
        };
        for json in [false, true] {
            let text = logged(json, log);
            let (line, end) = text.split_at(text.len() - 1);
            assert_eq!(end, "\n");
            assert_eq!(tame(line), line, "json: {json}");
            assert!(line.contains("the disk failed"));
        }
        let json: serde_json::Value = serde_json::from_str(&logged(true, log)).unwrap();
        assert_eq!((&json["fields"]["text"], &json["fields"]["reason"]), (&wild.into(), &wild.into()));
    }
}
