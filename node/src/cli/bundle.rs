//! `tally bundle`: what a link would carry, as files, for networks that are joined by hand.

use super::{ConfigFile, Exit, Failure};
use axum::body::Body;
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};
use tally_client::save::SavedFile;
use tally_protocol::{
    bundle::{BundleReader, Item},
    ids::Division,
    tame::tame,
};
use tally_reconcile::bundle::Imported;
use tokio::sync::mpsc;

/// Bytes read from a file at once.
const PIECE: usize = 256 << 10;

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum SinceArg {
    /// What the parent has given no receipt for.
    Receipt,
    /// Everything from the first record on.
    Start,
}

#[derive(Debug, Subcommand)]
pub(super) enum BundleCommand {
    /// Write a bundle for the parent (new records) or a child (receipts, charter).
    Export {
        /// For whom: the parent's division, or a child's.
        #[arg(long, value_name = "DIVISION")]
        to: Division,
        /// Which records go along.
        #[arg(long, value_enum, default_value = "receipt")]
        since: SinceArg,
        /// Where the bundle is written (never over an existing file).
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Take in a bundle that a neighbour made.
    Import {
        /// The bundle.
        file: PathBuf,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Say what is in a bundle; needs no node.
    Show {
        /// The bundle.
        file: PathBuf,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
}

fn named(path: &Path) -> impl Fn(&dyn std::fmt::Display) -> Failure {
    move |e| Failure::failed(format!("{}: {e}", path.display()))
}

pub(super) async fn run(command: BundleCommand) -> Result<Exit, Failure> {
    match command {
        BundleCommand::Export { to, since, output, json, config } => export(to, since, &output, json, &config).await,
        BundleCommand::Import { file, json, config } => import(&file, json, &config).await,
        BundleCommand::Show { file, json } => show(&file, json),
    }
}

async fn export(
    to: Division,
    since: SinceArg,
    output: &Path,
    json: bool,
    config: &ConfigFile,
) -> Result<Exit, Failure> {
    let client = config.client()?;
    let since = match since {
        SinceArg::Receipt => "receipt",
        SinceArg::Start => "start",
    };
    let exists = || named(output)(&"this file exists, and is left as it is");
    if fs::symlink_metadata(output).is_ok() {
        return Err(exists());
    }
    // A part of a bundle helps nobody.
    let mut file = SavedFile::begin(output).map_err(|e| named(output)(&e))?;
    let mut bytes = 0;
    let written = client
        .get_pieces(&format!("/v1/bundle?to={to}&since={since}"), |piece| {
            bytes += piece.len();
            file.write_all(piece)
        })
        .await;
    written?;
    file.keep_new()
        .map_err(|e| if e.kind() == std::io::ErrorKind::AlreadyExists { exists() } else { named(output)(&e) })?;
    if json {
        outln!("{}", json!({ "to": to, "file": output, "bytes": bytes }));
    }
    errln!("{}: {bytes} bytes for {to}; take it there: tally bundle import", output.display());
    Ok(Exit::Done)
}

async fn import(path: &Path, json: bool, config: &ConfigFile) -> Result<Exit, Failure> {
    let client = config.client()?;
    let mut file = File::open(path).map_err(|e| named(path)(&e))?;
    let (pieces, receive) = mpsc::channel::<Result<Vec<u8>, std::io::Error>>(4);
    std::thread::spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece).map(|n| {
                piece.truncate(n);
                piece
            });
            let last = !matches!(&read, Ok(p) if !p.is_empty());
            if matches!(&read, Ok(p) if p.is_empty()) || pieces.blocking_send(read).is_err() || last {
                return;
            }
        }
    });
    let stream = futures_util::stream::unfold(receive, |mut r| async { r.recv().await.map(|p| (p, r)) });
    let answer = client.post("/v1/bundle", Body::from_stream(stream)).await?;
    let done: Imported = tally_client::shown(&answer)?;
    if json {
        outln!("{}", String::from_utf8_lossy(&answer));
    } else {
        let Imported { from, batches, records, receipts, charter, refused } = &done;
        outln!(
            "from {from}: {records} new records in {batches} batches, {receipts} receipts; charter version {charter} is in force"
        );
        refused.iter().for_each(|why| outln!("  not taken: {why}"));
    }
    Ok(if done.refused.is_empty() { Exit::Done } else { Exit::Look })
}

fn show(path: &Path, json: bool) -> Result<Exit, Failure> {
    let mut file = File::open(path).map_err(|e| named(path)(&e))?;
    let (mut items, mut piece) = (BundleReader::default(), vec![0; PIECE]);
    let (mut batches, mut bytes, mut receipts) = (0_u64, 0_usize, 0_u64);
    let (mut told, mut heads) = (json!({ "whole": true }), Vec::new());
    loop {
        let n = file.read(&mut piece).map_err(|e| named(path)(&e))?;
        if n == 0 {
            break;
        }
        items.feed(&piece[..n]);
        while let Some(item) = items.next_item().map_err(|e| named(path)(&e))? {
            match item {
                Item::Opening { federation, from, to, charter, time } if json => {
                    told["federation"] = federation.to_string().into();
                    told["from"] = from.division.to_string().into();
                    told["to"] = to.to_string().into();
                    told["charter_version"] = json!(charter);
                    told["time"] = tally_clock::time(time).into();
                }
                Item::Opening { federation, from, to, charter, time } => {
                    let time = tally_clock::time(time);
                    outln!(
                        "bundle of federation {federation}, made by {from} for {to} at {time}, charter version {charter}"
                    );
                }
                Item::Head(head) if json => heads.push(json!({ "log": head.log.to_string(), "size": head.size })),
                Item::Head(head) => outln!("  {} holds {} records", head.log, head.size),
                Item::Batch { bytes: b, .. } => (batches, bytes) = (batches + 1, bytes + b.len()),
                Item::Receipt { .. } => receipts += 1,
                Item::Conflict { log, reason, .. } => {
                    outln!("  two histories of {log} were signed: {}", tame(&reason));
                }
                Item::Charter { .. } | Item::End { .. } => {}
            }
        }
    }
    items.finish().map_err(|e| named(path)(&e))?;
    if json {
        told["heads"] = heads.into();
        told["batches"] = batches.into();
        told["bytes"] = bytes.into();
        told["receipts"] = receipts.into();
        outln!("{told}");
        return Ok(Exit::Done);
    }
    outln!(
        "{batches} batches ({bytes} bytes), {receipts} receipts; whole. Nothing in it is proved before a node takes it in"
    );
    Ok(Exit::Done)
}
