//! `tally export`.

use super::{ConfigFile, Exit, Failure, catalog};
use anyhow::Context as _;
use clap::Args;
use std::{
    fs, io,
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};
use tally_client::{print, save::save};

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Only records that count for this division or those below it, by code or name.
    #[arg(long, value_name = "D")]
    division: Option<String>,
    /// Only this category, by identifier or Chinese name.
    #[arg(long, value_name = "C")]
    category: Option<String>,
    /// Only records that have come to this node since then: a date (2026-11-24), an RFC 3339 time, or the cursor of an
    /// earlier export.
    #[arg(long, value_name = "T|CURSOR")]
    since: Option<String>,
    /// Go on where the last export with this file ended, and keep in it where this one ends. Without the file everything is
    /// told, and it is made.
    #[arg(long, value_name = "FILE", conflicts_with = "since")]
    cursor: Option<PathBuf>,
    /// All versions, also withdrawn ones, not only the current one of each business key.
    #[arg(long)]
    history: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// A value as part of a query string.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    text.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Where the last export ended; `None`: there was none yet.
fn last_cursor(file: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("--cursor {}", file.display())),
    }
}

/// Whole or not at all: half a cursor would lose records.
fn keep_cursor(file: &Path, cursor: &str) -> anyhow::Result<()> {
    save(file, format!("{cursor}\n").as_bytes())
        .with_context(|| format!("--cursor {}: where this export ended cannot be kept", file.display()))
}

pub(super) async fn run(args: ExportArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    let category = catalog::known(&client, args.category.as_deref()).await?;
    let mut path = format!("/v1/export?history={}", args.history);
    let since = match &args.cursor {
        Some(file) => last_cursor(file).map_err(Failure::failed)?,
        None => args.since.clone(),
    };
    for (name, value) in [("division", &args.division), ("category", &category), ("since", &since)] {
        if let Some(value) = value {
            path = format!("{path}&{name}={}", quoted(value));
        }
    }
    let terminal = io::stdout().is_terminal();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut gone = false;
    let result = client
        .get_pieces(&path, |piece| {
            let written = if terminal { print::raw(piece) } else { out.write_all(piece) };
            gone = matches!(&written, Err(e) if e.kind() == io::ErrorKind::BrokenPipe);
            written
        })
        .await;
    // Whoever reads our output may have seen enough (`| head`).
    if gone {
        return Ok(Exit::Done);
    }
    let heads = result?;
    match out.flush() {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => return Err(Failure::failed(e)),
        Err(_) => return Ok(Exit::Done),
        Ok(()) => {}
    }
    // Only now is everything told.
    let cursor = heads.get("tally-cursor").and_then(|c| c.to_str().ok());
    if let Some((file, cursor)) = args.cursor.as_deref().zip(cursor) {
        keep_cursor(file, cursor).map_err(Failure::failed)?;
    } else if let Some(cursor) = cursor.filter(|_| args.since.is_some()) {
        errln!("cursor {cursor}");
    }
    Ok(Exit::Done)
}
