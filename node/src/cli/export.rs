//! `tally export`.

use super::{ConfigFile, Exit, Failure};
use clap::Args;
use std::io::Write as _;
use tally_protocol::ids::Division;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Only records that count for this division or those below it.
    #[arg(long, value_name = "D")]
    division: Option<Division>,
    /// Only this category.
    #[arg(long, value_name = "C")]
    category: Option<String>,
    /// Only records sealed since then: a date (2026-11-24) or an RFC 3339 time.
    #[arg(long, value_name = "T")]
    since: Option<String>,
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

pub(super) async fn run(args: ExportArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    let mut path = format!("/v1/export?history={}", args.history);
    let division = args.division.map(|d| d.to_string());
    for (name, value) in [("division", &division), ("category", &args.category), ("since", &args.since)] {
        if let Some(value) = value {
            path = format!("{path}&{name}={}", quoted(value));
        }
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut gone = false;
    let result = client
        .get_pieces(&path, |piece| {
            let written = out.write_all(piece);
            gone = matches!(&written, Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe);
            written
        })
        .await;
    // Whoever reads our output may have seen enough (`| head`).
    if gone {
        return Ok(Exit::Done);
    }
    result?;
    match out.flush() {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::failed(e)),
        _ => Ok(Exit::Done),
    }
}
