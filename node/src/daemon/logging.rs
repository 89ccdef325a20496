//! The log file: events with stable names on stderr, as text or JSON.

use crate::config::{LogFormat, LogSection};
use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging; a filter that cannot be read falls back to `info` and says so.
pub(super) fn start(section: &LogSection) {
    let filter = EnvFilter::try_new(&section.level);
    let bad = filter.is_err();
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let started = match section.format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => builder.with_ansi(false).try_init(),
    };
    if bad && started.is_ok() {
        tracing::warn!(event = "log.level", level = %section.level, "log.level cannot be read; info is used");
    }
}
