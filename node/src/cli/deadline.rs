//! `tally deadline`: what is due, late or missing, and how a deadline is counted.

use super::{ConfigFile, Exit, Failure, catalog, ingest::encoded};
use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::Date;
use std::path::{Path, PathBuf};
use tally_client::{print, save::save, shown};
use tally_reports::deadline::{DeadlineReport, Month, explain, render, render_explained};
use tally_texts::{Lang, lang};

#[derive(Debug, Subcommand)]
pub(super) enum DeadlineCommand {
    /// What was due and came in time, is late, open or missing, and who had it.
    Report(ReportArgs),
    /// How the limits of a day are counted: which days count, and whether the calendar covers them.
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Records whose collect limit ends in this month, such as 2026-11; without it those that are open, and those of the
    /// current month.
    #[arg(long, value_name = "MONTH")]
    month: Option<Month>,
    /// Only records that count for this division or those below it, by code or name.
    #[arg(long, value_name = "D")]
    division: Option<String>,
    /// Totals of these in place of single lines.
    #[arg(long, value_enum)]
    by: Option<ByArg>,
    /// One JSON document.
    #[arg(long, conflicts_with_all = ["csv", "xlsx"])]
    json: bool,
    /// CSV with Chinese heads.
    #[arg(long, conflicts_with = "xlsx")]
    csv: bool,
    /// Excel workbook with Chinese heads; needs -o.
    #[arg(long, requires = "output")]
    xlsx: bool,
    /// Where it is written; `-` is stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Day on which a record was produced, such as 2026-09-18.
    #[arg(long, value_name = "DAY", value_parser = super::day)]
    produced_on: Date,
    /// Category, which may have limits of its own; without it 7 and 20 working days.
    #[arg(long, value_name = "C")]
    category: Option<String>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ByArg {
    /// 行政区划, each alone and with those below it.
    Division,
    /// 单位
    Unit,
    /// 信息类别
    Category,
}

pub(super) async fn run(command: DeadlineCommand) -> Result<Exit, Failure> {
    match command {
        DeadlineCommand::Report(args) => report(args).await,
        DeadlineCommand::Explain(args) => explained(args).await,
    }
}

impl ReportArgs {
    fn path(&self) -> String {
        let format = match (self.csv, self.xlsx) {
            (true, _) => "csv",
            (_, true) => "xlsx",
            _ => "json",
        };
        let by = self.by.and_then(|b| Some(b.to_possible_value()?.get_name().to_owned()));
        let (month, division) = (self.month.map(|m| m.to_string()), self.division.clone());
        let mut path = format!("/v1/deadlines?format={format}");
        for (name, value) in [("month", month), ("division", division), ("by", by)] {
            if let Some(value) = value {
                path = format!("{path}&{name}={}", encoded(&value));
            }
        }
        path
    }
}

/// In Chinese alone, or in both languages.
fn warn(en: &str, zh: &str) {
    match lang() {
        Lang::En => errln!("tally: WARNING {en}\n       {zh}"),
        Lang::Zh => errln!("tally：警告 {zh}"),
    }
}

/// Warnings make the report less than whole, which is something to look at.
async fn report(args: ReportArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    let answer = client.get(&args.path()).await?;
    let output = args.output.as_deref().filter(|o| o.as_os_str() != "-");
    if args.csv || args.xlsx {
        return written(output, &answer);
    }
    let report: DeadlineReport = shown(&answer)?;
    if args.json {
        written(output, &[&answer, &b"\n"[..]].concat())?;
    } else {
        written(output, render(&report).as_bytes())?;
    }
    for w in report.warnings.iter().filter(|_| args.json || output.is_some()) {
        warn(&w.message, &w.message_zh);
    }
    Ok(if report.warnings.is_empty() { Exit::Done } else { Exit::Look })
}

fn written(output: Option<&Path>, bytes: &[u8]) -> Result<Exit, Failure> {
    match output {
        // What could not be written is looked at when the command ends.
        None => drop(print::raw(bytes)),
        Some(path) => save(path, bytes).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?,
    }
    Ok(Exit::Done)
}

async fn explained(args: ExplainArgs) -> Result<Exit, Failure> {
    let charter = args.config.client()?.charter().await?;
    let category = args.category.map(|name| catalog::in_charter(&charter, &name)).transpose()?;
    let explained = explain(&charter, args.produced_on, category.as_deref());
    let explained = explained.map_err(|why| Failure::new(Exit::Usage, format!("--category: {why}")))?;
    if args.json {
        outln!("{}", serde_json::to_string(&explained).map_err(Failure::failed)?);
        explained.warnings.iter().for_each(|w| warn(&w.message, &w.message_zh));
    } else {
        written(None, render_explained(&explained).as_bytes())?;
    }
    Ok(if explained.warnings.is_empty() { Exit::Done } else { Exit::Look })
}
